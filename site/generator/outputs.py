"""The list of everything that the site consists of: pages and files, each with what it is made from, made only when asked for.

An output names its inputs, so that it is made again exactly when one of them has changed. The names are those of
`inputs.py`: `models` or `model:ID`, `traces` or `trace:ID`, `cards` or `card:ID`, `published` or `published:ID`, `runs`,
`run:KEY`, `runs:MODEL`, `device:ID` or `label:ID`, `quantizations`, `runtimes`, `matmul`, `speed`. Code and templates are inputs of everything
without being named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from catalog import Catalog
from catalog.errors import CatalogError, FitcardError
from catalog.linters import untrue_on_pages
from generator import accuracy_page, gpu_page, home_page, model_page, numbers_page, quantization_page, run_page

RULES = ("quantizations", "runtimes", "matmul", "speed")
"""What every prediction rests on besides the model and the card."""


@dataclass(frozen=True)
class Page:
    """A page that a template draws from a view."""

    path: str
    """Its address below the site's root, ending in a slash; empty for the home page."""
    template: str
    title: str
    description: str
    inputs: tuple[str, ...]
    view: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Asset:
    """A file that is written as it is."""

    path: str
    inputs: tuple[str, ...]
    content: Callable[[], bytes]


Output = Page | Asset


def outputs(catalog: Catalog) -> list[Output]:
    """Every page and file of the site.

    Raises CatalogError when a linter finds what would be untrue on pages, FitcardError when two outputs would have the same address.
    """
    if untruths := untrue_on_pages(catalog):
        raise CatalogError(untruths)
    pages = list(_pages(catalog))
    made: list[Output] = [*pages, *_assets(catalog, pages)]
    seen: set[str] = set()
    for output in made:
        if output.path.lower() in seen:
            raise FitcardError(f"two outputs have the address /{output.path}: rename one of the records behind them")
        seen.add(output.path.lower())
    return made


def _pages(catalog: Catalog) -> Iterator[Page]:
    everything = ("models", "traces", "cards", "published", "runs", *RULES)
    yield Page(
        "", "home.html", "fitcard: which models run on which card, measured",
        "Memory and speed of vision and text encoders on real graphics cards: measured, published or predicted, and every number says which.",
        everything, partial(home_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "models/", "models.html", "All models", "Every model in the catalog, with its exact size and what it needs.",
        ("models", "traces", "runs"), partial(home_page.models, catalog),
    )  # fmt: skip
    yield Page(
        "gpus/", "gpus.html", "All GPUs", "Every graphics card in the catalog, with memory, bandwidth and rates.",
        ("cards",), partial(home_page.gpus, catalog),
    )  # fmt: skip
    yield Page(
        "numbers/", "numbers.html", "How the numbers are made",
        "What measured, published and predicted mean, how each number is made, and how far the predictions are off.",
        everything, partial(numbers_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "accuracy/", "accuracy.html", "How far the predictions are off",
        "Predicted memory and speed against everything that was measured, each prediction made without the measurement.",
        everything, partial(accuracy_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "quantizations/", "quantizations.html", "All quantizations",
        "What each quantization label really means, how many bits it takes, and which cards serve it.",
        ("models", "traces", "cards", "runs", "quantizations"), partial(quantization_page.index, catalog),
    )  # fmt: skip
    yield Page(
        "compare/", "compare.html", "Compare models or cards",
        "Two to four models, or two to four graphics cards, side by side: sizes, memory, speed and licence.",
        ("models", "traces", "cards", "runs"), partial(home_page.compare, catalog),
    )  # fmt: skip
    yield Page(
        "search/", "search.html", "Search", "Search models, graphics cards and quantizations, by memory, task and vendor.",
        ("models", "traces", "cards", "runs"), partial(home_page.search, catalog),
    )  # fmt: skip
    yield Page(
        "changes/", "changes.html", "What changed", "Runs, published figures and reviews of models and cards, the newest first.",
        everything, partial(home_page.changes, catalog),
    )  # fmt: skip
    for label, quantization in catalog.quantizations.items():
        yield Page(
            f"quantizations/{label}/", "quantization.html", f"{quantization.name}: what it really is",
            f"What {quantization.name} of {quantization.runtime} makes of each model, its bits per weight, and the cards that serve it.",
            ("models", "traces", "cards", f"label:{label}", "quantizations"), partial(quantization_page.view, catalog, label),
        )  # fmt: skip
    for entry in catalog.run_index:
        name = catalog.model_index[entry.model].name
        yield Page(
            f"runs/{entry.key}/", "run.html", f"Run {entry.key}: {name}, {entry.quantization}",
            f"{name}, {entry.component}, {entry.quantization}, {entry.mode}, on {entry.device} at {entry.measured_at}: every sample."[:170],
            (f"model:{entry.model}", f"trace:{entry.model}", f"run:{entry.key}", "cards", "quantizations"), partial(run_page.view, catalog, entry),
        )  # fmt: skip
    for key, model in catalog.model_index.items():
        yield Page(
            f"models/{key}/", "model.html", f"{model.name}: memory, speed and GPUs",
            f"Memory, speed, real quantization sizes and the graphics cards that run {model.name}, measured and computed.",
            ("models", "traces", "cards", f"published:{key}", f"runs:{key}", *RULES), partial(model_page.view, catalog, key),
        )  # fmt: skip
    for key, card in catalog.card_index.items():
        yield Page(
            f"gpus/{key}/", "gpu.html", f"{card.name}: which models run",
            f"Which models run on the {card.name}, in which quantization, how large a batch fits and how fast.",
            ("models", "traces", f"card:{key}", "published", f"device:{key}", *RULES), partial(gpu_page.view, catalog, key),
        )  # fmt: skip


def _assets(catalog: Catalog, pages: Sequence[Page]) -> Iterator[Asset]:
    # Here, since these modules make outputs and so import this one.
    from generator import api, badges, export, feeds, model_card, search, share

    yield from api.assets(catalog)
    yield from export.assets(catalog)
    yield from feeds.assets(catalog, pages, feeds.address())
    yield from model_card.assets(catalog)
    yield from badges.assets(catalog)
    yield from share.assets(catalog)
    yield from search.search_assets(catalog, pages)
