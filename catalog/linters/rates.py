"""Rates of number types that contradict each other, the clock, or those of the card's peers.

Loading holds what a maker prints to units x clock x rate where a card states all of them; this is about the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.bandwidth import far_from_peers
from fitcard.catalog.schema.gpu import NUMBER_TYPES, Gpu

NAME = "rates"
SCOPE = "pages"

AT_MOST = (
    ("fp32", "tf32"), ("tf32", "fp16"), ("bf16", "fp16"), ("fp16", "fp16_fp16_accumulate"), ("fp16", "fp8"), ("fp32", "fp16"),
)  # fmt: skip
"""Pairs of which the first is never faster than the second: fewer bits, or a narrower sum, cost no time on any card."""
CLOCK_MHZ = (300, 3500)
"""Boost clocks between which all cards lie: from 930 of a Jetson to 3130 of a Radeon so far."""
APART = 2.5
"""How many times more or less a unit may do in FP32 than is usual among its peers; their clocks differ by up to 1.5 times."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Rates per clock that are no power of two of FP32, types in the wrong order, impossible clocks, rates far from those of peers."""
    for name, file in catalog.gpu_files.items():
        for kind, rates in file.unit_rates.items():
            found: dict[str, float] = {each: rate for each in NUMBER_TYPES if (rate := getattr(rates, each))}
            for each, rate in found.items():
                if "fp32" in found and math.log2(rate / found["fp32"]) % 1:
                    message = f"is no power of two times the {found['fp32']:g} of fp32 (got {rate:g})"
                    yield catalog.problem("gpus", name, ("unit_rates", kind, each), message)
            for slow, fast in _disordered(found):
                message = f"is more than the {found[fast]:g} of {fast}, which is never slower (got {found[slow]:g})"
                yield catalog.problem("gpus", name, ("unit_rates", kind, slow), message)
    for key, card in catalog.gpus.items():
        low, high = CLOCK_MHZ
        if card.spec.boost_mhz and not low <= card.spec.boost_mhz <= high:
            message = f"is no clock of a card: they run at {low} to {high} MHz (got {card.spec.boost_mhz:g})"
            yield catalog.gpu_problem(key, ("boost_mhz",), message)
        stated: dict[str, float] = {
            each: rate for each in NUMBER_TYPES if (rate := getattr(card.spec.published_tflops, each))
        }
        for slow, fast in _disordered(stated):
            message = f"is more than the {stated[fast]:g} of {fast}, which is never slower (got {stated[slow]:g})"
            yield catalog.gpu_problem(key, ("published_tflops", slow), message)
    for card, made, usual in far_from_peers(catalog, _fp32_per_unit, APART):
        unit = card.rates.unit if card.rates else "unit"
        yield catalog.gpu_problem(
            card.id,
            ("published_tflops", "fp32") if card.spec.published_tflops.fp32 else ("boost_mhz",),
            f"makes {made:.3g} TFLOP/s a {unit} in FP32, where {card.spec.segment} {card.generation} has {usual:.3g}",
        )


def _disordered(found: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    return ((slow, fast) for slow, fast in AT_MOST if slow in found and fast in found and found[slow] > found[fast])


def _fp32_per_unit(card: Gpu) -> float | None:
    peak = card.peak_flops("fp32")
    return peak / 1e12 / card.spec.units if peak and card.spec.units else None
