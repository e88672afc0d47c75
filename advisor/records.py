"""The records that a question rests on, read from the catalog once and handed to functions that know no catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fitcard.catalog import Catalog
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.speed import SpeedFile
from fitcard.catalog.schema.trace import Component, Phase, Trace
from fitcard.catalog.schema.workload import Variant
from fitcard.catalog.storage.memo import shared


class VariantRecords(NamedTuple):
    """A variant by its records: all that memory and speed follow from, whatever the model is called."""

    trace: Trace
    component: Component
    quantization: Quantization

    @property
    def phase(self) -> Phase:
        """How the component runs. Raises KeyError for a component that the model does not have."""
        return self.trace.phase(self.component)


def records_of(catalog: Catalog, variant: Variant) -> VariantRecords:
    """The records of a variant. Raises KeyError for an id that the catalog does not hold."""
    labels = catalog.labels_of(variant.component)
    return VariantRecords(catalog.traces[variant.model], variant.component, labels[variant.quantization])


@dataclass(frozen=True, eq=False)
class Rules:
    """What every answer rests on besides the variant and the GPU. What follows from them is kept by the object."""

    quantizations: Mapping[str, Quantization]
    runtimes: Runtimes
    matmul: MatmulFile
    speed: SpeedFile | None
    vendors: Mapping[str, str]
    """The vendor of each GPU on which models were measured: a prediction is less sure for others."""
    language: Mapping[str, Quantization]
    """The quantizations of language models."""


@shared
def rules_of(catalog: Catalog) -> Rules:
    """Those of a catalog."""
    measured = catalog.speed.known if catalog.speed else ()
    vendors = {gpu: catalog.gpu_index[gpu].vendor for gpu in measured if gpu in catalog.gpus}
    return Rules(
        catalog.quantizations, catalog.runtimes, catalog.matmul, catalog.speed, vendors, catalog.labels_of("language")
    )
