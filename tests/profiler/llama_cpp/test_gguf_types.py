"""The rule of tensor types for language models, held to llama.cpp's own quantizer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fitcard.catalog.schema.quantization import Storage
from tests.profiler.llama_cpp.configs import CONFIGS
from tests.profiler.llama_cpp.conftest import Model
from tests.profiler.llama_cpp.dry_run import FTYPES, types_of


@pytest.mark.parametrize("name", CONFIGS)
def test_types_of_all_tensors_in_all_labels_are_llama_cpp_s(
    name: str, model_of: Callable[[str], Model], labels: dict[str, Storage]
) -> None:
    """Every tensor of the file, by name: the type that our rule gives it is the type that llama.cpp's dry run gives it."""
    model = model_of(name)
    for label in FTYPES:
        ours = {tensor.name: tensor.type for tensor in model.as_stored(labels[label])}
        theirs = types_of(model.file, label, labels[label].importance_matrix)
        assert ours == theirs, label


@pytest.mark.parametrize(("label", "mebibytes"), [("Q8_0", 604.15), ("Q4_K_M", 372.65)])
def test_size_of_qwen3_06b(
    label: str, mebibytes: float, model_of: Callable[[str], Model], labels: dict[str, Storage]
) -> None:
    """The sums that llama-quantize prints for Qwen3-0.6B, to its two places."""
    total = sum(tensor.bytes for tensor in model_of("qwen3").as_stored(labels[label]))
    assert round(total / 2**20, 2) == mebibytes


def test_every_label_of_a_gguf_file_is_compared(labels: dict[str, Storage]) -> None:
    """A label that somebody adds to the catalog must be added to the comparison."""
    assert set(FTYPES) == {label for label, quantization in labels.items() if quantization.format == "gguf"}
