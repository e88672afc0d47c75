"""Models worth comparing: the same parameter band, one tier above, one below."""

from __future__ import annotations

from dataclasses import dataclass

from catalog import Catalog
from catalog.trace import Component

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
    others = [
        (key, parameters(catalog, key, component)) for key in catalog.models
        if key != model and component in catalog.trace_index[key].components
    ]  # fmt: skip
    near = sorted(others, key=lambda other: (abs(other[1] - size), other[0]))
    return Neighbours(
        same=tuple(key for key, n in near if size / BAND <= n <= size * BAND)[:most],
        above=tuple(key for key, n in near if n > size * BAND)[:most],
        below=tuple(key for key, n in near if n < size / BAND)[:most],
    )


def parameters(catalog: Catalog, model: str, component: Component) -> int:
    """Exact parameters of a component, all of them for `all`."""
    return catalog.trace_index[model].parameters[component]
