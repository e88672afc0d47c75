"""What a card sustains in plain matrix products: measured by somebody, or what cards of its generation show.

A maker prints units x clock x rate. Real cards boost higher than they promise or, where power binds, run far lower. Two
constants per generation say so, and they are fitted on measurements of torch's own matrix products (`catalog/matmul.yaml`):

    rate = min(of_peak x printed peak,  tflops_per_unit x units x (watts / units) ** 0.62)

The exponent is what cards of one architecture at two power limits show: L4 and L40S 0.64, H100 PCIe and SXM 0.60 (LOG.md, 2026-11-24).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.speed import Sustained

POWER_EXPONENT = 0.62
POWER_LIMITED_BELOW = 0.9
"""A card that reaches less than this share of what its generation reaches of the peak is taken to be limited by power."""
_FITTED: tuple[NumberType, ...] = ("fp16", "tf32", "fp32", "fp8", "int8")
_TENSOR: tuple[NumberType, ...] = ("fp16", "bf16")


@dataclass(frozen=True)
class Rate:
    """A sustained rate."""

    flops_per_s: float
    measured: bool
    """Whether matrix products were measured on this very card."""


def measured_rate(catalog: Catalog, card: str, number_type: NumberType) -> float | None:
    """The best that was measured on a card, in FLOP/s; FP16 stands in for BF16 and the other way round."""
    mine = [rate for rate in catalog.matmul.rates if rate.gpu == card]
    for kind in (number_type, *(other for other in _TENSOR if number_type in _TENSOR and other != number_type)):
        found: list[float] = [value for rate in mine if (value := getattr(rate, kind))]
        if found:
            return max(found) * 1e12  # what slowed the others down says nothing of the card
    return None


def sustained_rate(
    catalog: Catalog,
    card: Gpu,
    number_type: NumberType,
    fit: Mapping[str, Sustained],
    *,
    ignore_measured: bool = False,
) -> Rate | None:
    """What `card` sustains in matrix products of `number_type`; None where neither a measurement nor a peak is known."""
    if card.supports(number_type) is False:
        # Libraries then compute in FP32, or emulate; whatever was measured is kept, and nothing faster than FP32 assumed.
        number_type = "fp32"
    if not ignore_measured and (known := measured_rate(catalog, card.id, number_type)):
        return Rate(known, True)
    peak = card.peak_flops(number_type)
    if peak is None and number_type in _TENSOR:
        peak = card.peak_flops("bf16" if number_type == "fp16" else "fp16")
    law = next((fit[name] for name in _classes(card, number_type) if name in fit), None)
    if peak is None or law is None:
        return None
    limit = _power_limit(card, law.tflops_per_unit)
    return Rate(min(law.of_peak * peak, limit or math.inf), False)


def _classes(card: Gpu, number_type: NumberType) -> tuple[str, str]:
    """Names of the fit that a card belongs to: its architecture's, else its vendor's; FP16 and BF16 are one."""
    kind = "fp16" if number_type in _TENSOR else number_type
    architecture = card.spec.compute_capability or card.generation
    return f"{card.vendor} {architecture} {kind}", f"{card.vendor} {kind}"


@lru_cache(maxsize=128)
def fit_sustained(catalog: Catalog, without: str | None = None) -> Mapping[str, Sustained]:
    """The constants of each architecture and vendor by number type, fitted without the card `without`."""
    points: dict[str, list[tuple[Gpu, float, float]]] = {}
    for key in sorted({rate.gpu for rate in catalog.matmul.rates} - {without}):
        card = catalog.gpus[key]
        for kind in _FITTED:
            same = _TENSOR if kind == "fp16" else (kind,)  # libraries lag behind in one or the other
            rate = max((found for each in same if (found := measured_rate(catalog, key, each))), default=None)
            peak = card.peak_flops(kind)
            if rate is None or peak is None or card.supports(kind) is False:
                continue
            for name in _classes(card, kind):
                points.setdefault(name, []).append((card, rate, peak))
    return {name: _fit(found, vendor=name.count(" ") == 1) for name, found in sorted(points.items())}


def _fit(points: Iterable[tuple[Gpu, float, float]], vendor: bool) -> Sustained:
    found = list(points)
    shares = [rate / peak for _, rate, peak in found]
    # Where power limits some, the others show what the generation reaches of its peak.
    free = median(share for share in shares if share >= POWER_LIMITED_BELOW * sorted(shares)[-max(1, len(shares) // 3)])
    # A limit is what no card exceeds; it is only known where some card ran into it.
    per_unit = [
        rate / 1e12 / (card.spec.units * (card.spec.board_power_w / card.spec.units) ** POWER_EXPONENT)
        for card, rate, _ in found
        if card.spec.units and card.spec.board_power_w
    ]
    limited = any(share < POWER_LIMITED_BELOW * free for share in shares) and per_unit and not vendor
    return Sustained(
        of_peak=round(free, 4), tflops_per_unit=round(max(per_unit), 4) if limited else None, cards=len(found)
    )


def _power_limit(card: Gpu, tflops_per_unit: float | None) -> float | None:
    units, watts = card.spec.units, card.spec.board_power_w
    if not (tflops_per_unit and units and watts):
        return None
    return tflops_per_unit * 1e12 * units * math.pow(watts / units, POWER_EXPONENT)
