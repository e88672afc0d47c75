"""Rates of number types against each other, the clock, and peers."""

from __future__ import annotations

import re

from fitcard.catalog.linters import rates
from tests.catalog.linters.conftest import Plant

CDNA = "gpus/amd-cdna4.yaml"


def test_a_rate_that_is_no_power_of_two(plant: Plant) -> None:
    (line,) = plant(rates, CDNA, "int8: 8192\n", "int8: 8190\n")
    message = r"is no power of two times the 256 of fp32 \(got 8190\)"
    assert re.fullmatch(rf"{CDNA}:\d+: unit_rates\.cdna4\.int8: {message}", line)


def test_types_in_the_wrong_order(plant: Plant) -> None:
    """Where FP8 was given half of what FP16 does, one of them is wrong. The maker of this one prints no rates that would show it."""
    path = "gpus/amd-rdna4.yaml"
    (line,) = plant(rates, path, "fp8: 2048\n", "fp8: 512\n")
    message = r"is more than the 512 of fp8, which is never slower \(got 1024\)"
    assert re.fullmatch(rf"{path}:\d+: unit_rates\.rdna4\.fp16: {message}", line)


def test_printed_rates_in_the_wrong_order(plant: Plant) -> None:
    """Twice the FP16 that the card has, as sheets print it, beside an FP8 that is right."""
    path = "gpus/nvidia-pro-blackwell.yaml"
    (line,) = plant(rates, path, "fp16: 2500\n", "fp16: 10000\n", after="\n  gb200:\n")
    message = r"is more than the 5000 of fp8, which is never slower \(got 10000\)"
    assert re.fullmatch(rf"{path}:\d+: gpus\.gb200\.published_tflops\.fp16: {message}", line)


def test_a_clock_that_no_card_has(plant: Plant) -> None:
    path = "gpus/amd-rdna4.yaml"
    lines = plant(rates, path, "boost_mhz: 2520 ", "boost_mhz: 25200 ", after="\n  rx-9070:\n")
    assert [re.sub(r":\d+:", ":", line) for line in lines] == [
        f"{path}: gpus.rx-9070.boost_mhz: is no clock of a card: they run at 300 to 3500 MHz (got 25200)",
        f"{path}: gpus.rx-9070.boost_mhz: makes 6.45 TFLOP/s a CU in FP32, where desktop RDNA 4 has 0.8",
    ]
