"""Feeds, sitemap, robots.txt and llms.txt: well-formed, after their specifications, with true dates and links that resolve."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest

from fitcard.catalog import Catalog
from fitcard.site.generator.data import feeds
from fitcard.site.generator.engine.output import Page
from fitcard.site.generator.engine.sources import read_sources
from fitcard.site.generator.outputs import whole_site
from fitcard.site.generator.pages.events import NEWEST, events, newest
from fitcard.site.generator.pages.listing import pages as every_page
from tests.catalog.test_store import MODEL, made_run

ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
BASE = "https://fitcard.example/at/"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TAG = re.compile(r"tag:[a-z0-9.-]+,\d{4}(-\d\d(-\d\d)?)?:[\w.~%!$&'()*+,;=:@/?-]+", re.A)
"""RFC 4151."""
AT_MOST_ONE = (
    "author",
    "generator",
    "icon",
    "id",
    "logo",
    "rights",
    "subtitle",
    "summary",
    "title",
    "updated",
    "content",
)


@pytest.fixture(scope="module")
def pages(sample: Catalog) -> list[Page]:
    return list(every_page(sample))


def check_atom(text: bytes) -> etree.Element:
    """What RFC 4287 asks of a feed with text constructs alone, section by section."""
    root = etree.fromstring(text)
    assert root.tag == f"{ATOM}feed"
    for element in (root, *root.iter(f"{ATOM}entry")):  # 4.1.1 and 4.1.2
        names = [child.tag.removeprefix(ATOM) for child in element]
        for name in ("id", "title", "updated"):
            assert names.count(name) == 1, name
        assert all(names.count(name) <= 1 for name in AT_MOST_ONE)
        assert not any(name.startswith("{") for name in names)
        assert TAG.fullmatch(element.findtext(f"{ATOM}id", ""))
        assert element.findtext(f"{ATOM}title", "").strip()
        assert MOMENT.fullmatch(element.findtext(f"{ATOM}updated", ""))
        alternates = [link for link in element.iter(f"{ATOM}link") if link.get("rel") == "alternate"]
        assert alternates, "4.1.2: an entry without content must have an alternate link"
    assert names.index("id") >= 0
    assert len([link for link in root.findall(f"{ATOM}link") if link.get("rel") == "self"]) == 1
    assert root.findtext(f"{ATOM}author/{ATOM}name")  # 4.1.1: a feed whose entries name no author must
    ids = [entry.findtext(f"{ATOM}id") for entry in root.iter(f"{ATOM}entry")]
    assert len(set(ids)) == len(ids)
    return root


@pytest.mark.parametrize("base", ["", BASE])
def test_every_feed_is_atom_and_links_to_pages(sample: Catalog, pages: list[Page], base: str) -> None:
    there = {page.path for page in pages}
    assets = [asset for asset in feeds.assets(sample, base) if asset.path.endswith("feed.xml")]
    assets += [asset for key in sample.models for asset in feeds.of_model(sample, base, key)]
    assert len(assets) == 1 + len(sample.models)
    for asset in assets:
        root = check_atom(asset.content())
        here = BASE + asset.path
        for link in root.iter(f"{ATOM}link"):
            target = urljoin(here, link.get("href"))
            if link.get("rel") == "self":
                assert target == here
            elif link.get("rel") == "alternate":
                assert unquote(target.removeprefix(BASE)) in there, target
        assert all(link.get("href", "").startswith("https://") for link in root.iter(f"{ATOM}link") if base)


def test_a_feed_tells_the_newest_events(sample: Catalog) -> None:
    for model in (None, MODEL):
        root = check_atom(feeds.feed(sample, "", model))
        told = events(sample, model)[:NEWEST] if model else newest(sample)[0]
        assert [e.findtext(f"{ATOM}title") for e in root.iter(f"{ATOM}entry")] == [event.title for event in told]
        assert root.findtext(f"{ATOM}updated") == told[0].updated


def test_ids_stay_when_the_site_moves_and_when_runs_are_added(sample: Catalog) -> None:
    def ids(text: bytes) -> list[str | None]:
        return [element.text for element in etree.fromstring(text).iter(f"{ATOM}id")]

    before = ids(feeds.feed(sample, "", MODEL))
    assert ids(feeds.feed(sample, BASE, MODEL)) == before
    more = replace(sample, runs=[*sample.runs, made_run(measured_at="2030-01-01T00:00:00Z")])
    assert [one for one in ids(feeds.feed(more, "", MODEL)) if one in before] == before


@pytest.mark.parametrize("name", ['<script>alert(1)</script> & "x" ]]>', "漢字 עברית", "bell \x07 null \x00"])
def test_any_name_makes_a_feed(name: str, sample: Catalog) -> None:
    """Markup is text, and what XML cannot hold is replaced."""
    catalog = replace(sample, models={**sample.models, MODEL: sample.models[MODEL].model_copy(update={"name": name})})
    shown = re.sub("[\x00\x07]", "�", name)
    assert check_atom(feeds.feed(catalog, "", MODEL)).findtext(f"{ATOM}title") == f"fitcard: {shown}"


def test_a_feed_of_nothing_is_a_feed(sample: Catalog) -> None:
    empty = replace(sample, models={}, gpus={}, runs=(), published={})
    root = check_atom(feeds.feed(empty, ""))
    assert root.find(f"{ATOM}entry") is None
    assert root.findtext(f"{ATOM}updated") == f"{sample.runtimes.reviewed}T00:00:00Z"


def test_the_sitemap_has_every_page_with_its_day(sample: Catalog, pages: list[Page]) -> None:
    root = etree.fromstring(feeds.sitemap(sample, BASE))
    found = {url.findtext(f"{SITEMAP}loc", ""): url.findtext(f"{SITEMAP}lastmod") for url in root}
    assert {page.path for page in pages} | {"policy/"} <= {unquote(url.removeprefix(BASE)) for url in found}
    assert all(url.startswith(BASE) for url in found)
    assert found[f"{BASE}policy/"] is None
    assert sample.speed
    days = [sample.quantization_file.reviewed, sample.runtimes.reviewed]
    days += [run.measured_at[:10] for run in sample.runs] + [model.reviewed for model in sample.models.values()]
    days += [card.reviewed or "" for card in sample.gpus.values()] + [sample.matmul.reviewed, sample.speed.fitted]
    days += [
        day for file in sample.published.values() for day in (file.reviewed, *(s.read for s in file.sources.values()))
    ]
    assert found[BASE] == max(days)
    assert all(day is None or re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in found.values())


def test_without_an_address_there_is_no_sitemap(sample: Catalog) -> None:
    """Its protocol asks for whole addresses, and a wrong one is worse than none."""
    without = {asset.path: asset for asset in feeds.assets(sample, "")}
    assert "sitemap.xml" not in without
    assert without["robots.txt"].content() == b"User-agent: *\nAllow: /\n"
    having = {asset.path: asset for asset in feeds.assets(sample, BASE)}
    assert having["robots.txt"].content().decode().endswith(f"\nSitemap: {BASE}sitemap.xml\n")
    assert etree.fromstring(having["sitemap.xml"].content()).tag == f"{SITEMAP}urlset"


def test_the_address_is_that_of_mkdocs(tmp_path: Path) -> None:
    file = tmp_path / "mkdocs.yml"
    for text, address in (
        ("site_name: x\n", ""),
        ('site_url: ""\n', ""),
        ("site_url: https://a.example/b\n", "https://a.example/b/"),
        ("site_url: https://a.example/\n", "https://a.example/"),
    ):
        file.write_text(text)
        assert feeds.address(file) == address


def test_llms_txt_links_to_what_there_is(sample: Catalog) -> None:
    """One title, one quotation, then sections of links, all of which resolve."""
    text = feeds.llms(sample, "").decode()
    lines = text.splitlines()
    assert lines[0] == "# fitcard"
    assert lines[2].startswith("> ")
    assert sum(line.startswith("# ") for line in lines) == 1
    there = {getattr(planned.output, "path", planned.output.file) for planned in whole_site(sample, read_sources())}
    links = re.findall(r"^- \[.+?\]\(([^)]+)\): .+$", text, re.M)
    assert len(links) == sum(line.startswith("- ") for line in lines)
    assert set(links) <= there
    assert len(links) > len(sample.models) + len(sample.gpus)
