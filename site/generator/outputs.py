"""The plan of the whole site: every page and file, and which of them have work in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import CatalogError, FitcardError
from fitcard.catalog.linters import untrue_on_pages
from fitcard.catalog.storage.hashing import digest
from fitcard.catalog.storage.reads import note
from fitcard.site.generator.data import api, csv_tables, feeds, model_card, search
from fitcard.site.generator.engine.output import Asset, Document, NotFound, Output, Page, Planned
from fitcard.site.generator.engine.sources import Sources, is_static
from fitcard.site.generator.media import badges, share
from fitcard.site.generator.pages import listing

GENERATED = (
    "models/", "gpus/", "runs/", "api/v1/models/", "api/v1/gpus/", "api/v1/runs/", "badges/models/", "share/models/", "share/gpus/",
    "pagefind/",
)  # fmt: skip
"""Folders in which no file written by hand may lie: the ids of models, GPUs and runs give the names in them."""


def whole_site(catalog: Catalog, sources: Sources) -> list[Planned]:
    """Every output of the site.

    Raises CatalogError when a linter finds what would be untrue on pages, FitcardError for two outputs with one address.
    """
    if untruths := untrue_on_pages(catalog):
        raise CatalogError(untruths)
    plan = [*_of_site(catalog), *_by_hand(sources)]
    for key in catalog.models:
        # Models with one trace have most of their work in common.
        plan += (Planned(output, catalog.digest_of(f"traces/{key}")) for output in _of_model(catalog, key))
    for key in catalog.gpus:
        plan += (Planned(output, f"gpus/{key}") for output in _of_gpu(catalog, key))
    seen: dict[str, str] = {}
    for path in (planned.output.file for planned in plan):
        if path.lower() in seen:
            raise FitcardError(f"two outputs have the address /{path}: rename one of the records or files behind them")
        seen[path.lower()] = path
    return plan


def _by_hand(sources: Sources) -> Iterator[Planned]:
    """What people write: documents, and files that are copied as they are."""
    documents: list[Output] = [Document(name) for name in sources.docs if name.endswith(".md")]
    files: list[Output] = [
        Asset(name, partial(_copied, sources, folder, name))
        for folder, contents in (("theme", sources.theme), ("doc", sources.docs))
        for name in contents
        if is_static(name)
    ]
    for output in (*documents, *files):
        if output.file.startswith(GENERATED):
            raise FitcardError(
                f"/{output.file} would lie among what is about models, GPUs and runs, or the search: move the file behind it"
            )
        yield Planned(output, "documents" if isinstance(output, Document) else "")
    yield Planned(NotFound())


def _copied(sources: Sources, folder: str, name: str) -> bytes:
    content = (sources.theme if folder == "theme" else sources.docs)[name]
    note(f"{folder}/{name}", lambda: digest(content))
    return content


def source_of(output: Output) -> str:
    """The source file by which documents link to an output."""
    if isinstance(output, Page):
        return f"{output.path}index.md"
    return output.source if isinstance(output, Document) else output.file


def _of_site(catalog: Catalog) -> Iterator[Planned]:
    """What is about no single model or GPU."""
    for page in listing.site_pages(catalog):
        labels = page.path.startswith("quantizations/")
        yield Planned(page, "labels" if labels else "accuracy" if page.path in ("numbers/", "accuracy/") else page.path)
    base = feeds.address()
    for output in (*api.assets(catalog), *csv_tables.assets(catalog), *feeds.assets(catalog, base)):
        yield Planned(output, "changes/" if output.path == "feed.xml" else output.path)
    for output in search.assets(catalog):
        yield Planned(output, "search")


def _of_model(catalog: Catalog, key: str) -> Iterator[Output]:
    yield listing.model(catalog, key)
    for run in catalog.summaries_of(key):
        yield listing.run(catalog, run)
    yield from feeds.of_model(catalog, feeds.address(), key)
    for module in (api, model_card, badges, share):
        yield from module.of_model(catalog, key)


def _of_gpu(catalog: Catalog, key: str) -> Iterator[Output]:
    yield listing.gpu(catalog, key)
    yield from api.of_gpu(catalog, key)
    yield from share.of_gpu(catalog, key)
