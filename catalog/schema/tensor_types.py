"""Tensor types: how many bytes a row of numbers becomes.

A type packs `block_elements` neighbouring numbers of a row into `block_bytes` bytes. A row whose length is no multiple of
the block cannot be held at all; what happens then is the quantization's rule, not the type's (`catalog/quantization.py`).

Sources: the GGML types from `ggml/src/ggml-common.h` of ggml-org/llama.cpp (block structs) and, equal to it,
`gguf.constants.GGML_QUANT_SIZES` of the `gguf` package; a test holds this table to that package. The others are what
torchao, bitsandbytes and ONNX Runtime keep of a matrix, scales and zero points included; tests hold them to the tensors
that those packages write.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field


class TensorType(NamedTuple):
    """One storage format of a tensor."""

    name: str
    block_elements: int
    block_bytes: int
    row_bytes: int = 0
    """What each row takes besides its blocks, such as a scale."""
    tensor_bytes: int = 0
    """What each tensor takes besides its rows."""
    pads: bool = False
    """Whether a last block that is not full is filled up, so that any row fits."""
    flat: bool = False
    """Whether the tensor is one long row, so that the length of its own rows does not matter."""

    @property
    def bits_per_weight(self) -> float:
        """Bits of a number in a full block, without what rows and tensors take."""
        return self.block_bytes * 8 / self.block_elements

    @property
    def packed(self) -> bool:
        """Whether it stays as it is in memory: it is no plain number that arithmetic uses directly."""
        return self.name not in PLAIN

    def holds(self, row: int) -> bool:
        return self.pads or row % self.block_elements == 0

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of `shape`, whose rows are the last dimension. Raises ValueError for rows that do not fit."""
        row = shape[-1] if shape else 1
        if not self.holds(row):
            raise ValueError(f"{self.name} holds rows in blocks of {self.block_elements}; {row} is no multiple of that")
        elements = 1
        for size in shape:
            elements *= size
        rows, row = (1, elements) if self.flat else (elements // row if row else 0, row)
        return rows * (-(-row // self.block_elements) * self.block_bytes + self.row_bytes) + self.tensor_bytes


PLAIN = ("F32", "F16", "BF16")
"""Types that arithmetic uses as they are."""


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
        TensorType(
            "IQ2_S", 256, 2 + 64 + 8 + 8
        ),  # f16 scale, 256 x 2-bit codes with signs, high bits, 16 x 4-bit scales
        TensorType("IQ3_XXS", 256, 2 + 64 + 32),  # f16 scale, 64 codes of 8 bit, signs and scales
        TensorType("IQ3_S", 256, 2 + 64 + 8 + 32 + 4),
        TensorType("IQ4_NL", 32, 2 + 16),  # f16 scale, 32 x 4 bit on levels that are not evenly spaced
        TensorType("IQ4_XS", 256, 2 + 2 + 4 + 128),
        TensorType("MXFP4", 32, 1 + 16),  # a scale that is a power of 2, 32 x E2M1
        TensorType("INT8C", 1, 1, row_bytes=4),  # a scale (F32) for each row
        TensorType("INT8CZ", 1, 1, row_bytes=4 + 1),  # torchao keeps a zero point beside each scale
        TensorType("INT8T", 1, 1, tensor_bytes=4 + 1),  # one scale (F32) and one zero point for the whole tensor
        TensorType("FP8C", 1, 1, row_bytes=4),  # E4M3 with a scale (F32) for each row
        TensorType("INT4G128", 128, 64 + 4),  # a scale and a zero (BF16) for each 128 numbers of a row
        TensorType("INT4B32", 32, 16 + 4, pads=True),  # a scale (F32) for each 32 numbers of a row
        TensorType("NF4", 64, 32 + 4, tensor_bytes=16 * 4, pads=True, flat=True),  # scale (F32) a block; the 16 levels
    )
}


TensorTypeName = Annotated[str, Field(pattern=f"^({'|'.join(TENSOR_TYPES)})$")]
"""The name of one of them, in a file."""


def tensor_bytes(type_name: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of `shape` (rows are the last dimension) stored as `type_name`.

    Raises ValueError when the type cannot hold rows of that length.
    """
    return TENSOR_TYPES[type_name].bytes(shape)
