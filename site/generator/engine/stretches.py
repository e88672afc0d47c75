"""Texts that tell of every run, oldest first, kept in stretches: a new run costs the stretch that it falls into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from fitcard.catalog import Catalog
from fitcard.catalog.loader import HERE
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import code_digest, combined
from fitcard.catalog.storage.index import RunSummary

_LAST = ("00", "01", "02", "03")
"""A run whose key ends so is the last of its stretch, one in 64: where stretches end follows from the runs themselves, so one that
comes between others moves no other end. How keys begin would not do, since runs of one time are in the order of their keys."""


def joined(
    catalog: Catalog, what: str, between: bytes, make: Callable[[Sequence[RunSummary]], Mapping[str, bytes]]
) -> bytes:
    """The texts of all runs, one after the other. `make` gives those of some runs by key; each follows from its run alone, and from the
    code of the catalog and of this package. `what` names them."""
    stretches = list(_stretches(catalog.run_index))
    code = code_digest(HERE, Path(__file__).parents[1])
    keys = [combined((what, code, *(run.key for run in runs))) for runs in stretches]
    kept = cache.read(keys)
    missing = {key: runs for key, runs in zip(keys, stretches, strict=True) if key not in kept}
    if missing:
        texts = make([run for runs in missing.values() for run in runs])
        made = {key: between.join(texts[run.key] for run in runs) for key, runs in missing.items()}
        cache.write(made)
        kept |= made
    return between.join(kept[key] for key in keys)


def _stretches(runs: Sequence[RunSummary]) -> Iterator[Sequence[RunSummary]]:
    ends = [at + 1 for at, run in enumerate(runs) if run.key.endswith(_LAST)]
    for start, end in pairwise(dict.fromkeys((0, *ends, len(runs)))):
        yield runs[start:end]
