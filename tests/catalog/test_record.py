"""Records as keys of what follows from them."""

from __future__ import annotations

from fitcard.catalog.schema.record import Record


class Pair(Record):
    one: int
    two: dict[str, int]


def test_a_record_is_a_key_by_identity_and_equal_by_its_fields() -> None:
    """So one that holds a mapping can be a key too, and a cache gives nothing of another record that happens to be equal."""
    first, second = Pair(one=1, two={"a": 1}), Pair(one=1, two={"a": 1})
    assert first == second
    assert hash(first) == hash(first)
    assert hash(first) != hash(second)
    assert {first: "value"}[first] == "value"
    assert hash(first.model_copy(update={"one": 2})) != hash(first)
