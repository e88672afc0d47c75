"""Results kept with what they were made from: the one way in which fitcard keeps anything.

    @memo
    def memory_rows(catalog: Catalog, model: str) -> tuple[MemoryRow, ...]: ...

While such a function runs, every record that it reads is noted with its digest. The result is kept as JSON beside these notes,
and is used again exactly as long as each of the records is what it was. Nobody declares what a function depends on. Build
systems call this a constructive trace: Mokhov, Mitchell and Peyton Jones, "Build systems à la carte", 2018, section 4.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, get_type_hints

from pydantic import VERSION, TypeAdapter

from fitcard.catalog.parallel import cores, spread
from fitcard.catalog.storage import database
from fitcard.catalog.storage.hashing import package_digest
from fitcard.catalog.storage.reads import Reads, note_all, recording

MANY = 40
"""Results from which it is worth starting a process for each core."""

P = ParamSpec("P")
T = TypeVar("T")


class Source(Protocol):
    """What memoized functions read from: a catalog."""

    @property
    def name(self) -> str:
        """Tells catalogs apart; two of one name share what is kept as far as it is current for both."""
        ...

    @property
    def memory(self) -> dict[tuple[str, ...], tuple[Any, Reads]]:
        """Results of this catalog, which live as long as it does."""
        ...

    def digest_of(self, name: str) -> str:
        """The digest of what is called `name` now."""
        ...


S = TypeVar("S", bound=Source)


class memo(Generic[S, P, T]):
    """Decorate a function of a catalog and texts whose result can be written as JSON."""

    def __init__(self, function: Callable[Concatenate[S, P], T]) -> None:
        self._function = function
        self._adapter: TypeAdapter[T] | None = None
        update_wrapper(self, function)

    def __call__(self, source: S, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (self._function.__module__, self._function.__qualname__, *map(str, args))
        assert not kwargs, "a memoized function takes its arguments by place"
        if key not in source.memory:
            source.memory[key] = self._kept(source, key) or self._made(source, key, *args)
        value: T
        value, reads = source.memory[key]
        note_all(reads)
        return value

    def _kept(self, source: S, key: tuple[str, ...]) -> tuple[T, Reads] | None:
        """The kept result with its reads, if all that it read is what it was."""
        row = _row(source, key)
        text = database.get([row]).get(row)
        if text is None:
            return None
        head, _, value = text.partition("\n")
        reads: Reads = json.loads(head)
        if any(source.digest_of(name) != digest for name, digest in reads.items()):
            return None
        return self._type().validate_json(value), reads

    def _made(self, source: S, key: tuple[str, ...], *args: Any) -> tuple[T, Reads]:
        function: Callable[..., T] = self._function
        with recording() as reads:
            value = function(source, *args)
        text = self._type().dump_json(value).decode()
        database.put({_row(source, key): f"{json.dumps(reads, separators=(',', ':'))}\n{text}"})
        return value, reads

    def _type(self) -> TypeAdapter[T]:
        if self._adapter is None:
            self._adapter = TypeAdapter(get_type_hints(self._function)["return"])
        return self._adapter


def warm(function: Callable[[S, str], object], source: S, keys: Iterable[str]) -> None:
    """Work out over all cores what `function` gives for each of many keys and is not kept yet, before it is asked for one by one."""
    every = list(keys)
    size = max(1, -(-len(every) // (8 * cores())))
    parts = [every[at : at + size] for at in range(0, len(every), size)]
    if len(every) >= MANY:
        spread(lambda part: [function(source, key) for key in part] and None, parts)


def _row(source: Source, key: tuple[str, ...]) -> str:
    return " ".join((package_digest(), VERSION, source.name, *key))
