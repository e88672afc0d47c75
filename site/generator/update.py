"""Bringing a site up to date: outputs of which something that they read has changed are made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fitcard.catalog.loader import load
from fitcard.catalog.storage.hashing import catalog_digests, combined
from fitcard.catalog.storage.reads import NONE, Reads
from fitcard.site.generator.engine import publish
from fitcard.site.generator.engine.manifest import Entry, Manifest, StoredManifest
from fitcard.site.generator.engine.output import Page, Planned
from fitcard.site.generator.engine.render import Made, render
from fitcard.site.generator.engine.report import Report
from fitcard.site.generator.engine.sources import Sources, World, code, read_documents
from fitcard.site.generator.outputs import source_of, whole_site


def update(
    target: Path,
    root: Path,
    sources: Sources,
    digests: Mapping[str, str],
    written: StoredManifest | None,
    key: str,
) -> Report:
    """Make what is stale of the site in `target` and put it in place. `written` is its manifest, `key` that of what it shall be
    made from."""
    catalog = load(root, digests=digests)
    plan = whole_site(catalog, sources)
    world = World(catalog, sources, {source_of(planned.output) for planned in plan})
    old = written.manifest() if written else None
    reasons = _stale(plan, old, world)
    stale = [planned for planned in plan if planned.output.file in reasons]
    with publish.written_to(target), publish.work_folder(target) as folder:
        results = render(stale, world, folder) if stale else {}
        if code(sources.root) != sources.code or read_documents() != sources.docs or catalog_digests(root) != digests:
            key = "sources edited during the build"  # so that the next build looks at everything again
        entries = {
            path: _entry(planned, results[path]) if path in results or old is None else old.outputs[path]
            for path, planned in ((planned.output.file, planned) for planned in plan)
        }
        new = Manifest(key, sources.code, entries)
        publish.replace(target, new, {path: one.place for path, one in results.items()}, whole=old is not None)
    return Report(
        made=reasons,
        removed=tuple(path for path in (old.outputs if old else ()) if path not in entries),
        current=len(plan) - len(stale),
        pages=new.pages,
    )


def _entry(planned: Planned, results: Made) -> Entry:
    return Entry(_words(planned), results.content, results.reads)


def _stale(plan: Sequence[Planned], old: Manifest | None, world: World) -> dict[str, str]:
    """Why outputs must be made again, by path."""
    if old is None:
        return {planned.output.file: "there is no site yet whose manifest is whole" for planned in plan}
    if old.code != world.sources.code:
        return {planned.output.file: "code changed" for planned in plan}
    reasons: dict[str, str] = {}
    current: dict[int, list[str]] = {}
    for planned in plan:
        path = planned.output.file
        if path not in old.outputs:
            reasons[path] = "it is new"
            continue
        entry = old.outputs[path]
        changed = current.get(id(entry.reads))  # many outputs share what they read
        if changed is None:
            changed = current[id(entry.reads)] = _changed(entry.reads, world)
        if changed:
            reasons[path] = f"{', '.join(changed)} changed"
        elif entry.words != _words(planned):
            reasons[path] = "its title, description or template changed"
    return reasons


def _changed(reads: Reads, world: World) -> list[str]:
    return [name for name, digest in reads.items() if world.digest_of(name) != digest]


def _words(planned: Planned) -> str:
    page = planned.output
    return combined((page.title, page.description, page.template)) if isinstance(page, Page) else NONE
