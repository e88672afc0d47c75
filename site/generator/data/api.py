"""The static JSON API under api/v1/: what the pages show, for programs.

A document is made from the advisor's answers and the catalog alone. The numbers of a page and of a document are the same
because they come from the same functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from fitcard import __version__
from fitcard.advisor import fit
from fitcard.advisor.hardware import gpus_by_memory
from fitcard.advisor.memory import available_bytes
from fitcard.advisor.recommend import Pick, picks, picks_on
from fitcard.catalog import Catalog
from fitcard.catalog.prose import fill
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import NUMBER_TYPES, Gpu
from fitcard.catalog.schema.quantization import CensusRow
from fitcard.catalog.schema.record import UNVERIFIED, Record
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.storage.memo import memo, shared
from fitcard.site.generator.data.documents import (
    Counts,
    GpuDocument,
    GpuEntry,
    GpuFigure,
    GpuList,
    Index,
    Link,
    ModelDocument,
    ModelEntry,
    ModelList,
    QuantizationCounts,
    QuantizationEntry,
    QuantizationList,
    RunEntry,
    RunList,
    ShortLicence,
    VariantEntry,
    written,
)
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.pages.variants import held_of, newest_by_device, written_bytes

ROOT = "api/v1/"
VERSION = __version__


def assets(catalog: Catalog) -> Iterator[Asset]:
    """The documents about everything, but for those of `export.py`."""
    yield _document("index.json", partial(index, catalog))
    yield _document("models.json", partial(models, catalog))
    yield _document("gpus.json", partial(gpus, catalog))
    yield _document("quantizations.json", partial(quantizations, catalog))
    yield Asset(f"{ROOT}runs.json", partial(runs, catalog))


def of_model(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The document of a model, and those of its runs."""
    yield Asset(f"{ROOT}models/{key}.json", partial(model, catalog, key))
    for run in catalog.summaries_of(key):
        yield Asset(f"{ROOT}runs/{run.key}.json", partial(_run_json, catalog, run.key))


def of_gpu(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The document of a GPU."""
    yield Asset(f"{ROOT}gpus/{key}.json", partial(gpu, catalog, key))


def _document(path: str, make: Callable[[], Record]) -> Asset:
    return Asset(ROOT + path, lambda: written(make()))


def _with(field: str, rows: bytes, document: Record) -> bytes:
    """A document without rows, as it is written with these. They are written from mappings: by the hundred, records would take longer to
    make than all the rest of the document, only to be checked for what they were made from."""
    empty = written(document)
    at = empty.index(f'"{field}":[]'.encode()) + len(field) + 4
    return empty[:at] + rows + empty[at:]


def index(catalog: Catalog) -> Index:
    """Where everything is."""
    one, two = "api/v1/schema.json#/$defs/", "api/v1/csv-metadata.json"
    return Index(
        version=VERSION,
        counts=Counts(
            models=len(catalog.models), gpus=len(catalog.gpus), quantizations=len(catalog.quantizations),
            runs=len(catalog.run_index), published=sum(len(entry.speeds) for entry in catalog.published_index.values()),
        ),
        documents=tuple(
            Link(path=ROOT + path, schema_path=described, what=what)
            for path, described, what in (
                ("index.json", f"{one}Index", "this list"),
                ("schema.json", None, "the JSON Schema of these documents"),
                ("models.json", f"{one}ModelList", "every model in short"),
                ("models/{id}.json", f"{one}ModelDocument", "a model: its variants, every GPU, its runs"),
                ("gpus.json", f"{one}GpuList", "every GPU in short"),
                ("gpus/{id}.json", f"{one}GpuDocument", "a GPU: its figures with sources, every model"),
                ("quantizations.json", f"{one}QuantizationList", "what the labels mean"),
                ("runs.json", f"{one}RunList", "every run in short"),
                ("runs/{key}.json", f"{one}Run", "a run as the profiler wrote it, every sample"),
                ("catalog.json", f"{one}CatalogDocument", "the catalog, every fact with its source"),
                ("csv-metadata.json", None, "what the columns of the tables mean, as CSV on the Web"),
                ("models.csv", two, "models as a table"),
                ("gpus.csv", two, "GPUs as a table"),
                ("runs.csv", two, "runs as a table, a line for each batch"),
                ("published.csv", two, "throughputs that others measured, as a table"),
            )
        ),
    )  # fmt: skip


def models(catalog: Catalog) -> ModelList:
    """Every model in short."""
    return ModelList(models=tuple(entry(catalog, key) for key in catalog.models))


@memo
def entry(catalog: Catalog, key: str) -> ModelEntry:
    """A model in short."""
    licence = catalog.models[key].license
    return ModelEntry(
        **_model_facts(catalog, key), license=ShortLicence(id=licence.id, commercial_use=licence.commercial_use)
    )


def gpus(catalog: Catalog) -> GpuList:
    """Every GPU in short, the smallest memory first."""
    keys = gpus_by_memory(catalog)
    return GpuList(gpus=tuple(GpuEntry(**_gpu_facts(catalog, catalog.gpus[key])) for key in keys))


def quantizations(catalog: Catalog) -> QuantizationList:
    """Every label with what was measured of it."""
    file = catalog.quantization_file
    published = Counter(label for one in catalog.published_index.values() for _, label in one.speeds)
    ran, good = Counter[str](), dict[str, set[str]]()
    for run in catalog.run_index:
        ran[run.quantization] += 1
        if run.status == "ok":
            good.setdefault(run.quantization, set()).add(run.model)
    labels = tuple(
        QuantizationEntry(
            label=label, name=record.name, runtime=record.runtime, format=record.format, summary=record.summary,
            requirements=record.requires,
            counts=QuantizationCounts(runs=ran[label], models=len(good.get(label, ())), published=published[label]),
        )
        for label, record in file.quantizations.items()
    )  # fmt: skip
    return QuantizationList(quantizations=labels, sources=file.sources)


def runs(catalog: Catalog) -> bytes:
    """Every run in short, a `RunList`."""
    fields = RunEntry.model_fields.keys() - {"schema_version", "document"}
    rows = [
        to_json(
            {name: value for name, value in run._asdict().items() if name in fields}
            | {"document": f"{ROOT}runs/{run.key}.json"}
        )
        for run in catalog.run_index
    ]
    return _with("runs", b",".join(rows), RunList(runs=()))


def model(catalog: Catalog, key: str) -> bytes:
    """All of a model, a `ModelDocument`: its variants, and its pick on every GPU."""
    record = catalog.models[key]
    rows = [
        to_json({**fit, "gpu": card, "name": catalog.gpu_index[card].name}) for card, fit in fits(catalog, key).items()
    ]
    return _with("rows", b",".join(rows), ModelDocument(
        **_model_facts(catalog, key), license=record.license,
        default_component=fit.default_component(catalog, key), variants=variants(catalog, key), rows=(),
        runs=tuple(run.key for run in catalog.summaries_of(key)),
        claims=record.claims, used_by=record.used_by, sources=record.sources,
    ))  # fmt: skip


def gpu(catalog: Catalog, key: str) -> bytes:
    """All of a GPU, a `GpuDocument`: its figures with their sources, and what it runs."""
    card = catalog.gpus[key]
    models = catalog.model_index
    rows = [
        to_json({**fit_of(pick), "model": name, "name": models[name].name, "tasks": models[name].tasks})
        for name, pick in picks_on(catalog, key).items()
    ]
    figures: dict[str, GpuFigure] = {}
    for figure in sorted(card.spec.figures):
        value = getattr(card.spec, figure)
        stating = tuple(s for s, names in card.spec.sources.items() if figure in names and s != UNVERIFIED)
        figures[figure] = GpuFigure(value=value.model_dump() if isinstance(value, Record) else value, sources=stating)
    return _with("rows", b",".join(rows), GpuDocument(
        **_gpu_facts(catalog, card), figures=figures, unverified=card.spec.unverified, unit_rates=card.rates,
        rows=(), sources=card.sources,
    ))  # fmt: skip


@shared
def fits(catalog: Catalog, key: str) -> Mapping[str, dict[str, Any]]:
    """What a `Fit` holds for a model on each GPU. A model's document and its picture ask for it."""
    return {card: fit_of(pick) for card, pick in picks(catalog, key).items()}


def fit_of(pick: Pick) -> dict[str, Any]:
    """What a `Fit` holds for one model on one GPU, in its order."""
    answer, throughput = pick.nearest, pick.throughput
    speed = throughput and {
        "per_second": throughput.per_second, "unit": COMPONENTS[answer.component].unit, "low": throughput.low, "high": throughput.high,
        "evidence": throughput.evidence, "record": throughput.record, "recorded_by": throughput.recorded_by,
        "batch": throughput.batch, "quantization": throughput.quantization, "mode": throughput.mode,
    }  # fmt: skip
    return {
        "component": answer.component, "quantization": answer.quantization, "verdict": answer.verdict,
        "evidence": answer.evidence, "required_bytes": answer.memory.required_bytes,
        "available_bytes": answer.memory.available_bytes, "max_batch": answer.max_batch, "speed": speed,
    }  # fmt: skip


@shared
def variants(catalog: Catalog, key: str) -> tuple[VariantEntry, ...]:
    """Every component in every quantization. A model's document and its card for the hub hold the same."""
    return tuple(
        _variant(catalog, key, component, label)
        for component in catalog.traces[key].components()
        for label in catalog.labels_of(component)
    )


def _variant(catalog: Catalog, key: str, component: Component, label: str) -> VariantEntry:
    held = held_of(catalog, key, component, label)
    measured = written_bytes(newest_by_device(catalog, key, component, label))
    size = measured or held.file_bytes
    return VariantEntry(
        component=component, quantization=label, bits_per_weight=held.bits, file_bytes=size,
        file_evidence="measured" if measured else "predicted" if size else None,
        weights_bytes=held.weights_bytes, required_bytes=held.needed_bytes,
        census={s.name: CensusRow(tensors=s.tensors, elements=s.elements, bytes=s.bytes) for s in held.census},
    )  # fmt: skip


def _model_facts(catalog: Catalog, key: str) -> dict[str, Any]:
    """What the list and the document of a model share."""
    record, trace = catalog.models[key], catalog.traces[key]
    image = next((phase for phase in trace.phases if phase.image_size), None)
    text = next((phase for phase in trace.phases if phase.text_tokens), None)
    return {
        "id": key, "name": record.name, "family": record.family, "tasks": record.tasks,
        "summary": fill(record.verdict, catalog, key), "released": record.released,
        "parameters": {c: trace.parameters(c) for c in trace.components()},
        "image_size": image and image.image_size, "image_tokens": image and image.image_tokens,
        "text_tokens": text and text.text_tokens, "context_tokens": record.context_tokens,
        "multiply_adds": {component: trace.multiply_adds(component) for component in trace.components()},
        "run_count": len(catalog.summaries_of(key)),
        "page": quote(f"models/{key}/"), "document": quote(f"{ROOT}models/{key}.json"),
    }  # fmt: skip


def _gpu_facts(catalog: Catalog, card: Gpu) -> dict[str, Any]:
    """What the list and the document of a GPU share."""
    spec = card.spec
    return {
        "id": card.id, "name": card.name, "vendor": card.vendor, "generation": card.generation, "segment": spec.segment,
        "memory_bytes": spec.memory_bytes, "memory_gib": spec.memory_gib, "available_bytes": available_bytes(catalog.runtimes, card),
        "bandwidth_bytes_per_s": spec.bandwidth_gb_per_s and spec.bandwidth_gb_per_s * 1e9,
        "rates_flop_per_s": {kind: rate for kind in NUMBER_TYPES if (rate := card.peak_flops(kind))},
        "supports": card.rates.supports if card.rates else None,
        "compute_capability": spec.compute_capability, "gfx": spec.gfx,
        "board_power_w": spec.board_power_w, "released": spec.released,
        "page": quote(f"gpus/{card.id}/"), "document": quote(f"{ROOT}gpus/{card.id}.json"),
    }  # fmt: skip


def _run_json(catalog: Catalog, key: str) -> bytes:
    return f"{catalog.run(key).model_dump_json(indent=1)}\n".encode()
