"""Checks beyond loading: what is unverified, and prose that states what the data do not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from catalog.errors import Problem
from catalog.gpu import NUMBER_TYPES
from catalog.loading import Catalog
from catalog.model import Model
from catalog.prose import bare_numbers, fill
from catalog.yaml_file import Location


def _rates(catalog: Catalog) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """The stated unit rates of each generation and kind."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for card in catalog.cards.values():
        if card.rates:
            stated = tuple(name for name in NUMBER_TYPES if getattr(card.rates, name) is not None)
            found[card.vendor, card.generation, card.spec.unit_rates or ""] = ("supports", *stated)
    return found


@dataclass(frozen=True)
class Report:
    """What `fitcard check` found."""

    counts: dict[str, int]
    figures: int
    """Figures that need a source."""
    unverified: tuple[str, ...]
    """`file: figure` of those that nobody has read."""
    problems: tuple[Problem, ...]


def check(catalog: Catalog) -> Report:
    """Look through a catalog that has been loaded, and so is well-formed."""
    unverified = [f"gpus: {key}: {figure}" for key, card in catalog.cards.items() for figure in card.spec.unverified]
    unverified += [f"models: {key}: {fact}" for key, model in catalog.models.items() for fact in model.unverified()]
    unverified += [f"runtimes: {name}" for name in catalog.runtimes.unverified()]
    runtimes = catalog.runtimes
    figures = (
        sum(len(file) for file in _rates(catalog).values())
        + sum(len(card.spec.figures) for card in catalog.cards.values())
        + sum(m.facts() for m in catalog.models.values())
    )
    figures += (
        len(runtimes.context)
        + len(runtimes.reserve)
        + len(runtimes.allocator_slack)
        + 1
        + sum(len(file.speeds) for file in catalog.published.values())
    )
    counts = {
        "models": len(catalog.models), "GPUs": len(catalog.cards), "quantizations": len(catalog.quantizations),
        "runs": len(catalog.run_index), "published speeds": sum(len(file.speeds) for file in catalog.published.values()),
    }  # fmt: skip
    return Report(counts, figures, tuple(unverified), tuple(prose_problems(catalog)))


def prose_of(model: Model) -> Iterator[tuple[Location, str]]:
    """Every text of a model that may hold placeholders, with its place in the file."""
    yield ("verdict",), model.verdict
    yield ("overview",), model.overview
    yield from ((("strengths", i), text) for i, text in enumerate(model.strengths))
    yield from ((("weaknesses", i), text) for i, text in enumerate(model.weaknesses))
    yield from ((("corrections", i, "so"), correction.so) for i, correction in enumerate(model.corrections))


def prose_problems(catalog: Catalog) -> Iterator[Problem]:
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
