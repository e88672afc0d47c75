"""The engine: addresses as MkDocs gives them, faults of templates with their place, what outputs read, and the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mkdocs.utils.templates import url_filter

from fitcard.catalog import Catalog, FitcardError
from fitcard.catalog.storage.hashing import digest
from fitcard.catalog.storage.reads import NONE
from fitcard.site.generator.engine import manifest
from fitcard.site.generator.engine.manifest import Entry, Manifest
from fitcard.site.generator.engine.output import Asset, Document, NotFound, Page
from fitcard.site.generator.engine.render import draw
from fitcard.site.generator.engine.sources import Sources, World, links, read_sources
from fitcard.site.generator.engine.templates import environment, references
from fitcard.site.generator.outputs import GENERATED, source_of, whole_site
from tests.sample import MODELS, SO400M

VALUES = (
    "", ".", "./", "models/", "css/fitcard.css", "models/a/b/", "models/a/b/#runs", "runs/0123/?x=1", "#here", "/root/", "//host/x",
    "https://example.com/a", "mailto:a@example.com", "models/漢字/",
)  # fmt: skip
PLACES = ("", "models/", "models/a/b/", "models/a/b/c/", "models/%E6%BC%A2/b/")


def world_of(catalog: Catalog, templates: Mapping[str, str], docs: Mapping[str, str] | None = None) -> World:
    """A world with other templates and documents."""
    contents = {name: text.encode() for name, text in templates.items()}
    sources = read_sources()
    documents = {name: text.encode() for name, text in (docs or {}).items()}
    return World(catalog, Sources(sources.root, sources.code, contents, documents), {"index.md"})


def test_addresses_are_those_of_mkdocs(sample: Catalog) -> None:
    """The filter `url` of our templates gives what MkDocs' own gives on the same page, at every depth."""
    template = environment(world_of(sample, {})).from_string("{{ value|url }}")
    template.environment.autoescape = False
    for place in PLACES:
        page = SimpleNamespace(url=place)
        context = template.new_context({"page": page, "base_url": "../" * place.count("/") or "."})
        for value in VALUES:
            assert template.render(page=page, value=value) == url_filter(cast(Any, context), value), (place, value)


def test_a_page_shown_at_any_depth_has_addresses_from_the_root(sample: Catalog) -> None:
    template = environment(world_of(sample, {})).from_string(
        "{{ 'models/'|url }} {{ '#a'|url }} {{ 'https://a/'|url }}"
    )
    config = SimpleNamespace(site_url="https://example.com/at/")
    assert template.render(page=None, config=config) == "/at/models/ #a https://a/"
    assert template.render(page=None, config=SimpleNamespace(site_url="")) == "/models/ #a https://a/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>\n{{ view.nothing }}", r"site/theme/page\.html:2: .*no attribute 'nothing'"),
        ("<p>\n\n{{ nothing }}", r"site/theme/page\.html:3: 'nothing' is undefined"),
        ("<p>\n{% if %}", r"site/theme/page\.html:2: "),
        ("{% include 'inner.html' %}", r"site/theme/inner\.html:4: 'nothing' is undefined"),
        ("<p>{% include 'gone.html' %}", r"site/theme/page\.html:1: .*gone\.html"),
    ],
)
def test_a_fault_of_a_template_is_one_line_with_its_place(text: str, expected: str, sample: Catalog) -> None:
    env = environment(world_of(sample, {"page.html": text, "inner.html": "\n\n\n{{ nothing }}"}))
    page = Page("a/", "page.html", "A", "A page", lambda: SimpleNamespace(name="x"))
    with pytest.raises(FitcardError, match=expected) as caught:
        draw(env, page)
    assert len(str(caught.value).splitlines()) == 1


def test_text_of_a_view_is_escaped(sample: Catalog) -> None:
    env = environment(world_of(sample, {"page.html": "{{ view.name }} {{ page.title }}"}))
    page = Page("a/", "page.html", "<i>", "A page", lambda: SimpleNamespace(name="<b>"))
    assert draw(env, page) == b"&lt;b&gt; &lt;i&gt;"


def test_a_world_gives_the_digest_of_everything_by_name(sample: Catalog) -> None:
    world = world_of(sample, {"a.html": "A", "a.css": "B"}, {"doc.md": "C"})
    assert world.digest_of("template/a.html") == world.digest_of("theme/a.html") == digest(b"A")
    assert world.digest_of("theme/a.css") == digest(b"B")
    assert world.digest_of("doc/doc.md") == digest(b"C")
    assert world.digest_of("link/index.md") == "there"
    assert world.digest_of(f"models/{SO400M}") == sample.digest_of(f"models/{SO400M}") != NONE
    for name in ("template/b.html", "doc/b.md", "link/b.md", "models/nobody/nothing", "something/else"):
        assert world.digest_of(name) == NONE


def test_a_template_depends_on_all_that_it_names(sample: Catalog) -> None:
    """Directly or through others; a name that is only known when the page is drawn may be any template."""
    templates = {
        "base.html": "{% import 'macros.html' as m %}", "page.html": "{% extends 'base.html' %}", "macros.html": "", "other.html": "",
        "any.html": "{% include view.name %}",
    }  # fmt: skip
    every = references(world_of(sample, templates))
    assert every["page.html"] == ["base.html", "macros.html", "page.html"]
    assert every["macros.html"] == ["macros.html"]
    assert every["any.html"] == sorted(templates)


def test_links_of_a_document_are_other_source_files() -> None:
    text = b"[a](b.md#x) [c](../d/index.md) [e](https://f/) [g](/h) [i](#j) [k](<l.md>)\n\n[m]: n.md\n"
    assert list(links("folder/doc.md", text)) == ["folder/b.md", "d/index.md", "folder/l.md", "folder/n.md"]


ENTRIES = {
    "b/index.html": Entry("w", "c", {"models/a": "1", "gpus": "2"}), "a.json": Entry("v", "d", {"gpus": "2", "models/a": "1"}),
    "c": Entry("none", "e", {}),
}  # fmt: skip


def test_the_same_site_has_the_same_manifest(tmp_path: Path) -> None:
    """To the byte, in whatever order its outputs were made; and it is read back as it was written."""
    one = Manifest("key", "code", ENTRIES)
    other = Manifest("key", "code", dict(reversed(ENTRIES.items())))
    assert one.text() == other.text()
    (tmp_path / manifest.NAME).write_bytes(one.text())
    assert manifest.read(tmp_path) == one
    written = manifest.find(tmp_path)
    assert written
    assert (written.head["outputs"], written.head["pages"], written.head["key"]) == (3, 1, "key")


def test_a_damaged_manifest_is_none(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte changed: whatever it says then is not believed."""
    path, content = tmp_path / manifest.NAME, Manifest("key", "code", ENTRIES).text()
    assert manifest.find(tmp_path) is None
    spoilt = [content[:at] for at in range(len(content))]
    spoilt += [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]
    for each in (*spoilt, content.replace(b'"fitcard":3', b'"fitcard":0', 1), b"[]\n[]\n{}\n", b"null\n"):
        path.write_bytes(each)
        assert manifest.find(tmp_path) is None, each


def test_the_plan_has_everything_of_each_record(sample: Catalog) -> None:
    """A model's page, data, card, badges and picture, and what they have in common is its trace."""
    plan = whole_site(sample, read_sources())
    files = {planned.output.file: planned for planned in plan}
    assert len(files) == len(plan)
    for key in MODELS:
        mine = [
            f"models/{key}/index.html",
            f"api/v1/models/{key}.json",
            f"models/{key}/README.md",
            f"share/models/{key}.png",
        ]
        assert set(mine) <= files.keys()
        assert len({files[path].work for path in mine}) == 1
        assert sum(path.startswith(f"badges/models/{key}/") for path in files) > 3
    for key in sample.gpus:
        assert {f"gpus/{key}/index.html", f"api/v1/gpus/{key}.json", f"share/gpus/{key}.png"} <= files.keys()
    for run in sample.runs:
        assert f"runs/{run.key}/index.html" in files
    assert {"index.html", "404.html", "css/fitcard.css", "policy/index.html", "feed.xml"} <= files.keys()


@pytest.mark.parametrize("folder", GENERATED)
def test_a_file_by_hand_in_a_generated_folder_is_refused(folder: str, sample: Catalog) -> None:
    sources = read_sources()
    with pytest.raises(FitcardError, match=rf"/{folder}x\.svg would lie among what is about"):
        whole_site(sample, replace(sources, docs={**sources.docs, f"{folder}x.svg": b""}))


def test_outputs_have_the_addresses_that_documents_link_to() -> None:
    page = Page("models/a/b/", "model.html", "A", "B", lambda: None)
    assert (page.file, source_of(page)) == ("models/a/b/index.html", "models/a/b/index.md")
    assert Document("folder/index.md").file == Document("folder/README.md").file == "folder/index.html"
    assert (Document("policy.md").file, source_of(Document("policy.md"))) == ("policy/index.html", "policy.md")
    assert source_of(Asset("a/b.json", lambda: b"")) == "a/b.json"
    assert NotFound().file == "404.html"
