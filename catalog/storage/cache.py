"""What was read, checked or computed before, kept so that it need not be again.

Everything is kept under a key that names all that it was made from by digests, so what is kept can never be stale: another
byte is another key. A cache that is missing, damaged, full or cannot be written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from fitcard.catalog.storage.hashing import combined

LIMIT_BYTES = 1 << 30
"""Beyond this the half that was not used for longest is dropped."""
_AT_ONCE = 500
"""Keys in one query; SQLite takes 999 in its oldest versions."""

_NOTED = 16
"""Writes, about, of which one notes what was used."""
_BUNDLE = 32
"""Values that are kept together, about: so many are read when one of them has changed."""

K = TypeVar("K")
V = TypeVar("V")

_open: dict[tuple[int, int, Path], sqlite3.Connection] = {}
"""By process, thread and file. Those of a parent stay here unused: a copy of a process must not even close them."""


def file() -> Path:
    """Where it is: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fitcard" / "kept.sqlite"


def read(keys: Iterable[str]) -> dict[str, bytes]:
    """What is kept under these keys, as far as it is there and whole."""
    wanted, found = list(keys), dict[str, bytes]()
    try:
        connection = _connection()
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            query = f"SELECT key, value FROM kept WHERE key IN ({','.join('?' * len(some))})"
            for key, value in connection.execute(query, some):
                content = value[4:]
                if _sum(key, content) == value[:4]:
                    found[key] = content
    except (sqlite3.Error, OSError, RuntimeError, TypeError) as error:
        _forget(error)
    return found


def kept(key: str, make: Callable[[], bytes]) -> bytes:
    """What is kept under a key; where nothing is, it is made and kept."""
    found = read([key]).get(key)
    if found is None:
        found = make()
        write({key: found})
    return found


def there(keys: Iterable[str]) -> set[str]:
    """Which of these keys something is kept under."""
    wanted, found = list(keys), set[str]()
    try:
        connection = _connection()
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            query = f"SELECT key FROM kept WHERE key IN ({','.join('?' * len(some))})"
            found.update(key for (key,) in connection.execute(query, some))
    except (sqlite3.Error, OSError, RuntimeError) as error:
        _forget(error)
    return found


def write(rows: Mapping[str, bytes], used: Iterable[str] = ()) -> bool:
    """Keep rows under their keys, and note now and then that others were used, once there is half as much as may be. Says whether that
    could be done."""
    try:
        now = time.time_ns()
        connection = _connection(make=True)
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)",
                ((key, now, _sum(key, content) + content) for key, content in rows.items()),
            )
            size = _bytes(connection)
            # To note it of thousands takes as long as much of what is kept saves.
            if size > LIMIT_BYTES or (size > LIMIT_BYTES // 2 and now // 1000 % _NOTED == 0):
                connection.executemany("UPDATE kept SET used = ? WHERE key = ?", ((now, key) for key in used))
            if size > LIMIT_BYTES:
                oldest = "SELECT key FROM kept WHERE used < ? ORDER BY used LIMIT (SELECT count(*) / 2 FROM kept)"
                connection.execute(f"DELETE FROM kept WHERE key IN ({oldest})", (now,))
    except (sqlite3.Error, OSError, RuntimeError) as error:
        _forget(error)
        return False
    return True


def _connection(make: bool = False) -> sqlite3.Connection:
    """This process's connection: one that was open before a fork belongs to the parent."""
    path = file()
    mine = (os.getpid(), threading.get_ident(), path)
    if mine in _open:
        return _open[mine]
    if make:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    elif not path.exists():
        raise FileNotFoundError(path)
    connection = sqlite3.connect(path, timeout=10)
    # Whatever a crash of the machine breaks is noticed by its sum, so nothing waits for the disk.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, used INTEGER, value BLOB)")
    for other in [key for key in _open if key[:2] == mine[:2]]:  # a test's, or another user's
        _open.pop(other).close()
    _open[mine] = connection
    return connection


def _forget(error: Exception) -> None:
    """Close the connection; a file that is no database any more is deleted, so that the next command can keep things again."""
    if connection := _open.pop((os.getpid(), threading.get_ident(), file()), None):
        with contextlib.suppress(sqlite3.Error):
            connection.close()
    if type(error) is sqlite3.DatabaseError:  # its subclasses are about locks, full disks and the like
        with contextlib.suppress(OSError):
            file().unlink(missing_ok=True)


def _sum(key: str, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(key.encode())).to_bytes(4, "little")


def _bytes(connection: sqlite3.Connection) -> int:
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


class Bundles(Generic[V]):
    """What is kept of many names, each under a key of its own, and in bundles besides, so that all of it is read in a few steps.

    A bundle's key names all that its values were made from, like any other. Which names are together depends on the others only by
    their number.
    """

    def __init__(
        self, what: str, digests: Mapping[str, str], keys: Callable[[Iterable[str]], Mapping[str, str]]
    ) -> None:
        """`digests` has that of all that each name's value is made from, but for what it is, `what`; `keys` gives the keys of some."""
        self._keys = keys
        count = 1
        while count * _BUNDLE < len(digests):
            count *= 2
        together: list[list[str]] = [[] for _ in range(count)]
        for name in digests:
            together[zlib.crc32(name.encode()) % count].append(name)
        self._bundles = {
            combined(("bundle", what, *(f"{name} {digests[name]}" for name in names))): names for names in together if names
        }  # fmt: skip
        kept = read(self._bundles)
        self._used = list(kept)
        self.found: dict[str, V] = {}
        """What is kept."""
        for content in kept.values():
            self.found |= pickle.loads(content)
        self._bundles = {bundle: names for bundle, names in self._bundles.items() if bundle not in kept}
        apart = [name for names in self._bundles.values() for name in names]
        if apart:
            of = keys(apart)
            single = read(set(of.values()))
            self.found |= {name: pickle.loads(single[one]) for name, one in of.items() if one in single}
        self.missing = [name for name in apart if name not in self.found]
        """The names of which nothing is kept."""

    def keep(self, made: Mapping[str, V]) -> None:
        """Take what was made of names that were missing, and keep it."""
        self.found |= made
        keys = self._keys(made)
        rows = {keys[name]: pickle.dumps(value, protocol=5) for name, value in made.items()}
        for bundle, names in self._bundles.items():
            if all(name in self.found for name in names):
                rows[bundle] = pickle.dumps({name: self.found[name] for name in names}, protocol=5)
        if rows:
            write(rows, self._used)


class LazyMapping(Mapping[K, V], Generic[K, V]):
    """A mapping whose values are read when they are asked for; `entries` says of each what lists need to know. Values that were read
    stay, or where `most` is given only so many of them."""

    def __init__(self, entries: Mapping[K, Any], value: Callable[[K], V], most: int | None = None) -> None:
        self.entries = entries
        self._value = value
        self._most = most
        self._read: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        if key not in self._read:
            if key not in self.entries:
                raise KeyError(key)
            if self._most and len(self._read) >= self._most:
                self._read.pop(next(iter(self._read)), None)
            self._read[key] = self._value(key)
        return self._read[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key: object) -> bool:
        return key in self.entries


class LazySequence(Sequence[V], Generic[V]):
    """A sequence whose values are read when they are asked for; `entries` says of each what lists need to know."""

    def __init__(self, entries: Sequence[Any], value: Callable[[Any], V]) -> None:
        self.entries = entries
        self._value = value

    def __getitem__(self, at: Any) -> Any:
        chosen = self.entries[at]
        return [self._value(entry) for entry in chosen] if isinstance(at, slice) else self._value(chosen)

    def __len__(self) -> int:
        return len(self.entries)
