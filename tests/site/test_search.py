"""The search: every page has a record with the advisor's facts, and the index is the same every time and finds them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcard.advisor.recommend import picks as picks_of
from fitcard.catalog import Catalog, FitcardError
from fitcard.site.generator.data import pagefind
from fitcard.site.generator.data.pagefind import SearchRecord, decoded, encoded, indexed
from fitcard.site.generator.data.search import assets as search_assets
from fitcard.site.generator.data.search import search_records
from fitcard.site.generator.engine.output import Page
from fitcard.site.generator.pages.listing import pages as every_page
from fitcard.site.generator.pages.vram_tiers import TIERS_GB, pick
from tests.catalog.test_store import MODEL, made_run


@pytest.fixture(scope="module")
def pages(sample: Catalog) -> list[Page]:
    return list(every_page(sample))


@pytest.fixture(scope="module")
def records(sample: Catalog) -> dict[str, SearchRecord]:
    return {record.url: record for record in search_records(sample)}


def test_every_page_but_runs_has_a_record(records: dict[str, SearchRecord], pages: list[Page], sample: Catalog) -> None:
    written_by_hand = {f"{path.stem}/" for path in (Path(__file__).parents[2] / "site/docs").glob("*.md")}
    assert set(records) == {p.path for p in pages if not p.path.startswith("runs/")} | written_by_hand
    kinds = [dict(record.filters)["kind"][0] for record in records.values()]
    assert kinds.count("model") == len(sample.models)
    assert kinds.count("card") == len(sample.gpus)
    assert kinds.count("quantization") == len(sample.quantizations)


def test_filters_are_the_advisors(records: dict[str, SearchRecord], sample: Catalog) -> None:
    """A model is under exactly those sizes on which one of its quantizations fits, by the sum and not just barely."""
    for key, model in sample.models.items():
        filters = dict(records[f"models/{key}/"].filters)
        assert filters["task"] == model.tasks
        assert filters["licence"] == (model.license.id,)
        for size in TIERS_GB:
            best = pick(sample, key, size).best
            assert (str(size) in filters["memory"]) == (best is not None and best.verdict == "fits")
    assert "24" in dict(records[f"models/{MODEL}/"].filters)["memory"]
    assert picks_of(sample, MODEL)["rtx-4090"].best
    assert dict(records["gpus/rtx-4090/"].filters)["card_memory"] == ("24",)


def test_words_are_words(records: dict[str, SearchRecord]) -> None:
    content = records[f"models/{MODEL}/"].content
    assert "877,960,498" in content
    assert not set("*`|[]{}") & set(content)


def test_a_new_run_changes_nothing(records: dict[str, SearchRecord], sample: Catalog) -> None:
    run = made_run(config_sha256=sample.models[MODEL].config_sha256)
    more = replace(sample, runs=[*sample.runs, run])
    assert {record.url: record for record in search_records(more)} == records


def test_the_index_is_the_same_every_time(records: dict[str, SearchRecord], sample: Catalog) -> None:
    first = indexed(tuple(records.values()))
    assert indexed(tuple(records.values())) == first
    assets = {asset.path: asset.content() for asset in search_assets(sample)}
    assert assets == {f"pagefind/{path}": content for path, content in first}
    entry = json.loads(assets["pagefind/pagefind-entry.json"])
    assert entry["languages"]["en"]["page_count"] == len(records)
    assert "pagefind/pagefind.js" in assets
    assert not [path for path in assets if "-ui" in path]


def test_ordering_keeps_what_pagefind_wrote(records: dict[str, SearchRecord]) -> None:
    """Every filter's pages are those of the records, found as the browser finds them: entry, then meta, then filter."""
    files = dict(indexed(tuple(records.values())))

    def read(path: str) -> Any:
        content = gzip.decompress(files[path])
        assert content.startswith(b"pagefind_dcd")
        data, end = decoded(content, 12)
        assert end == len(content)
        return data

    meta = read(f"pagefind.{json.loads(files['pagefind-entry.json'])['languages']['en']['hash']}.pf_meta")
    urls = [json.loads(gzip.decompress(files[f"fragment/{page[0]}.pf_fragment"])[12:])["url"] for page in meta[1]]
    assert sorted(urls) == sorted(f"/{url}" for url in records)
    for chunk in meta[2]:
        assert f"index/{chunk[2]}.pf_index" in files
    found: dict[tuple[str, str], set[str]] = {}
    for name, key in meta[3]:
        same, values = read(f"filter/{key}.pf_filter")
        assert same == name
        found |= {(name, value): {urls[page] for page in pages} for value, pages in values}
    expected: dict[tuple[str, str], set[str]] = {}
    for record in records.values():
        for name, values in record.filters:
            for value in values:
                expected.setdefault((name, value), set()).add(f"/{record.url}")
    assert found == expected
    assert [name for name, _ in meta[4]] == ["memory", "parameters", "released"]


@given(st.recursive(st.integers(0, 2**64 - 1) | st.text(), st.lists))
def test_cbor_is_read_as_it_is_written(data: Any) -> None:
    assert decoded(encoded(data)) == (data, len(encoded(data)))


def test_cbor_is_that_of_the_standard() -> None:
    """Examples from RFC 8949, appendix A."""
    for data, written in (
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (1000, "1903e8"),
        (1000000, "1a000f4240"),
        (2**64 - 1, "1bffffffffffffffff"),
        ("ü", "62c3bc"),
        ([1, [2, 3]], "8201820203"),
    ):
        assert encoded(data) == bytes.fromhex(written)
    with pytest.raises(ValueError, match="kind 7"):
        decoded(bytes.fromhex("f5"))


def test_an_error_of_pagefind_is_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that is missing or that ends early is one line, not a traceback."""
    missing = tmp_path / "none"
    monkeypatch.setattr(pagefind, "get_executable", lambda: missing)
    with pytest.raises(FitcardError, match=r"the search index cannot be made: .*none"):
        indexed((SearchRecord("missing/", "t", "d", "c", ()),))
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    monkeypatch.setattr(pagefind, "get_executable", lambda: silent)
    with pytest.raises(FitcardError, match="the search index cannot be made: "):
        indexed((SearchRecord("silent/", "t", "d", "c", ()),))
