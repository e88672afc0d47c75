"""The one rule that says what each tensor becomes, held to independent sources."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from fitcard.catalog import Catalog, load
from fitcard.catalog.errors import CatalogError
from fitcard.catalog.loader import HERE
from fitcard.catalog.schema.quantization import (
    bits_per_weight,
    census,
    held_bytes,
    predicted_census,
    stored_tensors,
    tensor_type,
)
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES, tensor_bytes
from fitcard.catalog.schema.trace import Tensor, layer_pattern, tensor_role

SO400M = "google/siglip-so400m-patch14-384"
LARGE = "google/siglip-large-patch16-384"


def linear(role: str, row: int, layers: int | None = 27) -> Tensor:
    return Tensor.model_validate(
        {
            "name": "x.{layer}.weight",
            "shape": (64, row),
            "layers": layers,
            "component": "vision",
            "kind": "linear",
            "role": role,
        }
    )


@pytest.mark.parametrize("name", [name for name in TENSOR_TYPES if name in gguf.GGMLQuantizationType.__members__])
def test_block_sizes_are_those_of_the_gguf_package(name: str) -> None:
    type_ = TENSOR_TYPES[name]
    assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (type_.block_elements, type_.block_bytes)


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("INT8CZ", (10, 1152), 10 * (1152 + 4 + 1)), ("INT8T", (10, 1152), 11520 + 5), ("INT4G128", (10, 1152), 10 * 9 * 68),
        ("INT4B32", (10, 4304), 10 * 135 * 20), ("NF4", (10, 4304), 673 * 36 + 64),
    ],
)  # fmt: skip
def test_bytes_outside_of_blocks(name: str, shape: tuple[int, ...], size: int) -> None:
    """Scales for rows and tensors, last blocks filled up (4304 = 134.5 x 32), and one long row: 43040 = 672.5 x 64."""
    assert tensor_bytes(name, shape) == size


def test_a_type_refuses_rows_that_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="Q4_K holds rows in blocks of 256; 1152 is no multiple"):
        tensor_bytes("Q4_K", (10, 1152))


@pytest.mark.parametrize(
    ("label", "row", "became"),
    [
        ("Q4_K_M", 1024, "Q4_K"), ("Q4_K_M", 1152, "Q5_0"), ("Q4_K_M", 4304, "F16"),
        ("Q5_K_M", 1152, "Q5_1"), ("Q6_K", 1152, "Q8_0"), ("Q3_K_M", 1152, "Q4_0"), ("Q2_K", 1152, "Q4_0"),
        ("Q8_0", 1152, "Q8_0"), ("Q8_0", 4304, "F16"), ("Q4_0", 1152, "Q4_0"), ("Q4_0", 4304, "F16"),
        ("BF16", 4304, "BF16"), ("FP32", 7, "F32"),
        ("INT4", 1152, "INT4G128"), ("INT4", 4304, "BF16"), ("NF4", 4304, "NF4"), ("ONNX-Q4", 4304, "INT4B32"),
    ],
)  # fmt: skip
def test_what_rows_become(label: str, row: int, became: str, real: Catalog) -> None:
    """For GGUF, `tensor_type_fallback` of src/llama-quant.cpp, written down as a table."""
    assert tensor_type(real.quantizations[label], linear("attn_q", row), 13) == became


def test_which_layers_get_more_bits(real: Catalog) -> None:
    """`use_more_bits`: the first and last eighth and every third between; 24 layers, worked out by hand from its formula."""
    got = [tensor_type(real.quantizations["Q4_K_M"], linear("ffn_down", 4096, 24), i) for i in range(24)]
    finer = [i for i, type_ in enumerate(got) if type_ == "Q6_K"]
    assert finer == [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]
    assert set(got) == {"Q6_K", "Q4_K"}


def test_the_token_table_is_kept_finer(real: Catalog) -> None:
    """Tied embeddings: Q6_K where rows fit the label's block, Q8_0 where they do not."""
    table = Tensor.model_validate(
        {"name": "e.weight", "shape": (9, 1024), "component": "text", "kind": "embedding", "role": "token_embedding"}
    )
    odd = table.model_copy(update={"shape": (9, 1152)})
    assert tensor_type(real.quantizations["Q4_K_M"], table, None) == "Q6_K"
    assert tensor_type(real.quantizations["Q4_K_M"], odd, None) == "Q8_0"


def test_q4_k_m_of_so400m_is_about_nine_bits(real: Catalog) -> None:
    """The row on the page to beat (0.3 GB) cannot exist: mostly F16 and Q5_0, half a gigabyte for the image tower."""
    tensors = real.traces[SO400M].tensors_of("vision")
    quantization = real.quantizations["Q4_K_M"]
    counted = predicted_census(quantization, tensors)
    assert list(counted) == ["F16", "Q5_0", "Q8_0", "F32"]
    assert 9.2 < bits_per_weight(counted) < 9.3
    linears = [s for s in stored_tensors(quantization, tensors) if s.tensor.kind == "linear" and s.tensor.layers]
    bits = sum(s.bytes for s in linears) * 8 / sum(s.tensor.elements for s in linears)
    assert 8.9 < bits < 9.1
    assert sum(s.bytes for s in linears) == pytest.approx(465e6, rel=0.01)


def test_where_rows_fit_the_label_is_honest(real: Catalog) -> None:
    counted = predicted_census(real.quantizations["Q4_K_M"], real.traces[LARGE].tensors_of("vision"))
    assert {"Q4_K", "Q6_K"} <= set(counted)
    assert bits_per_weight(counted) < 5.5


def test_memory_of_16_bit_is_two_bytes_a_parameter(real: Catalog) -> None:
    trace = real.traces[SO400M]
    assert held_bytes(real.quantizations["BF16"], trace.tensors) == 2 * 877_960_498


@pytest.mark.parametrize(
    ("name", "pattern", "role"),
    [
        (
            "vision_model.encoder.layers.3.self_attn.v_proj.weight",
            "vision_model.encoder.layers.{layer}.self_attn.v_proj.weight",
            "attn_v",
        ),
        (
            "vision_model.encoder.layers.12.mlp.fc2.weight",
            "vision_model.encoder.layers.{layer}.mlp.fc2.weight",
            "ffn_down",
        ),
        (
            "encoder.layer.0.attention.output.dense.weight",
            "encoder.layer.{layer}.attention.output.dense.weight",
            "attn_output",
        ),
        ("encoder.layer.0.output.dense.weight", "encoder.layer.{layer}.output.dense.weight", "ffn_down"),
        (
            "text_model.embeddings.token_embedding.weight",
            "text_model.embeddings.token_embedding.weight",
            "token_embedding",
        ),
        ("vision_model.head.attention.in_proj_weight", "vision_model.head.attention.in_proj_weight", "attn_qkv"),
    ],
)
def test_names_become_patterns_and_roles(name: str, pattern: str, role: str) -> None:
    assert layer_pattern(name)[0] == pattern
    assert tensor_role(name) == role


def test_sums_by_stack_equal_sums_tensor_by_tensor(real: Catalog) -> None:
    """Every label on models whose mixes differ by layer and whose rows fit or do not fit."""
    for model in (
        "google/siglip-so400m-patch14-384",
        "google/siglip-large-patch16-384",
        "Alibaba-NLP/gte-modernbert-base",
    ):
        tensors = real.traces[model].tensors
        for label, quantization in real.quantizations.items():
            each = list(stored_tensors(quantization, tensors))
            counted = census((s.type, s.tensor.elements, s.bytes) for s in each)
            assert predicted_census(quantization, tensors) == counted, label


def test_an_unknown_engine_is_named_with_its_line(copied: Path) -> None:
    """So is a fault of an engine itself, which is told once and not once for each label that it executes."""
    path = copied / "quantizations.yaml"
    text = path.read_text()
    path.write_text(text.replace("    runtime: bitsandbytes\n", "    runtime: bitsandbite\n", 1))
    with pytest.raises(CatalogError) as caught:
        load(copied)
    (problem,) = caught.value.problems
    lines = path.read_text().splitlines()
    assert problem.path == path
    assert lines[problem.line - 1] == "    runtime: bitsandbite"
    assert "no engine bitsandbite" in problem.message
    path.write_text(text.replace("    backend: gguf_packed\n", "    backend: GGUF packed\n"))
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert [problem.field for problem in caught.value.problems] == ["engines.gguf.backend"]


def test_every_layer_that_a_label_packs_has_its_cost_or_none_has(real: Catalog) -> None:
    """A speed is predicted from all layers or not at all, so a type without its seconds would silently leave a label without speeds."""
    for label, quantization in real.quantizations.items():
        if (seconds := quantization.speed.layer_host_s) is None:
            continue
        for trace in real.traces.values():
            census = predicted_census(quantization, [t for t in trace.tensors if t.kind == "linear"])
            assert {name for name in census if TENSOR_TYPES[name].packed} <= set(seconds), label


def test_backends_exist(real: Catalog) -> None:
    """Each engine names a module of the profiler, or a folder of it for one that is no part of torch."""
    for engine in real.quantization_file.engines.values():
        profiler = HERE.parent / "profiler"
        places = (profiler / "backends" / f"{engine.backend}.py", profiler / engine.backend / "__init__.py")
        assert any(place.is_file() for place in places), engine.backend
