"""Building the site with MkDocs, beside the old one, which it replaces only when it is whole."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from catalog.errors import FitcardError

ROOT = Path(__file__).parents[2]
MARKER = ".fitcard-site"
"""The file by which a folder is known to be a site of ours."""


def build(target: Path | None = None, catalog: Path | None = None) -> tuple[Path, int]:
    """Build the website into `target` (build/site by default) and give that folder and its number of pages.

    Raises FitcardError where there is no mkdocs.yml beside the package: the templates are part of the checkout.
    """
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config  # pyright: ignore[reportUnknownVariableType] - MkDocs' own types are partial
    from mkdocs.exceptions import Abort

    config_file = configuration()
    target = (target or ROOT / "build" / "site").resolve()
    _check_ours(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        fresh, old = Path(folder) / "site", Path(folder) / "old"
        with _environment("FITCARD_CATALOG", catalog):
            _quiet()
            try:
                mkdocs_build(load_config(str(config_file), site_dir=str(fresh), strict=True))
            except Abort as error:
                cause = error.__cause__
                raise cause if isinstance(cause, FitcardError) else FitcardError(str(error)) from None
        # MkDocs' own site map is empty without a site_url, and holds the day of the build.
        for name in ("sitemap.xml", "sitemap.xml.gz"):
            (fresh / name).unlink(missing_ok=True)
        (fresh / MARKER).write_text("This folder is written by `fitcard build`, which replaces it as a whole.\n")
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    return target, sum(1 for _ in target.rglob("*.html"))


def _check_ours(target: Path) -> None:
    """Raise FitcardError for a folder that holds anything but a site that we built: building replaces it as a whole."""
    if target.exists() and not (target / MARKER).exists() and (not target.is_dir() or any(target.iterdir())):
        raise FitcardError(f"{target} holds something that fitcard did not build; give --output a new or empty folder")


def configuration() -> Path:
    """The path of mkdocs.yml. Raises FitcardError outside a checkout."""
    path = ROOT / "mkdocs.yml"
    if not path.exists():
        raise FitcardError(f"the website is built from a checkout of fitcard: there is no {path}")
    return path


def _quiet() -> None:
    """Only warnings of MkDocs reach the terminal."""
    logging.getLogger("mkdocs").setLevel(logging.WARNING)


class _environment:
    """An environment variable set for a while; the hook is called by MkDocs, which passes no arguments of ours."""

    def __init__(self, name: str, value: Path | None) -> None:
        self.name, self.value, self.before = name, value, os.environ.get(name)

    def __enter__(self) -> None:
        if self.value is not None:
            os.environ[self.name] = str(self.value.resolve())

    def __exit__(self, *_: object) -> None:
        if self.before is None:
            os.environ.pop(self.name, None)
        else:
            os.environ[self.name] = self.before
