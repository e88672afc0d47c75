"""What can be wrong with data, and how it is said.

FitcardError             anything that a user can mend; printed as one line, never as a traceback
├── CatalogError         data that cannot be believed; one `Problem` a line
└── UnknownName          a model, GPU or quantization that the catalog does not hold
    └── AmbiguousName    one of whose name it holds several
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class FitcardError(Exception):
    """An error that is the user's to mend. `str()` of it is what the command line prints."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class Problem(NamedTuple):
    """One fault in one file: `path:line: field: message`."""

    path: Path
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return printable(f"{shown(self.path)}:{self.line}: {field}{self.message}").replace("\n", "\\n")


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


def printable(text: str) -> str:
    """`text` as it may go to a terminal: what is neither printable nor a line break is spelt out, so `\\x1b` and not an escape.

    That also holds for characters that turn the direction of writing round and for halves of a surrogate pair.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def shorten(value: object, limit: int = 60) -> str:
    """`value` as it stands in an error message: quoted, on one line, at most `limit` characters."""
    text = repr(value[: limit + 1] if isinstance(value, str) else value)
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
