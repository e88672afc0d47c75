"""Layers whose weights stay packed in memory and are unpacked each time they are needed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitcard.profiler.dequantize import unpack


class PackedLinear(nn.Module):
    """A linear layer with packed rows (out_features, row_bytes), which multiplies in `dtype`."""

    def __init__(
        self, type_name: str, packed: Tensor, bias: Tensor | None, dtype: torch.dtype, chunk_elements: int
    ) -> None:
        super().__init__()
        self.weight = torch.empty(0, dtype=dtype)  # some models ask it for its type, to bring what they feed into that
        self.type_name = type_name
        self.chunk_elements = chunk_elements
        self.register_buffer("packed", packed)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.packed: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, unpack(self.type_name, self.packed, x.dtype, self.chunk_elements), self.bias)


class PackedEmbedding(nn.Module):
    """A table with packed rows; only the rows that are looked up are unpacked."""

    def __init__(self, type_name: str, packed: Tensor, dtype: torch.dtype, chunk_elements: int) -> None:
        super().__init__()
        self.type_name = type_name
        self.dtype = dtype
        self.chunk_elements = chunk_elements
        self.register_buffer("packed", packed)
        self.packed: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        rows = self.packed[ids.flatten()]
        return unpack(self.type_name, rows, self.dtype, self.chunk_elements).view(*ids.shape, -1)
