"""What readers of others make of our feeds and structured data: feedparser, and the vocabulary of schema.org itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import feedparser
import pytest
from schema_org import registry

from fitcard.catalog import Catalog
from fitcard.site.generator.data import feeds

LITERALS = {
    "Text": lambda value: isinstance(value, str),
    "URL": lambda value: isinstance(value, str) and bool(re.fullmatch(r"\S+", value)),
    "Date": lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)),
    "Integer": lambda value: type(value) is int,
    "Number": lambda value: type(value) in (int, float),
}
"""Values that are no objects, by the names of schema.org's data types."""


@pytest.mark.parametrize("base", ["", "https://fitcard.example/at/"])
def test_a_feed_reader_reads_every_feed(base: str, each: Catalog) -> None:
    """Well-formed, known as Atom 1.0, and each entry has what readers show: id, title, link, date and summary."""
    for model in (None, *each.models):
        read = feedparser.parse(
            feeds.feed(each, base, model), response_headers={"content-type": "application/atom+xml"}
        )
        assert not read.bozo, read.get("bozo_exception")
        assert read.version == "atom10"
        assert all(read.feed.get(name) for name in ("id", "title", "subtitle", "updated_parsed", "links", "author"))
        assert read.entries
        for entry in read.entries:
            assert all(entry.get(name) for name in ("id", "title", "link", "updated_parsed", "summary")), entry
        dates = [entry.updated_parsed for entry in read.entries]
        assert dates == sorted(dates, reverse=True)


def structured(site: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON-LD of every page with the page's path."""
    for path in sorted(site.rglob("*.html")):
        for text in re.findall(r'<script type="application/ld\+json">(.*?)</script>', path.read_text("utf-8"), re.S):
            yield str(path.relative_to(site)), json.loads(text)


def faults(thing: Any, expected: tuple[str, ...] = ("Thing",)) -> list[str]:
    """Where an object uses a type or a property that schema.org has not, or has for other types or values, or has retired."""
    kind = thing.get("@type")
    try:
        # Its class as it is written: `registry.get_model` would build validators for seconds, which nothing here needs.
        known = getattr(import_module(registry.MODULE_BY_SCHEMA[kind]), kind)
    except KeyError:
        return [f"no type {kind}"]
    found = [] if set(known.SCHEMA_TYPES) & set(expected) else [f"{kind} where {expected} is expected"]
    properties = {one.schema_name: one for one in known.SCHEMA_PROPERTIES}
    for name, value in thing.items():
        if name.startswith("@"):
            continue
        if name not in properties or properties[name].superseded_by:
            found.append(f"{kind} has no property {name}")
            continue
        ranges = properties[name].ranges
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found += faults(one, ranges)
            elif not any(name in LITERALS and LITERALS[name](one) for name in ranges):
                # https://schema.org/docs/datamodel.html: an address may stand for the thing that it names.
                found += (
                    [] if name == "item" and LITERALS["URL"](one) else [f"{kind}.{name}: {one!r} is none of {ranges}"]
                )
    return found


def test_structured_data_are_in_the_vocabulary_of_schema_org(each_site: Path) -> None:
    """Each type exists, each property belongs to its type, each value is of a kind that the property takes."""
    pages = dict(structured(each_site))
    assert len(pages) > 20
    kinds: set[str] = set()
    for path, document in pages.items():
        assert document["@context"] == "https://schema.org"
        for thing in document["@graph"]:
            kinds.add(thing["@type"])
            assert faults(thing) == [], path
    assert kinds == {"BreadcrumbList", "Dataset", "FAQPage"}


def test_what_is_not_in_the_vocabulary_is_found() -> None:
    answer = {"@type": "Answer", "text": "Yes."}
    assert (
        faults({"@type": "FAQPage", "mainEntity": [{"@type": "Question", "name": "So?", "acceptedAnswer": answer}]})
        == []
    )
    assert faults({"@type": "Datenset"}) == ["no type Datenset"]
    assert faults({"@type": "Dataset", "distributions": []}) == ["Dataset has no property distributions"]
    assert faults({"@type": "Question", "acceptedAnswer": {"@type": "Dataset"}}) == [
        "Dataset where ('Answer', 'ItemList') is expected"
    ]
    assert faults({"@type": "Dataset", "dateModified": "yesterday"}) == [
        "Dataset.dateModified: 'yesterday' is none of ('Date', 'DateTime')"
    ]
