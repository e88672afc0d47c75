"""The list of everything that the site consists of: pages and files, each with what it is made from, made only when asked for.

An output names its inputs, so that it is made again exactly when one of them has changed. The names are those of
`inputs.py`: `models` or `model:ID`, `names` or `name:ID`, `traces` or `trace:ID`, `cards` or `card:ID`, `published` or `published:ID`, `runs`,
`run:KEY`, `runs:MODEL`, `device:ID` or `label:ID`, `quantizations`, `runtimes`, `matmul`, `speed`. Code and templates are inputs of everything
without being named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fitcard.catalog import Catalog
from fitcard.catalog.errors import CatalogError, FitcardError
from fitcard.catalog.linters import untrue_on_pages
from fitcard.catalog.storage.index import RunSummary
from fitcard.catalog.twins import first_alike
from fitcard.site.generator.pages import (
    accuracy_page,
    gpu_page,
    home_page,
    model_page,
    numbers_page,
    quantization_page,
    run_page,
)

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


@dataclass(frozen=True)
class Group:
    """The outputs about one subject. Which they are follows from the group's inputs, so while none of those has changed nobody need
    list them."""

    name: str
    inputs: tuple[str, ...]
    """All that any of its outputs is made from, each by the name that the output gives it, and all that its list depends on. Empty
    where that is everything."""
    each: Callable[[], Iterator[Output]]
    work: str = ""
    """Groups with the same have much to be worked out in common."""

    def outputs(self) -> list[Output]:
        """Its outputs. Raises FitcardError when two would have the same address, ValueError for one that the group should not have."""
        found = list(self.each())
        seen: set[str] = set()
        for output in found:
            if output.path.lower() in seen:
                raise FitcardError(
                    f"two outputs have the address /{output.path}: rename one of the records behind them"
                )
            seen.add(output.path.lower())
            if self.inputs and not (output.path.startswith(OF_GROUPS) and all(map(self._covers, output.inputs))):
                raise ValueError(f"/{output.path} is no output of {self.name}")
        return found

    def _covers(self, name: str) -> bool:
        if name.startswith("run:"):  # each is among the runs of a model
            return any(wanted.startswith("runs:") for wanted in self.inputs)
        return name in self.inputs


SITE, SEARCH = "site", "search"
"""The groups of what is about no single model or card, and of the index of the search."""
OF_GROUPS = (
    "models/", "gpus/", "runs/", "api/v1/models/", "api/v1/gpus/", "api/v1/runs/", "badges/models/", "share/models/", "share/gpus/",
    "pagefind/",
)  # fmt: skip
"""Where the outputs of the other groups lie, each by the id of its model, card or run, and those of the search; so no two groups have
one in common."""


def groups(catalog: Catalog) -> list[Group]:
    """The outputs of the whole site by what they are about: those of the site itself first, then those of the search, of each model
    with its runs, and of each card.

    Raises CatalogError when a linter finds what would be untrue on pages, FitcardError for ids that differ in capitals only.
    """
    if untruths := untrue_on_pages(catalog):
        raise CatalogError(untruths)
    from fitcard.site.generator.data import search  # here, since they make outputs and so import this module
    from fitcard.site.generator.data.feeds import address

    base = address()
    found = [
        Group(SITE, (), partial(_of_site, catalog, base)),
        Group(SEARCH, search.inputs(), partial(search.search_assets, catalog)),
    ]
    for key in catalog.models:
        named = (f"model:{key}", f"name:{key}", f"trace:{key}", f"published:{key}", f"runs:{key}")
        inputs = (*named, "names", "traces", "cards", *RULES)
        work = f"models/{first_alike(catalog, key)}"
        found.append(Group(f"models/{key}", inputs, partial(_of_model, catalog, base, key), work))
    for key in catalog.gpus:
        wanted = ("names", "traces", f"card:{key}", "published", f"device:{key}", *RULES)
        found.append(Group(f"gpus/{key}", wanted, partial(_of_card, catalog, key), f"gpus/{key}"))
    seen: dict[str, str] = {}
    for group in found:
        if other := seen.get(group.name.lower()):
            raise FitcardError(f"/{group.name}/ and /{other}/ differ in capitals only: rename one of the two")
        seen[group.name.lower()] = group.name
    return found


def outputs(catalog: Catalog) -> list[Output]:
    """Every page and file of the site. Raises as `groups` and `Group.outputs` do."""
    return [output for group in groups(catalog) for output in group.outputs()]


def _of_site(catalog: Catalog, base: str) -> Iterator[Output]:
    from fitcard.site.generator.data import api, csv_tables, feeds

    yield from site_pages(catalog)
    yield from api.assets(catalog)
    yield from csv_tables.assets(catalog)
    yield from feeds.assets(catalog, base)


def _of_model(catalog: Catalog, base: str, key: str) -> Iterator[Output]:
    from fitcard.site.generator.data import api, feeds, model_card
    from fitcard.site.generator.media import badges, share

    yield model(catalog, key)
    for entry in catalog.entries_of(key):
        yield run(catalog, entry)
    yield from feeds.of_model(catalog, base, key)
    for module in (api, model_card, badges, share):
        yield from module.of_model(catalog, key)


def _of_card(catalog: Catalog, key: str) -> Iterator[Output]:
    from fitcard.site.generator.data import api
    from fitcard.site.generator.media import share

    yield card(catalog, key)
    yield from api.of_card(catalog, key)
    yield from share.of_card(catalog, key)


def pages(catalog: Catalog) -> Iterator[Page]:
    """Every page of the site but those that are written by hand."""
    yield from site_pages(catalog)
    yield from (model(catalog, key) for key in catalog.models)
    yield from (card(catalog, key) for key in catalog.gpus)
    yield from (run(catalog, entry) for entry in catalog.run_index)


def site_pages(catalog: Catalog) -> Iterator[Page]:
    """The pages that are about no single model, card or run."""
    everything = ("models", "traces", "cards", "published", "runs", *RULES)
    yield Page(
        "", "home.html", "fitcard: which models run on which card, measured",
        "Memory and speed of vision and text encoders on real graphics cards: measured, published or predicted, and every number says which.",
        everything, partial(home_page.view, catalog),
    )  # fmt: skip
    yield Page(
        "models/", "models.html", "All models", "Every model in the catalog, with its exact size and what it needs.",
        ("names", "traces", "runs"), partial(home_page.models, catalog),
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
        ("names", "traces", "cards", "runs", "quantizations"), partial(quantization_page.index, catalog),
    )  # fmt: skip
    yield Page(
        "compare/", "compare.html", "Compare models or cards",
        "Two to four models, or two to four graphics cards, side by side: sizes, memory, speed and licence.",
        ("names", "traces", "cards"), partial(home_page.compare, catalog),
    )  # fmt: skip
    yield Page(
        "search/", "search.html", "Search", "Search models, graphics cards and quantizations, by memory, task and vendor.",
        ("names", "cards"), partial(home_page.search, catalog),
    )  # fmt: skip
    yield Page(
        "changes/", "changes.html", "What changed", "Runs, published figures and reviews of models and cards, the newest first.",
        everything, partial(home_page.changes, catalog),
    )  # fmt: skip
    for label, quantization in catalog.quantizations.items():
        yield Page(
            f"quantizations/{label}/", "quantization.html", f"{quantization.name}: what it really is",
            f"What {quantization.name} of {quantization.engine.id} makes of each model, its bits per weight, and the cards that serve it.",
            ("names", "traces", "cards", f"label:{label}", "quantizations"), partial(quantization_page.view, catalog, label),
        )  # fmt: skip


def run(catalog: Catalog, entry: RunSummary) -> Page:
    """The page of a run."""
    name = catalog.model_index[entry.model].name
    return Page(
        f"runs/{entry.key}/", "run.html", f"Run {entry.key}: {name}, {entry.quantization}",
        f"{name}, {entry.component}, {entry.quantization}, {entry.mode}, on {entry.device} at {entry.measured_at}: every sample."[:170],
        (f"name:{entry.model}", f"trace:{entry.model}", f"run:{entry.key}", "cards", "quantizations"), partial(run_page.view, catalog, entry),
    )  # fmt: skip


def model(catalog: Catalog, key: str) -> Page:
    """The page of a model."""
    name = catalog.model_index[key].name
    return Page(
        f"models/{key}/", "model.html", f"{name}: memory, speed and GPUs",
        f"Memory, speed, real quantization sizes and the graphics cards that run {name}, measured and computed.",
        (f"model:{key}", "names", "traces", "cards", f"published:{key}", f"runs:{key}", *RULES), partial(model_page.view, catalog, key),
    )  # fmt: skip


def card(catalog: Catalog, key: str) -> Page:
    """The page of a card."""
    name = catalog.gpu_index[key].name
    return Page(
        f"gpus/{key}/", "gpu.html", f"{name}: which models run",
        f"Which models run on the {name}, in which quantization, how large a batch fits and how fast.",
        ("names", "traces", f"card:{key}", "published", f"device:{key}", *RULES), partial(gpu_page.view, catalog, key),
    )  # fmt: skip
