"""The views of the home page and of the two lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import groupby
from typing import Any

from advisor import answers
from catalog import Catalog
from catalog.check import counts
from catalog.entries import ModelEntry
from generator import history
from generator.model_page import TOWERS, by_vendor
from generator.structured import breadcrumbs, graph


def view(catalog: Catalog) -> dict[str, Any]:
    """The home page: entry by model and by card, and the newest runs."""
    vendors = by_vendor(catalog)
    newest = [entry for entry in catalog.run_index if entry.status == "ok"][::-1][:8]
    runs = [next(run for run in catalog.runs_of(entry.model) if run.key == entry.key) for entry in newest]
    tasks: dict[str, list[tuple[str, ModelEntry]]] = {}
    for key, model in by_name(catalog):
        for task in model.tasks:
            tasks.setdefault(task, []).append((key, model))
    return {
        "newest": runs, "counts": counts(catalog), "tasks": sorted(tasks.items(), key=lambda one: (-len(one[1]), one[0])),
        "vendors": vendors, "most": max(vendors, key=lambda one: len(one[1]))[0] if vendors else "",
        "towers": TOWERS, "units": answers.UNITS, "jsonld": graph(breadcrumbs(("Home", None))),
    }  # fmt: skip


def by_name(catalog: Catalog) -> list[tuple[str, ModelEntry]]:
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
        main = answers.default_component(catalog, key)
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


_FACETS: dict[str, Callable[[ModelEntry], tuple[str, ...]]] = {
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
    newest, older = history.newest(catalog)
    return {
        "days": [(day, list(events)) for day, events in groupby(newest, key=lambda event: event.date)],
        "older": older, "jsonld": graph(breadcrumbs(("Home", "../"), ("What changed", None))),
    }  # fmt: skip
