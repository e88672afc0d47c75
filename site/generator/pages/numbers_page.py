"""The view of the page that says how the numbers are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fitcard.advisor.accuracy import MemoryErrors, memory_summary
from fitcard.advisor.choice import TIGHT_ABOVE
from fitcard.catalog import Catalog
from fitcard.catalog.check import CheckReport, check
from fitcard.catalog.schema.engine import Libraries
from fitcard.catalog.schema.layers import LayerMemory
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.speed import SpeedFile
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES, TensorType
from fitcard.site.generator.pages.view import PageView


@dataclass(frozen=True, kw_only=True)
class NumbersPage(PageView):
    """Assumptions with their reasons, and how far predictions are off."""

    runtimes: Runtimes
    layers: dict[str, LayerMemory]
    """What the layers of a label need besides activations, for the labels that need something."""
    libraries: dict[str, Libraries]
    """What an engine's own libraries take, by engine."""
    types: Sequence[TensorType]
    report: CheckReport
    fit: SpeedFile | None
    """The fitted constants of predicted speed."""
    memory: MemoryErrors
    tight_above: float
    """The share of the free memory above which a need is tight."""


def view(catalog: Catalog) -> NumbersPage:
    """The view of the page."""
    return NumbersPage(
        runtimes=catalog.runtimes,
        layers={label: one.memory for label, one in catalog.quantizations.items() if one.memory.most},
        libraries={
            name: one.libraries for name, one in catalog.quantization_file.engines.items() if one.libraries.cpu_bytes
        },
        types=tuple(TENSOR_TYPES.values()),
        report=check(catalog),
        fit=catalog.speed,
        memory=memory_summary(catalog),
        tight_above=TIGHT_ABOVE,
    )
