"""Texts that `fitcard add` left for somebody to write."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.record import texts_to_write

NAME = "unwritten"
SCOPE = "pages"


def check(catalog: Catalog) -> Iterator[Problem]:
    """Each text of a model, or value of a card, that is still to be written."""
    for key, model in catalog.models.items():
        for place, text in texts_to_write(model.model_dump()):
            yield catalog.problem("models", key, place, f"is still to be written: {text}")
    yield from catalog.begun_gpus
