"""The list of everything that the site consists of, made from catalog and advisor alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from catalog import Catalog
from catalog.errors import CatalogError, FitcardError
from catalog.linters import problems
from generator import accuracy_page, gpu_page, home_page, model_page, numbers_page


@dataclass(frozen=True)
class Page:
    """A page that a template draws from a view."""

    path: str
    """Its address below the site's root, ending in a slash; empty for the home page."""
    template: str
    title: str
    description: str
    view: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Asset:
    """A file that is written as it is."""

    path: str
    content: bytes


def outputs(catalog: Catalog) -> list[Page | Asset]:
    """Every page and file of the site.

    Raises CatalogError when a linter finds what would be untrue on pages, FitcardError when two outputs would have the same address.
    """
    if untruths := list(problems(catalog, "pages")):
        raise CatalogError(untruths)
    made: list[Page | Asset] = [*_pages(catalog), *_assets(catalog)]
    seen: set[str] = set()
    for output in made:
        if output.path.lower() in seen:
            raise FitcardError(f"two outputs have the address /{output.path}: rename one of the records behind them")
        seen.add(output.path.lower())
    return made


def _pages(catalog: Catalog) -> Iterator[Page]:
    yield Page(
        "", "home.html", "fitcard: which models run on which card, measured",
        "Memory and speed of vision and text encoders on real graphics cards: measured, published or predicted, and every number says which.",
        home_page.view(catalog),
    )  # fmt: skip
    yield Page(
        "models/",
        "models.html",
        "All models",
        "Every model in the catalog, with its exact size and what it needs.",
        home_page.models(catalog),
    )
    yield Page(
        "gpus/",
        "gpus.html",
        "All GPUs",
        "Every graphics card in the catalog, with memory, bandwidth and rates.",
        home_page.gpus(catalog),
    )
    yield Page(
        "numbers/", "numbers.html", "How the numbers are made",
        "What measured, published and predicted mean, how each number is made, and how far the predictions are off.", numbers_page.view(catalog),
    )  # fmt: skip
    yield Page(
        "accuracy/", "accuracy.html", "How far the predictions are off",
        "Predicted memory and speed against everything that was measured, each prediction made without the measurement.", accuracy_page.view(catalog),
    )  # fmt: skip
    for key, model in catalog.models.items():
        description = f"Memory, speed, real quantization sizes and the graphics cards that run {model.name}, measured and computed."
        yield Page(
            f"models/{key}/",
            "model.html",
            f"{model.name}: memory, speed and GPUs",
            description,
            model_page.view(catalog, key),
        )
    for key, card in catalog.cards.items():
        description = (
            f"Which models run on the {card.name}, in which quantization, how large a batch fits and how fast."
        )
        yield Page(
            f"gpus/{key}/", "gpu.html", f"{card.name}: which models run", description, gpu_page.view(catalog, key)
        )


def _assets(catalog: Catalog) -> Iterator[Asset]:
    for run in catalog.runs:
        text = json.dumps(run.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True)
        yield Asset(f"api/v1/runs/{run.key}.json", (text + "\n").encode())
