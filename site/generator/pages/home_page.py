"""The views of the home page and of the two lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import groupby, islice
from typing import Any, NamedTuple

from fitcard.advisor import fit
from fitcard.catalog import Catalog
from fitcard.catalog.check import counts
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.summaries import ModelSummary
from fitcard.site.generator.pages import events
from fitcard.site.generator.pages.jsonld import breadcrumbs, graph
from fitcard.site.generator.pages.model_page import TOWERS, by_vendor

NEWEST = 8
"""Runs that the home page shows."""


def view(catalog: Catalog) -> dict[str, Any]:
    """The home page: entry by model and by card, and the newest runs."""
    return {
        "newest": _newest(catalog), "counts": counts(catalog), "tasks": partial(_by_task, catalog), "vendors": partial(by_vendor, catalog),
        "by_card": partial(_by_card, catalog), "lists_key": None, "towers": TOWERS, "units": {component: words.unit for component, words in COMPONENTS.items()}, "jsonld": graph(breadcrumbs(("Home", None))),
    }  # fmt: skip


class Newest(NamedTuple):
    """A run as the home page tells of it, at the batch with the highest throughput."""

    key: str
    model: str
    component: Component
    quantization: str
    device_name: str
    per_second: float
    batch: int
    memory_bytes: int | None


def _newest(catalog: Catalog) -> list[Newest]:
    """The newest runs that measured something, the newest first."""
    newest = list(islice((entry for entry in reversed(catalog.run_index) if entry.status == "ok"), NEWEST))
    return [_told(catalog.run(entry.key)) for entry in newest]


def _told(run: Run) -> Newest:
    speed = run.best_speed
    assert speed is not None  # no run is a success without one
    memory = run.batch_memory(speed.batch)
    return Newest(
        run.key, run.model, run.component, run.quantization, run.machine.device_name, speed.per_second, speed.batch,
        memory.total_bytes if memory else None,
    )  # fmt: skip


def _by_task(catalog: Catalog) -> list[tuple[str, list[tuple[str, ModelSummary]]]]:
    """Models by what they are for, the task with the most of them first."""
    tasks: dict[str, list[tuple[str, ModelSummary]]] = {}
    for key, model in by_name(catalog):
        for task in model.tasks:
            tasks.setdefault(task, []).append((key, model))
    return sorted(tasks.items(), key=lambda one: (-len(one[1]), one[0]))


def _by_card(catalog: Catalog) -> list[tuple[str, list[Gpu], bool]]:
    """Cards by vendor, and whether it is the first with the most of them."""
    vendors = by_vendor(catalog)
    most = max(vendors, key=lambda one: len(one[1]), default=None)
    return [(vendor, cards, (vendor, cards) == most) for vendor, cards in vendors]


def by_name(catalog: Catalog) -> list[tuple[str, ModelSummary]]:
    """Models with their ids in the order of the names that people read."""
    return sorted(catalog.model_index.items(), key=lambda one: one[1].name.casefold())


def models(catalog: Catalog) -> dict[str, Any]:
    """All models with their sizes, and how often each was run."""
    runs = Counter(entry.model for entry in catalog.run_index if entry.status == "ok")
    rows = [{**row, "runs": runs[row["id"]]} for row in _sized(catalog)]
    return {"models": rows, **_options(catalog), "jsonld": graph(breadcrumbs(("Home", "../"), ("Models", None)))}


def _sized(catalog: Catalog) -> list[dict[str, Any]]:
    """All models with their sizes."""
    rows: list[dict[str, Any]] = []
    for key, model in by_name(catalog):
        size = catalog.trace_index[key]
        main = fit.default_component(catalog, key)
        rows.append({
            "id": key, "model": model, "parameters": size.parameters["all"], "tower": size.parameters[main], "main": main,
            "cost": size.multiply_adds[main] / 1e9,
        })  # fmt: skip
    return rows


def _options(catalog: Catalog) -> dict[str, list[tuple[str, str]]]:
    """What lists of models can be filtered by."""
    every = catalog.model_index.values()
    return {
        f"{name}_options": [(one, one) for one in sorted({one for model in every for one in of(model)})]
        for name, of in _FACETS.items()
    }


_FACETS: dict[str, Callable[[ModelSummary], tuple[str, ...]]] = {
    "task": lambda model: model.tasks,
    "family": lambda model: (model.family,),
    "licence": lambda model: (model.licence,),
}


def gpus(catalog: Catalog) -> dict[str, Any]:
    """All cards by vendor and memory."""
    cards = [card for _, group in by_vendor(catalog) for card in group]
    return {
        "vendors": by_vendor(catalog), "cards": cards,
        "vendor_options": [(vendor, vendor) for vendor, _ in by_vendor(catalog)],
        "kind_options": [(kind, kind) for kind in sorted({card.spec.segment for card in cards})],
        "memory_options": [(size, f"{size} GiB") for size in (4, 6, 8, 12, 16, 24, 48, 80)],
        "jsonld": graph(breadcrumbs(("Home", "../"), ("GPUs", None))),
    }  # fmt: skip


def compare(catalog: Catalog) -> dict[str, Any]:
    """The page that puts models or cards side by side; the choosers' options, and all models in one table."""
    return {
        "models": _sized(catalog),
        "vendors": by_vendor(catalog),
        "jsonld": graph(breadcrumbs(("Home", "../"), ("Compare", None))),
    }


def search(catalog: Catalog) -> dict[str, Any]:
    """The page that searches: the values of its filters."""
    return {
        "task_options": _options(catalog)["task_options"], "vendor_options": [(vendor, vendor) for vendor, _ in by_vendor(catalog)],
        "jsonld": graph(breadcrumbs(("Home", "../"), ("Search", None))),
    }  # fmt: skip


def changes(catalog: Catalog) -> dict[str, Any]:
    """What happened to all models and cards by day, the newest first; of older events, how many there are."""
    newest, older = events.newest(catalog)
    return {
        "days": [(day, list(events)) for day, events in groupby(newest, key=lambda event: event.date)],
        "older": older, "jsonld": graph(breadcrumbs(("Home", "../"), ("What changed", None))),
    }  # fmt: skip
