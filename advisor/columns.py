"""Rows of which most are only counted, held by column: tens of thousands of them are read from the cache in a fraction
of the time that as many records take."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

R = TypeVar("R", bound=tuple[Any, ...])


class Packed(NamedTuple):
    """Rows as they are kept: the values of each field."""

    columns: tuple[list[Any], ...]

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Packed:
        return cls(tuple(map(list, zip(*rows, strict=True))))


def _fields(kind: Any) -> tuple[str, ...]:
    """Those of a named tuple."""
    return tuple(kind._fields)


class Columns(Sequence[R], Generic[R]):
    """Rows, made when they are asked for. The last two fields of each are what was predicted and what was measured."""

    def __init__(self, kind: type[R], parts: Iterable[Packed]) -> None:
        """Those of all parts, in their order; a part without rows has no columns."""
        self._kind = kind
        self._columns = {name: list[Any]() for name in _fields(kind)}
        for part in parts:
            for column, more in zip(self._columns.values(), part.columns, strict=False):
                column += more

    def column(self, name: str) -> list[Any]:
        """The values of a field, row by row."""
        return self._columns[name]

    @cached_property
    def errors(self) -> list[float]:
        """The signed relative error of each row: positive when the prediction is too high."""
        *_, predicted, measured = self._columns.values()
        return [one / other - 1 for one, other in zip(predicted, measured, strict=True)]

    def largest(self, most: int) -> list[R]:
        """The rows with the largest errors, those first; among equals the first."""
        sizes = list(map(abs, self.errors))
        return [self[at] for at in heapq.nlargest(most, range(len(sizes)), key=sizes.__getitem__)]

    def __getitem__(self, at: Any) -> Any:
        chosen = [column[at] for column in self._columns.values()]
        if isinstance(at, slice):
            return [self._kind(*row) for row in zip(*chosen, strict=True)]
        return self._kind(*chosen)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and self._columns == other._columns  # pyright: ignore[reportUnknownMemberType] - of rows of any kind
