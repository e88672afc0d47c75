"""Days."""

from __future__ import annotations

import re

import pytest

from fitcard.catalog.linters import dates
from tests.catalog.linters.conftest import Plant

ADA = "gpus/nvidia-ada.yaml"
MODEL = "models/google/siglip-base-patch16-256.yaml"


@pytest.mark.parametrize(
    ("day", "message"),
    [
        ("2022-02-30", r"is no day of the calendar \(got '2022-02-30'\)"),
        ("2202-10-12", r"is after 20\d\d-\d\d-\d\d, the newest day in the catalog \(got '2202-10-12'\)"),
        ("2002-10-12", r"is before 2006-11-08, when nothing of the kind was there \(got '2002-10-12'\)"),
        ("2012-10-12", r"is more than 5 years from 2023-\d\d-\d\d, the median of Ada Lovelace \(got '2012-10-12'\)"),
    ],
)
def test_a_release_that_was_not_then(day: str, message: str, plant: Plant) -> None:
    (line,) = plant(dates, ADA, '"2022-10-12"', f'"{day}"', after="\n  rtx-4090:\n")
    assert re.fullmatch(rf"{ADA}:\d+: gpus\.rtx-4090\.released: {message}", line)


def test_a_model_before_its_time(plant: Plant) -> None:
    (line,) = plant(dates, MODEL, "released: 20", "released: 2014-01-08 # 20")
    message = r"is before 2017-06-12, when nothing of the kind was there \(got '2014-01-08'\)"
    assert re.fullmatch(rf"{MODEL}:\d+: released: {message}", line)


def test_a_day_of_reading_that_no_calendar_has(plant: Plant) -> None:
    (line,) = plant(dates, MODEL, "    read: 2026-11-2", "    read: 2026-11-31 # 2", after="\n  hub:\n")
    assert re.fullmatch(rf"{MODEL}:\d+: sources\.hub\.read: is no day of the calendar \(got '2026-11-31'\)", line)
