"""Small models really run in llama.cpp: their logits against transformers', their memory and their times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from fitcard.catalog.schema.quantization import Storage
from fitcard.profiler.decoder_model import hub_tensors
from fitcard.profiler.decoder_tensors import language_tensors
from fitcard.profiler.llama_cpp.checkpoint_rows import checkpoint_rows
from fitcard.profiler.llama_cpp.conversion import metadata_of
from fitcard.profiler.llama_cpp.gguf_file import gguf_tensors, tiled_rows, write_file
from fitcard.profiler.llama_cpp.memory import LlamaMemory, memory_of
from fitcard.profiler.llama_cpp.process import Failure
from fitcard.profiler.llama_cpp.run import LlamaPoint, LlamaRun, logits, points_for, run
from fitcard.profiler.llama_cpp.settings import LlamaSetting
from fitcard.profiler.meta_model import resolve
from tests.profiler.llama_cpp.conftest import Model

_TINY: dict[str, Any] = {
    "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
    "vocab_size": 64, "max_position_embeddings": 512, "head_dim": 32,
}  # fmt: skip
_TINY_LATENT: dict[str, Any] = {
    **_TINY, "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
    "v_head_dim": 32, "q_lora_rank": 64, "head_dim": 16,
}  # fmt: skip
_TINY_GRANITE: dict[str, Any] = {
    **_TINY, "model_type": "granitemoehybrid", "layer_types": ["mamba", "attention", "mamba"], "shared_intermediate_size": 64,
    "mamba_n_heads": 8, "mamba_d_head": 32, "mamba_d_state": 16, "mamba_expand": 2, "mamba_n_groups": 1,
    "num_local_experts": 4, "num_experts_per_tok": 2, "position_embedding_type": "nope",
}  # fmt: skip
RUN: dict[str, dict[str, Any]] = {
    "qwen3": {**_TINY, "model_type": "qwen3"},
    "qwen2": {**_TINY, "model_type": "qwen2"},
    "qwen3-yarn": {**_TINY, "model_type": "qwen3", "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}},
    "llama": {**_TINY, "model_type": "llama"},
    "llama-3": {**_TINY, "model_type": "llama", "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8}},
    "mixtral": {**_TINY, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "gemma3": {**_TINY, "model_type": "gemma3_text", "num_hidden_layers": 6, "sliding_window": 8, "query_pre_attn_scalar": 32},
    "qwen3moe": {**_TINY, "model_type": "qwen3_moe", "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2,
                 "norm_topk_prob": True},
    "deepseek2": {**_TINY_LATENT, "model_type": "deepseek_v3"},
    "lfm2": {**_TINY, "model_type": "lfm2", "layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3},
    "granitehybrid": _TINY_GRANITE,
    "mamba": {"model_type": "mamba", "hidden_size": 128, "num_hidden_layers": 2, "vocab_size": 64, "state_size": 16},
}  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_logits_are_those_of_transformers(name: str, labels: dict[str, Storage], tmp_path: Path) -> None:
    """The same checkpoint and token ids: a file that fitcard converts to F16, run in llama.cpp, against float32."""
    config = resolve(RUN[name])
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for key, parameter in model.named_parameters():  # wide, so that tokens differ, and norms not all the same
        parameter.data.normal_(1.0 if "norm" in key and name != "gemma3" else 0.0, 0.1)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.gguf"
    tensors = gguf_tensors(config, labels["F16"], language_tensors(config, hub_tensors(model)))
    write_file(file, metadata_of(config), tensors, checkpoint_rows(tmp_path, config))
    ids = [5, 1, 60, 33, 33, 2, 17, 48, 9, 21, 7, 40]
    rows = logits(file, ids, LlamaSetting(256, threads=1))
    assert not isinstance(rows, Failure), rows
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].float()
    ours = torch.tensor(rows)
    assert torch.nn.functional.cosine_similarity(ours, expected).min() > 0.9999
    assert (ours.argmax(-1) == expected.argmax(-1)).all()


def test_a_run_allocates_what_llama_cpp_said_before(
    model_of: Callable[[str], Model], labels: dict[str, Storage], tmp_path: Path
) -> None:
    """Buffers of the real run are those of the question without weights; resident memory is their sum; all points are timed."""
    model = model_of("smollm")
    file, setting = tmp_path / "model.gguf", LlamaSetting(1024, ubatch=256, threads=1)
    write_file(file, metadata_of(model.config), model.as_stored(labels["Q4_K_M"]), tiled_rows())
    points = [LlamaPoint("prefill", 256), LlamaPoint("decode", 4), LlamaPoint("decode", 4, depth=64)]
    result = run(file, setting, points, processes=2)
    (asked,) = memory_of(file, [setting])
    assert isinstance(result, LlamaRun) and isinstance(asked, LlamaMemory)
    assert result.buffers == asked.buffers and not result.failures
    assert result.parameters == sum(tensor.count * tensor.elements for tensor in model.tensors)
    assert (
        -0.02 < result.resident_bytes / result.allocated_bytes - 1 < 0.1
    )  # of a model this small, the process is a part
    assert [speed.point for speed in result.speeds] == points
    assert all(len(speed.samples) == 2 and speed.tokens_per_s > 0 for speed in result.speeds)
    assert all(0 < sample.busy <= 1.1 for speed in result.speeds for sample in speed.samples)


def test_points_that_do_not_fit_the_context_are_left_out() -> None:
    """At 4,096 tokens there is no room to decode after 4,096."""
    decode = [LlamaPoint("decode", 64)]
    assert points_for(4096) == (LlamaPoint("prefill", 512), LlamaPoint("prefill", 4096), *decode)
    assert points_for(16448)[-2:] == (LlamaPoint("decode", 64, 4096), LlamaPoint("decode", 64, 16384))
