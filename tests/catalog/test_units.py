"""Amounts of memory as people type them."""

from __future__ import annotations

import pytest

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.units import parse_bytes, parse_vram

GIB = 2**30


@pytest.mark.parametrize(
    ("typed", "size", "as_sold"),
    [
        ("8GB", 8 * 10**9, 8 * GIB), ("8gb", 8 * 10**9, 8 * GIB), ("8 GB", 8 * 10**9, 8 * GIB), ("8G", 8 * 10**9, 8 * GIB),
        ("8", 8 * 10**9, 8 * GIB), (" 24G ", 24 * 10**9, 24 * GIB), ("8GiB", 8 * GIB, 8 * GIB), ("16384M", 16384 * 10**6, 16 * GIB),
        ("16384MiB", 16 * GIB, 16 * GIB), ("1.5GB", 1_500_000_000, 1_610_612_736),
    ],
)  # fmt: skip
def test_amounts(typed: str, size: int, as_sold: int) -> None:
    """GB is 10^9 bytes and GiB 2^30, except in the memory of a GPU, which is sold in GiB and called GB."""
    assert parse_bytes(typed, "--limit") == size
    assert parse_vram(typed, "--vram") == as_sold


@pytest.mark.parametrize("typed", ["", "0", "lots", "-1", "8TB", "1e3", "8GB GB", "0.0GB", "8,5"])
def test_no_amounts(typed: str) -> None:
    """One line that says what is allowed."""
    for parse in (parse_bytes, parse_vram):
        with pytest.raises(FitcardError, match=r"--vram takes an amount such as 8GB .* \(got '.*'\)"):
            parse(typed, "--vram")
