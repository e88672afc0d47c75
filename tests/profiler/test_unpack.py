"""Unpacking in torch gives what ggml itself gives, and what the `gguf` package gives, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from fitcard.profiler import ggml
from fitcard.profiler.dequantize import BLOCKS, unpack


@pytest.mark.parametrize("type_name", BLOCKS)
@pytest.mark.parametrize("columns", [256, 1024])
def test_unpacking_is_ggmls_own(type_name: str, columns: int) -> None:
    """Numbers of very different sizes, so that every scale, minimum and high bit is in use."""
    values = np.random.default_rng(7).normal(size=(48, columns)).astype(np.float32)
    values *= np.logspace(-3, 2, 48, dtype=np.float32)[:, None]
    packed = ggml.quantize(type_name, values)
    ours = unpack(type_name, torch.from_numpy(packed), torch.float32, chunk_elements=columns * 5).numpy()
    np.testing.assert_array_equal(ours, ggml.dequantize(type_name, packed, columns))
    np.testing.assert_array_equal(ours, gguf.quants.dequantize(packed, gguf.GGMLQuantizationType[type_name]))


@pytest.mark.parametrize("type_name", BLOCKS)
def test_any_bytes_unpack_alike(type_name: str) -> None:
    """Random blocks reach bit patterns that the encoder never writes; scales are kept finite."""
    type_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]][1]
    blocks = np.random.default_rng(3).integers(0, 256, size=(64, type_bytes), dtype=np.uint8)
    ours = unpack(type_name, torch.from_numpy(blocks), torch.float32, chunk_elements=1024).numpy()
    theirs = ggml.dequantize(type_name, blocks, ours.shape[1])
    finite = np.isfinite(theirs)
    assert finite.mean() > 0.5
    np.testing.assert_array_equal(ours[finite], theirs[finite])


def test_the_chunk_does_not_matter() -> None:
    packed = torch.from_numpy(ggml.quantize("Q5_0", np.random.default_rng(1).normal(size=(33, 96)).astype(np.float32)))
    whole = unpack("Q5_0", packed, torch.bfloat16, chunk_elements=1 << 20)
    assert torch.equal(whole, unpack("Q5_0", packed, torch.bfloat16, chunk_elements=1))
