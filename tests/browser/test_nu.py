"""HTML, CSS and SVG as the Nu checker reads them: no error on any kind of page."""

from __future__ import annotations

from pathlib import Path

from fitcard.catalog import Catalog
from tests.browser.nu import errors
from tests.browser.test_pages import PAGES, path_of

WRONG = {
    "page.html": "<!doctype html><html lang=en><title>A</title><p><div></p>",
    "style.css": "p { colour: red }",
    "badge.svg": '<svg xmlns="http://www.w3.org/2000/svg"><rect width="a"/></svg>',
}


def test_the_nu_checker_finds_no_error(site: Path, sample: Catalog, tmp_path: Path) -> None:
    """On a page of each kind, the page for what is not there, all style, and badges of one model. `make nu` reads every page.

    It says in the same breath what is wrong in files of each kind, by themselves and in a folder, so that its silence means something.
    """
    pages = [site / path_of(name, sample).partition("?")[0] / "index.html" for name in PAGES]
    badges = [*(site / "badges/models/google/siglip-so400m-patch14-384").glob("*.svg")]
    assert badges
    wrong = [tmp_path / folder / name for folder in ("folder", "alone") for name in WRONG]
    for path in wrong:
        path.parent.mkdir(exist_ok=True)
        path.write_text(WRONG[path.name])
    right = [*pages, site / "404.html", *site.glob("css/*.css"), site / "favicon.svg", *badges]
    found = errors([*right, tmp_path / "folder", *(path for path in wrong if path.parent.name == "alone")])
    for path in wrong:
        assert any(line.startswith(f"{path}:") for line in found), (path, found)
    assert [line for line in found if not line.startswith(f"{tmp_path}/")] == []
