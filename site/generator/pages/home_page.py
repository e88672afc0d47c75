"""The views of the home page and of the lists of models and GPUs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import NamedTuple

from fitcard.advisor import fit
from fitcard.advisor.run_band import flagged
from fitcard.catalog import Catalog
from fitcard.catalog.check import counts
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.summaries import ModelSummary, RunSummary
from fitcard.site.generator.pages import events
from fitcard.site.generator.pages.events import Event
from fitcard.site.generator.pages.gpu_lists import MEMORY_OPTIONS, by_vendor, segment_options, vendor_options
from fitcard.site.generator.pages.jsonld import breadcrumbs, graph
from fitcard.site.generator.pages.view import PageView

NEWEST = 8
"""Runs that the home page shows."""


class NewestRun(NamedTuple):
    """A run as the home page tells of it, at the batch with the highest throughput."""

    key: str
    model: str
    component: Component
    quantization: str
    device_name: str
    per_second: float
    batch: int
    memory_bytes: int | None
    recorded_by: str | None
    outside: bool
    """Whether it is outside the expected band, and nobody signed it off."""


@dataclass(frozen=True)
class VendorGpus:
    """The GPUs of one vendor, and whether their list is open at first: that of the vendor with the most of them is."""

    vendor: str
    gpus: list[Gpu]
    open: bool


@dataclass(frozen=True, kw_only=True)
class HomePage(PageView):
    """Entry by model and by GPU, and the newest runs."""

    counts: dict[str, int]
    vendors: list[tuple[str, list[Gpu]]]
    tasks: list[tuple[str, list[tuple[str, ModelSummary]]]]
    newest: list[NewestRun]
    by_gpu: list[VendorGpus]


def view(catalog: Catalog) -> HomePage:
    """The view of the home page."""
    return HomePage(
        jsonld=graph(breadcrumbs(("Home", None))),
        counts=counts(catalog),
        vendors=by_vendor(catalog),
        tasks=_by_task(catalog),
        newest=_newest(catalog),
        by_gpu=_by_gpu(catalog),
    )


def _newest(catalog: Catalog) -> list[NewestRun]:
    """The newest runs that measured something, the newest first."""
    newest = list(islice((entry for entry in reversed(catalog.run_index) if entry.status == "ok"), NEWEST))
    return [_newest_run(catalog, entry) for entry in newest]


def _newest_run(catalog: Catalog, run: RunSummary) -> NewestRun:
    best = run.best
    assert best is not None and best.per_second is not None  # no run is a success without one
    return NewestRun(
        key=run.key,
        model=run.model,
        component=run.component,
        quantization=run.quantization,
        device_name=run.device_name,
        per_second=best.per_second,
        batch=best.batch,
        memory_bytes=best.memory_bytes,
        recorded_by=run.recorded_by,
        outside=run.key in flagged(catalog, run.model),
    )


def _by_task(catalog: Catalog) -> list[tuple[str, list[tuple[str, ModelSummary]]]]:
    """Models by what they are for, the task with the most of them first."""
    tasks: dict[str, list[tuple[str, ModelSummary]]] = {}
    for key, model in by_name(catalog):
        for task in model.tasks:
            tasks.setdefault(task, []).append((key, model))
    return sorted(tasks.items(), key=lambda one: (-len(one[1]), one[0]))


def _by_gpu(catalog: Catalog) -> list[VendorGpus]:
    vendors = by_vendor(catalog)
    most = max(vendors, key=lambda one: len(one[1]), default=None)
    return [VendorGpus(vendor, gpus, (vendor, gpus) == most) for vendor, gpus in vendors]


def by_name(catalog: Catalog) -> list[tuple[str, ModelSummary]]:
    """Models with their ids in the order of the names that people read."""
    return sorted(catalog.model_index.items(), key=lambda one: one[1].name.casefold())


@dataclass(frozen=True)
class ModelListRow:
    """A model with its size."""

    id: str
    model: ModelSummary
    main: Component
    parameters: int
    """Of the whole checkpoint."""
    main_parameters: int
    cost: float
    """Multiply-adds of one item through the main component, in 10^9."""
    runs: int | None = None
    """Runs by fitcard that worked, where the list says so."""


@dataclass(frozen=True, kw_only=True)
class ModelListPage(PageView):
    """All models with their sizes, and how often each was run."""

    models: list[ModelListRow]
    task_options: list[tuple[str, str]]
    family_options: list[tuple[str, str]]
    licence_options: list[tuple[str, str]]


def models(catalog: Catalog) -> ModelListPage:
    """The view of the list of models."""
    every = catalog.model_index.values()
    runs = Counter(entry.model for entry in catalog.run_index if entry.status == "ok")
    return ModelListPage(
        jsonld=graph(breadcrumbs(("Home", "../"), ("Models", None))),
        models=[replace(row, runs=runs[row.id]) for row in _model_rows(catalog)],
        task_options=_task_options(catalog),
        family_options=_options({model.family for model in every}),
        licence_options=_options({model.licence for model in every}),
    )


def _model_rows(catalog: Catalog) -> list[ModelListRow]:
    rows: list[ModelListRow] = []
    for key, model in by_name(catalog):
        size = catalog.trace_index[key]
        main = fit.default_component(catalog, key)
        rows.append(
            ModelListRow(
                id=key,
                model=model,
                main=main,
                parameters=size.parameters["all"],
                main_parameters=size.parameters[main],
                cost=size.multiply_adds[main] / 1e9,
            )
        )
    return rows


def _task_options(catalog: Catalog) -> list[tuple[str, str]]:
    return _options({task for model in catalog.model_index.values() for task in model.tasks})


def _options(values: set[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in sorted(values)]


@dataclass(frozen=True, kw_only=True)
class GpuListPage(PageView):
    """All GPUs by vendor and memory."""

    gpus: list[Gpu]
    vendor_options: list[tuple[str, str]]
    segment_options: list[tuple[str, str]]
    memory_options: tuple[tuple[int, str], ...] = MEMORY_OPTIONS


def gpus(catalog: Catalog) -> GpuListPage:
    """The view of the list of GPUs."""
    return GpuListPage(
        jsonld=graph(breadcrumbs(("Home", "../"), ("GPUs", None))),
        gpus=[gpu for _, group in by_vendor(catalog) for gpu in group],
        vendor_options=vendor_options(catalog),
        segment_options=segment_options(catalog),
    )


@dataclass(frozen=True, kw_only=True)
class ComparePage(PageView):
    """Models or GPUs side by side: the choosers' options, and all models in one table."""

    models: list[ModelListRow]
    vendors: list[tuple[str, list[Gpu]]]


def compare(catalog: Catalog) -> ComparePage:
    """The view of the page that compares."""
    return ComparePage(
        jsonld=graph(breadcrumbs(("Home", "../"), ("Compare", None))),
        models=_model_rows(catalog),
        vendors=by_vendor(catalog),
    )


@dataclass(frozen=True, kw_only=True)
class SearchPage(PageView):
    """The values of the filters of the search."""

    task_options: list[tuple[str, str]]
    vendor_options: list[tuple[str, str]]


def search(catalog: Catalog) -> SearchPage:
    """The view of the page that searches."""
    return SearchPage(
        jsonld=graph(breadcrumbs(("Home", "../"), ("Search", None))),
        task_options=_task_options(catalog),
        vendor_options=vendor_options(catalog),
    )


@dataclass(frozen=True, kw_only=True)
class ChangesPage(PageView):
    """What happened to all models and GPUs by day, the newest first."""

    days: list[tuple[str, list[Event]]]
    older: int
    """Events that are not told here."""


def changes(catalog: Catalog) -> ChangesPage:
    """The view of the page of what changed."""
    newest, older = events.newest(catalog)
    return ChangesPage(
        jsonld=graph(breadcrumbs(("Home", "../"), ("What changed", None))),
        days=[(day, list(told)) for day, told in groupby(newest, key=lambda event: event.date)],
        older=older,
    )
