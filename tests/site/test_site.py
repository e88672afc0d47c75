"""The built site: whole, linked, escaped, the same every time, and saying what the advisor says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from fitcard.advisor import fit
from fitcard.advisor.hardware import gpus_by_memory
from fitcard.catalog import Catalog, load
from fitcard.catalog.storage.writer import add_run
from fitcard.site.generator.build import ROOT, build
from fitcard.site.generator.text import phrase, prose
from tests.advisor.asking import ask
from tests.conftest import Cli
from tests.sample import IMAGE, SO400M, TEXT, TWINS, of_model
from tests.site.edits import tree
from tests.site.reader import Reader

MODEL = f"models/{SO400M}/index.html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    return {path: Reader(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_there_is_a_page_for_everything(site: Path, sample: Catalog) -> None:
    for key in sample.models:
        assert (site / "models" / key / "index.html").is_file()
    for key in sample.gpus:
        assert (site / "gpus" / key / "index.html").is_file()
    for run in sample.runs:
        assert (site / "api/v1/runs" / f"{run.key}.json").is_file()


@pytest.mark.parametrize("name", ["site", "real_site"])
def test_what_a_reader_of_any_site_relies_on(name: str, request: pytest.FixtureRequest) -> None:
    """In one test, since to read every page of the real catalog takes longest."""
    folder: Path = request.getfixturevalue(name)
    pages = {path: Reader(path.read_text()) for path in folder.rglob("*.html")}
    one_h1_unique_titles_and_descriptions_and_described_tables(pages)
    every_link_and_anchor_resolves(folder, pages)
    nothing_is_loaded_from_elsewhere(folder, pages)


def one_h1_unique_titles_and_descriptions_and_described_tables(pages: dict[Path, Reader]) -> None:
    for path, page in pages.items():
        assert page.tags.count("h1") == 1, path
        assert len(page.ids) == len(set(page.ids)), path
        assert all(table == {"caption": 1, "scopeless": 0} for table in page.tables), path
        assert page.open == [], path
    shown = [page for path, page in pages.items() if path.name != "404.html"]
    assert len({page.title for page in shown}) == len(shown)
    assert len({page.description for page in shown}) == len(shown)
    assert all(30 < len(page.description) < 180 for page in shown)


def every_link_and_anchor_resolves(site: Path, pages: dict[Path, Reader]) -> None:
    anchors = {str(path): set(page.ids) for path, page in pages.items()}
    files = {
        str(path) for path in site.rglob("*") if path.is_file()
    }  # asked once, since there are hundreds of thousands of links
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # served at any address, so its links are from the root
        for link in {*page.links, *page.resources}:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("https", "http"), link
                continue
            target = os.path.normpath(f"{path.parent}/{unquote(parts.path)}") if parts.path else str(path)
            target = target if target in files else f"{target}/index.html"
            assert target in files, f"{path.relative_to(site)} links to {link}"
            if parts.fragment:
                assert parts.fragment in anchors[target], f"{path.relative_to(site)} links to {link}"


def nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Reader]) -> None:
    assert not [r for page in pages.values() for r in page.resources if urlsplit(r).netloc]
    css = "".join(path.read_text() for path in site.rglob("*.css"))
    assert "url(" not in css
    assert "@import" not in css


SECTIONS = {
    "overview": "Overview", "strengths": "Strengths", "weaknesses": "Weaknesses", "variants": "Quantization variants", "get": "Get the model",
    "hardware": "Hardware that runs this", "compare": "Models worth comparing", "faq": "Frequently asked", "review": "Sources and review",
    "verify": "Related, and how to verify on your hardware",
}  # fmt: skip


def test_the_page_to_beat_is_matched_section_by_section(pages: dict[Path, Reader], site: Path, sample: Catalog) -> None:
    """Every section of the source page is there, and its figures are the exact ones."""
    page = pages[site / MODEL]
    text = " ".join(" ".join(page.text).split())
    for anchor, heading in SECTIONS.items():
        assert anchor in page.ids
        assert heading in text
    for fact in (
        "428,225,600",
        "449,734,896",
        "877,960,498",
        "64 text tokens",
        "384 × 384 pixels",
        "729 patches",
        "9.25 bits per weight",
    ):
        assert fact in text, fact
    html = (site / MODEL).read_text()
    table = html[html.index('id="hardware-table"') : html.index('id="compare"')]
    assert table.count("not known") < len(sample.gpus) / 2  # Apple and Intel cards without a rate on record
    assert len(re.findall(r"(?:fits|tight|no) \d+\.\d\d of", text)) == len(sample.gpus)


def test_numbers_on_the_model_page_are_the_advisors(pages: dict[Path, Reader], site: Path, sample: Catalog) -> None:
    """The hardware table, row by row, against `answers`."""
    html = (site / MODEL).read_text()
    table = html[html.index('id="hardware-table"') : html.index('id="compare"')]
    rows = re.findall(r'<tr data-card="([^"]+)"', table)
    assert rows == gpus_by_memory(sample)
    for card in rows:
        row = re.search(rf'gpus/{re.escape(card)}/">.*?</tr>', table, re.S)
        assert row
        every = [ask(sample, SO400M, card, label) for label in sample.quantizations]
        best = fit.best(every, sample)
        assert best
        assert f"<td>{best.quantization}</td>" in row[0]
        assert f"{best.memory.required_bytes / 1e9:.2f} of {best.memory.available_bytes / 1e9:.1f} GB" in row[0]
        assert f">{best.max_batch:,}</td>" in row[0]


def test_the_newest_runs_are_listed_with_all_that_they_took(site: Path, sample: Catalog) -> None:
    """On a card the context and what the allocator holds count too, not the live bytes alone."""
    newest = next(run for run in reversed(sample.runs) if run.status == "ok")
    best = newest.best_speed
    assert best is not None
    memory = newest.batch_memory(best.batch)
    assert memory is not None
    row = next(row for row in (site / "index.html").read_text().split("<tr>") if f"runs/{newest.key}/" in row)
    assert f">{memory.total_bytes / 1e9:.2f} GB<" in row


def test_two_builds_are_the_same_to_the_byte(
    site: Path, sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is kept from the first one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert tree(site) == tree(build(tmp_path / "again", sample_root)[0])


def test_a_failed_build_leaves_the_old_site(copied_sample: Path, tmp_path: Path, cli: Cli) -> None:
    """Bad data stop the build before the old site is touched, and leave nothing beside it."""
    target = tmp_path / "site"
    target.mkdir()
    (target / "index.html").write_text("old")
    (copied_sample / f"models/{IMAGE}.yaml").write_text("name: [")
    done = cli("build", "--output", target, catalog=copied_sample)
    assert done.returncode == 1
    assert (target / "index.html").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sample", "site"]


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> {{ 7919*7907 }} 漢字 עברית"


def test_html_in_the_catalog_is_shown_as_text(copied_sample: Path, copied_site: Path) -> None:
    """A script in every text field of a model and a card: the page shows it and does not hold it."""
    root = copied_sample
    path = root / f"models/{SO400M}.yaml"
    model = yaml.safe_load(path.read_text().replace("2026-11-23", '"2026-11-23"').replace("2024-01-08", '"2024-01-08"'))
    for field in ("name", "verdict", "overview", "family", "usage"):
        model[field] = HOSTILE.replace("{{ 7919*7907 }}", "") if field in ("verdict", "overview") else HOSTILE
    model["strengths"] = model["weaknesses"] = [HOSTILE.replace("{{ 7919*7907 }}", "")]
    model["license"]["conditions"] = HOSTILE  # its id is one of a list
    model["claims"][0]["what"] = model["used_by"][0]["how"] = model["used_by"][0]["name"] = HOSTILE
    model["sources"]["hub"]["title"] = model["sources"]["hub"]["note"] = HOSTILE
    path.write_text(yaml.safe_dump(model, allow_unicode=True))
    cards = root / "gpus/nvidia-pascal.yaml"
    cards.write_text(cards.read_text().replace("name: GeForce GTX 1080 Ti", f"name: '{HOSTILE}'"))
    site, _ = build(copied_site, root)
    for page in site.rglob("*.html"):
        html = page.read_text()
        assert "<script>alert" not in html, page
        assert "<img src=x" not in html, page
        assert 'href="javascript:' not in html, page
        assert "62615533" not in html, page
        Reader(html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (site / MODEL).read_text()
    assert "漢字" in (site / MODEL).read_text()


def test_a_catalog_without_models_cards_or_runs_is_a_correct_site(copied_sample: Path, tmp_path: Path) -> None:
    """Nothing is known, and the pages say so: no empty table, no broken build."""
    root = copied_sample
    for name in ("models", "gpus", "published", "traces", "runs"):
        shutil.rmtree(root / name)
        (root / name).mkdir()
    (root / "matmul.yaml").unlink()  # its rates are those of cards
    (root / "exceptions.yaml").unlink()
    site, count = build(tmp_path / "out", root)
    assert count.pages == 13 + len(load(root).quantizations)
    text = (site / "index.html").read_text()
    assert "The catalog holds no model yet." in text
    assert "The catalog holds no GPU yet." in text
    assert not re.search(r"<tbody>\s*</tbody>", text)


def test_a_model_without_runs_and_figures_of_others(site: Path) -> None:
    """What is not known is said, and the sections are there all the same."""
    text = (site / f"models/{TEXT}/index.html").read_text()
    assert "Nobody has run this model with fitcard yet" in text
    assert "Published by others" not in text
    assert set(SECTIONS) - set(Reader(text).ids) == set()


def test_a_new_run_is_on_the_pages_at_once(copied_sample: Path, copied_site: Path) -> None:
    run = of_model(TEXT, 9, measured_at="2026-11-29T00:00:00Z")
    add_run(copied_sample / "runs", run)
    site, _ = build(copied_site, copied_sample)
    assert f'runs/{run.key}/"' in (site / f"models/{TEXT}/index.html").read_text()
    assert f'runs/{run.key}/"' in (site / "index.html").read_text()
    assert f"api/v1/runs/{run.key}.json" in (site / "runs" / run.key / "index.html").read_text()


def test_mkdocs_does_not_empty_our_sources() -> None:
    """MkDocs empties its output folder, and its default is site/, where the sources are."""
    assert "site_dir: build/site\n" in (ROOT / "mkdocs.yml").read_text()
    assert not (ROOT / "site/__init__.py").exists()


HIDDEN = (
    "javascript&#58;", "javascript&colon;", "&#106;avascript:", "&#x6A;avascript&#x3a;", "java&#10;script:", "java&Tab;script:",
    "&#1;javascript:", "javascript&amp;#58;", "vbscript:", "file:///etc/passwd?", "blob:", "DATA&#58;text/html,", "ftp://a/",
)  # fmt: skip
"""Schemes as browsers read them once they have decoded entities and dropped control characters."""


def test_markdown_from_the_catalog_is_harmless() -> None:
    assert phrase("a *b* <b>c</b>") == "a <em>b</em> &lt;b&gt;c&lt;/b&gt;"
    assert "javascript" not in phrase("[x](javascript:alert(1))").split(">")[0]
    assert "href" not in phrase("[x]( JaVaScRiPt:alert(1))")
    assert "href" not in phrase("[x](data:text/html,hi)")
    for scheme in HIDDEN:
        assert "href" not in phrase(f"[x]({scheme}alert(1))"), scheme
        assert "src" not in phrase(f"![x]({scheme}alert(1))"), scheme
        assert "href" not in phrase(f"[x][1]\n\n[1]: {scheme}alert(1)"), scheme
    for good in ("https://a.org/b?c=d&amp;e", "mailto:a@b.org", "../gpus/rtx-4090/", "#runs", "//a.org/javascript:x"):
        assert "href" in phrase(f"[x]({good})"), good
    assert prose("<div>\n\n*x*\n\n</div>") == "<p>&lt;div&gt;</p>\n<p><em>x</em></p>\n<p>&lt;/div&gt;</p>"


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path, cli: Cli) -> None:
    """`--output .` by mistake must not delete anything."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = cli("build", "--output", tmp_path)
    assert done.returncode == 1
    assert "holds something that fitcard did not build; give --output a new or empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_run_is_shown_with_its_reason(site: Path) -> None:
    assert "out of memory, &lt;b&gt;no room&lt;/b&gt;" in " ".join((site / MODEL).read_text().split())


def test_two_devices_of_one_name_are_told_apart(pages: dict[Path, Reader], site: Path) -> None:
    """No two landmarks of a page have one label, or nobody who listens to the page can tell them apart."""
    for path, page in pages.items():
        assert len(page.landmarks) == len(set(page.landmarks)), path
    labels = pages[site / MODEL].landmarks
    assert {f"div Table: Measured on A twin ({device})" for device in TWINS} <= set(labels)


def test_a_number_in_prose_that_no_data_hold_stops_the_build(copied_sample: Path, tmp_path: Path, cli: Cli) -> None:
    path = copied_sample / f"models/{SO400M}.yaml"
    path.write_text(path.read_text().replace("English only.", "English only, 12345 words."))
    done = cli("build", "--output", tmp_path / "out", catalog=copied_sample)
    assert done.returncode == 1
    assert re.search(
        r"siglip-so400m-patch14-384\.yaml:\d\d: weaknesses\.1: states 12345, which no data hold", done.stderr
    )
