"""The adapter to MkDocs draws pages quicker than MkDocs and Jinja would, and must draw the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from jinja2 import Environment, StrictUndefined, UndefinedError
from markupsafe import Markup, escape
from mkdocs.utils import normalize_url

from fitcard.site.generator.engine.mkdocs_hook import (
    Texts,
    _Generated,
    _Quick,
    escaped,
    on_page_context,
    on_post_page,
    url,
)
from fitcard.site.generator.outputs import Page

PAGES = ("", "models/", "models/google/siglip/", "gpus/rtx-4090/", "runs/0123/", "404.html")
ADDRESSES = (
    ".", "", "models/", "models/google/siglip/", "models/google/other/", "gpus/", "gpus/rtx-4090/#a", "css/a.css", "feed.xml", "/rooted/",
    "https://example.org/a", "#part", "mailto:a@example.org", "../up/", "runs/?a=b",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_those_of_mkdocs(page: str, address: str) -> None:
    here = cast(Any, SimpleNamespace(url=page))
    context = cast(Any, {"page": here, "base_url": "x"})
    for _ in range(2):  # the second time from memory
        assert url(context, address) == normalize_url(address, here, "x")


def test_a_page_outside_the_site_has_addresses_from_its_base() -> None:
    context = cast(Any, {"page": None, "base_url": "/site/"})
    assert url(context, "models/") == normalize_url("models/", None, "/site/") == "/site/models/"


def drawn(template: str, **given: object) -> str:
    """What a template gives when it is compiled as ours are."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.code_generator_class = _Quick
    environment.globals |= {"escaped": escaped, "texts": Texts()}
    return environment.from_string(template).render(**given)


GIVEN = {
    "text": "<b>", "html": Markup("<b>"), "whole": 7, "part": 0.5, "nothing": None, "yes": True,
    "view": {"name": "<i>", "items": "shadowed", "inner": {"deep": SimpleNamespace(x="<u>")}},
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ("text", "html", "whole", "part", "nothing", "yes", "view.name", "view.inner.deep.x", "view.items()|length")
)
def test_values_are_drawn_as_jinja_draws_them(name: str) -> None:
    template = f"{{{{ {name} }}}}{{% for i in (1, 2) %}}{{{{ {name} }}}}{{% endfor %}}"
    plain = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    assert drawn(template, **GIVEN) == plain.render(**GIVEN)


@pytest.mark.parametrize("template", ("{{ text }}{{ html }}", "{{ html }}{{ text }}"))
def test_html_and_the_same_text_are_told_apart(template: str) -> None:
    assert drawn(template, text="<b>", html=Markup("<b>")) == template.replace("{{ text }}", "&lt;b&gt;").replace(
        "{{ html }}", "<b>"
    )


@pytest.mark.parametrize("template", ("{{ view.missing }}", "{{ missing }}", "{{ view.name.missing }}"))
def test_a_name_that_no_view_gives_is_an_error(template: str) -> None:
    with pytest.raises(UndefinedError):
        drawn(template, **GIVEN)


def test_remembered_texts_are_bounded() -> None:
    texts = Texts()
    for number in range(2 * (1 << 16)):
        assert texts[f"<{number}"] == escape(f"<{number}")
    assert len(texts) <= 1 << 16


def test_a_page_that_was_drawn_lets_go_of_its_view() -> None:
    whole = {"rows": [1, 2, 3]}
    page = _Generated.__new__(_Generated)
    page.view, page.output = {}, Page("a/", "a.html", "A", "A", (), lambda: whole)
    context = on_page_context({"page": page}, page, cast(Any, None), cast(Any, None))
    assert context["view"] == whole
    assert on_post_page("html", page, cast(Any, None)) == "html"
    assert context["view"] == {}
    assert whole == {"rows": [1, 2, 3]}
