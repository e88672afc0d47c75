"""What a built site is made from, written into it last: by it a folder is known to be a site of ours, and each output to be current.

Three lines: a head, the digests of the inputs, and the outputs. The head holds the sum of the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.files import combined, digest

NAME = ".fitcard-site"
_VERSION = 1
_NOTE = "Written by `fitcard build`, which replaces this folder as a whole."


@dataclass(frozen=True)
class Manifest:
    """All of a site."""

    key: str
    """Of everything that it was made from, at once."""
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """The digest of every input of any output."""
    outputs: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """By path: the digest of all that it was made from, and of its content."""

    def text(self) -> bytes:
        """As it is written. The same site has the same text."""
        rest = f"{_json(self.inputs)}\n{_json(self.outputs)}\n".encode()
        head = {"fitcard": _VERSION, "note": _NOTE, "key": self.key, "outputs": len(self.outputs), "pages": self.pages}
        head["sum"] = combined((_json(head), digest(rest)))
        return f"{_json(head)}\n".encode() + rest

    @property
    def pages(self) -> int:
        """How many of the outputs are pages."""
        return sum(path.endswith(".html") for path in self.outputs)


def read_head(folder: Path) -> dict[str, Any] | None:
    """The key and the counts of a site whose manifest is whole; None for any other folder."""
    found = _read(folder)
    return found[0] if found else None


def read(folder: Path) -> Manifest | None:
    """The manifest of a site; None where there is none, or one that is damaged or of another version."""
    if (found := _read(folder)) is None:
        return None
    inputs, outputs = found[1].splitlines()
    rows: dict[str, list[str]] = json.loads(outputs)
    return Manifest(
        found[0]["key"], json.loads(inputs), {path: (key, content) for path, (key, content) in rows.items()}
    )


def _read(folder: Path) -> tuple[dict[str, Any], bytes] | None:
    try:
        line, _, rest = (folder / NAME).read_bytes().partition(b"\n")
        head: dict[str, Any] = json.loads(line)
        total = head.pop("sum")
        whole = head["fitcard"] == _VERSION and total == combined((_json(head), digest(rest)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return (head, rest) if whole else None


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
