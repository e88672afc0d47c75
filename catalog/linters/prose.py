"""Prose that states what the data do not hold."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.errors import Problem
from catalog.load import Catalog
from catalog.model import Model
from catalog.prose import bare_numbers, fill
from catalog.yaml_file import Location

NAME = "prose"
SCOPE = "pages"


def check(catalog: Catalog) -> Iterator[Problem]:
    """Placeholders that name nothing, and numbers that no data hold."""
    for key, model in catalog.models.items():
        for place, text in prose_of(model):
            try:
                fill(text, catalog, key)
            except ValueError as error:
                yield catalog.problem("models", key, place, str(error))
                continue
            if numbers := bare_numbers(text, catalog, model, key):
                message = f"states {', '.join(numbers)}, which no data hold: use a placeholder or add a claim"
                yield catalog.problem("models", key, place, message)


def prose_of(model: Model) -> Iterator[tuple[Location, str]]:
    """Every text of a model that may hold placeholders, with its place in the file."""
    yield ("verdict",), model.verdict
    yield ("overview",), model.overview
    yield from ((("strengths", i), text) for i, text in enumerate(model.strengths))
    yield from ((("weaknesses", i), text) for i, text in enumerate(model.weaknesses))
    yield from ((("corrections", i, "so"), correction.so) for i, correction in enumerate(model.corrections))
