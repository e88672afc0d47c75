"""Memory against the width of the bus."""

from __future__ import annotations

import re

import pytest

from fitcard.catalog.linters import memory
from tests.catalog.linters.conftest import Plant


@pytest.mark.parametrize(
    ("file", "card", "old", "new", "message"),
    [
        ("nvidia-ada", "rtx-4090", 24, 25, "makes 2.083 GiB on each 32 of 384 bits; GDDR6X chips make 0.5, 1, 2, 3, 4, 6 or 8"),
        ("nvidia-hopper", "h100-pcie", 80, 90, "makes 18 GiB a stack on 5120 bits; stacks have 4, 8, 12, 16, 24, 32, 36, 48 or 64"),
        ("apple-m3", "apple-m3-pro-18-core-18gb", 18, 16, "makes 5.333 GiB on each 64 of 192 bits; packages make whole numbers"),
    ],
)  # fmt: skip
def test_memory_that_no_chips_make(file: str, card: str, old: int, new: int, message: str, plant: Plant) -> None:
    path = f"gpus/{file}.yaml"
    (line,) = plant(memory, path, f"memory_gib: {old}\n", f"memory_gib: {new}\n", after=f"\n  {card}:\n")
    assert re.fullmatch(rf"{path}:\d+: gpus\.{card}\.memory_gib: {re.escape(message)} \(got {new}\)", line)


def test_a_bus_that_no_stacks_make(plant: Plant) -> None:
    path = "gpus/nvidia-hopper.yaml"
    (line,) = plant(memory, path, "memory_bus_bits: 5120\n", "memory_bus_bits: 5000\n", after="\n  h100-sxm:\n")
    assert re.search(r"memory_gib: is on 5000 bits, which is no whole number of HBM3 stacks of 1024 \(got 80\)$", line)
