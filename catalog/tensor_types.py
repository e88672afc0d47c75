"""Tensor types: how many bytes a row of numbers becomes.

A type packs `block_elements` neighbouring numbers of a row into `block_bytes` bytes. A row whose length is no multiple of
the block cannot be held at all; what happens then is the quantization's rule, not the type's (`catalog/quantization.py`).

Sources: the GGML types from `ggml/src/ggml-common.h` of ggml-org/llama.cpp (block structs) and, equal to it,
`gguf.constants.GGML_QUANT_SIZES` of the `gguf` package; a test holds this table to that package.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorType:
    """One storage format of a tensor."""

    name: str
    block_elements: int
    block_bytes: int

    @property
    def bits_per_weight(self) -> float:
        return self.block_bytes * 8 / self.block_elements

    @property
    def packed(self) -> bool:
        """Whether the numbers must be unpacked before arithmetic can use them."""
        return self.block_elements > 1

    def holds(self, row: int) -> bool:
        return row % self.block_elements == 0


TENSOR_TYPES = {
    type_.name: type_
    for type_ in (
        TensorType("F32", 1, 4),
        TensorType("F16", 1, 2),
        TensorType("BF16", 1, 2),
        TensorType("Q4_0", 32, 2 + 16),  # f16 scale, 32 x 4 bit
        TensorType("Q4_1", 32, 2 + 2 + 16),  # f16 scale and minimum, 32 x 4 bit
        TensorType("Q5_0", 32, 2 + 4 + 16),  # f16 scale, 32 high bits, 32 x 4 bit
        TensorType("Q5_1", 32, 2 + 2 + 4 + 16),
        TensorType("Q8_0", 32, 2 + 32),  # f16 scale, 32 x 8 bit
        TensorType("Q2_K", 256, 16 + 64 + 2 + 2),  # 16 scales-and-minima of 4+4 bit, 256 x 2 bit, f16 scale and minimum
        TensorType("Q3_K", 256, 32 + 64 + 12 + 2),  # 256 high bits, 256 x 2 bit, 16 x 6-bit scales, f16 scale
        TensorType("Q4_K", 256, 2 + 2 + 12 + 128),
        TensorType("Q5_K", 256, 2 + 2 + 12 + 32 + 128),
        TensorType("Q6_K", 256, 128 + 64 + 16 + 2),
    )
}


def tensor_bytes(type_name: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of `shape` (rows are the last dimension) stored as `type_name`.

    Raises ValueError when the type cannot hold rows of that length.
    """
    type_ = TENSOR_TYPES[type_name]
    row = shape[-1] if shape else 1
    if not type_.holds(row):
        raise ValueError(f"{type_name} holds rows in blocks of {type_.block_elements}; {row} is no multiple of that")
    elements = 1
    for size in shape:
        elements *= size
    return elements // type_.block_elements * type_.block_bytes
