"""What a site is made from besides the catalog: templates, style sheets, hand-written pages, and the code itself."""

from __future__ import annotations

import importlib.metadata
import posixpath
import re
import traceback
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError, meta

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import FitcardError, shown
from fitcard.catalog.storage.hashing import code_digests, combined, digest
from fitcard.catalog.storage.reads import NONE

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

    @cached_property
    def references(self) -> dict[str, list[str]]:
        """Each template with all that it extends, imports or includes, directly or not, and itself."""
        direct = {name: self._named_in(name, content) for name, content in self.templates.items()}
        every: dict[str, list[str]] = {}
        for name in direct:
            seen, new = {name}, [name]
            while new:
                new = [inner for outer in new for inner in direct[outer] if inner not in seen]
                seen.update(new)
            every[name] = sorted(seen)
        return every

    def _named_in(self, name: str, content: bytes) -> list[str]:
        names = _names_in(content, name, str(self.root / "site/theme" / name))
        # A name that is only known when the page is drawn may be any.
        return sorted(self.templates) if None in names else sorted(n for n in names if n and n in self.templates)


@lru_cache(maxsize=128)
def _names_in(content: bytes, name: str, path: str) -> frozenset[str | None]:
    """What a template names, None for what only drawing it tells."""
    try:
        return frozenset(meta.find_referenced_templates(Environment().parse(content.decode(), name, path)))
    except TemplateSyntaxError as error:
        raise template_fault(error) from error


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


@cache
def _versions() -> tuple[str, ...]:
    """Those of the packages that draw pages, as they are imported here."""
    return tuple(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)


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


def template_fault(error: Exception) -> FitcardError:
    """A fault in a template as one line, with its place: where it was noticed, in the innermost template."""
    place = getattr(error, "filename", None), getattr(error, "lineno", None)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.endswith(".html"):
            place = frame.filename, frame.lineno
    where = f"{shown(Path(place[0]))}:{place[1] or 1}" if place[0] else "site/theme"
    return FitcardError(f"{where}: {error}".splitlines()[0])


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
