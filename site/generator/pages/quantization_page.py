"""The views of the page of a quantization and of the list of them: what the label means, and what it becomes model by model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fitcard.advisor.choice import refusal
from fitcard.advisor.device_runs import counts
from fitcard.advisor.fit import default_component
from fitcard.advisor.run_band import doubted_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.record import Source
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.storage.memo import memo
from fitcard.catalog.summaries import RunSummary
from fitcard.site.generator.pages.jsonld import breadcrumbs, graph
from fitcard.site.generator.pages.variants import QuantizedSize, held_of
from fitcard.site.generator.pages.view import PageView


@dataclass(frozen=True)
class QuantizedModel:
    """What the label makes of one model's main component."""

    id: str
    name: str
    component: Component
    size: QuantizedSize


class LabelRun(NamedTuple):
    """One run of the label, beside BF16 of the same model on the same device."""

    key: str
    model: str
    component: Component
    mode: Mode
    device_name: str
    per_second: float
    batch: int
    compared: bool
    """Whether its embeddings were compared with those in FP32."""
    cosine_mean: float | None
    """Of them; None where none was compared or none is finite."""
    against: float | None
    """Throughput over that of BF16 at the same batch; None where there is no such run."""
    recorded_by: str | None


GpusByVendor = dict[str, list[Gpu]]


@dataclass(frozen=True, kw_only=True)
class QuantizationPage(PageView):
    """Everything that the template of a quantization page draws."""

    quantization: Quantization
    runtime: str
    """The runtime in words."""
    models: list[QuantizedModel]
    runs: list[LabelRun]
    served: GpusByVendor
    """GPUs whose hardware serves the label."""
    refused: GpusByVendor
    sources: list[Source]


def view(catalog: Catalog, label: str) -> QuantizationPage:
    """The view of one quantization."""
    quantization = listed_labels(catalog)[label]
    file = catalog.quantization_file
    served, refused = _support(catalog, quantization)
    return QuantizationPage(
        jsonld=graph(breadcrumbs(("Home", "../../"), ("Quantizations", "../"), (quantization.name, None))),
        quantization=quantization,
        runtime=quantization.engine.words,
        models=_quantized_models(catalog, label),
        runs=_seen(catalog, label),
        served=served,
        refused=refused,
        sources=[file.sources[key] for key in (*quantization.sources, quantization.requires.source) if key],
    )


@dataclass(frozen=True)
class QuantizationRow:
    """One label in the list of all."""

    label: str
    quantization: Quantization
    low: float | None
    """The fewest bits per weight that it takes of any model."""
    high: float | None
    gpus: int
    """GPUs that serve it."""
    runs: int


@dataclass(frozen=True, kw_only=True)
class QuantizationListPage(PageView):
    """All quantizations, with the span of bits that they really take over all models."""

    rows: list[QuantizationRow]
    gpus: int


def index(catalog: Catalog) -> QuantizationListPage:
    """The view of the list."""
    runs, labels = (
        Counter(entry.quantization for entry in catalog.run_index if entry.status == "ok"),
        listed_labels(catalog),
    )
    return QuantizationListPage(
        jsonld=graph(breadcrumbs(("Home", "../"), ("Quantizations", None))),
        rows=[
            QuantizationRow(**span, quantization=labels[span["label"]], runs=runs[span["label"]])
            for span in _spans(catalog)
        ],
        gpus=len(catalog.gpus),
    )


def listed_labels(catalog: Catalog) -> Mapping[str, Quantization]:
    """Every label with its meaning; those for language models alone only where there is such a model."""
    language = any("language" in size.components for size in catalog.trace_index.values())
    return catalog.every_label if language else catalog.quantizations


@memo
def _spans(catalog: Catalog) -> list[dict[str, Any]]:
    """What the list says of each label whatever was run."""
    spans: list[dict[str, Any]] = []
    for label, quantization in listed_labels(catalog).items():
        bits = [row.size.bits for row in _quantized_models(catalog, label)]
        gpus = sum(map(len, _support(catalog, quantization)[0].values()))
        spans.append({"label": label, "low": min(bits, default=None), "high": max(bits, default=None), "gpus": gpus})
    return spans


@memo
def _quantized_models(catalog: Catalog, label: str) -> list[QuantizedModel]:
    """What a label makes of the main component of each model, by name."""
    rows: list[QuantizedModel] = []
    for key, model in catalog.model_index.items():
        component = default_component(catalog, key)
        if label not in catalog.labels_of(component):
            continue
        rows.append(QuantizedModel(key, model.name, component, held_of(catalog, key, component, label)))
    return sorted(rows, key=lambda row: row.name.casefold())


def _seen(catalog: Catalog, label: str) -> list[LabelRun]:
    """The newest good run of each model in a label for each component, device and mode, without those that are
    flagged."""
    runs = [run for run in catalog.run_index if run.quantization in (label, "BF16") and counts(catalog, run)]
    places = {(run.model, run.device) for run in runs}
    doubted = {key for model, device in places for key in doubted_on(catalog, model, device)}
    newest: dict[tuple[str, ...], RunSummary] = {}
    for run in (run for run in reversed(runs) if run.key not in doubted):
        newest.setdefault((run.model, run.component, run.device, run.mode, run.quantization), run)
    rows = [
        _label_run(run, newest.get((*conditions, "BF16")))
        for (*conditions, quantization), run in newest.items()
        if quantization == label and run.best is not None and run.best.per_second is not None
    ]
    order = {model: at for at, model in enumerate(catalog.models)}
    return sorted(rows, key=lambda row: order[row.model])


def _label_run(run: RunSummary, baseline: RunSummary | None) -> LabelRun:
    best = run.best
    assert best is not None  # only runs with a speed are told of
    assert best.per_second is not None
    other = next((one.per_second for one in baseline.batches if one.batch == best.batch), None) if baseline else None
    return LabelRun(
        key=run.key,
        model=run.model,
        component=run.component,
        mode=run.mode,
        device_name=run.device_name,
        per_second=best.per_second,
        batch=best.batch,
        compared=run.compared,
        cosine_mean=run.cosine_mean,
        recorded_by=run.recorded_by,
        against=best.per_second / other if other else None,
    )


def _support(catalog: Catalog, quantization: Quantization) -> tuple[GpusByVendor, GpusByVendor]:
    """The GPUs whose hardware serves the label by its stated requirements, and those that it does not, by vendor."""
    served: GpusByVendor = {}
    refused: GpusByVendor = {}
    for gpu in catalog.gpus.values():
        group = refused if refusal(quantization, gpu) else served
        group.setdefault(gpu.vendor, []).append(gpu)
    return served, refused
