"""Every page of the site but those that are written by hand: addresses, titles and descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

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


def site_pages(catalog: Catalog) -> Iterator[Page]:
    """The pages that are about no single model, card or run."""
    yield Page(
        "", "home.html", "fitcard: which models run on which card, measured",
        "Memory and speed of vision and text encoders on real graphics cards: measured, published or predicted, and every number says which.",
        partial(home_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "models/", "models.html", "All models", "Every model in the catalog, with its exact size and what it needs.",
        partial(home_page.models, catalog),
    )  # fmt: skip
    yield Page(
        "gpus/", "gpus.html", "All GPUs", "Every graphics card in the catalog, with memory, bandwidth and rates.",
        partial(home_page.gpus, catalog),
    )  # fmt: skip
    yield Page(
        "numbers/", "numbers.html", "How the numbers are made",
        "What measured, published and predicted mean, how each number is made, and how far the predictions are off.",
        partial(numbers_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "accuracy/", "accuracy.html", "How far the predictions are off",
        "Predicted memory and speed against everything that was measured, each prediction made without the measurement.",
        partial(accuracy_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "quantizations/", "quantizations.html", "All quantizations",
        "What each quantization label really means, how many bits it takes, and which cards serve it.",
        partial(quantization_page.index, catalog),
    )  # fmt: skip
    yield Page(
        "compare/", "compare.html", "Compare models or cards",
        "Two to four models, or two to four graphics cards, side by side: sizes, memory, speed and licence.",
        partial(home_page.compare, catalog),
    )  # fmt: skip
    yield Page(
        "search/", "search.html", "Search", "Search models, graphics cards and quantizations, by memory, task and vendor.",
        partial(home_page.search, catalog),
    )  # fmt: skip
    yield Page(
        "changes/", "changes.html", "What changed", "Runs, published figures and reviews of models and cards, the newest first.",
        partial(home_page.changes, catalog),
    )  # fmt: skip
    for label, quantization in catalog.every_label.items():
        yield Page(
            f"quantizations/{label}/", "quantization.html", f"{quantization.name}: what it really is",
            f"What {quantization.name} of {quantization.runtime} makes of each model, its bits per weight, and the cards that serve it.",
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
        f"Memory, speed, real quantization sizes and the graphics cards that run {name}, measured and computed.",
        partial(model_page.view, catalog, key),
    )  # fmt: skip


def gpu(catalog: Catalog, key: str) -> Page:
    """The page of a card."""
    name = catalog.gpu_index[key].name
    return Page(
        f"gpus/{key}/", "gpu.html", f"{name}: which models run",
        f"Which models run on the {name}, in which quantization, how large a batch fits and how fast.",
        partial(gpu_page.view, catalog, key),
    )  # fmt: skip
