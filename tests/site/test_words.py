"""What filters give is put out as it stands, so each must have escaped what it was handed."""

from __future__ import annotations

import pytest
from markupsafe import Markup, escape

from fitcard.advisor.answer import MemoryAnswer
from fitcard.advisor.evidence import BestSpeed
from fitcard.advisor.recommend import Span
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.site.generator.text import FILTERS

NASTY = "<b>\"&'"
NUMBER = 12_345_678.9
MEASURED = BestSpeed(1.0, NASTY, "eager", 1, "measured", "0123")
PUBLISHED = BestSpeed(1.0, NASTY, "eager", 1, "published", NASTY)
PREDICTED = BestSpeed(1.0, NASTY, "eager", 1, "predicted", None, 0.5, 2.0)
ARGUMENTS: dict[str, list[tuple[object, ...]]] = {
    **{name: [(NUMBER,), (0.0,)] for name in ("gb", "gib", "count", "millions", "rate", "percent", "seconds")},
    **{name: [(component,) for component in COMPONENTS] for name in ("component_title", "unit")},
    "prose": [(NASTY,)],
    "phrase": [(NASTY,)],
    "tag": [(NASTY, "verdict"), (NASTY, "evidence", NASTY)],
    "known_speed": [(speed, NASTY, "a/", "runs/") for speed in (None, MEASURED, PUBLISHED, PREDICTED)],
    "recorder": [(None,), (NASTY,)],
    "span": [(None,), (Span(1.0, 0.5, 2.0),)],
    "needed_of_free": [(MemoryAnswer(1, 2, 3, 4, 10, 20, "predicted"),)],
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_give_text_that_needs_no_escaping(name: str) -> None:
    for arguments in ARGUMENTS[name]:
        text = FILTERS[name](*arguments)
        assert escape(text) == text
        assert "<b>" not in text
        assert isinstance(text, Markup) or not set("<>&\"'") & set(text)
