"""What a built site is made from, written into it last: by it a folder is known to be a site of ours, and each output to be current.

A head, the digests of the inputs, and a line for each group of outputs, which is only read where somebody asks for its outputs. The
head holds the sum of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fitcard.catalog.storage.hashing import combined, digest

NAME = ".fitcard-site"
_VERSION = 2
_NOTE = "Written by `fitcard build`, which replaces this folder as a whole."


@dataclass(frozen=True)
class Group:
    """Some of the outputs."""

    key: str
    """Of all that they and their list are made from; empty where nothing says that they are current without a look at each."""
    size: int
    """How many they are."""
    pages: int
    """How many of them are pages."""
    line: bytes
    """They themselves as they are written, so that groups which are the same need not be read."""

    @classmethod
    def of(cls, key: str, outputs: Mapping[str, tuple[str, str]]) -> Group:
        """A group of outputs by path: the digest of all that each was made from, and of its content."""
        made = cls(key, len(outputs), sum(path.endswith(".html") for path in outputs), _json(outputs).encode())
        vars(made)["outputs"] = dict(outputs)  # so nobody reads the line to know them
        return made

    @cached_property
    def outputs(self) -> dict[str, tuple[str, str]]:
        """By path: the digest of all that each was made from, and of its content."""
        rows: dict[str, list[str]] = json.loads(self.line)
        return {path: (key, content) for path, (key, content) in rows.items()}


@dataclass(frozen=True)
class Manifest:
    """All of a site."""

    key: str
    """Of everything that it was made from, at once."""
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """The digest of every input of any output, but of runs, whose digests are their names."""
    groups: Mapping[str, Group] = field(default_factory=dict[str, Group])

    @cached_property
    def text(self) -> bytes:
        """As it is written. The same site has the same text."""
        names = json.dumps({name: (g.key, g.size, g.pages) for name, g in self.groups.items()}, separators=(",", ":"))
        rest = b"\n".join((_json(self.inputs).encode(), names.encode(), *(g.line for g in self.groups.values()), b""))
        head = {"fitcard": _VERSION, "note": _NOTE, "key": self.key, "outputs": self.size, "pages": self.pages}
        head["sum"] = combined((_json(head), digest(rest)))
        return f"{_json(head)}\n".encode() + rest

    @property
    def size(self) -> int:
        """How many outputs there are."""
        return sum(group.size for group in self.groups.values())

    @property
    def pages(self) -> int:
        """How many of the outputs are pages."""
        return sum(group.pages for group in self.groups.values())

    def outputs(self) -> dict[str, tuple[str, str]]:
        """Those of all groups."""
        return {path: output for group in self.groups.values() for path, output in group.outputs.items()}


@dataclass(frozen=True)
class Written:
    """A manifest as it was found, known to be whole."""

    head: Mapping[str, Any]
    """The key, and how many outputs and pages there are."""
    content: bytes

    def manifest(self) -> Manifest:
        """All of it."""
        _, inputs, names, *lines = self.content.split(b"\n")
        heads: dict[str, tuple[str, int, int]] = json.loads(names)
        groups = {name: Group(*head, line) for (name, head), line in zip(heads.items(), lines, strict=False)}
        return Manifest(self.head["key"], json.loads(inputs), groups)


def find(folder: Path) -> Written | None:
    """The manifest of a site; None where there is none, or one that is damaged or of another version."""
    try:
        content = (folder / NAME).read_bytes()
        end = content.index(b"\n")
        head: dict[str, Any] = json.loads(content[:end])
        total = head.pop("sum")
        whole = head["fitcard"] == _VERSION and total == combined((_json(head), digest(memoryview(content)[end + 1 :])))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Written(head, content) if whole else None


def read(folder: Path) -> Manifest | None:
    """The same, with all that it says."""
    found = find(folder)
    return found.manifest() if found else None


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
