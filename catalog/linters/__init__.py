"""Checks beyond loading: what no record shows by itself. One linter a file, each with a test of its name.

A linter has a NAME, a SCOPE and `check(catalog)`, which yields a Problem for each fault. The scope says who is misled by what it
finds: readers of the `pages`, so that the site is not built, or only those who look after the `files`.
What is reported and is so all the same stands in `exceptions.yaml`; an exception that nothing needs is reported in its turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, Protocol

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters import (
    aliases,
    bandwidth,
    dates,
    families,
    licences,
    links,
    memory,
    prose,
    published,
    rates,
    run_counts,
    run_dates,
    run_generation,
    run_machine,
    run_memory,
    run_signatures,
    run_speed,
    runs,
    sources,
    stale,
    unwritten,
)
from fitcard.catalog.linters.over_runs import Fault
from fitcard.catalog.schema.run import Run
from fitcard.catalog.storage.memo import memo

Scope = Literal["pages", "files"]


class Linter(Protocol):
    """What each module here is."""

    @property
    def NAME(self) -> str: ...
    @property
    def SCOPE(self) -> str: ...
    def check(self, catalog: Catalog) -> Iterator[Problem]: ...


LINTERS: tuple[Linter, ...] = (
    unwritten, prose, licences, memory, bandwidth, rates, families, dates, published, run_counts, run_memory, run_speed, run_generation,
    run_machine, run_dates, run_signatures, runs, aliases, sources, links, stale,
)  # fmt: skip

_OF_RUNS = (run_counts, run_memory, run_speed, run_generation, run_machine, run_dates, run_signatures)
"""Those that say whether a run can have been."""


def problems(catalog: Catalog, scope: Scope | None = None, also: Sequence[Linter] = ()) -> Iterator[Problem]:
    """Every fault that a linter finds and no exception covers; with a scope, of the linters of that scope alone.

    `also` are linters that stand above the catalog, since they ask the predictor.
    """
    needed: set[int] = set()
    linters = (*LINTERS, *also)
    for linter in linters:
        if scope in (None, linter.SCOPE):
            yield from _found(catalog, linter, needed)
    if scope is None:
        yield from _needless(catalog, needed, [linter.NAME for linter in linters])


def _found(catalog: Catalog, linter: Linter, needed: set[int]) -> Iterator[Problem]:
    """The faults that a linter finds but for those that are excepted; the exceptions of these are added to `needed`."""
    excepted = {(e.file, e.field): i for i, e in enumerate(catalog.exceptions) if e.linter == linter.NAME}
    for problem in linter.check(catalog):
        index = excepted.get((problem.path.relative_to(catalog.root).as_posix(), problem.field))
        if index is None:
            yield problem
        else:
            needed.add(index)


def impossible(catalog: Catalog, run: Run) -> list[Fault]:
    """What cannot be about a run of a model of the catalog that is not in it yet: what `check` would say of it once it is."""
    return [fault for linter in _OF_RUNS for fault in linter.faults(catalog, run)]


def untrue_on_pages(catalog: Catalog) -> list[Problem]:
    """The faults for which the site is not built."""
    names = [linter.NAME for linter in LINTERS if linter.SCOPE == "pages" and linter is not run_dates]
    # What is in the future today is not tomorrow, so nothing of that is kept.
    return [*_found(catalog, run_dates, set()), *(fault for name in names for fault in _untrue(catalog, name))]


@memo
def _untrue(catalog: Catalog, name: str) -> list[Problem]:
    """What one linter finds."""
    linter = next(linter for linter in LINTERS if name == linter.NAME)
    return list(_found(catalog, linter, set()))


def _needless(catalog: Catalog, needed: set[int], names: Collection[str]) -> Iterator[Problem]:
    """Exceptions that no linter of these names needs."""
    for index, excepted in enumerate(catalog.exceptions):
        place = ("exceptions", index)
        if excepted.linter not in names:
            message = f"no linter is called {excepted.linter!r} (there are: {', '.join(sorted(names))})"
            yield catalog.problem("", "exceptions", (*place, "linter"), message)
        elif index not in needed:
            message = f"{excepted.linter} no longer finds fault with {excepted.field} in {excepted.file}: delete the exception"
            yield catalog.problem("", "exceptions", place, message)
