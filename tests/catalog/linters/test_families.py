"""Families of cards."""

from __future__ import annotations

import re

import pytest

from fitcard.catalog import Catalog
from fitcard.catalog.linters import families
from tests.catalog.linters.conftest import Plant

ADA = "gpus/nvidia-ada.yaml"


def test_the_one_card_that_is_out_of_order_is_named(plant: Plant) -> None:
    """A 4070 with more units than the four cards above it contradicts them all, and is reported once."""
    (line,) = plant(families, ADA, "    units: 46\n", "    units: 460\n", after="\n  rtx-4070:\n")
    message = r"makes 460 units, more than the 56 of rtx-4070-super, against the order of their names; "
    assert re.match(rf"{ADA}:\d+: gpus\.rtx-4070\.units: {message}", line)
    assert "where both are so, say why in exceptions.yaml" in line


def test_a_bandwidth_that_is_too_low(plant: Plant) -> None:
    old = "memory_gbps_per_pin: 21\n    bandwidth_gb_per_s: 1008\n"
    (line,) = plant(families, ADA, old, old.replace("21", "10").replace("1008", "480"), after="\n  rtx-4090:\n")
    message = r"makes 480 GB/s, less than the \d+ of rtx-40\S+, against the order of their names; "
    assert re.match(rf"{ADA}:\d+: gpus\.rtx-4090\.bandwidth_gb_per_s: {message}", line)


@pytest.mark.parametrize(
    ("card", "number", "rank", "family"),
    [
        ("rtx-4070-ti-super", 4070, 3, "GEFORCE RTX"),
        ("rtx-4060-ti-16gb", 4060, 2, "GEFORCE RTX"),
        ("rtx-4070-laptop", 4070, 0, "GEFORCE RTX LAPTOP GPU"),
        ("rx-7900-gre", 7900, -1, "RADEON RX"),
        ("instinct-mi300x", 300, 0, "INSTINCT MI X"),
        ("apple-m3-max-40-core-64gb", 3, 2, "APPLE M"),
    ],
)
def test_what_a_name_says(card: str, number: int, rank: int, family: str, real: Catalog) -> None:
    found = families.place(real.gpus[card])
    assert found is not None
    assert (found[1], " ".join(word for word in found[0][3:] if word)) == ((number, rank), family)
