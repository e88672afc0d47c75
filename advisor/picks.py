"""What each card runs of each model, kept between commands: the pages of models and of cards show the same, and a build that follows
a new run needs all but one model's as they were.

A pick is kept under the digests of all that it follows from: the model, its trace, its runs and publications, the card, what
every prediction rests on, and the code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from advisor.answers import (
    Answer,
    Verdict,
    cards_by_memory,
    default_component,
    fit,
    rank,
    refusal,
    throughput,
    verdict_of,
)
from advisor.evidence import Known
from advisor.kept import of_model
from advisor.memory import available_bytes, need
from advisor.predict import predict
from catalog import Catalog, cache
from catalog.cores import cores, spread
from catalog.files import combined
from catalog.gpu import Card

BATCHES = (1, 8, 64)
"""One item at a time, a few, and where throughput has mostly levelled off."""


class Span(NamedTuple):
    """A predicted throughput in items per second, with its 80 % interval."""

    per_second: float
    low: float
    high: float


class Pick(NamedTuple):
    """What a card runs of a model at batch 1."""

    best: Answer | None
    """The best quantization."""
    nearest: Answer
    """The best, or where nothing fits the answer that comes nearest to it."""
    known: Known | None
    """The throughput of `nearest`."""
    fitting: int
    """How many quantizations fit, at least tightly."""
    least_bytes: int | None
    """What the smallest quantization that the card could serve needs, where none fits."""
    speeds: tuple[Span | None, ...]
    """Of `best` at each of `BATCHES`; None where it does not fit or is not known."""


@lru_cache(maxsize=64)
def picks(catalog: Catalog, model: str) -> Mapping[str, Pick]:
    """The pick for each card, cards by memory: the same as `best` of all of `gpus`, without an answer in full for what is not picked."""
    cards = cards_by_memory(catalog)
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return _computed(catalog, model, cards)
    keys = {card: _key(catalog, model, card) for card in cards}
    kept = cache.read(keys.values())
    new = _computed(catalog, model, [card for card in cards if keys[card] not in kept])
    if new:
        rows = {keys[card]: pickle.dumps(pick, protocol=5) for card, pick in new.items()}
        cache.write({**rows, _whole_key(catalog, model): b""})
    return {card: new[card] if card in new else pickle.loads(kept[keys[card]]) for card in cards}


@lru_cache(maxsize=4)
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
    there = cache.there(keys.values())
    missing = [model for model in catalog.models if keys[model] not in there]
    count = min(len(missing), 16 * cores())
    spread(partial(_prepare, catalog), [missing[at::count] for at in range(count)])


def _prepare(catalog: Catalog, models: Sequence[str]) -> None:
    for model in models:
        picks(catalog, model)


def _key(catalog: Catalog, model: str, card: str) -> str:
    return combined((of_model(catalog, model, runs=True), catalog.card_index[card].digest))


@lru_cache(maxsize=4096)
def _whole_key(catalog: Catalog, model: str) -> str:
    """Under this it is kept that the model's picks are kept for all cards."""
    return combined((of_model(catalog, model, runs=True), _all_cards(catalog)))


@lru_cache(maxsize=8)
def _all_cards(catalog: Catalog) -> str:
    return combined(entry.digest for entry in catalog.card_index.values())


Row = tuple[str, Verdict, int]
"""Quantization, verdict, and bytes required at batch 1."""


def verdicts(catalog: Catalog, model: str, cards: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Every quantization of a model on each card at batch 1, in short: what `fit` answers, without the rest of it."""
    component, labels = default_component(catalog, model), tuple(catalog.quantizations)
    ran_on = {entry.device for entry in catalog.entries_of(model)}
    needs: dict[str, list[int]] = {}
    found: dict[str, tuple[Row, ...]] = {}
    for card in map(catalog.cards.__getitem__, cards):
        # What was seen there comes before what is predicted; and what a processor serves depends on the model too.
        if card.id in ran_on or card.vendor == "CPU":
            mine = [fit(catalog, model, card.id, label, with_speed=False) for label in labels]
            found[card.id] = tuple((a.quantization, a.verdict, a.memory.required_bytes) for a in mine)
            continue
        if card.vendor not in needs:
            needs[card.vendor] = [
                need(catalog, model, component, label, 1, card.vendor).required_bytes for label in labels
            ]
        found[card.id] = _predicted(catalog, card, zip(labels, needs[card.vendor], strict=True))
    return found


def _computed(catalog: Catalog, model: str, cards: Iterable[str]) -> dict[str, Pick]:
    component = default_component(catalog, model)
    found: dict[str, Pick] = {}
    for key, rows in verdicts(catalog, model, cards).items():
        card = catalog.cards[key]
        fits = [label for label, verdict, _ in rows if verdict == "fits"]
        usable = fits or [label for label, verdict, _ in rows if verdict == "tight"]
        first = min(usable, key=lambda label: rank(catalog, model, component, label, card), default=None)
        nearest = fit(catalog, model, card.id, first or min(rows, key=lambda row: row[2])[0], with_speed=False)
        known = throughput(catalog, nearest)
        found[card.id] = Pick(
            best=nearest if first else None, nearest=nearest, known=known,
            fitting=sum(verdict in ("fits", "tight") for _, verdict, _ in rows),
            least_bytes=None if first else min((size for _, verdict, size in rows if verdict == "no"), default=None),
            speeds=tuple(_speed(catalog, nearest, card, batch, known) if first else None for batch in BATCHES),
        )  # fmt: skip
    return found


def _predicted(catalog: Catalog, card: Card, needs: Iterable[tuple[str, int]]) -> tuple[Row, ...]:
    """Quantization, verdict and bytes for a card on which nothing was run."""
    available, refused = available_bytes(catalog, card), _refused(catalog, card.vendor, card.spec.compute_capability)
    return tuple(
        (label, "unsupported" if label in refused else verdict_of(required, available), required)
        for label, required in needs
    )


@lru_cache(maxsize=512)
def _refused(catalog: Catalog, vendor: str, capability: str | None) -> frozenset[str]:
    """The labels that cards of a vendor and compute capability cannot serve."""
    card = next(c for c in catalog.cards.values() if (c.vendor, c.spec.compute_capability) == (vendor, capability))
    return frozenset(key for key, label in catalog.quantizations.items() if refusal(label, card))


def _speed(catalog: Catalog, pick: Answer, card: Card, batch: int, known: Known | None) -> Span | None:
    if batch > pick.max_batch:
        return None
    if known and known.batch == batch and known.low is not None and known.high is not None:
        return Span(known.per_second, known.low, known.high)  # a prediction, and for this batch
    found = predict(catalog, pick.model, pick.component, pick.quantization, card, "eager", batch, only_card=False)
    return Span(found.per_second, found.low, found.high) if found else None
