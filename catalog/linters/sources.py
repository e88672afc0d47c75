"""Sources that nothing names, that stand there twice, or whose address will show something else one day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.links import address_fault

NAME = "sources"
SCOPE = "files"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_IN_REPOSITORY = re.compile(r"/[^/]+/[^/]+/(?:blob|raw|blame|tree|edit)/([^/]+)")
_RAW = re.compile(r"/[^/]+/[^/]+/(?:refs/heads/)?([^/]+)/.")


def check(catalog: Catalog) -> Iterator[Problem]:
    """For each file: orphans, malformed addresses, files of GitHub repositories without their commit, searches, doubles.

    That every fact names a source, and one that is there, is checked on loading.
    """
    for folder, name, file in catalog.sourced_files():
        used = set(named(file.model_dump(exclude={"sources"})))
        seen: dict[tuple[str, str], str] = {}
        for key, source in file.sources.items():
            place = ("sources", key)
            if key not in used:
                yield catalog.problem(folder, name, place, "is named by no fact of this file: name it, or delete it")
            if fault := address_fault(source.url) or moving(source.url):
                yield catalog.problem(folder, name, (*place, "url"), f"{fault} (got {source.url})")
            first = seen.setdefault((source.url, source.title), key)
            if first != key:
                message = f"is the document {first!r} again: keep one (got {source.url})"
                yield catalog.problem(folder, name, place, message)


def moving(url: str) -> str | None:
    """Why an address will show something else one day, where that can be helped; None where it does not, or cannot."""
    parts = urlsplit(url)
    pattern = {"github.com": _IN_REPOSITORY, "raw.githubusercontent.com": _RAW}.get(parts.hostname or "")
    found = pattern.match(parts.path) if pattern else None
    if found and not _COMMIT.fullmatch(found[1]):
        return f"changes with {found[1]}: give the address with the commit of 40 digits in it"
    if parts.hostname in ("github.com", "www.google.com", "google.com", "duckduckgo.com") and parts.path == "/search":
        return "is a search and not the document that it found"
    return None


def named(value: Any) -> Iterator[str]:
    """The sources that facts name, anywhere in a record: `source: key`, `..._source: key`, `sources: [keys]` or `sources: {key: figures}`."""
    if isinstance(value, Mapping):
        for key, item in cast(Mapping[str, Any], value).items():
            if key == "sources":
                yield from cast(Sequence[str] | Mapping[str, Any], item)
            elif key == "source" or key.endswith("_source"):
                yield item
            else:
                yield from named(item)
    elif isinstance(value, list | tuple):
        for item in cast(Sequence[Any], value):
            yield from named(item)
