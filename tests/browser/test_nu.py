"""HTML, CSS and SVG as the Nu checker reads them: no error on any kind of page."""

from __future__ import annotations

from pathlib import Path

from fitcard.catalog import Catalog
from tests.browser.nu import errors
from tests.browser.test_pages import PAGES, path_of


def test_the_nu_checker_finds_no_error(site: Path, sample: Catalog) -> None:
    """A page of each kind, the page for what is not there, all style, and badges of one model. `make nu` reads every page."""
    pages = [site / path_of(name, sample).partition("?")[0] / "index.html" for name in PAGES]
    badges = [*(site / "badges/models/google/siglip-so400m-patch14-384").glob("*.svg")]
    assert badges
    assert errors([*pages, site / "404.html", *site.glob("css/*.css"), site / "favicon.svg", *badges]) == []


def test_the_nu_checker_is_awake(tmp_path: Path) -> None:
    """It says what is wrong in each kind of file, so that its silence means something."""
    (tmp_path / "page.html").write_text("<!doctype html><html lang=en><title>A</title><p><div></p>")
    (tmp_path / "style.css").write_text("p { colour: red }")
    (tmp_path / "badge.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><rect width="a"/></svg>')
    for paths in ([tmp_path], list(tmp_path.iterdir())):
        found = errors(paths)
        for name in ("page.html", "style.css", "badge.svg"):
            assert any(name in line for line in found), (name, found)
