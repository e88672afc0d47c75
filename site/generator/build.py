"""Building the site: only outputs of which something that they read has changed, beside the old site, which is replaced in one step."""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.loader import load
from fitcard.catalog.storage.hashing import catalog_digests, combined
from fitcard.catalog.storage.reads import NONE, Reads
from fitcard.site.generator.engine import manifest, publish
from fitcard.site.generator.engine.manifest import Entry, Manifest
from fitcard.site.generator.engine.output import Page, Planned
from fitcard.site.generator.engine.render import Made, render
from fitcard.site.generator.engine.sources import ROOT, World, code, read_documents, read_sources
from fitcard.site.generator.outputs import source_of, whole_site


@dataclass(frozen=True)
class Report:
    """What a build did."""

    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why each output was made again, by path."""
    removed: tuple[str, ...] = ()
    current: int = 0
    """Outputs that were left as they are."""
    pages: int = 0
    """Pages of the whole site."""
    seconds: float = 0.0

    def tell(self, explain: bool) -> None:
        """Print what was done; with `explain` also why."""
        for path, why in self.made.items() if explain else ():
            print(f"{path}: {why}")
        for path in self.removed if explain else ():
            print(f"{path}: removed, nothing asks for it any more")
        print(self, flush=True)

    def __str__(self) -> str:
        whole = len(self.made) + self.current
        return f"{len(self.made):,} of {whole:,} outputs made again, {self.current:,} current, {len(self.removed):,} removed, in {self.seconds:.1f} s"


def build(target: Path | None = None, catalog: Path | None = None, *, clean: bool = False) -> tuple[Path, Report]:
    """Bring the website in `target` (build/site by default) up to date, and give that folder and what was done.

    `clean` makes everything again. Raises FitcardError for bad data, for a folder that is not ours, where there is no mkdocs.yml
    beside the package (the templates are part of the checkout), and when the site cannot be written. The old site then stays.
    """
    start = time.perf_counter()
    target = (target or ROOT / "build" / "site").resolve()
    publish.check_ours(target)
    with _written_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with publish.locked(target), _without_gc():
        publish.check_ours(target)
        return target, _build(target, catalog, clean, start)


@contextmanager
def _without_gc() -> Generator[None]:
    """Nearly all that a build makes is needed to its end, and to look through it for garbage takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _written_to(target: Path) -> Generator[None]:
    """Say of a disk that is full or read-only what could not be written."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        message = f"the site cannot be written to {target}: {what}{error.strerror}; what was there is untouched"
        raise FitcardError(message) from error


def _build(target: Path, root: Path | None, clean: bool, start: float) -> Report:
    root = root or ROOT / "catalog"
    sources, digests = read_sources(), catalog_digests(root) if root.is_dir() else {}
    key = combined((sources.key, *(f"{name} {digest}" for name, digest in digests.items())))
    written = None if clean else manifest.find(target)
    if written and written.head["key"] == key:
        head = written.head
        return Report(current=head["outputs"], pages=head["pages"], seconds=time.perf_counter() - start)
    catalog = load(root, digests=digests)
    plan = whole_site(catalog, sources)
    world = World(catalog, sources, {source_of(planned.output) for planned in plan})
    old = written.manifest() if written else None
    reasons = _stale(plan, old, world)
    stale = [planned for planned in plan if planned.output.file in reasons]
    with _written_to(target), publish.work_folder(target) as folder:
        made = render(stale, world, folder) if stale else {}
        if code(sources.root) != sources.code or read_documents() != sources.docs or catalog_digests(root) != digests:
            key = "sources edited during the build"  # so that the next build looks at everything again
        entries = {
            path: _entry(planned, made[path]) if path in made or old is None else old.outputs[path]
            for path, planned in ((planned.output.file, planned) for planned in plan)
        }
        new = Manifest(key, sources.code, entries)
        publish.replace(target, new, {path: one.place for path, one in made.items()}, whole=old is not None)
    return Report(
        made=reasons,
        removed=tuple(path for path in (old.outputs if old else ()) if path not in entries),
        current=len(plan) - len(stale),
        pages=new.pages,
        seconds=time.perf_counter() - start,
    )


def _entry(planned: Planned, made: Made) -> Entry:
    return Entry(_words(planned), made.content, made.reads)


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


__all__ = ["ROOT", "Report", "build"]
