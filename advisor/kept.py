"""What follows from single models, kept between commands, so that a list over all models costs one of them when one changes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pydantic

from fitcard.catalog import Catalog
from fitcard.catalog.loader import HERE
from fitcard.catalog.parallel import cores, spread
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import code_digest, combined, run_files
from fitcard.catalog.twins import dealt_alike

T = TypeVar("T")
SPREAD_FROM = 40
"""Models of which something must be found out, from which a process for each core is worth it."""


def _nothing(catalog: Catalog) -> str:
    return ""


@dataclass(frozen=True)
class Fact(Generic[T]):
    """Something that follows from a single model, kept under the digest of all that it follows from."""

    make: Callable[[Catalog, str], T]
    """Works it out. It may look at the model, its trace and what every prediction rests on; at nothing else but what follows."""
    runs: bool = False
    """Whether it may look at the runs and publications of the model too."""
    also: Callable[[Catalog], str] = _nothing
    """The digest of what else it may look at."""

    def of(self, catalog: Catalog, model: str) -> T:
        """That of one model."""
        return self.of_some(catalog, [model])[model]

    def of_all(self, catalog: Catalog) -> dict[str, T]:
        """Those of all models, in their order."""
        if not catalog.digests:
            return {model: self.make(catalog, model) for model in catalog.models}
        kept = cache.Bundles[T](self._what(catalog), of_models(catalog, runs=self.runs), partial(self.keys, catalog))
        if kept.missing:
            made: dict[str, T] = {}
            parts = dealt_alike(catalog, kept.missing, 16 * cores() if len(kept.missing) >= SPREAD_FROM else 1)
            for some in spread(partial(_made, catalog, self.make), parts):
                made |= some
            kept.keep(made)
        return {model: kept.found[model] for model in catalog.models}

    def of_some(self, catalog: Catalog, models: Iterable[str]) -> dict[str, T]:
        """Those of some models, in the order in which they are given."""
        if not catalog.digests:  # changed in memory, so nothing that is kept is about it
            return {model: self.make(catalog, model) for model in models}
        keys = self.keys(catalog, models)
        kept = cache.read(keys.values())
        found = {
            model: pickle.loads(kept[key]) if key in kept else self.make(catalog, model) for model, key in keys.items()
        }
        if made := {key: pickle.dumps(found[model], protocol=5) for model, key in keys.items() if key not in kept}:
            cache.write(made)
        return found

    def keys(self, catalog: Catalog, models: Iterable[str]) -> dict[str, str]:
        """Under these it is kept, by model."""
        what, known = self._what(catalog), of_models(catalog, runs=self.runs)
        return {model: combined((what, known[model])) for model in models}

    def _what(self, catalog: Catalog) -> str:
        """Identifies it, and what it follows from besides the model."""
        module = sys.modules[self.make.__module__]
        folder = Path(str(module.__file__)).parent
        code = code_digest(folder.parent if "generator" in folder.parent.name else folder)
        return f"{self.make.__module__}.{self.make.__qualname__} {code} {self.also(catalog)}"


def _made(catalog: Catalog, make: Callable[[Catalog, str], T], models: Sequence[str]) -> dict[str, T]:
    return {model: make(catalog, model) for model in models}


def prepare(
    catalog: Catalog,
    wanted: Iterable[tuple[Fact[Any], Iterable[str]]],
    before: Mapping[str, Sequence[Callable[[], object]]],
) -> None:
    """Work out which facts of which models are not kept yet, spread over the cores, before they are asked for one by one. All of one
    model are worked out together, since they look at the same runs; `before` is called for a model first."""
    by_model: dict[str, list[tuple[Fact[Any], str]]] = {model: [] for model in before}
    for fact, models in wanted:
        keys = fact.keys(catalog, models)
        there = cache.there(keys.values())
        for model in (model for model, key in keys.items() if key not in there):
            by_model.setdefault(model, []).append((fact, keys[model]))
    if len(by_model) >= SPREAD_FROM:
        parts = dealt_alike(catalog, by_model, 16 * cores())
        spread(partial(_prepare, catalog, by_model, before), parts)


def _prepare(
    catalog: Catalog,
    facts: Mapping[str, Sequence[tuple[Fact[Any], str]]],
    before: Mapping[str, Sequence[Callable[[], object]]],
    models: Sequence[str],
) -> None:
    made: dict[str, bytes] = {}
    for model in models:
        for make in before.get(model, ()):
            make()
        for fact, key in facts[model]:
            made[key] = pickle.dumps(fact.make(catalog, model), protocol=5)
    cache.write(made)


def of_model(catalog: Catalog, model: str, *, runs: bool) -> str:
    """The digest of a model, its trace and what every prediction rests on, and with `runs` of its runs and publications."""
    return of_models(catalog, runs=runs)[model]


@lru_cache(maxsize=16)
def of_models(catalog: Catalog, *, runs: bool) -> Mapping[str, str]:
    """The same of every model."""
    digests, files, every = catalog.digests, _run_files(catalog) if runs else {}, of_rules(catalog)
    found: dict[str, str] = {}
    for model in catalog.models:
        names = [f"models/{model}.yaml", f"traces/{model}.json"]
        if runs:
            names += [f"published/{model}.yaml", *files.get(model, ())]
        found[model] = combined((every, model, *(f"{name} {digests.get(name)}" for name in names)))
    return found


@lru_cache(maxsize=1 << 14)
def of_trace(catalog: Catalog, model: str) -> str:
    """The digest of a model's trace and what every prediction rests on, whatever the model is called."""
    return combined((of_rules(catalog), "trace", str(catalog.digests.get(f"traces/{model}.json"))))


@lru_cache(maxsize=8)
def of_traces(catalog: Catalog) -> str:
    """The digest of all traces."""
    return combined(f"{name} {digest}" for name, digest in catalog.digests.items() if name.startswith("traces/"))


@lru_cache(maxsize=8)
def of_cards(catalog: Catalog) -> str:
    """The digest of all cards."""
    return combined(f"{key} {card.digest}" for key, card in catalog.gpu_index.items())


@lru_cache(maxsize=8)
def _run_files(catalog: Catalog) -> dict[str, list[str]]:
    """The run files of each model."""
    found: dict[str, list[str]] = {}
    for name, _, model in run_files(catalog.digests):
        found.setdefault(model, []).append(name)
    return found


@lru_cache(maxsize=8)
def of_rules(catalog: Catalog) -> str:
    """The digest of what every prediction rests on. The doubt of a prediction also asks who made the cards of the fit."""
    files = ("quantizations.yaml", "runtimes.yaml", "matmul.yaml", "speed.yaml")
    fitted = sorted(catalog.speed.known) if catalog.speed else ()
    makers = [f"{gpu} {catalog.gpu_index[gpu].vendor}" for gpu in fitted if gpu in catalog.gpus]
    code = code_digest(HERE, Path(__file__).parent)
    return combined((code, pydantic.VERSION, *(f"{name} {catalog.digests.get(name)}" for name in files), *makers))
