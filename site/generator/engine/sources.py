"""What a site is made from besides the catalog: templates, style sheets, hand-written pages, and the code itself."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.storage.hashing import code_digests, combined, digest
from fitcard.catalog.storage.reads import NONE

if TYPE_CHECKING:
    from fitcard.catalog.catalog import Catalog

ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = ("jinja2", "markdown", "markupsafe", "mkdocs", "pagefind_bin", "pillow", "pydantic", "pyyaml")
_NOT_STATIC = (".html", ".md", ".py", ".pyc")
_LINK = re.compile(r"\]\(\s*<?([^)\s>#]+)|^\s*\[[^\]]+\]:\s*<?([^\s>#]+)", re.M)


@dataclass(frozen=True)
class Sources:
    """All of it, as it was when the build began: edits made meanwhile are for the next one."""

    root: Path
    """The checkout that it was read from."""
    code: str
    """Identifies the code, mkdocs.yml, and the packages that draw pages."""
    theme: Mapping[str, bytes]
    """Templates and the files that are copied as they are, by path below site/theme."""
    docs: Mapping[str, bytes]
    """Hand-written pages and their pictures, by path below site/docs."""

    @cached_property
    def templates(self) -> dict[str, bytes]:
        return {name: content for name, content in self.theme.items() if name.endswith(".html")}

    @cached_property
    def key(self) -> str:
        """Identifies all of it."""
        files = {**{f"theme/{n}": c for n, c in self.theme.items()}, **{f"docs/{n}": c for n, c in self.docs.items()}}
        return combined((self.code, *(f"{name} {digest(content)}" for name, content in files.items())))


def configuration() -> Path:
    """The path of mkdocs.yml. Raises FitcardError outside a checkout."""
    path = ROOT / "mkdocs.yml"
    if not path.exists():
        raise FitcardError(f"the website is built from a checkout of fitcard: there is no {path}")
    return path


def documents_folder() -> Path:
    """Where hand-written pages are."""
    return ROOT / "site/docs"


def read_documents() -> dict[str, bytes]:
    """Hand-written pages and their pictures, by path below site/docs."""
    return _read(documents_folder())


def documents_digest(docs: Mapping[str, bytes]) -> str:
    """The digest of all hand-written pages, for what reads each of them."""
    return combined(f"{name} {digest(content)}" for name, content in docs.items() if name.endswith(".md"))


def read_sources() -> Sources:
    """The sources of today. Raises FitcardError outside a checkout."""
    root = configuration().parent
    return Sources(root, code(root), _read(root / "site/theme"), read_documents())


def code(root: Path) -> str:
    """Identifies the code, mkdocs.yml, and the versions of the packages that draw pages."""
    return combined((*_versions(), *code_digests(root, "src/fitcard/*.py", "mkdocs.yml")))


def _versions() -> list[str]:
    """Those of the packages that draw pages, by the folders in which installers note them."""
    names = (name for folder in sys.path for name in glob("*.dist-info", root_dir=folder or "."))  # noqa: PTH207 - as in hashing
    return sorted(name for name in names if name.partition("-")[0].lower() in _PACKAGES)


def _read(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes() for name, path in files.items() if not any(p.startswith(".") for p in name.split("/"))
    }


def is_static(name: str) -> bool:
    """Whether a file of the theme or of the docs is copied as it is."""
    return not name.endswith(_NOT_STATIC)


def links(source: str, content: bytes) -> Iterator[str]:
    """The other source files that a hand-written page links to."""
    for match in _LINK.finditer(content.decode("utf-8", "replace")):
        target = match[1] or match[2]
        if "//" not in target and not target.startswith(("/", "mailto:")):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


class World:
    """Everything that outputs can read, by the names under which reading it is noted."""

    def __init__(self, catalog: Catalog, sources: Sources, linkable: Collection[str]) -> None:
        """`linkable` are the source files that hand-written pages may link to."""
        self.catalog, self.sources, self.linkable = catalog, sources, linkable

    def digest_of(self, name: str) -> str:
        """The digest of what is called `name` now; `none` for what is not there."""
        kind, _, key = name.partition("/")
        if kind in ("template", "theme"):
            return digest(self.sources.theme[key]) if key in self.sources.theme else NONE
        if kind == "doc":
            return digest(self.sources.docs[key]) if key in self.sources.docs else NONE
        if name == "docs":
            return documents_digest(self.sources.docs)
        if kind == "link":
            return "there" if key in self.linkable else NONE
        return self.catalog.digest_of(name)
