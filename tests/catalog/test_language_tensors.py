"""Tensors of language models as records: layers that not all have one, experts, and what GGUF makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from fitcard.catalog import Catalog
from fitcard.catalog.schema.gguf_form import gguf_form
from fitcard.catalog.schema.language import at_tokens, language_role
from fitcard.catalog.schema.quantization import stored_tensors, tensor_type, typed_tensors
from fitcard.catalog.schema.trace import Part, Tensor


def tensor(name: str, shape: tuple[int, ...], role: str, **fields: Any) -> Tensor:
    return Tensor(name=name, shape=shape, component="language", kind="linear", role=role, **fields)  # type: ignore[arg-type]


EXPERTS = tensor(
    "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", (64, 256), "ffn_down",
    layers=2, numbers=(1, 3), experts=4, experts_used=1, traits=("mixture", "four_experts"), stack=16,
)  # fmt: skip


def test_each_tensor_of_experts_has_its_layer_and_its_number() -> None:
    """Two layers of four experts are eight tensors, of which a quarter works on a token."""
    names = [name for name, _ in EXPERTS.each()]
    assert EXPERTS.count == len(names) == len(set(names)) == 8
    assert names[5] == "model.layers.3.mlp.experts.1.down_proj.weight"
    assert EXPERTS.active_elements == 8 * 64 * 256 / 4


def test_gguf_has_the_experts_of_a_layer_in_one_tensor(real: Catalog) -> None:
    """A safetensors file has each expert's own; both hold the same numbers."""
    (merged,) = gguf_form([EXPERTS])
    assert (merged.count, merged.shape, merged.name) == (
        2,
        (4, 64, 256),
        "model.layers.{layer}.mlp.experts.down_proj.weight",
    )
    counts = {label: len(list(stored_tensors(real.quantizations[label], [EXPERTS]))) for label in ("BF16", "Q8_0")}
    assert counts == {"BF16": 8, "Q8_0": 2}
    stored = {
        label: sum(row.times * row.bytes for row in typed_tensors(real.quantizations[label], [EXPERTS]))
        for label in ("BF16", "Q8_0")
    }
    assert stored == {"BF16": 8 * 64 * 256 * 2, "Q8_0": 8 * 64 * 256 // 32 * 34}


def test_a_tensor_that_gguf_cuts_gets_types_by_its_parts(real: Catalog) -> None:
    """Rows of 128 cannot be Q4_K, though those of the whole tensor can."""
    parts = (
        Part(name="k", shape=(4, 512, 128), role="mla_k_b"),
        Part(name="v", shape=(4, 128, 512), role="mla_v_b"),
    )  # fmt: skip
    latent = tensor("kv", (1024, 512), "mla_kv_b", parts=parts)
    types = [row.type for row in typed_tensors(real.quantizations["Q4_K_M"], [latent])]
    assert types == ["Q5_0", "Q4_K"]


@pytest.mark.parametrize(
    ("traits", "type_"), [(None, "Q6_K"), (("untied",), "Q4_K")], ids=["shared with the head", "with a head beside it"]
)
def test_the_token_embedding_is_finer_where_it_is_the_head(
    traits: tuple[str, ...] | None, type_: str, real: Catalog
) -> None:
    """`llama_tensor_get_type_impl`: the type of the output head goes to the embedding when there is no other."""
    embedding = tensor("embed", (1024, 512), "token_embedding", traits=traits).model_copy(update={"kind": "embedding"})
    assert tensor_type(real.quantizations["Q4_K_M"], embedding, None) == type_


def test_in_a_mixture_layers_are_counted_by_their_numbers(real: Catalog) -> None:
    """The first eighth of 16 layers are 0 and 1: of experts in layers 1 and 3 the first is in it, the second is not."""
    label = real.quantization_file.language_quantizations["IQ3_M"]
    assert [tensor_type(label, EXPERTS, place) for place in (0, 1)] == ["Q4_K", "IQ3_S"]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.0.mlp.gate.weight", "router"),
        ("model.layers.0.mlp.gate_proj.weight", "ffn_gate"),
        ("model.layers.0.self_attn.kv_b_proj.weight", "mla_kv_b"),
        ("model.layers.0.self_attn.q_norm.weight", "other"),
        ("model.layers.0.conv.out_proj.weight", "conv_out"),
        ("model.layers.0.self_attn.out_proj.weight", "attn_output"),
        ("model.text_model.embed_tokens.weight", "token_embedding"),
        ("lm_head.weight", "output_head"),
    ],
)
def test_roles_from_hub_names(name: str, role: str) -> None:
    """Names that differ in one word play different parts."""
    assert language_role(name) == role


def test_a_size_that_grows_with_the_square() -> None:
    """3 + 2 n + n squared at 10."""
    assert (at_tokens((3, 2, 1), 10), at_tokens((3,), 10), at_tokens(5, 10)) == (123, 3, 5)
