"""Published figures against the arithmetic of the card."""

from __future__ import annotations

import re

from fitcard.catalog.linters import published
from tests.catalog.linters.conftest import Plant

SPEEDS = "published/google/siglip-so400m-patch14-384.yaml"


def test_a_throughput_above_the_peak(plant: Plant) -> None:
    """Ten times what was published would take 1,300 TFLOP/s of a card that has 165."""
    (line,) = plant(published, SPEEDS, "per_second: 1", "per_second: 15")
    message = r"makes \S+ TFLOP/s, and the peak of rtx-4090 in FP16 is 165\.2 \(got 15\d\d\S+\)"
    assert re.fullmatch(rf"{SPEEDS}:\d+: speeds\.\d+\.per_second: {message}", line)


def test_a_matrix_rate_above_the_peak(plant: Plant) -> None:
    (line,) = plant(published, "matmul.yaml", "bf16: 234.14", "bf16: 2341.4")
    message = r"is above the 312 that a100-40gb-pcie has as its peak \(got 2341\.4\)"
    assert re.fullmatch(rf"matmul\.yaml:\d+: rates\.0\.bf16: {message}", line)
