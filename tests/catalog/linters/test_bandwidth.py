"""Bandwidth against the kind of memory, and against peers."""

from __future__ import annotations

import re

from fitcard.catalog.linters import bandwidth
from tests.catalog.linters.conftest import Plant


def test_a_data_rate_that_the_memory_does_not_have(plant: Plant) -> None:
    """The bandwidth is wrong by the same factor, so that the arithmetic between the two, which loading checks, holds."""
    path = "gpus/intel-alchemist.yaml"
    old = "memory_gbps_per_pin: 16.0\n    bandwidth_gb_per_s: 512\n"
    (line,) = plant(bandwidth, path, old, old.replace("16", "32").replace("512", "1024"), after="\n  arc-a750:\n")
    message = r"cannot be: GDDR6 does 10 to 24 Gbit/s a pin \(got 32\)"
    assert re.fullmatch(rf"{path}:\d+: gpus\.arc-a750\.memory_gbps_per_pin: {message}", line)


def test_a_bandwidth_that_the_bus_cannot_have(plant: Plant) -> None:
    path = "gpus/apple-m3.yaml"
    old, card = "bandwidth_gb_per_s: 150\n", "apple-m3-pro-18-core-18gb"
    (line,) = plant(bandwidth, path, old, "bandwidth_gb_per_s: 273\n", after=f"\n  {card}:\n")
    message = r"makes 11\.38 on 192 bits, and LPDDR5 does 5\.5 to 6\.4 Gbit/s a pin \(got 273\)"
    assert re.fullmatch(rf"{path}:\d+: gpus\.{card}\.bandwidth_gb_per_s: {message}", line)


def test_a_bandwidth_far_from_those_of_peers(plant: Plant) -> None:
    """A thousand times too much, on a card whose bus nobody states."""
    path = "gpus/apple-m5.yaml"
    old, card = "bandwidth_gb_per_s: 307\n", "apple-m5-pro-20-core-24gb"
    (line,) = plant(bandwidth, path, old, "bandwidth_gb_per_s: 307000\n", after=f"\n  {card}:\n")
    message = r"makes 1\.54e\+04 GB/s a unit, where integrated Apple M5 has 15\.\d \(got 307000\)"
    assert re.fullmatch(rf"{path}:\d+: gpus\.{card}\.bandwidth_gb_per_s: {message}", line)


def test_a_kind_of_memory_that_there_is_not(plant: Plant) -> None:
    path = "gpus/nvidia-ada.yaml"
    (line,) = plant(bandwidth, path, "memory_type: GDDR6X\n", "memory_type: GDRR6X\n", after="\n  rtx-4090:\n")
    message = r"is no kind of memory known here \(known: GDDR5, .*\) \(got 'GDRR6X'\)"
    assert re.fullmatch(rf"{path}:\d+: gpus\.rtx-4090\.memory_type: {message}", line)
