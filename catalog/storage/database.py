"""The one SQLite file in which results are kept: texts under keys, each with a checksum.

It may be deleted at any time. Where it is missing, damaged, full, somebody else's or cannot be written, results are worked
out again, and that is all.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import threading
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

LIMIT_BYTES = 1 << 29
"""A file that has grown larger is thrown away when it is next opened."""
_KEYS_PER_QUERY = 500
"""SQLite's oldest versions take 999 parameters."""

_connections: dict[tuple[int, int, Path], sqlite3.Connection] = {}
"""By process, thread and file. A forked process never touches those of its parent, not even to close them."""


def folder() -> Path:
    """fitcard's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fitcard"


def file() -> Path:
    """The database."""
    return folder() / "memo.sqlite"


def get(keys: Iterable[str]) -> dict[str, str]:
    """The texts under these keys, as far as they are there and whole."""
    every = list(keys)
    texts: dict[str, str] = {}
    try:
        connection = _connection(create=False)
        for start in range(0, len(every), _KEYS_PER_QUERY):
            some = every[start : start + _KEYS_PER_QUERY]
            query = f"SELECT key, sum, text FROM memo WHERE key IN ({','.join('?' * len(some))})"
            texts |= {key: text for key, total, text in connection.execute(query, some) if total == _sum(key, text)}
    except (sqlite3.Error, OSError, RuntimeError, TypeError, UnicodeDecodeError, AttributeError) as error:
        _close(error)
    return texts


def put(texts: Mapping[str, str]) -> None:
    """Keep texts under their keys, where that can be done."""
    try:
        connection = _connection(create=True)
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO memo VALUES (?, ?, ?)",
                ((key, _sum(key, text), text) for key, text in texts.items()),
            )
    except (sqlite3.Error, OSError, RuntimeError) as error:
        _close(error)


def _sum(key: str, text: str) -> int:
    return zlib.crc32(text.encode(), zlib.crc32(key.encode()))


def _connection(*, create: bool) -> sqlite3.Connection:
    path = file()
    mine = (os.getpid(), threading.get_ident(), path)
    if mine in _connections:
        return _connections[mine]
    if create:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _is_ours(path, create):
        raise FileNotFoundError(path)
    connection = sqlite3.connect(path, timeout=10)
    connection.execute("PRAGMA synchronous = OFF")  # what a crash of the machine breaks is noticed by its checksum
    connection.execute("CREATE TABLE IF NOT EXISTS memo (key TEXT PRIMARY KEY, sum INTEGER, text TEXT)")
    for other in [key for key in _connections if key[:2] == mine[:2]]:
        _connections.pop(other).close()
    _connections[mine] = connection
    return connection


def _is_ours(path: Path, create: bool) -> bool:
    """Whether folder and file may be used: ours alone, no links. Whoever can write them could put words into our pages."""
    for place in (path.parent, path):
        try:
            state = place.lstat()
        except FileNotFoundError:
            return create and place == path
        right_kind = stat.S_ISDIR(state.st_mode) if place == path.parent else stat.S_ISREG(state.st_mode)
        if not right_kind:
            raise NotADirectoryError(place)
        if hasattr(os, "getuid") and state.st_uid != os.getuid():
            print(
                f"{place} belongs to another user, so nothing is kept there: set XDG_CACHE_HOME to a folder of your own",
                file=sys.stderr,
            )
            raise PermissionError(place)
        if state.st_mode & 0o077 and place == path.parent:
            place.chmod(0o700)
    if path.stat().st_size > LIMIT_BYTES:
        path.unlink()
        return create
    return True


def _close(error: Exception) -> None:
    """Close the connection after an error. A file that is no database any more is deleted, so that a new one can be made."""
    if connection := _connections.pop((os.getpid(), threading.get_ident(), file()), None):
        with contextlib.suppress(sqlite3.Error):
            connection.close()
    if type(error) is sqlite3.DatabaseError:  # its subclasses are about locks, full disks and the like
        with contextlib.suppress(OSError):
            file().unlink(missing_ok=True)
