"""Pagefind's index of records, with the same bytes every time.

The program of the package `pagefind_bin` is spoken to directly, one message of base64 and JSON at a time, as the packages
`pagefind` for Python and Node do. The former waits a tenth of a second after each message: half a minute for what is here.

Pagefind writes the values of a filter, the filters and the keys to sort by in the order of a hash table that is seeded anew in
each process. So these files are read, put in order, written again and named by what they then hold; their format is CBOR
(RFC 8949) of lists, texts and whole numbers, behind a mark, compressed with gzip.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pagefind_bin import get_executable  # pyright: ignore[reportMissingTypeStubs]

from fitcard.catalog.errors import FitcardError

_MARK = b"pagefind_dcd"
_ENTRY = "pagefind-entry.json"
_THEIRS = ("pagefind-ui", "pagefind-modular-ui", "pagefind-component-ui", "pagefind-highlight")
"""Ready-made user interfaces, which the site has no use for."""

Facts = tuple[tuple[str, tuple[str, ...]], ...]
Data = int | str | list[Any]


@dataclass(frozen=True)
class SearchRecord:
    """One page as the search knows it."""

    url: str
    """From the root of the site."""
    title: str
    description: str
    content: str
    """The words that it is found by."""
    filters: Facts
    """Names with the values that the page has."""
    sort: tuple[tuple[str, str], ...] = ()
    """Numbers and dates to sort by."""


def indexed(records: tuple[SearchRecord, ...]) -> tuple[tuple[str, bytes], ...]:
    """The files of an index of `records`, by path. Raises FitcardError when Pagefind cannot make it."""
    try:
        files = _ordered(_made(records))
    except (OSError, ValueError) as error:
        raise FitcardError(
            f"the search index cannot be made: {error}; install the package pagefind_bin again"
        ) from None
    return tuple(sorted((path, content) for path, content in files.items() if not path.startswith(_THEIRS)))


def _made(records: Sequence[SearchRecord]) -> dict[str, bytes]:
    """The files as Pagefind makes them."""
    with subprocess.Popen([get_executable(), "--service"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        index = _ask(program, {"type": "NewIndex", "config": {}})["index_id"]
        for one in records:
            _ask(
                program,
                {
                    "type": "AddRecord",
                    "index_id": index,
                    "url": f"/{one.url}",
                    "content": one.content,
                    "language": "en",
                    "meta": {"title": one.title, "description": one.description, "path": one.url},
                    "filters": {name: list(values) for name, values in one.filters if values},
                    "sort": dict(one.sort),
                },
            )
        files: list[dict[str, str]] = _ask(program, {"type": "GetFiles", "index_id": index})["files"]
    return {file["path"]: base64.b64decode(file["content"]) for file in files}


def _ask(program: subprocess.Popen[bytes], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Send one message and wait for the answer to it; a comma ends either. Raises ValueError for one that says what is wrong."""
    assert program.stdin is not None and program.stdout is not None
    program.stdin.write(base64.b64encode(json.dumps({"message_id": 0, "payload": payload}).encode()) + b",")
    program.stdin.flush()
    answer = bytearray()
    while not answer.endswith(b","):
        part = os.read(program.stdout.fileno(), 1 << 20)
        if not part:
            raise OSError("Pagefind ended early")
        answer += part
    reply: dict[str, Any] = json.loads(base64.b64decode(answer[:-1]))["payload"]
    if reply["type"] == "Error":
        raise ValueError(f"Pagefind says {reply['message']!r} of {payload.get('url')!r}")
    return reply


def _ordered(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same index in an order that does not change from process to process."""
    entry = json.loads(files[_ENTRY])
    for language in entry["languages"].values():
        old = f"pagefind.{language['hash']}.pf_meta"
        version, pages, chunks, filters, sorts, fields = _read(files.pop(old))
        named: list[list[str]] = []
        for name, key in sorted(filters):
            same, values = _read(files.pop(f"filter/{key}.pf_filter"))
            new = _name(key, content := _written([same, sorted(values)]))
            files[f"filter/{new}.pf_filter"] = content
            named.append([name, new])
        meta = _written([version, pages, chunks, named, sorted(sorts), fields])
        language["hash"] = _name(language["hash"], meta)
        files[f"pagefind.{language['hash']}.pf_meta"] = meta
    return files | {_ENTRY: json.dumps(entry, separators=(",", ":")).encode()}


def _name(old: str, content: bytes) -> str:
    """A name like an old one, such as en_34d4bea, from the content."""
    language, _, digits = old.rpartition("_")
    return f"{language}_{hashlib.sha256(content).hexdigest()[: len(digits)]}"


def _written(data: Data) -> bytes:
    return gzip.compress(_MARK + encoded(data), mtime=0)


def _read(content: bytes) -> list[Any]:
    plain = gzip.decompress(content)
    data, end = decoded(plain, len(_MARK))
    if not plain.startswith(_MARK) or end != len(plain) or not isinstance(data, list):
        raise ValueError("Pagefind wrote a file of a format that is not known here")
    return data


def encoded(data: Data) -> bytes:
    """CBOR of whole numbers, texts and lists."""
    if isinstance(data, int):
        return _head(0, data)
    if isinstance(data, str):
        text = data.encode()
        return _head(3, len(text)) + text
    return _head(4, len(data)) + b"".join(map(encoded, data))


def _head(kind: int, number: int) -> bytes:
    """The kind of an item with its number: itself up to 23, else the count of the bytes that it takes, which follow."""
    if number < 24:
        return bytes([kind << 5 | number])
    width = next(width for width in range(4) if number < 1 << (8 << width))
    return bytes([kind << 5 | 24 + width]) + number.to_bytes(1 << width, "big")


def decoded(content: bytes, start: int = 0) -> tuple[Data, int]:
    """One item of CBOR, and where the next one begins. Raises ValueError for a kind that Pagefind does not write."""
    kind, number = content[start] >> 5, content[start] & 31
    start += 1
    if 24 <= number < 28:
        width = 1 << (number - 24)
        number, start = int.from_bytes(content[start : start + width], "big"), start + width
    elif number >= 28:
        raise ValueError("Pagefind wrote a number of a form that is not known here")
    if kind == 0:
        return number, start
    if kind == 3:
        return content[start : start + number].decode(), start + number
    if kind != 4:
        raise ValueError(f"Pagefind wrote an item of kind {kind}, which is not known here")
    items: list[Data] = []
    for _ in range(number):
        item, start = decoded(content, start)
        items.append(item)
    return items, start
