"""The one reader of files from outside: what it gives back is small, flat and finite, or there is one line that says why not.

A catalog takes files from strangers. A named pipe must not hang a command, `/dev/zero` must not fill the memory, and
100,000 brackets must not crash the parser. Each limit is several times what the largest honest file needs.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from fitcard.catalog.errors import CatalogError, Problem

MAX_BYTES = 64 << 20
"""The largest text file that is read. The largest honest one, a file of 2,000 runs, has some 10 MB."""
MAX_YAML_BYTES = 8 << 20
"""The largest YAML file. People write these by hand; an import of 20,000 rows has 7 MB."""
MAX_VALUES = 1_000_000
"""Values in one JSON file. Python needs up to 80 bytes for an empty list that takes 3 bytes in the file."""
MAX_YAML_VALUES = 250_000
"""Values in one YAML file, each use of an alias counted again. An import of 20,000 rows has 240,000."""
MAX_DEPTH = 64
"""Lists and mappings inside each other. A trace has 6, a configuration 4."""
MAX_DIGITS = 100
"""Digits in a row of one number. A 64-bit integer has 19; Python refuses integers of more than 4,300."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A text in JSON, or all the rest where it has no end: looking for the end again and again would take quadratic time."""
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}|\d[eE]\+?\d{{3}}|-?\b(?:NaN|Infinity)\b")
_TOO_MANY = f"holds too many values: at most {MAX_VALUES:,} are read; split the file"
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_PAIRS = (b"[]", b"{}")
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


@contextmanager
def opened(path: Path) -> Generator[tuple[int, int]]:
    """A regular file, opened for reading: its descriptor and its size. Raises CatalogError for anything else, without waiting for it."""
    try:
        _regular(path, path.stat())
        # Between the two calls another file may have taken its place: opening must not wait for a pipe either.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            info = os.fstat(file)
            _regular(path, info)
            yield file, info.st_size
        finally:
            os.close(file)
    except OSError as error:
        refuse(path, 1, f"cannot be read: {error.strerror}")
    except ValueError as error:  # a NUL byte in the name
        refuse(path, 1, f"cannot be read: {error}")


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises CatalogError for anything else."""
    with opened(path) as (file, size):
        if size > most:
            _too_large(path, size, most)
        parts: list[bytes] = []
        left = most + 1  # files of /proc say that they are empty, and others may grow
        while left and (part := os.read(file, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        if not left:
            _too_large(path, most + 1, most)
    return b"".join(parts)


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """The file as UTF-8 text. Raises CatalogError for a file that is missing, too large, empty, or not text."""
    try:
        text = read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(path, 1, f"is not UTF-8 text (byte {error.start} cannot be read): restore the file")
    if "\0" in text:
        refuse(path, text.count("\n", 0, text.index("\0")) + 1, "is not text (it holds a NUL byte): restore the file")
    if not text.strip():
        refuse(path, 1, "is empty: fill it in or delete it")
    return text


def load_json(text: str, path: Path | str) -> Any:
    """The data of a JSON text; `path`, or an address, is for messages.

    Raises json.JSONDecodeError where it is not JSON, and CatalogError where it is more than an honest file needs: too many values,
    nested too deeply, a number that is too long, or not a number at all (NaN and Infinity are not JSON).
    """
    if text.count('"') > 4 * MAX_VALUES:  # two for a key, two for its value
        refuse(path, 1, _TOO_MANY)
    bare = _STRING.sub('""', text)
    if bare.count(",") + bare.count("[") + bare.count("{") > MAX_VALUES:
        refuse(path, 1, _TOO_MANY)
    if match := _LONG_NUMBER.search(bare):
        line = bare.count("\n", 0, match.start()) + 1
        refuse(path, line, f"holds a number that is not finite or too long (at most {MAX_DIGITS} digits): mend it")
    brackets = bare.encode("utf-8", "replace").translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes the innermost pairs away
        if not brackets:
            break
        for pair in _PAIRS:
            brackets = brackets.replace(pair, b"")
    if len(brackets) > MAX_DEPTH:
        refuse(path, 1, f"is nested too deeply, or its brackets do not match: at most {MAX_DEPTH} levels are read")
    return json.loads(text)


def read_json(path: Path, repair: str, most: int = MAX_BYTES) -> Any:
    """The data of a JSON file. Raises CatalogError with the line and with `repair`, which says what to do about a damaged one."""
    text = read_text(path, most).removeprefix("\ufeff")  # which editors on Windows put in front
    try:
        return load_json(text, path)
    except json.JSONDecodeError as error:
        refuse(path, error.lineno, f"is damaged: {error.msg}; {repair}")


def refuse(path: Path | str, line: int, message: str) -> NoReturn:
    """Raise the one line that says what is wrong with a file."""
    raise CatalogError([Problem(Path(path), line, "", message)]) from None


def _regular(path: Path, info: os.stat_result) -> None:
    for is_kind, name in _KINDS:
        if is_kind(info.st_mode):
            refuse(path, 1, f"is {name} and not a file: put the file itself there")


def _too_large(path: Path, size: int, most: int) -> NoReturn:
    refuse(path, 1, f"is too large: {size:,} bytes or more, and at most {most:,} are read")
