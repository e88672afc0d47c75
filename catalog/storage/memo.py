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
from functools import cached_property, update_wrapper, wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import VERSION

from fitcard.catalog.parallel import cores, spread
from fitcard.catalog.schema.restore import plain_text, restore
from fitcard.catalog.storage import database
from fitcard.catalog.storage.hashing import package_digest
from fitcard.catalog.storage.reads import Reads, note_all, recording

MANY = 40
"""Results from which it is worth starting a process for each core."""
LAST = 8
"""Results of a shared function that stay in memory."""

P = ParamSpec("P")
T = TypeVar("T")


class Readable(Protocol):
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


S = TypeVar("S", bound=Readable)


class memo(Generic[S, P, T]):
    """Decorate a function of a catalog and texts whose result can be written as JSON."""

    def __init__(self, function: Callable[Concatenate[S, P], T]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, source: S, *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs, "a memoized function takes its arguments by place"
        key = self._key(args)
        if key not in source.memory:
            row = _row(source, key)
            source.memory[key] = self._current(source, database.get([row]).get(row)) or self._made(source, *args)
        value: T
        value, reads = source.memory[key]
        note_all(reads)
        return value

    def fetch(self, source: S, arguments: Iterable[str]) -> list[str]:
        """Take what is kept for many single arguments into memory, and give those for which nothing is kept that is current."""
        rows = {
            _row(source, key): argument
            for argument in arguments
            if (key := self._key((argument,))) not in source.memory
        }
        texts = database.get(rows)
        results = {argument: self._current(source, texts.get(row)) for row, argument in rows.items()}
        source.memory.update({self._key((argument,)): result for argument, result in results.items() if result})
        return [argument for argument, result in results.items() if result is None]

    def _key(self, args: tuple[object, ...]) -> tuple[str, ...]:
        return self._function.__module__, self._function.__qualname__, *map(str, args)

    def _current(self, source: S, text: str | None) -> tuple[T, Reads] | None:
        """A kept result with its reads, if all that it read is what it was."""
        if text is None:
            return None
        head, _, value = text.partition("\n")
        reads: Reads = json.loads(head)
        if any(source.digest_of(name) != digest for name, digest in reads.items()):
            return None
        return restore(self._type, json.loads(value)), reads

    def _made(self, source: S, *args: Any) -> tuple[T, Reads]:
        function: Callable[..., T] = self._function
        with recording() as reads:
            value = function(source, *args)
        database.put({_row(source, self._key(args)): f"{plain_text(reads)}\n{plain_text(value)}"})
        return value, reads

    @cached_property
    def _type(self) -> type[T]:
        kind: type[T] = get_type_hints(self._function)["return"]
        return kind


def warm(function: memo[S, [str], Any], source: S, arguments: Iterable[str]) -> None:
    """Have at hand what `function` gives for many arguments before it is asked for one by one: fetched together, and the rest
    worked out over all cores."""
    missing = function.fetch(source, arguments)
    if len(missing) < MANY:
        return
    size = -(-len(missing) // (8 * cores()))
    parts = [missing[at : at + size] for at in range(0, len(missing), size)]
    spread(lambda part: [function(source, argument) for argument in part] and None, parts)
    function.fetch(source, missing)


def shared(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Decorate a function whose result several outputs ask for in turn: its last few results stay in memory, with what they read."""
    results: WeakKeyDictionary[Readable, dict[tuple[object, ...], tuple[T, Reads]]] = WeakKeyDictionary()

    @wraps(function)
    def remembered(source: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        last = results.setdefault(source, {})
        if args not in last:
            if len(last) >= LAST:
                del last[next(iter(last))]
            with recording() as reads:
                value = function(source, *args, **kwargs)
            last[args] = value, reads
        value, reads = last[args]
        note_all(reads)
        return value

    return remembered


def _row(source: Readable, key: tuple[str, ...]) -> str:
    return " ".join((package_digest(), VERSION, source.name, *key))
