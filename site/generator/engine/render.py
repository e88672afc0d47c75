"""Making outputs: pages from templates, files as they are, hand-written documents by MkDocs.

They are made in as many processes as there are cores. What each reads meanwhile is noted, and is what it depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote, urljoin

from jinja2 import Environment, TemplateError

from fitcard.catalog.parallel import cores, spread
from fitcard.catalog.storage.hashing import digest
from fitcard.catalog.storage.reads import Reads, note, recording
from fitcard.site.generator.engine.documents import render_documents
from fitcard.site.generator.engine.output import Asset, Document, NotFound, Page, Planned
from fitcard.site.generator.engine.sources import World, links
from fitcard.site.generator.engine.templates import environment, references, template_fault

TOGETHER = 8
"""Fewer outputs are made in this process, since to start others takes as long."""
LARGEST = 400
"""Outputs that one process makes at a time, at most."""


@dataclass(frozen=True)
class Made:
    """An output that was made."""

    place: str
    """Where its file is."""
    content: str
    """The digest of its file."""
    reads: Reads


def draw(env: Environment, output: Page | NotFound) -> bytes:
    """A page as HTML. Raises FitcardError for a fault in a template."""
    page = view = None
    try:
        if isinstance(output, Page):
            view, site_url = output.view(), cast(Any, env.globals["config"]).site_url
            url = quote(output.path)
            page = SimpleNamespace(
                title=output.title, url=url, is_homepage=not url, content="",
                canonical_url=urljoin(site_url, url) if site_url else None,
                meta={"title": output.title, "description": output.description, "template": output.template},
            )  # fmt: skip
        names = {} if view is None else {"view": view}
        return env.get_template(output.template).render(page=page, **names).encode()
    except TemplateError as error:
        raise template_fault(error) from error


def render(stale: Sequence[Planned], world: World, folder: Path) -> dict[str, Made]:
    """Make outputs in folders below `folder`, and give them by path. Raises FitcardError."""
    # What has work in common is made by one process, which then works it out once.
    ordered = sorted(stale, key=lambda planned: (isinstance(planned.output, Document), planned.work))
    results: dict[str, Made] = {}
    for part in spread(partial(_render, world, folder), list(enumerate(_parts(ordered)))):
        results |= part
    return results


def _parts(ordered: Sequence[Planned]) -> list[list[Planned]]:
    """Outputs in parts for processes, cut where their work changes."""
    if len(ordered) < TOGETHER:
        return [[*ordered]]
    size = min(LARGEST, -(-len(ordered) // (6 * cores())))
    parts: list[list[Planned]] = [[]]
    for before, planned in zip((None, *ordered), ordered, strict=False):
        new_work = before is not None and (not planned.work or planned.work != before.work)
        document = (
            before is not None and isinstance(planned.output, Document) and not isinstance(before.output, Document)
        )
        if document or (len(parts[-1]) >= size and new_work and not isinstance(planned.output, Document)):
            parts.append([])
        parts[-1].append(planned)
    return parts


def _render(world: World, folder: Path, part: tuple[int, Sequence[Planned]]) -> dict[str, Made]:
    number, outputs = part
    place = folder / str(number)
    results: dict[str, Made] = {}
    env = environment(world)
    documents = [planned.output for planned in outputs if isinstance(planned.output, Document)]
    texts = render_documents(world, documents, place) if documents else {}
    for output in (planned.output for planned in outputs):
        with recording() as reads:
            if isinstance(output, Asset):
                content = output.content()
            elif isinstance(output, Document):
                content = texts[output.source]
                _note_document(world, output)
            else:
                _note_templates(world, output.template)
                content = draw(env, output)
        path = place / output.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        results[output.file] = Made(str(path), digest(content), reads)
    return results


def _note_templates(world: World, template: str) -> None:
    for name in references(world)[template]:
        _note(world, f"template/{name}")


def _note_document(world: World, document: Document) -> None:
    """A document may name any template in its head, so it depends on all of them."""
    _note(world, f"doc/{document.source}")
    for name in world.sources.templates:
        _note(world, f"template/{name}")
    for link in links(document.source, world.sources.docs[document.source]):
        _note(world, f"link/{link}")


def _note(world: World, name: str) -> None:
    note(name, lambda: world.digest_of(name))
