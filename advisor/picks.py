"""What each card runs of each model, kept between commands: the pages of models and of cards show the same, and a build that follows
a new run needs all but one model's as they were.

A pick is kept under the digests of all that it follows from: the model, its trace, its runs and publications, the card, what
every prediction rests on, and the code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import pydantic

from advisor.answers import (
    Answer, Verdict, cards_by_memory, default_component, fit, rank, refusal, throughput, verdict_of,
)  # fmt: skip
from advisor.evidence import Known, newest_run, seen_unsupported
from advisor.memory import available_bytes, terms
from catalog import Catalog, cache
from catalog.cores import cores, spread
from catalog.files import code_digest, combined
from catalog.loading import HERE
from catalog.trace import Component


@dataclass(frozen=True, slots=True)
class Pick:
    """What a card runs of a model at batch 1: the best quantization in full, and every one in short."""

    best: Answer | None
    nearest: Answer
    """The best, or where nothing fits the answer that comes nearest to it."""
    known: Known | None
    """The throughput of `nearest`."""
    every: tuple[tuple[str, Verdict, int], ...]
    """Quantization, verdict and bytes required."""


@lru_cache(maxsize=64)
def picks(catalog: Catalog, model: str) -> Mapping[str, Pick]:
    """The pick for each card, cards by memory."""
    cards = cards_by_memory(catalog)
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return _computed(catalog, model, cards)
    keys = {card: _key(catalog, model, card) for card in cards}
    kept = cache.read(keys.values())
    new = _computed(catalog, model, [card for card in cards if keys[card] not in kept])
    rows = {keys[card]: pickle.dumps(pick, protocol=5) for card, pick in new.items()}
    cache.write({**rows, _whole_key(catalog, model): b""})
    return {card: new[card] if card in new else pickle.loads(kept[keys[card]]) for card in cards}


def on_card(catalog: Catalog, card: str) -> Mapping[str, Pick]:
    """The pick of each model on one card."""
    keys = {model: _key(catalog, model, card) for model in catalog.models} if catalog.digests else {}
    kept = cache.read(keys.values())
    return {
        model: pickle.loads(kept[keys[model]]) if keys and keys[model] in kept else picks(catalog, model)[card]
        for model in catalog.models
    }  # fmt: skip


def prepare(catalog: Catalog) -> None:
    """Compute all picks that are not kept yet, spread over the cores, before pages ask for them one by one."""
    keys = {model: _whole_key(catalog, model) for model in catalog.models}
    kept = cache.read(keys.values())
    missing = [model for model in catalog.models if keys[model] not in kept]
    count = min(len(missing), 16 * cores())
    spread(partial(_prepare, catalog), [missing[at::count] for at in range(count)])


def _prepare(catalog: Catalog, models: Sequence[str]) -> None:
    for model in models:
        picks(catalog, model)
    picks.cache_clear()


def _key(catalog: Catalog, model: str, card: str) -> str:
    return combined((_of_model(catalog, model), catalog.card_index[card].digest))


@lru_cache(maxsize=4096)
def _whole_key(catalog: Catalog, model: str) -> str:
    """Under this it is kept that the model's picks are kept for all cards."""
    return combined((_of_model(catalog, model), "all", *(entry.digest for entry in catalog.card_index.values())))


@lru_cache(maxsize=4096)
def _of_model(catalog: Catalog, model: str) -> str:
    """The digest of all that the picks of a model follow from, but for the cards."""
    digests = catalog.digests
    names = [f"models/{model}.yaml", f"traces/{model}.json", f"published/{model}.yaml", *_run_files(catalog).get(model, ())]
    return combined((_of_all(catalog), model, *(f"{name} {digests.get(name)}" for name in names)))


@lru_cache(maxsize=8)
def _run_files(catalog: Catalog) -> dict[str, list[str]]:
    """The run files of each model."""
    found: dict[str, list[str]] = {}
    for name in catalog.digests:
        if name.startswith("runs/"):
            found.setdefault(name.split("/", 2)[2].rpartition(".")[0], []).append(name)
    return found


@lru_cache(maxsize=8)
def _of_all(catalog: Catalog) -> str:
    """The digest of what every prediction rests on. The doubt of a prediction also asks who made the cards of the fit."""
    code = code_digest(HERE, Path(__file__).parent)
    files = ("quantizations.yaml", "runtimes.yaml", "matmul.yaml", "speed.yaml")
    fitted = sorted(catalog.speed.known) if catalog.speed else ()
    makers = [f"{gpu} {catalog.card_index[gpu].vendor}" for gpu in fitted if gpu in catalog.cards]
    return combined((code, pydantic.VERSION, *(f"{name} {catalog.digests.get(name)}" for name in files), *makers))


def _computed(catalog: Catalog, model: str, cards: Iterable[str]) -> dict[str, Pick]:
    """The picks of a model. Only what is chosen becomes a whole answer: the bytes of all others are the same for a vendor's cards."""
    component = default_component(catalog, model)
    devices = {entry.device for entry in catalog.entries_of(model)}
    found: dict[str, Pick] = {}
    for card in cards:
        every = _every(catalog, model, component, card, card in devices)
        usable = [row for row in every if row[1] == "fits"] or [row for row in every if row[1] == "tight"]
        best = min(usable, key=lambda row: rank(catalog, model, component, card, row[0]), default=None)
        chosen = best or min(every, key=lambda row: row[2])
        nearest = fit(catalog, model, card, chosen[0], component=component, with_speed=False)
        found[card] = Pick(nearest if best else None, nearest, throughput(catalog, nearest), tuple(every))
    return found


def _every(
    catalog: Catalog, model: str, component: Component, card: str, has_run: bool
) -> list[tuple[str, Verdict, int]]:
    """Quantization, verdict and bytes required at batch 1, in the order of the quantizations."""
    found = catalog.cards[card]
    available = available_bytes(catalog, found)
    rows: list[tuple[str, Verdict, int]] = []
    for label in catalog.quantizations:
        required = terms(catalog, model, component, label, found.vendor).need(1).required_bytes
        refused = refusal(catalog, card, label) is not None
        if has_run:
            run = newest_run(catalog, model, component, label, card, "eager")
            seen = run.batch_memory(1) if run else None
            required = seen.total_bytes if seen else required
            refused = refused or seen_unsupported(catalog, model, component, label, card, "eager") is not None
        rows.append((label, "unsupported" if refused else verdict_of(required, available), required))
    return rows
