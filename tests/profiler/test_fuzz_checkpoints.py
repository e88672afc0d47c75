"""Weights from outside, fed with what nobody saved; `tests/catalog/test_fuzz.py` has the other readers."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from fitcard.profiler.checkpoint import _tensors
from tests.catalog.test_fuzz import hunt, mutated


def test_checkpoints_that_nobody_saved() -> None:
    """Spoilt files, and headers of any length before any bytes: tensors of the size that the file has, or a sentence."""
    whole = save({"encoder.weight": torch.ones(3, 4), "encoder.bias": torch.ones(3, dtype=torch.bfloat16)})
    headers = st.binary(max_size=200).map(lambda rest: len(rest).to_bytes(8, "little") + rest)

    def read(path: Path) -> None:
        tensors = _tensors(path.parent, {"weight", "bias"})
        assert sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) <= path.stat().st_size
        assert all(tensor.float().sum() is not None for tensor in tensors.values() if not tensor.is_complex())

    hunt(read, mutated(whole) | headers, "model.safetensors")
