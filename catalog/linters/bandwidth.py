"""Bandwidths that the memory cannot have, or that are far from those of the card's peers.

Loading holds bandwidth = bus x data rate where a card states all three; this is about what it states of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.gpu import Gpu

NAME = "bandwidth"
SCOPE = "pages"

PIN_GBPS: dict[str, tuple[float, float]] = {
    "GDDR5": (3.6, 9), "GDDR5X": (10, 14), "GDDR6": (10, 24), "GDDR6X": (19, 24), "GDDR7": (18, 36),
    "HBM2": (1.4, 2.45), "HBM2E": (2.4, 3.65), "HBM3": (4.8, 6.4), "HBM3E": (5.6, 9.8),
    "LPDDR4X": (3.2, 4.27), "LPDDR5": (5.5, 6.4), "LPDDR5X": (7.4, 10.7),
}  # fmt: skip
"""Slowest and fastest data rates, in Gbit/s a pin, at which each kind is sold on cards.

After JEDEC's standards (JESD212, 232, 250, 239; 235, 238; 209-4 and -5) and, where makers sell faster parts than those foresee, theirs.
"""
ROUNDING = 0.02
"""Bandwidths are printed in round numbers."""
APART = 4
"""How many times more or less a unit may have than is usual among its peers; the most that really is so is 2.4, of the A2."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Data rates that the kind of memory does not have, kinds that nobody knows, and bandwidths far from those of peers."""
    for key, card in catalog.gpus.items():
        spec = card.spec
        kind = (spec.memory_type or "").upper()
        if kind and kind not in PIN_GBPS:
            message = f"is no kind of memory known here (known: {', '.join(PIN_GBPS)}) (got {spec.memory_type!r})"
            yield catalog.gpu_problem(key, ("memory_type",), message)
        if kind not in PIN_GBPS:
            continue
        low, high = PIN_GBPS[kind]
        does = f"{spec.memory_type} does {low:g} to {high:g} Gbit/s a pin"
        stated = spec.memory_gbps_per_pin
        if stated and not low <= stated <= high:
            yield catalog.gpu_problem(key, ("memory_gbps_per_pin",), f"cannot be: {does} (got {stated:g})")
        elif not stated and spec.bandwidth_gb_per_s and spec.memory_bus_bits:
            pin = spec.bandwidth_gb_per_s * 8 / spec.memory_bus_bits
            if not low * (1 - ROUNDING) <= pin <= high * (1 + ROUNDING):
                message = (
                    f"makes {pin:.4g} on {spec.memory_bus_bits} bits, and {does} (got {spec.bandwidth_gb_per_s:g})"
                )
                yield catalog.gpu_problem(key, ("bandwidth_gb_per_s",), message)
    for card, each, usual in far_from_peers(catalog, _per_unit, APART):
        unit = card.rates.unit if card.rates else "unit"
        yield catalog.gpu_problem(
            card.id,
            ("bandwidth_gb_per_s",),
            f"makes {each:.3g} GB/s a {unit}, where {card.spec.segment} {card.generation} has {usual:.3g} "
            f"(got {card.spec.bandwidth_gb_per_s:g})",
        )


def _per_unit(card: Gpu) -> float | None:
    spec = card.spec
    return spec.bandwidth_gb_per_s / spec.units if spec.bandwidth_gb_per_s and spec.units else None


def far_from_peers(
    catalog: Catalog, value: Callable[[Gpu], float | None], apart: float
) -> Iterator[tuple[Gpu, float, float]]:
    """Cards whose value is more than `apart` times that of their peers, or less than its share: the card, its value, and theirs.

    Peers are of one generation and segment, with memory of one family (GDDR, HBM, LPDDR); theirs is the median of at least three.
    """
    groups: dict[tuple[str, ...], list[tuple[Gpu, float]]] = {}
    for card in catalog.gpus.values():
        if found := value(card):
            family = (card.spec.memory_type or "").upper().rstrip("0123456789EX")
            groups.setdefault((card.vendor, card.generation, card.spec.segment, family), []).append((card, found))
    for group in groups.values():
        usual = median(found for _, found in group)
        if len(group) >= 3:
            yield from ((card, found, usual) for card, found in group if not 1 / apart <= found / usual <= apart)
