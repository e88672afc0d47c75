"""Models worth comparing: the same parameter band, one tier above, one below."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nsmallest

from fitcard.catalog import Catalog
from fitcard.catalog.schema.trace import Component

BAND = 1.6
"""Models within this factor of each other are in one band. Halving or doubling is a tier; 1.6 lies between."""


@dataclass(frozen=True)
class Neighbours:
    """Ids of models, the nearest in size first."""

    same: tuple[str, ...]
    above: tuple[str, ...]
    below: tuple[str, ...]


def neighbours(catalog: Catalog, model: str, component: Component, most: int = 4) -> Neighbours:
    """The models that run the same component, by its number of parameters."""
    size = parameters(catalog, model, component)
    low, high = size / BAND, size * BAND
    same: list[tuple[int, str]] = []
    above: list[tuple[int, str]] = []
    below: list[tuple[int, str]] = []
    for key, n in _sizes(catalog, component):
        if key != model:
            (below if n < low else above if n > high else same).append((abs(n - size), key))
    return Neighbours(*(tuple(key for _, key in nsmallest(most, band)) for band in (same, above, below)))


def _sizes(catalog: Catalog, component: Component) -> list[tuple[str, int]]:
    """The models that have a component, with its parameters."""
    return [
        (key, trace.parameters[component])
        for key, trace in catalog.trace_index.items()
        if component in trace.components and key in catalog.model_index
    ]


def parameters(catalog: Catalog, model: str, component: Component) -> int:
    """Exact parameters of a component, all of them for `all`."""
    return catalog.trace_index[model].parameters[component]
