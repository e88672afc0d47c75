"""Models with one and the same trace, as fine-tunes of one architecture have: what follows from a trace alone is worked out once."""

from __future__ import annotations

from functools import lru_cache

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.schema.quantization import Typed, typed_tensors
from fitcard.catalog.schema.trace import Component


def first_alike(catalog: Catalog, model: str) -> str:
    """The first model whose trace is that of `model`; itself where it has none before it, or was changed in memory."""
    return _groups(catalog)[0][model]


def all_alike(catalog: Catalog, model: str) -> tuple[str, ...]:
    """Every model whose trace is that of `model`, itself among them, in the order of the catalog."""
    return _groups(catalog)[1][first_alike(catalog, model)]


def typed_alike(catalog: Catalog, model: str, component: Component, label: str) -> list[Typed]:
    """The types that a label gives to the tensors of a component. Kept while one model is looked at, since its file, its weights in
    memory and its census all follow from them."""
    return _typed(catalog, first_alike(catalog, model), component, label)


@lru_cache(maxsize=256)
def _typed(catalog: Catalog, first: str, component: Component, label: str) -> list[Typed]:
    return typed_tensors(catalog.quantizations[label], catalog.traces[first].tensors_of(component))


@lru_cache(maxsize=16)
def _groups(catalog: Catalog) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    by_digest: dict[str, list[str]] = {}
    for model in catalog.models:
        by_digest.setdefault(catalog.digest_of(f"traces/{model}"), []).append(model)
    groups = {models[0]: tuple(models) for models in by_digest.values()}
    return {model: first for first, models in groups.items() for model in models}, groups
