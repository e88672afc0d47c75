"""Prose that states what the data do not hold, or links to where no link may go."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.addresses import ALLOWED, forbidden_links
from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem, shorten
from fitcard.catalog.prose import bare_numbers, fill
from fitcard.catalog.schema.model import Model
from fitcard.catalog.storage.memo import memo, warm
from fitcard.catalog.yaml_file import Location

NAME = "prose"
SCOPE = "pages"


def check(catalog: Catalog) -> Iterator[Problem]:
    """Placeholders that name nothing, numbers that no data hold, and links that run code or read files."""
    warm(_faults_of, catalog, catalog.models)
    for model in catalog.models:
        yield from _faults_of(catalog, model)


@memo
def _faults_of(catalog: Catalog, key: str) -> list[Problem]:
    """The faults in the prose of one model."""
    model, problems = catalog.models[key], list[Problem]()
    for place, text in prose_of(model):
        for target in forbidden_links(text):
            message = f"links to {shorten(target)}: links go to {', '.join(ALLOWED)} or within the site"
            problems.append(catalog.problem("models", key, place, message))
        try:
            fill(text, catalog, key)
        except ValueError as error:
            problems.append(catalog.problem("models", key, place, str(error)))
            continue
        if numbers := bare_numbers(text, catalog, model, key):
            message = f"states {', '.join(numbers)}, which no data hold: use a placeholder or add a claim"
            problems.append(catalog.problem("models", key, place, message))
    return problems


def prose_of(model: Model) -> Iterator[tuple[Location, str]]:
    """Every text of a model that may hold placeholders, with its place in the file."""
    yield ("verdict",), model.verdict
    yield ("overview",), model.overview
    yield from ((("strengths", i), text) for i, text in enumerate(model.strengths))
    yield from ((("weaknesses", i), text) for i, text in enumerate(model.weaknesses))
    yield from ((("corrections", i, "so"), correction.so) for i, correction in enumerate(model.corrections))
