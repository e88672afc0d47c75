"""How sizes grow with the batch: `[constant, per_item]`, worked out from the same operation at batches 2 and 4."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fitcard.catalog.errors import FitcardError

Frozen = tuple[tuple[str, Any], ...]
"""The fields of an operation, hashable."""


def operation(two: dict[str, Any], four: dict[str, Any]) -> Frozen:
    """One operation with sizes as `[constant, per_item]`, from the same operation at batches 2 and 4; hashable."""
    shape = []
    for key, size in two["shape"].items():
        shape.append((key, compact(linear(two["name"], size, four["shape"][key]))))
    sizes = [(key, linear(two["name"], two[key], four[key])) for key in ("flops", "read", "written")]
    words = [(key, two[key]) for key in ("kind", "name", "weight", "transposed")]
    return (*words, ("shape", tuple(shape)), *sizes)


Rows = list[dict[str, Any]]


def without_loops(two: Rows, four: Rows) -> tuple[Rows, Rows, list[tuple[Frozen, tuple[int, int] | int]]]:
    """The operations at batches 2 and 4 without those that are run for each item by itself; and these, with their
    counts."""
    if len(two) == len(four):
        return two, four, []
    keyed_two, keyed_four = [operation(row, row) for row in two], [operation(row, row) for row in four]
    in_two, in_four = Counter(keyed_two), Counter(keyed_four)
    single = [
        (key, compact(linear("a loop", count, in_four[key]))) for key, count in in_two.items() if in_four[key] > count
    ]
    loop = {key for key, _ in single}
    return (
        [row for row, key in zip(two, keyed_two, strict=True) if key not in loop],
        [row for row, key in zip(four, keyed_four, strict=True) if key not in loop],
        single,
    )


def compact(size: tuple[int, int]) -> tuple[int, int] | int:
    """A size without its share per item where that is nothing."""
    return size if size[1] else size[0]


def linear(name: str, two: int, four: int) -> tuple[int, int]:
    """`[constant, per_item]` of a size, from its values at batches 2 and 4."""
    per_item, rest = divmod(four - two, 2)
    if rest:
        raise FitcardError(f"{name}: {two} at batch 2 and {four} at batch 4 is not linear")
    return (two - 2 * per_item, per_item)


def fields_of(frozen: Frozen) -> dict[str, Any]:
    """The fields of an operation that was made hashable."""
    fields = dict(frozen)
    return {**fields, "shape": dict(fields["shape"])}
