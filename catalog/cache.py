"""A checked catalog, kept so that the next command need not read and check it again.

The key is a hash of every byte of the catalog's files and of the code that checks them, so what is kept can never be
stale: another byte is another key. Parts that most commands do not need (traces, runs, publications) are read when asked for.
A cache that is missing, damaged or cannot be written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

KEPT = 6
"""Catalogs that are kept; the least recently used go first."""
_MAGIC = b"fitcard catalog 1\n"

K = TypeVar("K")
V = TypeVar("V")


def folder() -> Path:
    """Where catalogs are kept: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fitcard" / "catalogs"


def fingerprint(root: Path, folders: Sequence[str]) -> str:
    """Identifies the files of a catalog and the code that checks them, byte by byte."""
    digest = hashlib.sha256(f"{sys.version} {root.resolve()}".encode())
    code = Path(__file__).parent
    files = [path for path in code.iterdir() if path.suffix == ".py"]
    files += [path for path in root.iterdir() if path.suffix == ".yaml"]
    for name in folders:
        for where, inner, names in os.walk(root / name):
            inner.sort()
            files += [Path(where, each) for each in names if not each.startswith(".")]
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def write(key: str, parts: Mapping[str, Any]) -> None:
    """Keep the parts of a catalog under a key; nothing happens where that cannot be done."""
    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        packed = {name: pickle.dumps(part, protocol=5) for name, part in parts.items()}
        index: dict[str, tuple[int, int, int]] = {}
        offset = 0
        for name, content in packed.items():
            index[name] = (offset, len(content), zlib.crc32(content))
            offset += len(content)
        head = pickle.dumps(index, protocol=5)
        descriptor, temporary = tempfile.mkstemp(dir=place, prefix=".writing-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + len(head).to_bytes(8, "little") + zlib.crc32(head).to_bytes(4, "little") + head)
            for content in packed.values():
                file.write(content)
        Path(temporary).replace(place / f"{key}.bin")
        for old in sorted(place.glob("*.bin"), key=lambda path: -path.stat().st_mtime)[KEPT:]:
            old.unlink(missing_ok=True)
    except (OSError, RuntimeError, pickle.PicklingError, RecursionError):
        return


class Kept:
    """A catalog in the cache; each part is read and checked against its sum when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError or OSError for a file that is not whole."""
        self.path = path
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ValueError("is no kept catalog")
            length, total = int.from_bytes(file.read(8), "little"), int.from_bytes(file.read(4), "little")
            head = file.read(length)
            if zlib.crc32(head) != total:
                raise ValueError("is damaged")
            self.start = file.tell()
        self.index: dict[str, tuple[int, int, int]] = pickle.loads(head)
        os.utime(path)

    def part(self, name: str) -> Any:
        """One part. Raises ValueError or OSError when it is not whole."""
        offset, length, total = self.index[name]
        with self.path.open("rb") as file:
            file.seek(self.start + offset)
            content = file.read(length)
        if zlib.crc32(content) != total:
            raise ValueError("is damaged")
        return pickle.loads(content)


def read(key: str) -> Kept | None:
    """The catalog that was kept under a key, if there is one and it is whole."""
    try:
        return Kept(folder() / f"{key}.bin")
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None


class LazyMapping(Mapping[K, V], Generic[K, V]):
    """A mapping whose values are read when they are asked for."""

    def __init__(self, keys: Sequence[K], value: Callable[[K], V]) -> None:
        self._keys = dict.fromkeys(keys)
        self._value = value
        self._read: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        if key not in self._keys:
            raise KeyError(key)
        if key not in self._read:
            self._read[key] = self._value(key)
        return self._read[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys


class LazySequence(Sequence[V], Generic[V]):
    """A sequence that is read when it is first looked at."""

    def __init__(self, values: Callable[[], Sequence[V]]) -> None:
        self._values = values
        self._read: Sequence[V] | None = None

    def _all(self) -> Sequence[V]:
        if self._read is None:
            self._read = self._values()
        return self._read

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[V]: ...
    def __getitem__(self, index: int | slice) -> V | Sequence[V]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())
