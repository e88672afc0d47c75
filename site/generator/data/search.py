"""The index of the search, which works without a server: Pagefind's, from records and not from HTML.

A record holds words and facts that no run changes, so a new run leaves the index as it is. Pagefind names most of its files by
their content, so which files there are is known only once they are made; it takes a tenth of a second, and happens when the
outputs are listed.

Filters: `kind` (model, card, quantization, page), `task`, `family`, `licence`, `commercial_use`, `memory` (GB of the GPUs that a
model runs on), `vendor`, `segment`, `card_memory` (GB), `runtime`. To sort by: `parameters`, `memory`, `released`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fitcard.advisor.fit import default_component
from fitcard.catalog import Catalog
from fitcard.catalog.linters.prose import prose_of
from fitcard.catalog.prose import fill
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.storage.hashing import combined
from fitcard.catalog.storage.memo import memo
from fitcard.catalog.storage.reads import note
from fitcard.site.generator.data.pagefind import SearchRecord, indexed
from fitcard.site.generator.engine.output import Asset, Page
from fitcard.site.generator.engine.sources import documents_digest, documents_folder, read_documents
from fitcard.site.generator.pages.listing import gpu, site_pages
from fitcard.site.generator.pages.quantization_page import listed_labels
from fitcard.site.generator.pages.vram_tiers import sizes_that_fit

_PLAIN = re.compile(r"[*_`#>|]|\]\([^)]*\)|\[")
"""What is Markdown and no word."""


def assets(catalog: Catalog) -> Iterator[Asset]:
    """The files of the index, below pagefind/."""
    for name, _ in _index(catalog, _by_hand()):
        yield Asset(f"pagefind/{name}", partial(_content, catalog, name))


def _content(catalog: Catalog, name: str) -> bytes:
    return base64.b64decode(dict(_index(catalog, _by_hand()))[name])


def _by_hand() -> str:
    """Identifies what the index is made from besides the catalog."""
    docs = documents_digest(read_documents())
    note("docs", lambda: docs)
    return combined((version("pagefind_bin"), docs))


@memo
def _index(catalog: Catalog, by_hand: str) -> list[tuple[str, str]]:
    """The files of the index by name, in base64."""
    files = indexed(tuple(search_records(catalog)))
    return [(name, base64.b64encode(content).decode()) for name, content in files]


def search_records(catalog: Catalog) -> Iterator[SearchRecord]:
    """A record for every page of the site, hand-written ones included, but for those of runs: each is linked from its model's."""
    labels, models = (
        {label.lower(): label for label in listed_labels(catalog)},
        [_model(catalog, key) for key in catalog.models],
    )
    for page in site_pages(catalog):
        folder, _, rest = page.path.rstrip("/").partition("/")
        if folder == "quantizations" and rest.lower() in labels:
            label = labels[rest.lower()]
            yield _quantization(page, label, listed_labels(catalog)[label])
        else:
            yield SearchRecord(page.path, page.title, page.description, page.description, (("kind", ("page",)),))
    yield from models
    yield from (_card(gpu(catalog, key), catalog.gpus[key]) for key in catalog.gpus)
    yield from _written_by_hand()


def _model(catalog: Catalog, key: str) -> SearchRecord:
    model = catalog.models[key]
    parameters = catalog.traces[key].parameters(default_component(catalog, key))
    words = [model.name, key, *model.aliases, *model.tasks, model.family, model.license.id]
    words += [fill(text, catalog, key) for _, text in prose_of(model)]
    return SearchRecord(
        f"models/{key}/", model.name, fill(model.verdict, catalog, key), _plain(words),
        (
            ("kind", ("model",)), ("task", model.tasks), ("family", (model.family,)), ("licence", (model.license.id,)),
            ("commercial_use", (model.license.commercial_use,)),
            ("memory", tuple(str(size) for size in sizes_that_fit(catalog, key))),
        ),
        _sortable({"parameters": parameters, "released": model.released}),
    )  # fmt: skip


def _card(page: Page, card: Gpu) -> SearchRecord:
    spec, memory = card.spec, f"{card.spec.memory_gib:g} GB"
    words = [card.name, card.id, *spec.aliases, card.vendor, card.generation, spec.segment, memory]
    words += [word for word in (spec.chip, spec.memory_type, spec.gfx, spec.note) if word]
    return SearchRecord(
        page.path, card.name, page.description, _plain(words),
        (("kind", ("card",)), ("vendor", (card.vendor,)), ("segment", (spec.segment,)), ("card_memory", (f"{spec.memory_gib:g}",))),
        _sortable({"memory": spec.memory_gib, "released": spec.released}),
    )  # fmt: skip


def _quantization(page: Page, label: str, quantization: Quantization) -> SearchRecord:
    words = [label, quantization.name, quantization.runtime, quantization.format, quantization.summary]
    return SearchRecord(
        page.path, quantization.name, quantization.summary, _plain(words),
        (("kind", ("quantization",)), ("runtime", (quantization.runtime,))),
    )  # fmt: skip


def _written_by_hand() -> Iterator[SearchRecord]:
    """The pages of site/docs: the first heading is the title, and front matter has the description."""
    for path in _documents():
        front, _, text = path.read_text("utf-8").removeprefix("---\n").partition("\n---\n")
        described = re.search(r"^description: *(.+)$", front, re.M)
        title = re.search(r"^# +(.+)$", text, re.M)
        url = f"{path.relative_to(documents_folder()).with_suffix('').as_posix()}/"
        yield SearchRecord(
            url, title[1] if title else path.stem, described[1] if described else "", _plain([text]), (("kind", ("page",)),)
        )  # fmt: skip


def _documents() -> list[Path]:
    return sorted(documents_folder().rglob("*.md"))


def _plain(words: Iterable[str]) -> str:
    return ". ".join(" ".join(_PLAIN.sub(" ", word).split()).rstrip(".") for word in words)


def _sortable(values: Mapping[str, float | str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items() if value is not None)
