"""What a site consists of: pages, files and hand-written documents, each made only when asked for.

Nobody says what an output depends on: what it reads is noted while it is made, see `catalog/storage/reads.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page that a template draws from a view."""

    path: str
    """Its address below the site's root, ending in a slash; empty for the home page."""
    template: str
    title: str
    description: str
    view: Callable[[], object]

    @property
    def file(self) -> str:
        """The path of its file below the site's root."""
        return f"{self.path}index.html"


@dataclass(frozen=True)
class Asset:
    """A file that is written as it is."""

    path: str
    content: Callable[[], bytes]

    @property
    def file(self) -> str:
        return self.path


@dataclass(frozen=True)
class Document:
    """A hand-written page of site/docs, which MkDocs renders."""

    source: str
    """Its path below site/docs."""

    @property
    def file(self) -> str:
        stem = self.source.removesuffix(".md")
        folder, _, last = stem.rpartition("/")
        return "/".join(filter(None, (folder if last in ("index", "README") else stem, "index.html")))


@dataclass(frozen=True)
class NotFound:
    """The page that a server shows for an address that is none; it may be shown at any depth."""

    template: str = "404.html"

    @property
    def file(self) -> str:
        return self.template


Output = Page | Asset | Document | NotFound


@dataclass(frozen=True)
class Planned:
    """An output with the work that it has in common with others: one process makes those, and so works it out once."""

    output: Output
    work: str = ""
