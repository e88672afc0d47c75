"""Building the site: only what its inputs say is stale, beside the old site, which it replaces in one step."""

from __future__ import annotations

import gc
import time
from collections.abc import Container, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.parallel import begun
from fitcard.catalog.storage.hashing import catalog_digests, combined
from fitcard.site.generator.engine import manifest, publish
from fitcard.site.generator.engine.digests import ROOT, Inputs, code, read_documents, read_sources, references
from fitcard.site.generator.engine.manifest import Group, Manifest

if TYPE_CHECKING:
    from fitcard.site.generator.engine.render import Made


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
    began = time.perf_counter()
    target = (target or ROOT / "build" / "site").resolve()
    publish.check_ours(target)
    with _written_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with publish.locked(target), _uncollected():
        publish.check_ours(target)
        return target, _build(target, catalog, clean, began)


@contextmanager
def _uncollected() -> Generator[None]:
    """Without looking for garbage: next to all that a build makes is still needed, and looking through it takes a tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _written_to(target: Path) -> Generator[None]:
    """Says of a disk that is full or read-only what could not be written."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        raise FitcardError(
            f"the site cannot be written to {target}: {what}{error.strerror}; what was there is untouched"
        ) from error


def _build(target: Path, root: Path | None, clean: bool, began: float) -> Report:
    root = root or ROOT / "catalog"
    sources, digests = read_sources(), catalog_digests(root) if root.is_dir() else {}
    key = combined((sources.key, *(f"{name} {digest}" for name, digest in digests.items())))
    found = None if clean else manifest.find(target)
    if found and found.head["key"] == key:
        current, pages = found.head["outputs"], found.head["pages"]
        return Report(current=current, pages=pages, seconds=time.perf_counter() - began)

    # Only now, since they take longer than finding out that nothing changed.
    from fitcard.catalog import load
    from fitcard.site.generator.data import search
    from fitcard.site.generator.engine.render import everything, render
    from fitcard.site.generator.outputs import SEARCH, SITE, groups
    from fitcard.site.generator.prepare import MANY, prepare

    catalog = load(root, digests=digests)
    if any(digests.get(name) != content for name, content in catalog.digests.items()):
        key = "data edited when the build began"  # so the next build looks at everything again
    old = found.manifest() if found else None
    had = old.groups if old else dict[str, Group]()
    inputs = Inputs(catalog, sources)
    with begun(partial(search.keep, catalog), needed=old is None and not search.is_kept(catalog)) as ended:
        subjects = everything(groups(catalog), sources, references(sources.templates))
        keys = {subject.name: inputs.together(subject.inputs) if subject.inputs else "" for subject in subjects}
        as_it_was = {
            name: had[name] for name, key_now in keys.items() if key_now and name in had and had[name].key == key_now
        }
        listed: dict[str, dict[str, Made]] = {}
        digest_of: dict[str, str] = {}
        # The index of the search comes late, since it may be begun only now; what is written by hand last, since it links to others.
        for subject in sorted(subjects, key=lambda subject: (subject.name == SITE, subject.name == SEARCH)):
            if subject.name in as_it_was:
                continue
            if subject.name == SEARCH:
                ended()
            listed[subject.name] = subject.listed()
            if subject.name == SITE:
                inputs.pages = Sourced(listed, as_it_was)
            for path, made_of in listed[subject.name].items():
                digest_of[path] = inputs.together(made_of.inputs, type(made_of.output).__name__, *made_of.words)
    wanted = {path: made for outputs in listed.values() for path, made in outputs.items()}
    before = {path: output for name in listed if name in had for path, output in had[name].outputs.items()}
    stale = [made for path, made in wanted.items() if path not in before or before[path][0] != digest_of[path]]
    with _written_to(target), publish.work_folder(target) as folder:
        if len(stale) >= MANY:
            prepare(catalog)
        made = render(stale, sources, inputs.pages, folder) if stale else {}
        if code(sources.root) != sources.code or read_documents() != sources.docs:
            # Then nobody knows which of them made what, so the next build makes it again.
            key, digest_of = "code edited during the build", digest_of | dict.fromkeys(made, "")
            keys |= {name: "" for name, outputs in listed.items() if not made.keys().isdisjoint(outputs)}
        contents = {path: made[path][1] if path in made else before[path][1] for path in wanted}
        now = {
            subject.name: as_it_was.get(subject.name)
            or Group.of(keys[subject.name], {path: (digest_of[path], contents[path]) for path in listed[subject.name]})
            for subject in subjects
        }
        used = {name for names in {subject.inputs for subject in subjects} for name in names}
        used |= {name for names in {one.inputs for one in wanted.values()} for name in names}
        named = {name: inputs[name] for name in used if not name.startswith("run:")}
        new = Manifest(key, named, now)
        publish.replace(target, new, {path: place for path, (place, _) in made.items()}, whole=old is not None)
    removed = [path for path in before if path not in wanted]
    removed += [path for name, group in had.items() if name not in now for path in group.outputs]
    return Report(
        made={one.path: _why(one, old, before, inputs) for one in stale}, removed=tuple(removed),
        current=new.size - len(stale), pages=new.pages, seconds=time.perf_counter() - began,
    )  # fmt: skip


class Sourced(Container[str]):
    """The source files that documents may link to, by their names; those of groups that were not listed are read when one is asked for
    that is found nowhere else."""

    def __init__(self, listed: Mapping[str, Mapping[str, Made]], rest: Mapping[str, Group]) -> None:
        from fitcard.site.generator.engine.render import source_of

        self._listed = {source_of(made) for outputs in listed.values() for made in outputs.values()}
        self._rest = rest

    def __contains__(self, source: object) -> bool:
        return source in self._listed or source in self._others

    @cached_property
    def _others(self) -> set[str]:
        """Pages that nobody writes by hand lie where their source files would."""
        page = "index.html"
        return {
            f"{path.removesuffix(page)}index.md" if path.endswith(page) else path
            for group in self._rest.values() for path in group.outputs
        }  # fmt: skip


def _why(made: Made, old: Manifest | None, before: Container[str], inputs: Inputs) -> str:
    """Why an output is made again."""
    if old is None:
        return "there is no site yet whose manifest is whole"
    if made.path not in before:
        return "it is new"
    changed = [name for name in made.inputs if old.inputs.get(name, name.removeprefix("run:")) != inputs[name]]
    return f"{', '.join(changed)} changed" if changed else "its title, description, template or list of inputs changed"


__all__ = ["ROOT", "Report", "build"]
