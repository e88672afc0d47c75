"""What audits of pages count: a head that is whole, pictures with their size, little to load."""

from __future__ import annotations

import gzip
from html.parser import HTMLParser
from pathlib import Path

import pytest

MODEL_BYTES, SHARED_BYTES = 60_000, 20_000
"""The most that a page may weigh compressed, and that style and script may weigh together."""


class Head(HTMLParser):
    """The language, what the head states, and the pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.language = ""
        self.stated: dict[str, str] = {}
        self.pictures: list[dict[str, str | None]] = []
        self.blocking: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "html":
            self.language = found.get("lang") or ""
        elif tag == "meta":
            self.stated[found.get("name") or found.get("http-equiv") or ""] = found.get("content") or ""
        elif tag == "img":
            self.pictures.append(found)
        elif tag == "script" and "src" in found and "defer" not in found:
            self.blocking.append(found["src"] or "")


@pytest.fixture(scope="module")
def heads(each_site: Path) -> dict[str, Head]:
    return {str(path.relative_to(each_site)): Head(path.read_text("utf-8")) for path in each_site.rglob("*.html")}


def test_every_head_is_whole(heads: dict[str, Head]) -> None:
    """A language, a view as wide as the screen that may be enlarged, a description of a sentence, no script before the page."""
    for path, head in heads.items():
        assert head.language == "en", path
        assert head.stated["viewport"] == "width=device-width, initial-scale=1", path
        assert 20 <= len(head.stated["description"]) <= 320, (path, head.stated["description"])
        assert head.blocking == [], path


def test_a_page_may_do_only_what_it_needs(heads: dict[str, Head]) -> None:
    """Its own style, script and data; no code in attributes, none from text, none from elsewhere."""
    for path, head in heads.items():
        policy = dict(part.strip().split(" ", 1) for part in head.stated["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'", path
        assert policy["script-src"] == policy["style-src"] == "'self'", path


def test_pictures_keep_their_place(heads: dict[str, Head]) -> None:
    """With width, height and a text instead, so that nothing moves when they come."""
    assert any(head.pictures for head in heads.values())
    for path, head in heads.items():
        for picture in head.pictures:
            assert picture.get("alt"), path
            assert int(picture.get("width") or 0) > 0, path
            assert int(picture.get("height") or 0) > 0, path


def test_pages_are_light(real_site: Path) -> None:
    """Compressed as servers compress; the largest is the page of the model with the most runs."""
    site = real_site

    def weight(path: Path) -> int:
        return len(gzip.compress(path.read_bytes(), 6))

    large = (path for path in site.rglob("*.html") if path.stat().st_size > MODEL_BYTES)
    heavy = {str(path.relative_to(site)): size for path in large if (size := weight(path)) > MODEL_BYTES}
    assert heavy == {}
    assert weight(site / "css/fitcard.css") + weight(site / "js/fitcard.js") < SHARED_BYTES
