"""Planting a fault in a copy of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fitcard.catalog import Catalog, load
from fitcard.catalog.linters import Linter

Plant = Callable[..., list[str]]


@pytest.fixture(scope="session")
def known(real: Catalog) -> Callable[[Linter], set[tuple[str, str]]]:
    """File and field of what a linter says of the catalog as it is, asked once."""
    answers: dict[str, set[tuple[str, str]]] = {}

    def asked(linter: Linter) -> set[tuple[str, str]]:
        if linter.NAME not in answers:
            answers[linter.NAME] = {(problem.path.name, problem.field) for problem in linter.check(real)}
        return answers[linter.NAME]

    return asked


@pytest.fixture
def plant(copied: Path, known: Callable[[Linter], set[tuple[str, str]]]) -> Plant:
    """Replace `old` by `new` in a file of the copy, the first one behind the text `after`, and give what the linter then says more.

    The lines are those that `fitcard check` prints, with paths below the catalog.
    """

    def planted(linter: Linter, file: str, old: str, new: str, after: str = "") -> list[str]:
        text = (copied / file).read_text()
        start = text.index(old, text.index(after))
        (copied / file).write_text(text[:start] + new + text[start + len(old) :])
        before = known(linter)
        found = [problem for problem in linter.check(load(copied)) if (problem.path.name, problem.field) not in before]
        return [str(problem).replace(f"{copied}/", "") for problem in found]

    return planted
