"""What filters give is put out as it stands, so each must have escaped what it was handed."""

from __future__ import annotations

import pytest
from markupsafe import Markup, escape

from fitcard.advisor.evidence import BestSpeed
from fitcard.advisor.fit import MemoryAnswer
from fitcard.advisor.recommend import Span
from fitcard.site.generator.text import FILTERS

NASTY = "<b>\"&'"
NUMBER = 12_345_678.9
GIVEN: dict[str, list[tuple[object, ...]]] = {
    **{name: [(NUMBER,), (0.0,)] for name in ("gb", "gib", "count", "millions", "rate", "percent", "seconds")},
    "prose": [(NASTY,)], "phrase": [(NASTY,)], "tag": [(NASTY, "verdict"), (NASTY, "evidence", NASTY)],
    "known_speed": [
        (None, NASTY, "a/", "runs/"), (BestSpeed(1.0, NASTY, "eager", 1, "measured", "0123"), NASTY, "a/", "runs/"),
        (BestSpeed(1.0, NASTY, "eager", 1, "published", NASTY), NASTY, "a/", "runs/"), (BestSpeed(1.0, NASTY, "eager", 1, "predicted", None, 0.5, 2.0), NASTY, "a/", "runs/"),
    ],
    "span": [(None,), (Span(1.0, 0.5, 2.0),)], "needed_of_free": [(MemoryAnswer(1, 2, 3, 4, 10, 20, "predicted"),)],
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_filters_give_text_that_needs_no_escaping(name: str) -> None:
    for given in GIVEN[name]:
        found = FILTERS[name](*given)
        assert escape(found) == found
        assert "<b>" not in found
        assert isinstance(found, Markup) or not set("<>&\"'") & set(found)
