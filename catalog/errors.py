"""What can be wrong with data, and how it is said.

FitcardError             anything that a user can mend; printed as one line, never as a traceback
├── CatalogError         data that cannot be believed; one `Problem` a line
└── UnknownName          a model, GPU or quantization that the catalog does not hold
    └── AmbiguousName    one of whose name it holds several
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class FitcardError(Exception):
    """An error that is the user's to mend. `str()` of it is what the command line prints."""

    exit_code = 1


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in one file: `path:line: field: message`."""

    path: Path
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{shown(self.path)}:{self.line}: {field}{self.message}"


class CatalogError(FitcardError):
    """Data that cannot be believed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[CatalogError], tuple[list[Problem]]]:
        """So that it can be sent from one process to another."""
        return CatalogError, (self.problems,)


class UnknownName(FitcardError):
    """A name that the catalog does not hold."""

    exit_code = 2


class AmbiguousName(UnknownName):
    """A name that several things in the catalog have."""


def shorten(value: object, limit: int = 60) -> str:
    """`value` as it stands in an error message: quoted, on one line, at most `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(names: Sequence[str], limit: int) -> str:
    """The first `limit` names, and how many more there are."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def shown(path: Path) -> str:
    """The path as a person would type it: relative where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
