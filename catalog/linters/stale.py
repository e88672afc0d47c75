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
    for folder, key, file in catalog.sourced_files():
        if _months(day) - _months(file.reviewed) > MONTHS:
            message = f"is more than {MONTHS} months before {day}: look at the sources again (got {file.reviewed!r})"
            yield catalog.problem(folder, key, ("reviewed",), message)
        read, name = max(((source.read, name) for name, source in file.sources.items()), default=("", ""))
        if read > file.reviewed:
            message = f"is before {read}, when source {name} was read: whoever read it reviewed the file (got {file.reviewed!r})"
            yield catalog.problem(folder, key, ("reviewed",), message)


def newest(catalog: Catalog) -> str:
    """The newest day on which something was reviewed or measured."""
    return max([file.reviewed for _, _, file in catalog.sourced_files()] + [catalog.newest_day])


def _months(day: str) -> float:
    year, month, date = (int(part) for part in day.split("-"))
    return year * 12 + month + date / 32
