"""Every page of the site but those that are written by hand: addresses, titles and descriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.summaries import RunSummary
from fitcard.site.generator.engine.output import Page
from fitcard.site.generator.pages import (
    accuracy_page,
    gpu_page,
    home_page,
    model_page,
    numbers_page,
    quantization_page,
    run_page,
)


def pages(catalog: Catalog) -> Iterator[Page]:
    """Every page of the site but those that are written by hand."""
    yield from site_pages(catalog)
    yield from (model(catalog, key) for key in catalog.models)
    yield from (gpu(catalog, key) for key in catalog.gpus)
    yield from (run(catalog, entry) for entry in catalog.run_index)


_SITE_PAGES: tuple[tuple[str, str, str, Callable[[Catalog], Any]], ...] = (
    (
        "home", "fitcard: which models run on which GPU, measured",
        "Memory and speed of vision and text encoders on real GPUs: measured, published or predicted, and every number says which.",
        home_page.view,
    ),
    ("models", "All models", "Every model in the catalog, with its exact size and what it needs.", home_page.models),
    ("gpus", "All GPUs", "Every GPU in the catalog, with memory, bandwidth and rates.", home_page.gpus),
    (
        "numbers", "How the numbers are made",
        "What measured, published and predicted mean, how each number is made, and how far the predictions are off.",
        numbers_page.view,
    ),
    (
        "accuracy", "How far the predictions are off",
        "Predicted memory and speed against everything that was measured, each prediction made without the measurement.",
        accuracy_page.view,
    ),
    (
        "quantizations", "All quantizations",
        "What each quantization label really means, how many bits it takes, and which GPUs serve it.",
        quantization_page.index,
    ),
    (
        "compare", "Compare models or GPUs",
        "Two to four models, or two to four GPUs, side by side: sizes, memory, speed and licence.",
        home_page.compare,
    ),
    ("search", "Search", "Search models, GPUs and quantizations, by memory, task and vendor.", home_page.search),
    ("changes", "What changed", "Runs, published figures and reviews of models and GPUs, the newest first.", home_page.changes),
)  # fmt: skip
"""Those that are about no single thing: name, title, description and view. The page is `NAME/`, drawn from `NAME.html`."""


def site_pages(catalog: Catalog) -> Iterator[Page]:
    """The pages that are about no single model, GPU or run."""
    for name, title, description, view in _SITE_PAGES:
        path = "" if name == "home" else f"{name}/"
        yield Page(path, f"{name}.html", title, description, partial(view, catalog))
    for label, quantization in quantization_page.listed_labels(catalog).items():
        yield Page(
            f"quantizations/{label}/", "quantization.html", f"{quantization.name}: what it really is",
            f"What {quantization.name} of {quantization.runtime} makes of each model, its bits per weight, and the GPUs that serve it.",
        partial(quantization_page.view, catalog, label),
        )  # fmt: skip


def run(catalog: Catalog, entry: RunSummary) -> Page:
    """The page of a run."""
    name = catalog.model_index[entry.model].name
    return Page(
        f"runs/{entry.key}/", "run.html", f"Run {entry.key}: {name}, {entry.quantization}",
        f"{name}, {entry.component}, {entry.quantization}, {entry.mode}, on {entry.device} at {entry.measured_at}: every sample."[:170],
        partial(run_page.view, catalog, entry),
    )  # fmt: skip


def model(catalog: Catalog, key: str) -> Page:
    """The page of a model."""
    name = catalog.model_index[key].name
    return Page(
        f"models/{key}/", "model.html", f"{name}: memory, speed and GPUs",
        f"Memory, speed, real quantization sizes and the GPUs that run {name}, measured and computed.",
        partial(model_page.view, catalog, key),
    )  # fmt: skip


def gpu(catalog: Catalog, key: str) -> Page:
    """The page of a GPU."""
    name = catalog.gpu_index[key].name
    return Page(
        f"gpus/{key}/", "gpu.html", f"{name}: which models run",
        f"Which models run on the {name}, in which quantization, how large a batch fits and how fast.",
        partial(gpu_page.view, catalog, key),
    )  # fmt: skip
