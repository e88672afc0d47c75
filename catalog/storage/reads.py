"""Which records a piece of work reads, noted while it runs: by these it is known later whether its result is current."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from fitcard.catalog.storage.hashing import combined, digest

NONE = "none"
"""Stands for the digest of what is not there: work that looked for it depends on its absence."""

Reads = dict[str, str]
"""The digest of each thing that was read, by its name: `models/ID` for a record, `models` for all of them."""

R = TypeVar("R")

_reads: ContextVar[Reads | None] = ContextVar("reads", default=None)


def note(name: str, digest_of: Callable[[], str]) -> None:
    """Note that `name` is read now, where anybody is recording."""
    reads = _reads.get()
    if reads is not None and name not in reads:
        reads[name] = digest_of()


def note_all(reads: Reads) -> None:
    """Note what other work has read, whose result is used now."""
    recorded = _reads.get()
    if recorded is not None:
        recorded |= reads


@contextmanager
def recording() -> Iterator[Reads]:
    """Record what is read meanwhile. Whoever records around it has read all of that too."""
    reads: Reads = {}
    token = _reads.set(reads)
    try:
        yield reads
    finally:
        _reads.reset(token)
        for name in [name for name in reads if name.partition("/")[0] in reads and "/" in name]:
            del reads[name]  # all of a kind includes each of it
        note_all(reads)


class Table(Mapping[str, R], Generic[R]):
    """Records of one kind by id, each parsed when it is first asked for. Every access is noted, also one that finds nothing."""

    def __init__(
        self,
        kind: str,
        digests: Mapping[str, str | None],
        read: Callable[[str], R],
        *,
        most: int | None = None,
        summaries: Table[Any] | None = None,
    ) -> None:
        """`digests` has every id, with None where the digest is to be taken of the record; `most` bounds what stays in memory;
        `summaries` say in short what the records hold, where that is at hand."""
        self.kind = kind
        self._digests = dict(digests)
        self._read = read
        self._most = most
        self.summaries = summaries
        self._records: dict[str, R] = {}

    @classmethod
    def of(cls, kind: str, records: Mapping[str, R]) -> Table[R]:
        """A table of records that are in memory."""
        return cls(kind, dict.fromkeys(records), records.__getitem__)

    def __getitem__(self, key: str) -> R:
        note(f"{self.kind}/{key}", lambda: self.digest(key))
        return self.record(key)

    def __contains__(self, key: object) -> bool:
        note(f"{self.kind}/{key}", lambda: self.digest(str(key)))
        return key in self._digests

    def __iter__(self) -> Iterator[str]:
        note(self.kind, self.whole)
        return iter(self._digests)

    def __len__(self) -> int:
        note(self.kind, self.whole)
        return len(self._digests)

    def ids(self) -> tuple[str, ...]:
        """Every id, without a note."""
        return tuple(self._digests)

    def record(self, key: str) -> R:
        """The record, without a note. Raises KeyError where there is none."""
        if key not in self._records:
            if key not in self._digests:
                raise KeyError(key)
            if self._most and len(self._records) >= self._most:
                self._records.pop(next(iter(self._records)), None)
            self._records[key] = self._read(key)
        return self._records[key]

    def digest(self, key: str) -> str:
        """The digest of a record; `none` where there is none."""
        if key not in self._digests:
            return NONE
        value = self._digests[key]
        if value is None:
            value = self._digests[key] = digest_of(self.record(key))
        return value

    def whole(self) -> str:
        """The digest of all records."""
        return combined(f"{key} {self.digest(key)}" for key in self._digests)


_DIGEST = "digest of its text"


def keep_digest(record: object, text: str) -> None:
    """Note the digest of the text that a record was restored from, beside its fields."""
    vars(record)[_DIGEST] = digest(text.encode())


def digest_of(record: object) -> str:
    """The digest of a record that is in memory. Its own text is slower to make, but not as slow as a validator to write JSON with."""
    of_text: str | None = getattr(record, "__dict__", {}).get(_DIGEST)
    return of_text or digest(repr(record).encode())
