"""The bytes of a cache by formula, held to what the engines themselves allocate."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from fitcard.advisor.cache import llama_cpp_cache_bytes, transformers_cache_bytes
from fitcard.advisor.compute_buffer import compute_buffer_bytes
from fitcard.catalog.schema.language import ComputePoint
from fitcard.profiler.cache_plan import cache_plan
from fitcard.profiler.llama_cpp.memory import LlamaMemory, memory_of
from fitcard.profiler.llama_cpp.settings import LlamaSetting
from fitcard.profiler.meta_model import resolve
from tests.profiler.llama_cpp.configs import CONFIGS
from tests.profiler.llama_cpp.conftest import Model

SETTINGS = [
    LlamaSetting(context, cache_k=cache, cache_v=cache, sequences=sequences)
    for context, cache, sequences in itertools.product((4096, 32768), ("f16", "q8_0", "q4_0"), (1, 4))
] + [
    LlamaSetting(5000, ubatch=128, sequences=3),
    LlamaSetting(4096, sequences=4, unified=True),
    LlamaSetting(4096, full_window=True),
]  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_cache_of_llama_cpp(name: str, model_of: Callable[[str], Model]) -> None:
    """Contexts, cache types, sequences, an uneven context, one cache for all and whole windows: equal to the byte."""
    model = model_of(name)
    plan = cache_plan(model.config)
    for setting, answer in zip(SETTINGS, memory_of(model.file, SETTINGS), strict=True):
        assert isinstance(answer, LlamaMemory), answer
        ours = llama_cpp_cache_bytes(
            plan, setting.context, sequences=setting.sequences, cache_k=setting.cache_k, cache_v=setting.cache_v,
            ubatch=setting.ubatch, unified=setting.unified, full_window=setting.full_window,
        )  # fmt: skip
        assert ours == answer.cache_bytes, setting


_TINY: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
    "vocab_size": 64, "max_position_embeddings": 512,
}  # fmt: skip
_TINY_LATENT: dict[str, Any] = {
    **_TINY, "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 3, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
    "v_head_dim": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        {**_TINY, "model_type": "qwen3", "head_dim": 16},
        {**_TINY, "model_type": "gemma3_text", "head_dim": 16, "num_hidden_layers": 6, "sliding_window": 8},
        {**_TINY_LATENT, "model_type": "deepseek_v2", "q_lora_rank": None},
        {**_TINY_LATENT, "model_type": "deepseek_v3", "q_lora_rank": 48},
        {**_TINY, "model_type": "lfm2", "layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3},
        {"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 64, "state_size": 16},
    ],
    ids=lambda config: config["model_type"],
)
def test_cache_of_transformers(config: dict[str, Any]) -> None:
    """Two sequences, shorter and longer than the window: the bytes of all tensors that the cache holds after a real pass."""
    resolved = resolve(config)
    model = transformers.AutoModelForCausalLM.from_config(resolved, dtype=torch.bfloat16).eval()
    for tokens in (5, 20):
        with torch.no_grad():
            output = model(torch.zeros(2, tokens, dtype=torch.long), use_cache=True)
        cache = output.cache_params if "cache_params" in output else output.past_key_values
        held = sum(_tensor_bytes(vars(layer)) for layer in cache.layers)
        assert transformers_cache_bytes(cache_plan(resolved), tokens, sequences=2) == held


def _tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in a value but scalars: a sliding layer counts its tokens in one."""
    if isinstance(value, torch.Tensor):
        return value.nbytes if value.ndim else 0
    if isinstance(value, dict):
        return sum(map(_tensor_bytes, value.values()))
    return sum(map(_tensor_bytes, value)) if isinstance(value, list | tuple) else 0


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("qwen3", 0), ("llama", 0), ("qwen3moe", 0), ("deepseek2", 0), ("lfm2", 0), ("mamba", 0), ("gemma3", 0.01)],
)
def test_compute_buffer_between_recorded_settings(
    name: str, tolerance: float, model_of: Callable[[str], Model]
) -> None:
    """From ubatches of 128 and 512 at contexts of 4,096 and 32,768: exact in between and beyond but for sliding windows."""
    recorded = [LlamaSetting(context, ubatch=ubatch) for ubatch in (128, 512) for context in (4096, 32768)]
    checked = [LlamaSetting(8192, ubatch=256), LlamaSetting(131072), LlamaSetting(65536, ubatch=1024)]
    answers = memory_of(model_of(name).file, recorded + checked)
    sizes = [answer.compute_bytes for answer in answers if isinstance(answer, LlamaMemory)]
    points = [
        ComputePoint(ubatch=s.ubatch, context=s.context, compute_bytes=size)
        for s, size in zip(recorded, sizes, strict=False)
    ]
    for setting, size in zip(checked, sizes[4:], strict=True):
        assert abs(compute_buffer_bytes(points, setting.ubatch, setting.context) - size) <= max(1, tolerance * size)


def test_three_points_are_not_enough() -> None:
    """A plane through three points would hide that they are one short."""
    with pytest.raises(ValueError, match="four points at two ubatches and two contexts"):
        compute_buffer_bytes(
            [ComputePoint(ubatch=u, context=n, compute_bytes=1) for u, n in ((128, 4096), (512, 4096), (128, 8192))],
            1,
            1,
        )
