"""Tables note what is read from them, also what is not there, and records are restored as checking would give them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, Field

from fitcard.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.restore import plain_text, restore
from fitcard.catalog.storage.reads import NONE, Table, note, note_all, recording


def table(reads: list[str], most: int | None = None) -> Table[str]:
    """A table of three records that says which of them were parsed."""

    def read(key: str) -> str:
        reads.append(key)
        return f"record {key}"

    return Table("letters", {"a": "1", "b": "2", "c": "3"}, read, most=most)


def test_every_access_is_noted_with_its_digest() -> None:
    letters = table([])
    with recording() as reads:
        assert letters["a"] == "record a"
        assert "b" in letters
        assert letters.get("x") is None
        assert "y" not in letters
    assert reads == {"letters/a": "1", "letters/b": "2", "letters/x": NONE, "letters/y": NONE}


@pytest.mark.parametrize("access", [list, len, lambda t: dict(t.items()), lambda t: list(t.values())])
def test_looking_at_all_records_notes_all_of_them(access: Any) -> None:
    letters = table([])
    with recording() as reads:
        _ = letters["a"]
        access(letters)
    assert reads == {"letters": letters.whole()}
    assert letters.whole() != Table("letters", {"a": "1", "b": "2"}, str).whole()
    assert letters.whole() != Table("letters", {"a": "1", "b": "2", "c": "4"}, str).whole()


def test_ids_and_records_can_be_had_without_a_note() -> None:
    letters = table([])
    with recording() as reads:
        assert letters.ids() == ("a", "b", "c")
        assert letters.record("a") == "record a"
    assert reads == {}
    with pytest.raises(KeyError):
        letters.record("x")


def test_a_record_is_parsed_once_and_only_when_it_is_asked_for() -> None:
    parsed: list[str] = []
    letters = table(parsed)
    assert len(letters) == 3
    assert parsed == []
    assert letters["a"] is letters["a"]
    assert parsed == ["a"]


def test_a_bounded_table_parses_again_what_it_had_to_drop() -> None:
    parsed: list[str] = []
    letters = table(parsed, most=2)
    assert [letters[key] for key in "abcab"] == [f"record {key}" for key in "abcab"]
    assert parsed == ["a", "b", "c", "a", "b"]


def test_records_in_memory_have_digests_of_their_content() -> None:
    one, same, other = (Table.of("letters", {"a": value}) for value in ("x", "x", "y"))
    assert one.digest("a") == same.digest("a") != other.digest("a")


def test_who_records_around_has_read_all_of_it() -> None:
    """Also what work read whose result was used; and after a fault, what was read until then."""
    with recording() as outer:
        note("one", lambda: "1")
        with pytest.raises(RuntimeError), recording() as inner:
            note("two", lambda: "2")
            raise RuntimeError
        note_all({"three": "3"})
    assert inner == {"two": "2"}
    assert outer == {"one": "1", "two": "2", "three": "3"}
    note("four", lambda: pytest.fail("nobody records"))


class Inner(BaseModel):
    value: float
    note: str | None = None


class Pair(NamedTuple):
    number: float
    inners: tuple[Inner, ...] | None


class Outer(BaseModel):
    number: float
    whole: int
    either: float | Literal["unknown"]
    inner: Inner
    maybe: Inner | None = None
    pairs: tuple[tuple[float, ...], ...] = ()
    table: dict[str, Inner] = {}
    limited: Annotated[tuple[Inner, ...], Field(min_length=1)]
    mixed: Inner | float = 0.0


@pytest.mark.parametrize(
    "fields",
    [
        {"number": 1, "whole": 2, "either": 3, "inner": {"value": 4}, "limited": [{"value": 5}]},
        {
            "number": 1.5, "whole": 2, "either": "unknown", "inner": {"value": 4, "note": "x"}, "maybe": {"value": 1},
            "pairs": [[1, 2], []], "table": {"a": {"value": 0}}, "limited": [{"value": 5}, {"value": 6}], "mixed": {"value": 7},
        },
    ],
)  # fmt: skip
def test_what_is_restored_is_what_checking_gives(fields: dict[str, Any]) -> None:
    """Whole numbers where a number is asked for, unions, lists, mappings and records in records."""
    checked = Outer.model_validate(fields)
    restored = restore(Outer, json.loads(checked.model_dump_json()))
    assert repr(restored) == repr(checked)
    assert restored == Outer.model_validate_json(checked.model_dump_json())


@pytest.mark.parametrize("kind", ["models", "gpu_files", "traces", "published"])
def test_every_record_is_restored_as_checking_gives_it(kind: str, real: Catalog) -> None:
    """Type by type and value by value, from the JSON that is kept."""
    for key, record in getattr(real, kind).items():
        text = record.model_dump_json(exclude_unset=True)
        restored, checked = restore(type(record), json.loads(text)), type(record).model_validate_json(text)
        assert repr(restored) == repr(checked) == repr(record), key


def test_runs_and_rules_are_restored_as_checking_gives_them(real: Catalog) -> None:
    for record in (*real.runs, real.quantization_file, real.runtimes, real.matmul, real.speed):
        assert record is not None
        text = record.model_dump_json(exclude_unset=True)
        assert repr(restore(type(record), json.loads(text))) == repr(record)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (list[Problem], [Problem(Path("a.yaml"), 1, "name", "is missing")]),
        (tuple[str, int, str | None], ("rtx-4090", 2, None)),
        (list[tuple[str, Pair]], [("key", Pair(1.0, None)), ("other", Pair(2.0, (Inner(value=3.0),)))]),
        (dict[str, tuple[Pair | None, ...]], {"a": (None, Pair(1.0, ()))}),
    ],
)
def test_results_are_restored_as_they_were_made(kind: Any, value: Any) -> None:
    """Dataclasses, named tuples, paths, and nothing where there may be something."""
    assert repr(restore(kind, json.loads(plain_text(value)))) == repr(value)
