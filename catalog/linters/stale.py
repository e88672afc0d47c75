"""Files whose day of review is old, or older than what was read for them."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem

NAME = "stale"
SCOPE = "files"

MONTHS = 18
"""After so long, prices, successors and licences have often changed."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Files that were reviewed before their own sources were read, or too long before the catalog's newest day.

    The clock plays no part: what was fresh once stays so until somebody adds something newer.
    """
    yield from stale_on(catalog, newest(catalog))


def stale_on(catalog: Catalog, day: str) -> Iterator[Problem]:
    """The same, seen from any day, written as 2026-11-23."""
    usual = _usual(catalog)
    for folder, key, file in catalog.sourced_files():
        if _is_far(file.reviewed, usual):
            message = (
                f"is more than {MONTHS} months after {usual}, by when nine files in ten were reviewed: "
                "mend it, or review those"
            )
            yield catalog.problem(folder, key, ("reviewed",), f"{message} (got {file.reviewed!r})")
        elif _months(day) - _months(file.reviewed) > MONTHS:
            message = f"is more than {MONTHS} months before {day}: look at the sources again (got {file.reviewed!r})"
            yield catalog.problem(folder, key, ("reviewed",), message)
        read, name = max(((source.read, name) for name, source in file.sources.items()), default=("", ""))
        if read > file.reviewed:
            message = f"is before {read}, when source {name} was read: whoever read it reviewed the file (got {file.reviewed!r})"
            yield catalog.problem(folder, key, ("reviewed",), message)


def newest(catalog: Catalog) -> str:
    """The newest day on which something was reviewed or measured.

    A review far after nearly all others is a slip of its own file, and makes no other file old.
    """
    usual = _usual(catalog)
    reviews = [file.reviewed for _, _, file in catalog.sourced_files() if not _is_far(file.reviewed, usual)]
    return max([*reviews, catalog.newest_day])


def _usual(catalog: Catalog) -> str:
    """The day by which nine files in ten were reviewed."""
    days = sorted(file.reviewed for _, _, file in catalog.sourced_files())
    return days[len(days) * 9 // 10]


def _is_far(day: str, usual: str) -> bool:
    return _months(day) - _months(usual) > MONTHS


def _months(day: str) -> float:
    year, month, date = (int(part) for part in day.split("-"))
    return year * 12 + month + date / 32
