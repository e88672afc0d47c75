"""GGUF files of a language model's exact shapes: without values, with rows from a seed, or with those of a checkpoint.

llama.cpp's memory and speed follow from the types and sizes of tensors, not from their values. So a file of any size
can be a hole with a header (`write_sparse`), which is enough for every question about memory, and a file to run can
repeat a few rows (`tiled_rows`), since encoding K-quants of every row takes minutes where this takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from fitcard.catalog.file_format import GGUF_ALIGNMENT
from fitcard.catalog.schema.quantization import Storage, stored_tensors
from fitcard.catalog.schema.tensor_types import PLAIN, tensor_bytes
from fitcard.catalog.schema.trace import Tensor
from fitcard.profiler import ggml
from fitcard.profiler.llama_cpp.conversion import Metadata, tensor_names
from fitcard.profiler.llama_cpp.rope import rope_divisors

ROPE = "rope_freqs.weight"
"""A tensor that no checkpoint holds: the converter works it out of the configuration."""
TILE_ROWS = 64
"""How many rows of each type and length are made before they repeat."""


@dataclass(frozen=True)
class TensorToWrite:
    """One tensor of a file: its name there, its shape (rows last) and its type."""

    name: str
    shape: tuple[int, ...]
    type: str
    source: str
    """The name that it has in `gguf_form`, by which its values are found in a checkpoint."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Bytes of its data, without what aligns the next."""
        return tensor_bytes(self.type, self.shape)


Rows = npt.NDArray[Any]
Values = Callable[[TensorToWrite], Iterator[Rows]]
"""Gives the bytes of a tensor, encoded as its type, in pieces of whole rows."""


def gguf_tensors(config: Any, quantization: Storage, tensors: Iterable[Tensor]) -> tuple[TensorToWrite, ...]:
    """The tensors of a model's file in a quantization; `config` is transformers' own object of the model.

    Raises FitcardError for a model whose architecture fitcard does not write.
    """
    name_of = tensor_names(config)
    divisors = rope_divisors(config)
    turning = [TensorToWrite(ROPE, (len(divisors),), "F32", ROPE)] if divisors else []
    stored = stored_tensors(quantization, tensors)
    return (*turning, *(TensorToWrite(name_of(one.name), one.shape, one.type, one.name) for one in stored))


def write_sparse(path: Path, metadata: Metadata, tensors: Sequence[TensorToWrite]) -> int:
    """Write the header of a file and leave its data a hole, which reads as zeros and takes no room. Gives its size in
    bytes."""
    _write(path, metadata, tensors, None)
    size = path.stat().st_size + sum(_aligned(tensor.bytes) for tensor in tensors)
    os.truncate(path, size)
    return size


def write_file(path: Path, metadata: Metadata, tensors: Sequence[TensorToWrite], values: Values) -> int:
    """Write a whole file, one piece of a tensor at a time. Gives its size in bytes."""
    _write(path, metadata, tensors, values)
    return path.stat().st_size


def _write(path: Path, metadata: Metadata, tensors: Sequence[TensorToWrite], values: Values | None) -> None:
    writer = gguf.GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        if key != "general.architecture":  # the writer has it from its constructor
            _add(writer, key, value)
    for tensor in tensors:
        raw = gguf.GGMLQuantizationType[tensor.type]
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("ab") as file:
        file.write(bytes(_aligned(file.tell()) - file.tell()))
        if values is None:
            return
        for tensor in tensors:
            written = 0
            for piece in values(tensor):
                written += file.write(piece.data)
            if written != tensor.bytes:
                raise AssertionError(f"{tensor.name} has {tensor.bytes} bytes, and {written} were written")
            file.write(bytes(_aligned(written) - written))


def _add(writer: gguf.GGUFWriter, key: str, value: str | bool | int | float | list[int]) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, value)


def _aligned(size: int) -> int:
    return -(-size // GGUF_ALIGNMENT) * GGUF_ALIGNMENT


def tiled_rows(seed: int = 0) -> Values:
    """Random rows from a seed, the same few over and over in a tensor of many.

    The width follows the row (1/sqrt), so that activations neither vanish nor overflow; norms are 1 and decays -1.
    """
    tiles: dict[tuple[str, int], Rows] = {}

    def values(tensor: TensorToWrite) -> Iterator[Rows]:
        columns = tensor.shape[-1]
        if tensor.type == "F32" and (len(tensor.shape) < 2 or "ssm_" in tensor.name):
            yield np.full(tensor.shape, _constant(tensor.name), dtype=np.float32)
            return
        if (tensor.type, columns) not in tiles:
            generator = np.random.default_rng([seed, columns])
            numbers = generator.standard_normal((TILE_ROWS, columns), dtype=np.float32) * columns**-0.5
            tiles[tensor.type, columns] = encode(tensor.type, numbers)
        yield from _repeated(tiles[tensor.type, columns], tensor.rows)

    return values


def _constant(name: str) -> float:
    if "norm" in name:
        return 1.0
    if name == ROPE:
        return 1.0
    return -1.0 if name.endswith("ssm_a") else 0.01


def _repeated(tile: Rows, rows: int) -> Iterator[Rows]:
    """A tile as often as `rows` rows need, in pieces of some megabytes."""
    times = max(1, min(rows // len(tile), (8 << 20) // tile.nbytes))
    block = np.ascontiguousarray(np.tile(tile, (times, 1)))
    for start in range(0, rows, len(block)):
        yield block[: rows - start]


def encode(type_name: str, numbers: npt.NDArray[np.float32]) -> Rows:
    """Rows of float32 as ggml stores them in a type."""
    if type_name == "BF16":
        return np.ascontiguousarray((numbers.view(np.uint32) + 0x8000 >> 16).astype(np.uint16))
    if type_name in PLAIN:
        return numbers.astype(np.float32 if type_name == "F32" else np.float16)
    return ggml.quantize(type_name, numbers)


__all__ = ["TensorToWrite", "encode", "gguf_tensors", "tiled_rows", "write_file", "write_sparse"]
