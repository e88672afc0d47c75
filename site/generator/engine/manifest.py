"""What a built site is made from, written into it last: by it a folder is known to be a site of ours, and each output to be current.

A line that says what the site as a whole was made from, with a checksum of the rest, and then every output with what it read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fitcard.catalog.storage.hashing import combined, digest
from fitcard.catalog.storage.reads import Reads

NAME = ".fitcard-site"
_VERSION = 3
_NOTE = "Written by `fitcard build`, which replaces this folder as a whole."


class Entry(NamedTuple):
    """One output as it stands in a site."""

    words: str
    """The digest of its title, description and template."""
    content: str
    """The digest of its file."""
    reads: Reads
    """What it was made from."""


@dataclass(frozen=True)
class Manifest:
    """All of a site."""

    key: str
    """Of everything that it was made from, at once."""
    code: str = ""
    """Of the code that made it."""
    outputs: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    """By path."""

    @property
    def pages(self) -> int:
        """How many of the outputs are pages."""
        return sum(path.endswith(".html") for path in self.outputs)

    def text(self) -> bytes:
        """As it is written. The same site has the same text."""
        numbers: dict[str, int] = {}  # many outputs read the same, which is written once
        rows = {
            path: (entry.words, entry.content, numbers.setdefault(_json(entry.reads), len(numbers)))
            for path, entry in sorted(self.outputs.items())
        }
        rest = f"[{','.join(numbers)}]\n{_json(rows)}\n".encode()
        head = {"fitcard": _VERSION, "note": _NOTE, "key": self.key, "code": self.code}
        head |= {"outputs": len(rows), "pages": self.pages}
        head["sum"] = combined((_json(head), digest(rest)))
        return f"{_json(head)}\n".encode() + rest


@dataclass(frozen=True)
class StoredManifest:
    """A manifest as it was found, known to be whole."""

    head: Mapping[str, Any]
    """The key, the code, and how many outputs and pages there are."""
    content: bytes

    def manifest(self) -> Manifest:
        """All of it."""
        _, reads, rows, _ = self.content.split(b"\n")
        every: list[Reads] = json.loads(reads)
        outputs = {path: Entry(words, content, every[at]) for path, (words, content, at) in json.loads(rows).items()}
        return Manifest(self.head["key"], self.head["code"], outputs)


def find(folder: Path) -> StoredManifest | None:
    """The manifest of a site; None where there is none, or one that is damaged or of another version."""
    try:
        content = (folder / NAME).read_bytes()
        end = content.index(b"\n")
        head: dict[str, Any] = json.loads(content[:end])
        total = head.pop("sum")
        whole = head["fitcard"] == _VERSION and total == combined((_json(head), digest(memoryview(content)[end + 1 :])))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return StoredManifest(head, content) if whole else None


def read(folder: Path) -> Manifest | None:
    """The same, with all that it says."""
    written = find(folder)
    return written.manifest() if written else None


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
