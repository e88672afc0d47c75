"""Prose that states what the data do not hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial

from fitcard.catalog.errors import Problem
from fitcard.catalog.loader import HERE, Catalog
from fitcard.catalog.parallel import cores, spread
from fitcard.catalog.prose import bare_numbers, fill, other_models
from fitcard.catalog.schema.model import Model
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import code_digest, combined
from fitcard.catalog.yaml_file import Location

NAME = "prose"
SCOPE = "pages"


def check(catalog: Catalog) -> Iterator[Problem]:
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
    return combined(
        (
            "prose",
            code_digest(HERE, HERE / "linters"),
            model,
            *(f"{name} {catalog.digests.get(name)}" for name in names),
        )
    )


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


def prose_of(model: Model) -> Iterator[tuple[Location, str]]:
    """Every text of a model that may hold placeholders, with its place in the file."""
    yield ("verdict",), model.verdict
    yield ("overview",), model.overview
    yield from ((("strengths", i), text) for i, text in enumerate(model.strengths))
    yield from ((("weaknesses", i), text) for i, text in enumerate(model.weaknesses))
    yield from ((("corrections", i, "so"), correction.so) for i, correction in enumerate(model.corrections))
