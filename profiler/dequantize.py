"""Unpacking ggml blocks in torch, on any device: what a GGUF layer does each time it runs.

Each function takes blocks (n, block_bytes) of uint8 and gives (n, block_elements) of float32. The layouts are those of
the block structs in `ggml/src/ggml-common.h` of ggml-org/llama.cpp; tests hold every one to ggml's own decoder, bit
for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fitcard.catalog.schema.tensor_types import TENSOR_TYPES


def _f16(blocks: Tensor, at: int) -> Tensor:
    """The half-precision number at byte `at` of each block, as (n, 1) float32."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """Low halves of all bytes, then high halves: (n, m) to (n, 2m)."""
    return torch.cat((packed & 0x0F, packed >> 4), dim=1)


def _bits(packed: Tensor) -> Tensor:
    """Bits of 4 bytes, lowest first: (n, 4) to (n, 32)."""
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return ((packed.unsqueeze(-1) >> shifts) & 1).flatten(1)


def _q4_0(b: Tensor) -> Tensor:
    return (_nibbles(b[:, 2:]).float() - 8) * _f16(b, 0)


def _q4_1(b: Tensor) -> Tensor:
    return _nibbles(b[:, 4:]).float() * _f16(b, 0) + _f16(b, 2)


def _q5_0(b: Tensor) -> Tensor:
    return ((_nibbles(b[:, 6:]) | (_bits(b[:, 2:6]) << 4)).float() - 16) * _f16(b, 0)


def _q5_1(b: Tensor) -> Tensor:
    return (_nibbles(b[:, 8:]) | (_bits(b[:, 4:8]) << 4)).float() * _f16(b, 0) + _f16(b, 2)


def _q8_0(b: Tensor) -> Tensor:
    return b[:, 2:].contiguous().view(torch.int8).float() * _f16(b, 0)


def _two_bits(packed: Tensor) -> Tensor:
    """The quarters of 64 bytes in ggml's order: 2 halves of 32 bytes, 4 shifts each; (n, 64) to (n, 256)."""
    halves = packed.view(-1, 2, 1, 32)
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=packed.device).view(1, 1, 4, 1)
    return ((halves >> shifts) & 3).reshape(-1, 256)


def _q2_k(b: Tensor) -> Tensor:
    scales, quants = b[:, :16], _two_bits(b[:, 16:80].contiguous())
    d, dmin = _f16(b, 80), _f16(b, 82)
    scale = (d * (scales & 0x0F)).repeat_interleave(16, dim=1)
    minimum = (dmin * (scales >> 4)).repeat_interleave(16, dim=1)
    return scale * quants - minimum


def _q3_k(b: Tensor) -> Tensor:
    high, quants, packed, d = b[:, :32], _two_bits(b[:, 32:96].contiguous()), b[:, 96:108], _f16(b, 108)
    shifts = torch.arange(8, dtype=torch.uint8, device=b.device).view(1, 8, 1)
    bit = ((high.unsqueeze(1) >> shifts) & 1).reshape(-1, 256)
    low = torch.cat((packed[:, :8] & 0x0F, packed[:, :8] >> 4), dim=1)
    top = packed[:, 8:].unsqueeze(1) >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=b.device).view(1, 4, 1)
    scales = (low | ((top & 3).reshape(-1, 16) << 4)).float() - 32
    return (d * scales).repeat_interleave(16, dim=1) * (quants.float() - 4 * (1 - bit.float()))


def _scales_and_minima(packed: Tensor) -> tuple[Tensor, Tensor]:
    """The 8 six-bit scales and 8 six-bit minima in 12 bytes of Q4_K and Q5_K."""
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = torch.cat((first & 63, (third & 0x0F) | ((first >> 6) << 4)), dim=1)
    minima = torch.cat((second & 63, (third >> 4) | ((second >> 6) << 4)), dim=1)
    return scales, minima


def _eight_of_32(b: Tensor, quants: Tensor) -> Tensor:
    scales, minima = _scales_and_minima(b[:, 4:16])
    scale = (_f16(b, 0) * scales).repeat_interleave(32, dim=1)
    minimum = (_f16(b, 2) * minima).repeat_interleave(32, dim=1)
    return scale * quants - minimum


def _pairs_of_32(packed: Tensor) -> Tensor:
    """128 bytes as 4 groups of 32, each giving its low halves, then its high halves: (n, 128) to (n, 256)."""
    groups = packed.view(-1, 4, 1, 32)
    return torch.cat((groups & 0x0F, groups >> 4), dim=2).reshape(-1, 256)


def _q4_k(b: Tensor) -> Tensor:
    return _eight_of_32(b, _pairs_of_32(b[:, 16:144].contiguous()))


def _q5_k(b: Tensor) -> Tensor:
    shifts = torch.arange(8, dtype=torch.uint8, device=b.device).view(1, 8, 1)
    high = ((b[:, 16:48].unsqueeze(1) >> shifts) & 1).reshape(-1, 256)
    return _eight_of_32(b, _pairs_of_32(b[:, 48:176].contiguous()) | (high << 4))


def _q6_k(b: Tensor) -> Tensor:
    low, high = b[:, :128].reshape(-1, 2, 2, 32), b[:, 128:192].reshape(-1, 2, 1, 32)
    nibbles = torch.cat((low & 0x0F, low >> 4), dim=2)  # (n, 2, 4, 32)
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=b.device).view(1, 1, 4, 1)
    quants = (nibbles | (((high >> shifts) & 3) << 4)).reshape(-1, 256).float() - 32
    scales = b[:, 192:208].contiguous().view(torch.int8).float()
    return (_f16(b, 208) * scales).repeat_interleave(16, dim=1) * quants


BLOCKS: dict[str, Callable[[Tensor], Tensor]] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
}  # fmt: skip


def unpack(type_name: str, packed: Tensor, dtype: torch.dtype, chunk_elements: int) -> Tensor:
    """Packed rows (rows, bytes) as numbers (rows, columns) of `dtype`.

    At most `chunk_elements` are unpacked at a time, so that the float32 in between stays small (and in the caches of
    a CPU).
    """
    type_ = TENSOR_TYPES[type_name]
    rows, row_bytes = packed.shape
    columns = row_bytes // type_.block_bytes * type_.block_elements
    out = torch.empty((rows, columns), dtype=dtype, device=packed.device)
    step = max(1, chunk_elements // columns)
    for start in range(0, rows, step):
        part = packed[start : start + step]
        out[start : start + step] = BLOCKS[type_name](part.reshape(-1, type_.block_bytes)).view(part.shape[0], columns)
    return out
