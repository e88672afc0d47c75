"""The trace of a language model, held to real passes of small models and to published parameter counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from fitcard.catalog.schema.language import at_tokens
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.storage.writer import trace_bytes
from fitcard.profiler.decoder_model import build, hub_tensors
from fitcard.profiler.decoder_tensors import language_tensors, vision_tensors
from fitcard.profiler.decoder_trace import trace_decoder
from fitcard.profiler.meta_model import resolve
from tests.profiler.llama_cpp.configs import CONFIGS, QWEN3_06B, SMOLVLM_256M

TINY: dict[str, Any] = {
    "model_type": "qwen3", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 96, "vocab_size": 128, "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def traced() -> Trace:
    """The trace of a small Qwen3."""
    return trace_decoder(TINY)


@pytest.mark.parametrize(("phase", "tokens"), [("prefill", 100), ("decode", 90)])
def test_matrix_products_are_those_of_a_real_pass(phase: str, tokens: int, traced: Trace) -> None:
    """At lengths that no trace was made at: floating-point operations as torch's own counter sees them in a real pass."""
    model = transformers.AutoModelForCausalLM.from_config(resolve(TINY)).eval()
    cache = None
    with torch.no_grad():
        if phase == "decode":
            cache = model(torch.zeros(1, tokens - 1, dtype=torch.long), use_cache=True).past_key_values
        counter = FlopCounterMode(display=False)
        with counter:
            ids = torch.zeros(1, tokens if phase == "prefill" else 1, dtype=torch.long)
            model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    counted = counter.get_flop_counts()["Global"]
    products = sum(flops for operator, flops in counted.items() if operator in (torch.ops.aten.mm, torch.ops.aten.bmm))
    assert traced.language
    (found,) = [one for one in traced.language.phases if one.name == phase]
    assert products == sum(
        operation.count * at_tokens(operation.flops, tokens)
        for operation in found.operations
        if operation.kind == "matmul"
    )


def test_attention_grows_with_the_square_in_prefill_and_with_the_cache_in_decode(traced: Trace) -> None:
    """Two layers of 4 heads of 16: two products of queries x keys x 16 each."""
    assert traced.language
    for phase, growth in zip(traced.language.phases, [(0, 0, 4 * 4 * 16), (0, 4 * 4 * 16)], strict=True):
        assert [(row.count, row.flops) for row in phase.operations if row.kind == "attention"] == [(2, growth)]


def test_a_trace_survives_its_file(traced: Trace, tmp_path: Path) -> None:
    """What is written is read back equal; a trace of an encoder has no word of language models in it."""
    (tmp_path / "trace.json").write_bytes(trace_bytes(traced))
    assert Trace.model_validate_json((tmp_path / "trace.json").read_bytes()) == traced
    assert traced.language and "language" not in traced.model_copy(update={"language": None}).model_dump(
        exclude_none=True
    )


@pytest.mark.parametrize(
    ("config", "parameters", "active"),
    [
        (QWEN3_06B, 596_049_920, 596_049_920),
        # Qwen/Qwen3-30B-A3B: 30.5 billion and 3.3 billion on its page
        ({"model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
          "num_key_value_heads": 4, "head_dim": 128, "moe_intermediate_size": 768, "num_experts": 128,
          "num_experts_per_tok": 8, "vocab_size": 151936, "tie_word_embeddings": False}, 30_532_122_624, 3_353_032_704),
        # deepseek-ai/DeepSeek-V3: 671 billion and 37 billion on its page, and the bias of each router
        ({"model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
          "num_key_value_heads": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
          "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "vocab_size": 129280,
          "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
          "n_group": 8, "topk_group": 4, "tie_word_embeddings": False}, 671_026_419_200, 37_552_297_472),
    ],
    ids=["qwen3-0.6b", "qwen3-30b-a3b", "deepseek-v3"],
)  # fmt: skip
def test_parameters(config: dict[str, Any], parameters: int, active: int) -> None:
    """Counts of published models of any size, without a byte of weights."""
    model = build(config)
    found = Trace(
        config_sha256="0" * 64, made_with={}, phases=(), tensors=language_tensors(model.config, hub_tensors(model))
    )
    assert (found.parameters(), found.active_parameters()) == (parameters, active)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_matrix_of_a_language_model_has_no_role(name: str) -> None:
    """A tensor of two or more dimensions in no role would get the wrong type in mixed quantizations."""
    model = build(CONFIGS[name])
    tensors = language_tensors(model.config, hub_tensors(model))
    assert not [tensor.name for tensor in tensors if len(tensor.shape) > 1 and tensor.role == "other"]


def test_a_vision_language_model_has_both_parts() -> None:
    """SmolVLM 256M: 256,484,928 parameters, as the hub counts them; the head is a tensor of its own; images stay images."""
    model = build(SMOLVLM_256M)
    tensors = list(hub_tensors(model))
    language, vision = language_tensors(model.config, tensors), vision_tensors(tensors)
    assert sum(tensor.count * tensor.elements for tensor in (*language, *vision)) == 256_484_928
    assert {tensor.component for tensor in language} == {"language"} and {t.component for t in vision} == {"vision"}
    assert [tensor.traits for tensor in language if tensor.role == "token_embedding"] == [("untied",)]
    # the encoder and its projector: 12 layers, patches of 16, and 16 neighbours' numbers made one token's
    assert sum(tensor.count * tensor.elements for tensor in vision) == 86_433_024 + 576 * 12288
