"""What each card runs of each model, kept between commands: the pages of models and of cards show the same, and a build that follows
a new run needs all but one model's as they were.

A pick is kept under the digests of all that it follows from: the trace, or where something is known of the model on the card the
model, its trace, its runs and publications; the card, what every prediction rests on, and the code.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from fitcard.advisor.evidence import Known
from fitcard.advisor.fit import (
    Answer,
    Verdict,
    best_label,
    default_component,
    fit,
    gpus_by_memory,
    refusal,
    throughput,
    verdict_of,
)
from fitcard.advisor.kept import of_cards, of_model, of_trace
from fitcard.advisor.memory import available_bytes, need
from fitcard.advisor.predict import predict
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import combined
from fitcard.catalog.twins import all_alike, first_alike

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


@lru_cache(maxsize=32)
def picks(catalog: Catalog, model: str) -> Mapping[str, Pick]:
    """The pick for each card, cards by memory: the same as `best` of all of `gpus`, without an answer in full for what is not picked.

    Where nobody ran or published the model on a card, its pick is that of any other model with the same trace.
    """
    cards = gpus_by_memory(catalog)
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return _computed(catalog, model, cards)
    known = known_on(catalog, model)
    own, shared = _own(catalog, model), _shared(catalog, first_alike(catalog, model))
    return {card: own[card] if card in known else named(shared[card], model) for card in cards}


@lru_cache(maxsize=16)
def on_card(catalog: Catalog, card: str) -> Mapping[str, Pick]:
    """The pick of each model on one card."""
    if not catalog.digests:
        return {model: picks(catalog, model)[card] for model in catalog.models}
    seen = [model for model in catalog.models if card in known_on(catalog, model)]
    firsts = dict.fromkeys(first_alike(catalog, model) for model in catalog.models)
    keys = {model: _own_key(catalog, model, card) for model in seen} | {
        first: _shared_key(catalog, first, card) for first in firsts if first not in seen
    }
    kept = cache.read(keys.values())
    found = {model: pickle.loads(kept[key]) for model, key in keys.items() if key in kept}
    made: dict[str, Pick] = {}
    for model in catalog.models:
        first = first_alike(catalog, model)
        if model in seen:
            made[model] = found[model] if model in found else _own(catalog, model)[card]
        elif first in found and first not in seen:
            made[model] = named(found[first], model)
        else:
            made[model] = named(_shared(catalog, first)[card], model)
    return made


def not_kept(catalog: Catalog) -> dict[str, list[Callable[[], object]]]:
    """What computes and keeps the picks that are not kept yet, by model."""
    firsts = dict.fromkeys(first_alike(catalog, model) for model in catalog.models)
    wanted = {_whole_key(catalog, first): (first, _shared) for first in firsts}
    wanted |= {_own_whole_key(catalog, model): (model, _own) for model in catalog.models if known_on(catalog, model)}
    there, found = cache.there(wanted), dict[str, list[Callable[[], object]]]()
    for model, make in (made for key, made in wanted.items() if key not in there):
        found.setdefault(model, []).append(partial(make, catalog, model))
    return found


@lru_cache(maxsize=4096)
def known_on(catalog: Catalog, model: str) -> frozenset[str]:
    """The cards on which somebody ran a model or published figures of it."""
    cards = {entry.device for entry in catalog.entries_of(model)}
    if published := catalog.published_index.get(model):
        cards.update(card for card, _ in published.speeds)
    return frozenset(card for card in cards if card in catalog.gpus)


@lru_cache(maxsize=64)
def _own(catalog: Catalog, model: str) -> Mapping[str, Pick]:
    """The picks of a model on the cards of which something is known of it."""
    keys = {card: _own_key(catalog, model, card) for card in sorted(known_on(catalog, model))}
    return _kept(keys, _own_whole_key(catalog, model), lambda cards: _computed(catalog, model, cards))


@lru_cache(maxsize=64)
def _shared(catalog: Catalog, first: str) -> Mapping[str, Pick]:
    """The picks of all models with one trace on the cards of which nothing is known of them; of some other model's name. Cards
    of which something is known of each of them have none."""
    alike = all_alike(catalog, first)
    known = [known_on(catalog, model) for model in alike]
    for_whom = {
        card: next((model for model, cards in zip(alike, known, strict=True) if card not in cards), None)
        for card in gpus_by_memory(catalog)
    }
    keys = {card: _shared_key(catalog, first, card) for card, model in for_whom.items() if model}

    def make(cards: Sequence[str]) -> Mapping[str, Pick]:
        models = dict.fromkeys(model for card in cards if (model := for_whom[card]))
        return {
            card: pick
            for model in models
            for card, pick in _computed(catalog, model, [card for card in cards if for_whom[card] == model]).items()
        }

    return _kept(keys, _whole_key(catalog, first), make)


def _kept(
    keys: Mapping[str, str], whole: str, make: Callable[[Sequence[str]], Mapping[str, Pick]]
) -> Mapping[str, Pick]:
    """Picks by card that are kept under `keys`, the rest made and kept; and under `whole` that all of them are."""
    kept = cache.read(keys.values())
    new = make([card for card, key in keys.items() if key not in kept])
    if new:
        rows = {keys[card]: pickle.dumps(pick, protocol=5) for card, pick in new.items()}
        cache.write({**rows, whole: b""})
    return {card: new[card] if card in new else pickle.loads(kept[key]) for card, key in keys.items()}


def named(pick: Pick, model: str) -> Pick:
    """A pick of another model with the same trace, as that of `model`."""
    if pick.nearest.model == model:
        return pick
    nearest = Answer._make((model, *pick.nearest[1:]))  # `_replace` takes four times as long, and every card asks
    return Pick(nearest if pick.best else None, nearest, *pick[2:])


def _own_key(catalog: Catalog, model: str, card: str) -> str:
    return combined((of_model(catalog, model, runs=True), catalog.gpu_index[card].digest))


def _shared_key(catalog: Catalog, first: str, card: str) -> str:
    return combined((of_trace(catalog, first), catalog.gpu_index[card].digest))


@lru_cache(maxsize=4096)
def _own_whole_key(catalog: Catalog, model: str) -> str:
    """Under this it is kept that the picks of a model are kept on the cards of which something is known of it."""
    return combined(_own_key(catalog, model, card) for card in sorted(known_on(catalog, model)))


@lru_cache(maxsize=4096)
def _whole_key(catalog: Catalog, first: str) -> str:
    """Under this it is kept that the picks for all cards are kept."""
    return combined((of_trace(catalog, first), of_cards(catalog)))


Row = tuple[str, Verdict, int]
"""Quantization, verdict, and bytes required at batch 1."""


def verdicts(catalog: Catalog, model: str, cards: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Every quantization of a model on each card at batch 1, in short: what `fit` answers, without the rest of it."""
    component, labels = default_component(catalog, model), tuple(catalog.quantizations)
    ran_on = {entry.device for entry in catalog.entries_of(model)}
    needs: dict[str, list[int]] = {}
    found: dict[str, tuple[Row, ...]] = {}
    for card in map(catalog.gpus.__getitem__, cards):
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
        card = catalog.gpus[key]
        first = best_label(catalog, model, component, card, {label: verdict for label, verdict, _ in rows})
        nearest = fit(catalog, model, card.id, first or min(rows, key=lambda row: row[2])[0], with_speed=False)
        known = throughput(catalog, nearest)
        found[card.id] = Pick(
            best=nearest if first else None, nearest=nearest, known=known,
            fitting=sum(verdict in ("fits", "tight") for _, verdict, _ in rows),
            least_bytes=None if first else min((size for _, verdict, size in rows if verdict == "no"), default=None),
            speeds=tuple(_speed(catalog, nearest, card, batch, known) if first else None for batch in BATCHES),
        )  # fmt: skip
    return found


def _predicted(catalog: Catalog, card: Gpu, needs: Iterable[tuple[str, int]]) -> tuple[Row, ...]:
    """Quantization, verdict and bytes for a card on which nothing was run."""
    available, refused = available_bytes(catalog, card), _refused(catalog, card.vendor, card.spec.compute_capability)
    return tuple(
        (label, "unsupported" if label in refused else verdict_of(required, available), required)
        for label, required in needs
    )


@lru_cache(maxsize=512)
def _refused(catalog: Catalog, vendor: str, capability: str | None) -> frozenset[str]:
    """The labels that cards of a vendor and compute capability cannot serve."""
    card = next(c for c in catalog.gpus.values() if (c.vendor, c.spec.compute_capability) == (vendor, capability))
    return frozenset(key for key, label in catalog.quantizations.items() if refusal(label, card))


def _speed(catalog: Catalog, pick: Answer, card: Gpu, batch: int, known: Known | None) -> Span | None:
    if batch > pick.max_batch:
        return None
    if known and known.batch == batch and known.low is not None and known.high is not None:
        return Span(known.per_second, known.low, known.high)  # a prediction, and for this batch
    found = predict(catalog, pick.model, pick.component, pick.quantization, card, "eager", batch, only_card=False)
    return Span(found.per_second, found.low, found.high) if found else None
