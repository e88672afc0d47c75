"""Families that are not monotone: a card with a higher number that has less than one with a lower."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.gpu import Gpu

NAME = "families"
SCOPE = "pages"

RANKS = {
    "D": -1,
    "GRE": -1,
    "": 0,
    "SUPER": 1,
    "XT": 1,
    "PRO": 1,
    "TI": 2,
    "XTX": 2,
    "MAX": 2,
    "TI SUPER": 3,
    "ULTRA": 3,
}
"""What makers add to a number for less or more of it, by how much more it means."""
FIGURES: dict[str, Callable[[Gpu], float | None]] = {
    "units": lambda card: card.spec.units,
    "boost_mhz": lambda card: (card.peak_flops("fp32") or 0) / 1e12 or None,
    "bandwidth_gb_per_s": lambda card: card.spec.bandwidth_gb_per_s,
}
"""What grows within a family, by the field to look at first: units, TFLOP/s in FP32, GB/s."""
_WORDS = {"boost_mhz": "TFLOP/s in FP32", "bandwidth_gb_per_s": "GB/s"}
_NUMBER = re.compile(r"([A-Z]*)(\d{3,4})([A-Z]*)|(M)(\d)")
_NO_NAME = re.compile(r"\(.*\)|\b\d+ ?GB\b")
_Place = tuple[int, int]
"""Number and rank."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """For each family and figure the fewest cards that would have to be wrong."""
    families: dict[tuple[str, ...], list[tuple[_Place, Gpu]]] = {}
    for card in catalog.gpus.values():
        if found := place(card):
            families.setdefault(found[0], []).append((found[1], card))
    for members in families.values():
        counted: set[str] = set()
        for field, figure in FIGURES.items():
            for card, other in _wrong(members, figure):
                if field == "boost_mhz" and card.id in counted:
                    continue  # its rate follows from its units, which were reported
                counted.add(card.id)
                mine, its = figure(card), figure(other)
                assert mine is not None and its is not None
                word = _WORDS.get(field, field)
                message = (
                    f"makes {mine:g} {word}, {'more' if mine > its else 'less'} than the {its:g} of {other.id}, against the order of "
                    "their names; where both are so, say why in exceptions.yaml"
                )
                yield catalog.gpu_problem(card.id, (field,), message)


def place(card: Gpu) -> tuple[tuple[str, ...], _Place] | None:
    """A card's family, and its number and rank in it; None for a name without a number.

    `GeForce RTX 4070 Ti Super` is number 4070 with rank 3 among the desktop cards of Ada Lovelace called GeForce RTX.
    """
    words = _NO_NAME.sub(" ", card.spec.name).upper().split()
    at, match = next(((i, found) for i, word in enumerate(words) if (found := _NUMBER.fullmatch(word))), (0, None))
    if match is None:
        return None
    prefix, number, ending = match[1] or match[4] or "", match[2] or match[5], match[3] or ""
    ranked = {part for rank in RANKS for part in rank.split()}
    added = " ".join(word for word in words[at + 1 :] if word in ranked)
    rest = [word for word in words[at + 1 :] if word not in ranked]
    family = (card.vendor, card.generation, card.spec.segment, *words[:at], prefix, ending, *rest)
    return family, (int(number), RANKS.get(added, 0))


def _wrong(members: list[tuple[_Place, Gpu]], figure: Callable[[Gpu], float | None]) -> Iterator[tuple[Gpu, Gpu]]:
    """Cards that contradict another, each with one that it contradicts.

    A contradiction names two. The card with the most of them is taken to be wrong, and those are settled then.
    """
    pairs: list[tuple[Gpu, Gpu]] = [
        (low, high)
        for (number, rank), low in members for (other, other_rank), high in members
        if ((number < other and rank <= other_rank) or (number == other and rank < other_rank))
        and (figure(low) or 0) > (figure(high) or float("inf"))
    ]  # fmt: skip
    while pairs:
        worst = Counter(card.id for pair in pairs for card in pair).most_common(1)[0][0]
        low, high = next(pair for pair in pairs if worst in (pair[0].id, pair[1].id))
        yield (high, low) if high.id == worst else (low, high)
        pairs = [pair for pair in pairs if worst not in (pair[0].id, pair[1].id)]
