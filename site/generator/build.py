"""Building the site: only what its inputs say is stale, beside the old site, which it replaces in one step."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.errors import FitcardError
from catalog.files import catalog_digests, combined
from generator import manifest, trees
from generator.inputs import ROOT, Inputs, code, read_documents, read_sources, references
from generator.manifest import Manifest

if TYPE_CHECKING:
    from generator.render import Made


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
    trees.check_ours(target)
    with _written_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with trees.locked(target):
        trees.check_ours(target)
        return target, _build(target, catalog, clean, began)


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
    head = None if clean else manifest.read_head(target)
    if head and head["key"] == key:
        return Report(current=head["outputs"], pages=head["pages"], seconds=time.perf_counter() - began)

    # Only now, since they take longer than finding out that nothing changed.
    from catalog import load
    from generator.outputs import outputs
    from generator.prepare import MANY, prepare
    from generator.render import everything, render, source_of

    catalog = load(root, digests=digests)
    if any(digests.get(name) != content for name, content in catalog.digests.items()):
        key = "data edited when the build began"  # so the next build looks at everything again
    wanted = everything(outputs(catalog), sources, references(sources.templates))
    inputs = Inputs(catalog, sources, map(source_of, wanted.values()))
    keys = _keys(wanted, inputs)
    old = None if clean else manifest.read(target)
    had = old.outputs if old else dict[str, tuple[str, str]]()
    stale = [made for path, made in wanted.items() if path not in had or had[path][0] != keys[path]]
    with _written_to(target), trees.work_folder(target) as folder:
        if stale:
            prepare(catalog, whole=len(stale) >= MANY)
        made = render(stale, sources, inputs.pages, folder) if stale else {}
        if code(sources.root) != sources.code or read_documents() != sources.docs:
            # Then nobody knows which of them made what, so the next build makes it again.
            key, keys = "code edited during the build", keys | dict.fromkeys(made, "")
        contents = {path: made[path][1] if path in made else had[path][1] for path in wanted}
        used = sorted({name for names in {one.inputs for one in wanted.values()} for name in names})
        new = Manifest(key, inputs.named(used), {path: (keys[path], contents[path]) for path in sorted(wanted)})
        trees.replace(target, new, {path: place for path, (place, _) in made.items()})
    return Report(
        made={one.path: _why(one, old, inputs) for one in stale}, removed=tuple(path for path in had if path not in wanted),
        current=len(wanted) - len(stale), pages=new.pages, seconds=time.perf_counter() - began,
    )  # fmt: skip


def _keys(wanted: Mapping[str, Made], inputs: Inputs) -> dict[str, str]:
    """The digest of all that each output is made from. Many have the same inputs, so those are put together once."""
    known: dict[tuple[str, ...], str] = {}
    found: dict[str, str] = {}
    for path, made in wanted.items():
        if made.inputs not in known:
            known[made.inputs] = combined(f"{name} {inputs[name]}" for name in made.inputs)
        found[path] = combined((known[made.inputs], type(made.output).__name__, *made.words))
    return found


def _why(made: Made, old: Manifest | None, inputs: Inputs) -> str:
    """Why an output is made again."""
    if old is None:
        return "there is no site yet whose manifest is whole"
    if made.path not in old.outputs:
        return "it is new"
    changed = [name for name in made.inputs if old.inputs.get(name) != inputs[name]]
    return f"{', '.join(changed)} changed" if changed else "its title, description, template or list of inputs changed"


__all__ = ["ROOT", "Report", "build"]
