"""Parts of pages that are kept: drawn once for each key, code and templates."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from jinja2 import Environment

from fitcard.site.generator.engine import fragments
from fitcard.site.generator.engine.fragments import Kept

TEMPLATE = "{% macro row(text) %}<b>{{ text }}</b>{% endmacro %}[{% kept key %}{% for one in rows() %}{{ row(one) }}{% endfor %}{% endkept %}]"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_part_is_drawn_once_for_what_it_is_made_from() -> None:
    drawn: list[str] = []

    def page(key: str | None, text: str, code: str = "code", templates: str = "one") -> str:
        environment = Environment(autoescape=True, extensions=[Kept])
        if code:
            cast(Kept, environment.extensions[Kept.identifier]).by(code, {"name": templates.encode()})

        def rows() -> list[str]:
            drawn.append(text)
            return [text]

        return environment.from_string(TEMPLATE).render(key=key, rows=rows)

    assert page("key", "a < b") == page("key", "not asked for") == "[<b>a &lt; b</b>]"
    assert drawn == ["a < b"]
    assert (
        page("another", "c") == page("key", "c", code="edited") == page("key", "c", templates="edited") == "[<b>c</b>]"
    )
    assert drawn == ["a < b", "c", "c", "c"]
    # Without a key, and where nobody says what draws it, nothing is kept.
    for key, code in ((None, "code"), ("key", "")):
        assert [page(key, text, code) for text in "de"] == ["[<b>d</b>]", "[<b>e</b>]"]


def test_parts_at_hand_are_those_of_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one environment they stay in memory, as many as may; a part that had to go comes back as it was."""
    monkeypatch.setattr(fragments, "AT_HAND", 3)
    environment = Environment(autoescape=True, extensions=[Kept])
    cast(Kept, environment.extensions[Kept.identifier]).by("code", {})
    template = environment.from_string("{% kept key %}<i>{{ text }}</i>{% endkept %}")
    for _ in range(2):
        for number in range(8):
            assert template.render(key=f"key {number}", text=f"<{number}>") == f"<i>&lt;{number}&gt;</i>"
    assert template.render(key="key 1", text="not asked for") == "<i>&lt;1&gt;</i>"
