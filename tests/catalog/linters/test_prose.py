"""Prose against the data."""

from __future__ import annotations

import re

from fitcard.catalog.linters import prose
from tests.catalog.linters.conftest import Plant

MODEL = "models/google/siglip-so400m-patch14-384.yaml"


def test_a_number_that_no_data_hold(plant: Plant) -> None:
    (line,) = plant(prose, MODEL, "  - Apache-2.0, with no further", "  - Only 399 million parameters, with no further")
    message = "states 399, which no data hold: use a placeholder or add a claim"
    assert re.fullmatch(rf"{MODEL}:\d+: strengths\.2: {message}", line)


def test_a_placeholder_that_names_nothing(plant: Plant) -> None:
    (line,) = plant(prose, MODEL, "{vision_parameters} parameters and", "{vison_parameters} parameters and")
    assert re.match(rf"{MODEL}:\d+: overview: no fact is called {{vison_parameters}} \(there are: ", line)
