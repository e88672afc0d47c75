"""Days that were not, or not yet, or far from those of the same generation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from statistics import median

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.stale import newest
from fitcard.catalog.schema.model import Model
from fitcard.catalog.yaml_file import Location

NAME = "dates"
SCOPE = "pages"

FIRST_CARD = date(2006, 11, 8)
"""The first card that computed with CUDA, GeForce 8800 GTX; nothing older runs what is measured here."""
FIRST_MODEL = date(2017, 6, 12)
"""The first transformer: https://arxiv.org/abs/1706.03762."""
GENERATION_DAYS = 5 * 365
"""Cards of one generation are released nearer than this to its median: up to 3.7 years, so far, a Jetson with Ampere."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Days that no calendar has, and releases before their time or after the catalog's newest day."""
    yield from implausible_on(catalog, newest(catalog))


def implausible_on(catalog: Catalog, today: str) -> Iterator[Problem]:
    """The same, seen from any day, written as 2026-11-23."""
    for folder, key, file in catalog.sourced_files():
        days: dict[Location, str] = {("reviewed",): file.reviewed}
        days |= {("sources", name, "read"): source.read for name, source in file.sources.items()}
        for place, day in days.items():
            if _date(day) is None:
                yield catalog.problem(folder, key, place, f"is no day of the calendar (got {day!r})")
        if isinstance(file, Model) and file.released and (fault := _release(file.released, FIRST_MODEL, today)):
            yield catalog.problem(folder, key, ("released",), fault)
    generations: dict[tuple[str, str], list[int]] = {}
    for card in catalog.gpus.values():
        if card.spec.released and (released := _date(card.spec.released)):
            generations.setdefault((card.vendor, card.generation), []).append(released.toordinal())
    for key, card in catalog.gpus.items():
        if not card.spec.released:
            continue
        fault = _release(card.spec.released, FIRST_CARD, today)
        if not fault:
            usual = date.fromordinal(round(median(generations[card.vendor, card.generation])))
            if abs((date.fromisoformat(card.spec.released) - usual).days) > GENERATION_DAYS:
                fault = (
                    f"is more than 5 years from {usual}, the median of {card.generation} (got {card.spec.released!r})"
                )
        if fault:
            yield catalog.gpu_problem(key, ("released",), fault)


def _release(day: str, first: date, today: str) -> str | None:
    found = _date(day)
    if found is None:
        return f"is no day of the calendar (got {day!r})"
    if found < first:
        return f"is before {first}, when nothing of the kind was there (got {day!r})"
    return f"is after {today}, the newest day in the catalog (got {day!r})" if day > today else None


def _date(day: str) -> date | None:
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None
