"""Checks beyond loading: what is unverified, and prose that states what the data do not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from catalog.errors import Problem
from catalog.load import Catalog
from catalog.model import Model
from catalog.prose import bare_numbers, fill


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
    figures = sum(len(card.spec.figures) for card in catalog.cards.values()) + sum(
        m.facts() for m in catalog.models.values()
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
        "runs": len(catalog.runs), "published speeds": sum(len(file.speeds) for file in catalog.published.values()),
    }  # fmt: skip
    return Report(counts, figures, tuple(unverified), tuple(_prose(catalog)))


def prose_of(model: Model) -> Iterator[tuple[str, str]]:
    """Every text of a model that may hold placeholders, with the name of its field."""
    yield "verdict", model.verdict
    yield "overview", model.overview
    yield from ((f"strengths.{i}", text) for i, text in enumerate(model.strengths))
    yield from ((f"weaknesses.{i}", text) for i, text in enumerate(model.weaknesses))
    yield from ((f"corrections.{i}.so", correction.so) for i, correction in enumerate(model.corrections))


def _prose(catalog: Catalog) -> Iterator[Problem]:
    for key, model in catalog.models.items():
        path = catalog.root / "models" / f"{key}.yaml"
        for field, text in prose_of(model):
            try:
                fill(text, catalog, key)
            except ValueError as error:
                yield Problem(path, 1, field, str(error))
                continue
            if numbers := bare_numbers(text, catalog, model, key):
                yield Problem(
                    path, 1, field, f"states {', '.join(numbers)}, which no data hold: use a placeholder or add a claim"
                )
