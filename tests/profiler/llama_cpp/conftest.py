"""Language models traced once, and a sparse file of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fitcard.catalog import Catalog
from fitcard.catalog.schema.quantization import Storage
from fitcard.catalog.schema.trace import Tensor
from fitcard.profiler.decoder_model import build, hub_tensors
from fitcard.profiler.decoder_tensors import language_tensors
from fitcard.profiler.llama_cpp.conversion import metadata_of
from fitcard.profiler.llama_cpp.gguf_file import TensorToWrite, gguf_tensors, write_sparse
from tests.profiler.llama_cpp.configs import CONFIGS


@dataclass(frozen=True)
class Model:
    """A model's configuration as transformers resolves it, its tensors, and a sparse F16 file."""

    config: Any
    tensors: tuple[Tensor, ...]
    file: Path

    def as_stored(self, quantization: Storage) -> tuple[TensorToWrite, ...]:
        return gguf_tensors(self.config, quantization, self.tensors)


@pytest.fixture(scope="session")
def labels(real: Catalog) -> dict[str, Storage]:
    """All labels that a language model can have."""
    return {**real.quantizations, **real.quantization_file.language_quantizations}


@pytest.fixture(scope="session")
def model_of(labels: dict[str, Storage], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """A function from a name in CONFIGS to that model, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("sparse")

    @cache
    def made(name: str) -> Model:
        model = build(CONFIGS[name])
        config: Any = model.config
        tensors = language_tensors(config, hub_tensors(model))
        file = folder / f"{name}.gguf"
        write_sparse(file, metadata_of(config), gguf_tensors(config, labels["F16"], tensors))
        return Model(config, tensors, file)

    return made
