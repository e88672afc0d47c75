"""What each quantization makes of a model: it follows from the model's tensors alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from fitcard.advisor.evidence import evidence_of
from fitcard.advisor.language_memory import completed, need_on
from fitcard.advisor.language_model import traced_model
from fitcard.advisor.memory import terms, weights_of
from fitcard.advisor.records import VariantRecords, records_of
from fitcard.catalog import Catalog
from fitcard.catalog.file_format import variant_bytes
from fitcard.catalog.schema.quantization import Census, bits_per_weight, census_of, typed_of
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Setup, Variant, Workload


@dataclass(frozen=True, slots=True)
class CensusShare:
    """One tensor type's part of a variant's bytes, as a bar in percent from the left."""

    name: str
    start: float
    width: float
    tensors: int
    elements: int
    bytes: int


@dataclass(frozen=True, slots=True)
class QuantizedSize:
    """What one label makes of one component."""

    census: tuple[CensusShare, ...]
    bits: float
    """Bits per weight, norms and biases included."""
    file_bytes: int | None
    """Of the file that holds it; None where that is not known without writing it."""
    weights_bytes: int
    """In memory while it runs."""
    needed_bytes: int
    """At batch 1, everything included, on an NVIDIA GPU where the label runs on one."""
    fallback: float
    """Percent of the bytes of its weight matrices that are not of the label's own type."""


Labels = dict[Component, dict[str, QuantizedSize]]


def labels_of(catalog: Catalog, key: str) -> Labels:
    """The sizes of each label, for each component of a model."""
    return {
        component: {label: held_of(catalog, key, component, label) for label in catalog.labels_of(component)}
        for component in catalog.traces[key].components()
    }


def held_of(catalog: Catalog, key: str, component: Component, label: str) -> QuantizedSize:
    """What one label makes of one component."""
    variant = Variant(key, component, label)
    size = _size_of(records_of(catalog, variant), catalog.runtimes)
    return replace(size, file_bytes=variant_bytes(catalog, variant))  # a GGUF file holds the model's name


def newest_by_device(catalog: Catalog, key: str, component: Component, label: str) -> tuple[Run, ...]:
    """The newest good run of a variant on each device that its model ran on."""
    devices = dict.fromkeys(entry.device for entry in catalog.summaries_of(key))
    evidence = evidence_of(catalog, key)
    return tuple(run for device in devices if (run := evidence.run(component, label, Setup(device))))


def written_bytes(runs: Iterable[Run]) -> int | None:
    """The size of the file that one of a variant's runs wrote; None where none did."""
    return next((run.file_bytes for run in runs if run.file_bytes), None)


@lru_cache(maxsize=1 << 12)
def _size_of(records: VariantRecords, runtimes: Runtimes) -> QuantizedSize:
    """The same for all models with one trace, without the size of the file."""
    quantization = records.quantization
    typed = typed_of(records.trace, records.component, quantization)
    census = census_of(typed)
    matrices = [row for row in typed if row.tensor.kind == "linear" and len(row.tensor.shape) > 1]
    total = sum(row.bytes * row.times for row in matrices)
    own = {quantization.weight_type} | {rule.type for rule in quantization.rules}
    other = sum(row.bytes * row.times for row in matrices if row.type not in own)
    if records.component == "language":
        weights, needed = _language_bytes(records, runtimes)
    else:
        vendor = (quantization.requires.vendors or ("NVIDIA",))[0]
        weights = weights_of(records, quantization.held_bits).bytes
        needed = terms(records, runtimes, vendor).least_bytes
    return QuantizedSize(
        census=shares(census),
        bits=bits_per_weight(census),
        file_bytes=None,
        weights_bytes=weights,
        needed_bytes=needed,
        fallback=round(100 * other / total, 1) if total else 0.0,
    )


def _language_bytes(records: VariantRecords, runtimes: Runtimes) -> tuple[int, int]:
    """Weights of a language model on an NVIDIA GPU, and all that it needs there for one sequence of the usual context."""
    model = traced_model(records.trace, records.quantization)
    needed = need_on(model, runtimes, "NVIDIA", False, completed(Workload(), model.longest_context))
    return needed.weights_bytes, needed.required_bytes


def shares(census: Census) -> tuple[CensusShare, ...]:
    """A census as parts of a bar."""
    total = sum(row.bytes for row in census.values())
    parts: list[CensusShare] = []
    start = 0.0
    for name, row in census.items():
        width = 100 * row.bytes / total
        parts.append(CensusShare(name, round(start, 2), round(width, 2), row.tensors, row.elements, row.bytes))
        start += width
    return tuple(parts)
