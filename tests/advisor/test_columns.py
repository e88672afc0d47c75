"""Rows by column are the rows that they were made from."""

from __future__ import annotations

import pickle
import random
from typing import NamedTuple

from fitcard.advisor.columns import Columns, Packed


class Row(NamedTuple):
    """As those of the accuracy page: what was predicted and what was measured stand last."""

    name: str
    predicted: float
    measured: float


def test_rows_by_column() -> None:
    chance = random.Random(3)
    rows = [Row(f"row {at}", chance.choice([1.0, 2.0, 3.0]), chance.choice([1.0, 2.0])) for at in range(200)]
    parts = [Packed.of(rows[:50]), Packed.of([]), Packed.of(rows[50:])]
    found = Columns(Row, pickle.loads(pickle.dumps(parts)))
    assert list(found) == rows
    assert (len(found), found[-1], found[3:9:2]) == (200, rows[-1], rows[3:9:2])
    assert found.column("name") == [row.name for row in rows]
    assert found.errors == [row.predicted / row.measured - 1 for row in rows]
    # The largest first; of those that are equal the first.
    assert found.largest(20) == sorted(rows, key=lambda row: -abs(row.predicted / row.measured - 1))[:20]
    assert found == Columns(Row, [Packed.of(rows)])
    assert found != Columns(Row, [Packed.of(rows[1:])])
    assert list(Columns(Row, [])) == []
