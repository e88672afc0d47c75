"""What readers of feeds, search engines and language models look for: Atom feeds, sitemap.xml, robots.txt, llms.txt.

Everything is written for the address in mkdocs.yml (`site_url`). Where none is set, links are relative to the file that they
stand in, which Atom allows, and there is no sitemap.xml, whose protocol asks for whole addresses
(https://www.sitemaps.org/protocol.html); robots.txt then names none. Dates are those of the data.

The ids in feeds are tag URIs (RFC 4151) made from the keys of events: they stay when the site moves.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from fitcard.catalog import Catalog
from fitcard.site.generator.data import api
from fitcard.site.generator.data.documents import DataLicence
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.engine.sources import configuration, documents_folder
from fitcard.site.generator.pages.events import NEWEST, Event, events, last_changed, newest
from fitcard.site.generator.pages.listing import pages
from fitcard.site.generator.text import xml_text

TAG = "tag:fitcard,2026:"


def assets(catalog: Catalog, base: str) -> Iterator[Asset]:
    """The feed of everything, and what crawlers ask for. `base` is the site's address, ending in a slash, or empty."""
    yield Asset("feed.xml", partial(feed, catalog, base))
    if base:
        yield Asset("sitemap.xml", partial(sitemap, catalog, base))
    yield Asset("robots.txt", partial(robots, base))
    yield Asset("llms.txt", partial(llms, catalog, base))


def of_model(catalog: Catalog, base: str, key: str) -> Iterator[Asset]:
    """The feed of a model."""
    yield Asset(f"models/{key}/feed.xml", partial(feed, catalog, base, key))


def address(file: Path | None = None) -> str:
    """`site_url` of mkdocs.yml, ending in a slash; empty where none is set. Raises FitcardError outside a checkout."""
    from mkdocs.utils.yaml import yaml_load  # pyright: ignore[reportUnknownVariableType] - MkDocs' own types are partial

    url = str(yaml_load((file or configuration()).read_text("utf-8")).get("site_url") or "").strip()
    return url if not url or url.endswith("/") else f"{url}/"


def feed(catalog: Catalog, base: str, model: str | None = None) -> bytes:
    """What changed, as Atom 1.0 (RFC 4287): of a model, or of everything."""
    entries = newest(catalog)[0] if model is None else events(catalog, model)[:NEWEST]
    if model is None:
        title, place, page = "fitcard: what changed", "feed.xml", ""
        about = "New runs, published figures and reviews of all models and GPUs."
    else:
        name = catalog.models[model].name
        title, place, page = f"fitcard: {name}", f"models/{model}/feed.xml", f"models/{model}/"
        about = f"New runs, published figures and reviews of {name}."
    up = base or "../" * place.count("/")
    updated = entries[0].updated if entries else f"{catalog.runtimes.reviewed}T00:00:00Z"
    root = etree.Element("feed", {"xmlns": "http://www.w3.org/2005/Atom", "xml:lang": "en"})
    _add(root, "id", TAG + quote(place.removesuffix(".xml")))
    _add(root, "title", title)
    _add(root, "subtitle", about)
    _add(root, "updated", updated)
    _add(_add(root, "author"), "name", "fitcard")
    _add(root, "link", rel="self", type="application/atom+xml", href=f"{base}{quote(place)}" if base else "feed.xml")
    _add(root, "link", rel="alternate", type="text/html", href=f"{up}{quote(page)}" or "./")
    licence = DataLicence()
    _add(root, "link", rel="license", href=licence.url)
    _add(root, "rights", f"{licence.name}, {licence.attribution}")
    for event in entries:
        _entry(root, event, up)
    return _xml(root)


def _entry(root: etree.Element, event: Event, up: str) -> None:
    entry = _add(root, "entry")
    _add(entry, "id", TAG + quote(event.key))
    _add(entry, "title", event.title)
    _add(entry, "updated", event.updated)
    _add(entry, "link", rel="alternate", type="text/html", href=f"{up}{event.path}")
    _add(entry, "category", term=event.kind)
    _add(entry, "summary", event.text)


def sitemap(catalog: Catalog, base: str) -> bytes:
    """Every page with the day of its newest data. Pages written by hand have no date that data tell, so none is given."""
    root = etree.Element("urlset", {"xmlns": "http://www.sitemaps.org/schemas/sitemap/0.9"})
    dated: dict[str, str | None] = {page.path: last_changed(catalog, page.path) for page in pages(catalog)}
    dated |= {path: None for path in _written_by_hand() if path not in dated}
    for path, day in sorted(dated.items()):
        url = _add(root, "url")
        _add(url, "loc", base + quote(path))
        if day:
            _add(url, "lastmod", day)
    return _xml(root)


def _written_by_hand() -> list[str]:
    return [
        f"{path.relative_to(documents_folder()).with_suffix('').as_posix()}/"
        for path in sorted(documents_folder().rglob("*.md"))
    ]


def robots(base: str) -> bytes:
    """Everybody may read everything."""
    lines = ["User-agent: *", "Allow: /"]
    if base:
        lines += ["", f"Sitemap: {base}sitemap.xml"]
    return ("\n".join(lines) + "\n").encode()


def llms(catalog: Catalog, base: str) -> bytes:
    """A guide for language models, in the form of https://llmstxt.org/."""
    licence = DataLicence()

    def item(path: str, name: str, what: str) -> str:
        return f"- [{_plain(name)}]({base}{quote(path)}): {_plain(what)}"

    lines = [
        "# fitcard", "",
        "> Which vision and text encoders run on which GPU, in which quantization, and how fast. Every number is measured, "
        "published by others, or predicted, and says which.", "",
        f"{len(catalog.models)} models, {len(catalog.gpus)} GPUs, {len(catalog.quantizations)} quantizations. GB is 10^9 bytes and GiB is 2^30. "
        "Unknown is null. When you quote a number, say whether it is measured, published or predicted, and give the interval of a "
        f"prediction. The data are under {licence.name} ({licence.url}); name {licence.attribution}.", "",
        "## Data", "",
        *(item(link.path, link.path, link.what) for link in api.index(catalog).documents if "{" not in link.path),
        item("feed.xml", "feed.xml", "what changed"), "",
        "## Explanations", "",
        item("numbers/", "How the numbers are made", "what measured, published and predicted mean, and every assumption"),
        item("accuracy/", "Accuracy", "how far the predictions are off"), "",
        "## Models", "",
        *(item(f"api/v1/models/{key}.json", model.name, f"{', '.join(model.tasks)}; page: models/{key}/") for key, model in catalog.models.items()), "",
        "## Optional", "",
        *(item(f"api/v1/gpus/{key}.json", card.name, f"{card.spec.memory_gib:g} GiB; page: gpus/{key}/") for key, card in catalog.gpus.items()),
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _plain(text: str) -> str:
    """On one line, and without what would end a link in Markdown."""
    return re.sub(r"([\[\]\\<>])", r"\\\1", " ".join(text.split()))


def _add(parent: etree.Element, tag: str, text: str | None = None, **attributes: str) -> etree.Element:
    element = etree.SubElement(parent, tag, {name: xml_text(value) for name, value in attributes.items()})
    element.text = None if text is None else xml_text(text)
    return element


def _xml(root: etree.Element) -> bytes:
    etree.indent(root, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{etree.tostring(root, encoding="unicode")}\n'.encode()
