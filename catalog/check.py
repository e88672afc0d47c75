"""Checks beyond loading: what is unverified, and prose that states what the data do not hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from catalog import cache
from catalog.cores import cores, spread
from catalog.errors import Problem
from catalog.files import code_digest, combined
from catalog.gpu import NUMBER_TYPES
from catalog.loading import HERE, Catalog
from catalog.model import Model
from catalog.prose import bare_numbers, fill, other_models
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
    return Report(counts(catalog), figures, tuple(unverified), tuple(prose_problems(catalog)))


def counts(catalog: Catalog) -> dict[str, int]:
    """How much of each kind there is."""
    return {
        "models": len(catalog.models), "GPUs": len(catalog.cards), "quantizations": len(catalog.quantizations),
        "runs": len(catalog.run_index), "published speeds": sum(len(entry.speeds) for entry in catalog.published_index.values()),
    }  # fmt: skip


def prose_of(model: Model) -> Iterator[tuple[Location, str]]:
    """Every text of a model that may hold placeholders, with its place in the file."""
    yield ("verdict",), model.verdict
    yield ("overview",), model.overview
    yield from ((("strengths", i), text) for i, text in enumerate(model.strengths))
    yield from ((("weaknesses", i), text) for i, text in enumerate(model.weaknesses))
    yield from ((("corrections", i, "so"), correction.so) for i, correction in enumerate(model.corrections))


def prose_problems(catalog: Catalog) -> Iterator[Problem]:
    """Placeholders that name nothing, and numbers that no data hold. A model that was found good is not looked at again."""
    keys = {model: _prose_key(catalog, model) for model in catalog.models} if catalog.digests else {}
    good = {key: json.loads(others) for key, others in cache.read(keys.values()).items()}
    parts = [model for model in catalog.models if not _still_good(catalog, good.get(keys.get(model, "")))]
    count = min(len(parts), 4 * cores()) if len(parts) > 60 else 1
    found = {
        model: problems
        for some in spread(partial(_prose_problems, catalog), [parts[at::count] for at in range(count)])
        for model, problems in some.items()
    }
    others = {model: json.dumps(seen).encode() for model, (seen, problems) in found.items() if not problems}
    if keys and others:
        cache.write({keys[model]: seen for model, seen in others.items()})
    for model in parts:
        yield from found[model][1]


def _prose_key(catalog: Catalog, model: str) -> str:
    """Under this it is kept that the prose of a model is good, with the traces of other models that it rests on."""
    names = (f"models/{model}.yaml", f"traces/{model}.json", "quantizations.yaml")
    return combined(("prose", code_digest(HERE), model, *(f"{name} {catalog.digests.get(name)}" for name in names)))


def _still_good(catalog: Catalog, others: dict[str, str] | None) -> bool:
    return others is not None and all(catalog.digests.get(name) == digest for name, digest in others.items())


def _prose_problems(catalog: Catalog, models: Sequence[str]) -> dict[str, tuple[dict[str, str], list[Problem]]]:
    """Of each model: the digests of the other traces that its prose names, and its faults."""
    found: dict[str, tuple[dict[str, str], list[Problem]]] = {}
    for key in models:
        model, names, problems = catalog.models[key], list[str](), list[Problem]()
        for place, text in prose_of(model):
            names += [f"traces/{other}.json" for other in other_models(text)]
            try:
                fill(text, catalog, key)
            except ValueError as error:
                problems.append(catalog.problem("models", key, place, str(error)))
                continue
            if numbers := bare_numbers(text, catalog, model, key):
                message = f"states {', '.join(numbers)}, which no data hold: use a placeholder or add a claim"
                problems.append(catalog.problem("models", key, place, message))
        found[key] = ({name: catalog.digests.get(name, "") for name in names}, problems)
    return found
