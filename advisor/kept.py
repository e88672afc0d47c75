"""What follows from single models, kept between commands, so that a list over all models costs one of them when one changes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import pydantic

from catalog import Catalog, cache
from catalog.cores import cores, spread
from catalog.files import code_digest, combined
from catalog.loading import HERE

T = TypeVar("T")
SPREAD_FROM = 40
"""Models of which something must be found out, from which a process for each core is worth it."""


def per_model(catalog: Catalog, make: Callable[[Catalog, str], T], *, runs: bool, also: str = "") -> dict[str, T]:
    """What `make` makes of each model, in their order. It may look at the model, its trace and what every prediction rests on, with
    `runs` at its runs and publications too, and at what `also` is the digest of; at nothing else."""
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return {model: make(catalog, model) for model in catalog.models}
    keys = {model: _key(catalog, model, make, runs, also) for model in catalog.models}
    kept = cache.read(keys.values())
    found: dict[str, T] = {model: pickle.loads(kept[key]) for model, key in keys.items() if key in kept}
    missing = [model for model in catalog.models if model not in found]
    if missing:
        count = 16 * cores() if len(missing) >= SPREAD_FROM else 1
        for some in spread(
            partial(_made, catalog, make), [missing[at::count] for at in range(min(count, len(missing)))]
        ):
            found |= some
        cache.write({keys[model]: pickle.dumps(found[model], protocol=5) for model in missing})
    return {model: found[model] for model in catalog.models}


def for_model(catalog: Catalog, model: str, make: Callable[[Catalog, str], T], *, runs: bool, also: str = "") -> T:
    """The same for one model."""
    if not catalog.digests:
        return make(catalog, model)
    key = _key(catalog, model, make, runs, also)
    if key in (kept := cache.read([key])):
        known: T = pickle.loads(kept[key])
        return known
    found = make(catalog, model)
    cache.write({key: pickle.dumps(found, protocol=5)})
    return found


def prepare(catalog: Catalog, make: Callable[[Catalog, str], object], models: Iterable[str], *, runs: bool) -> None:
    """Make what is not kept yet, spread over the cores, before it is asked for model by model."""
    keys = {model: _key(catalog, model, make, runs) for model in models}
    there = cache.there(keys.values())
    missing = [model for model in keys if keys[model] not in there]
    if len(missing) >= SPREAD_FROM:
        count = min(len(missing), 16 * cores())
        spread(partial(_prepare, catalog, make, runs), [missing[at::count] for at in range(count)])


def _prepare(catalog: Catalog, make: Callable[[Catalog, str], object], runs: bool, models: Sequence[str]) -> None:
    cache.write({_key(catalog, model, make, runs): pickle.dumps(make(catalog, model), protocol=5) for model in models})


def _key(catalog: Catalog, model: str, make: Callable[[Catalog, str], object], runs: bool, also: str = "") -> str:
    module = sys.modules[make.__module__]
    what = f"{make.__module__}.{make.__qualname__} {code_digest(Path(str(module.__file__)).parent)}"
    return combined((what, also, of_model(catalog, model, runs=runs)))


def _made(catalog: Catalog, make: Callable[[Catalog, str], T], models: Sequence[str]) -> dict[str, T]:
    return {model: make(catalog, model) for model in models}


@lru_cache(maxsize=1 << 14)
def of_model(catalog: Catalog, model: str, *, runs: bool) -> str:
    """The digest of a model, its trace and what every prediction rests on, and with `runs` of its runs and publications."""
    names = [f"models/{model}.yaml", f"traces/{model}.json"]
    if runs:
        names += [f"published/{model}.yaml", *_run_files(catalog).get(model, ())]
    return combined((_of_all(catalog), model, *(f"{name} {catalog.digests.get(name)}" for name in names)))


@lru_cache(maxsize=1 << 14)
def of_trace(catalog: Catalog, model: str) -> str:
    """The digest of a model's trace and what every prediction rests on, whatever the model is called."""
    return combined((_of_all(catalog), "trace", str(catalog.digests.get(f"traces/{model}.json"))))


@lru_cache(maxsize=8)
def of_cards(catalog: Catalog) -> str:
    """The digest of all cards."""
    return combined(f"{key} {card.digest}" for key, card in catalog.card_index.items())


@lru_cache(maxsize=8)
def _run_files(catalog: Catalog) -> dict[str, list[str]]:
    """The run files of each model."""
    found: dict[str, list[str]] = {}
    for name in catalog.digests:
        if name.startswith("runs/"):
            found.setdefault(name.split("/", 2)[2].rpartition(".")[0], []).append(name)
    return found


@lru_cache(maxsize=8)
def _of_all(catalog: Catalog) -> str:
    """The digest of what every prediction rests on. The doubt of a prediction also asks who made the cards of the fit."""
    files = ("quantizations.yaml", "runtimes.yaml", "matmul.yaml", "speed.yaml")
    fitted = sorted(catalog.speed.known) if catalog.speed else ()
    makers = [f"{gpu} {catalog.card_index[gpu].vendor}" for gpu in fitted if gpu in catalog.cards]
    code = code_digest(HERE, Path(__file__).parent)
    return combined((code, pydantic.VERSION, *(f"{name} {catalog.digests.get(name)}" for name in files), *makers))
