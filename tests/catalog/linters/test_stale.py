"""Days of review. The clock plays no part in any of this."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fitcard.catalog import load
from fitcard.catalog.linters import stale
from fitcard.catalog.storage.writer import add_run
from tests.catalog.linters.conftest import Plant
from tests.catalog.test_bad_input import spoil
from tests.catalog.test_store import made_run

MODEL = "models/google/siglip-base-patch16-384.yaml"
RUNTIMES = "runtimes.yaml"


def test_a_review_long_before_the_newest(plant: Plant) -> None:
    """Of a file without sources, since one cannot be reviewed before they were read."""
    (line,) = plant(stale, RUNTIMES, "reviewed: 2026-11-26", "reviewed: 2025-05-01")
    message = r"is more than 18 months before 2026-11-\d\d: look at the sources again \(got '2025-05-01'\)"
    assert re.fullmatch(rf"{RUNTIMES}:\d+: reviewed: {message}", line)


def test_eighteen_months_are_not_yet_too_long(copied: Path) -> None:
    catalog = load(copied)
    reviewed = max(file.reviewed for _, _, file in catalog.sourced_files())
    later = f"{int(reviewed[:4]) + 1}-{reviewed[5:]}"
    assert list(stale.stale_on(catalog, later)) == []
    assert len(list(stale.stale_on(catalog, f"{int(reviewed[:4]) + 2}-{reviewed[5:]}"))) == len(
        list(catalog.sourced_files())
    )


def test_a_run_is_new_too(copied: Path) -> None:
    """What somebody measured last week says that the catalog is in use."""
    add_run(copied / "runs", made_run(measured_at="2028-12-01T00:00:00Z"))
    assert stale.newest(load(copied)) == "2028-12-01"


def test_a_review_before_its_own_sources_were_read(copied: Path, plant: Plant) -> None:
    spoil(copied, MODEL, "\nreviewed: 2026", "\nreviewed: 2026-06-01 # 2026")
    (line,) = plant(stale, MODEL, "reviewed_by: ", "reviewed_by: ")
    message = (
        r"is before 2026-11-\d\d, when source \S+ was read: whoever read it reviewed the file \(got '2026-06-01'\)"
    )
    assert re.fullmatch(rf"{MODEL}:\d+: reviewed: {message}", line)


@pytest.mark.parametrize("day", ["2999-01-01", "2031-06-01"])
def test_a_far_day_is_blamed_on_its_own_file(day: str, plant: Plant) -> None:
    """One slip of a year does not make every other file old."""
    (line,) = plant(stale, MODEL, "\nreviewed: 2026", f"\nreviewed: {day} # 2026")
    message = r"is more than 18 months after 2026-\d\d-\d\d, by when nine files in ten were reviewed: mend it, or review those"
    assert re.fullmatch(rf"{MODEL}:\d+: reviewed: {message} \(got '{day}'\)", line)
