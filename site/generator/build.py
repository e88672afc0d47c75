"""Building the site: only outputs of which something that they read has changed, beside the old site, which is replaced in one step."""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fitcard.catalog.storage.hashing import catalog_digests, combined
from fitcard.site.generator.engine import manifest, publish
from fitcard.site.generator.engine.report import Report
from fitcard.site.generator.engine.sources import ROOT, read_sources


def build(target: Path | None = None, catalog: Path | None = None, *, clean: bool = False) -> tuple[Path, Report]:
    """Bring the website in `target` (build/site by default) up to date, and give that folder and what was done.

    `clean` makes everything again. Raises FitcardError for bad data, for a folder that is not ours, where there is no mkdocs.yml
    beside the package (the templates are part of the checkout), and when the site cannot be written. The old site then stays.
    """
    start = time.perf_counter()
    target = (target or ROOT / "build" / "site").resolve()
    publish.check_ours(target)
    with publish.written_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with publish.locked(target), _without_gc():
        publish.check_ours(target)
        report = _build(target, catalog or ROOT / "catalog", clean)
        return target, replace(report, seconds=time.perf_counter() - start)


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


def _build(target: Path, root: Path, clean: bool) -> Report:
    sources, digests = read_sources(), catalog_digests(root) if root.is_dir() else {}
    key = combined((sources.key, *(f"{name} {digest}" for name, digest in digests.items())))
    written = None if clean else manifest.find(target)
    if written and written.head["key"] == key:
        publish.clear_up(target)
        return Report(current=written.head["outputs"], pages=written.head["pages"])
    from fitcard.site.generator.update import update  # here, since seeing that nothing has changed needs none of it

    return update(target, root, sources, digests, written, key)


__all__ = ["ROOT", "Report", "build"]
