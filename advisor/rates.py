"""What a GPU sustains in plain matrix products: measured by somebody, or what GPUs of its generation show.

A maker prints units x clock x rate. Real GPUs boost higher than they promise or, where power binds, run far lower. Two
constants per generation say so, and they are fitted on measurements of torch's own matrix products
(`catalog/matmul.yaml`):

    rate = min(of_peak x printed peak,  tflops_per_unit x units x (watts / units) ** 0.62)

The exponent is what GPUs of one architecture at two power limits show: L4 and L40S 0.64, H100 PCIe and SXM 0.60
(LOG.md, 2026-11-24).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import median
from typing import NamedTuple

from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.matmul import MatmulFile, MatmulRate
from fitcard.catalog.schema.speed import Sustained

POWER_EXPONENT = 0.62
POWER_LIMITED_BELOW = 0.9
"""A GPU that reaches less than this share of what its generation reaches of the peak is taken to be limited by
power."""
_FITTED: tuple[NumberType, ...] = ("fp16", "tf32", "fp32", "fp8", "int8")
_TENSOR: tuple[NumberType, ...] = ("fp16", "bf16")


class Rate(NamedTuple):
    """A sustained rate."""

    flops_per_s: float
    measured: bool
    """Whether matrix products were measured on this very GPU."""


@lru_cache(maxsize=4)
def _by_gpu(matmul: MatmulFile) -> Mapping[str, list[MatmulRate]]:
    """The measurements on each GPU."""
    by_gpu: dict[str, list[MatmulRate]] = {}
    for rate in matmul.rates:
        by_gpu.setdefault(rate.gpu, []).append(rate)
    return by_gpu


def measured_rate(matmul: MatmulFile, gpu: str, number_type: NumberType) -> float | None:
    """The best that was measured on a GPU, in FLOP/s; FP16 stands in for BF16 and the other way round."""
    mine = _by_gpu(matmul).get(gpu, ())
    for kind in (number_type, *(other for other in _TENSOR if number_type in _TENSOR and other != number_type)):
        rates: list[float] = [value for rate in mine if (value := getattr(rate, kind))]
        if rates:
            return max(rates) * 1e12  # what slowed the others down says nothing of the GPU
    return None


def sustained_rate(
    matmul: MatmulFile | None, gpu: Gpu, number_type: NumberType, laws: Mapping[str, Sustained]
) -> Rate | None:
    """What a GPU sustains in matrix products of `number_type`; None where neither a measurement nor a peak is known.

    Without `matmul`, nothing that was measured on that very GPU takes part.
    """
    if gpu.supports(number_type) is False:
        # Libraries then compute in FP32, or emulate; whatever was measured is kept, and nothing faster than FP32
        # assumed.
        number_type = "fp32"
    if matmul and (rate := measured_rate(matmul, gpu.id, number_type)):
        return Rate(rate, True)
    peak = gpu.peak_flops(number_type)
    if peak is None and number_type in _TENSOR:
        peak = gpu.peak_flops("bf16" if number_type == "fp16" else "fp16")
    law = next((laws[name] for name in _classes(gpu, number_type) if name in laws), None)
    if peak is None or law is None:
        return None
    limit = _power_limit(gpu, law.tflops_per_unit)
    return Rate(min(law.of_peak * peak, limit or math.inf), False)


def _classes(gpu: Gpu, number_type: NumberType) -> tuple[str, str]:
    """Names of the fit that a GPU belongs to: its architecture's, else its vendor's; FP16 and BF16 are one."""
    kind = "fp16" if number_type in _TENSOR else number_type
    architecture = gpu.spec.compute_capability or gpu.generation
    return f"{gpu.vendor} {architecture} {kind}", f"{gpu.vendor} {kind}"


def measured_gpus(catalog: Catalog) -> tuple[Gpu, ...]:
    """The GPUs of the catalog on which somebody measured matrix products, by id."""
    return tuple(catalog.gpus[key] for key in sorted({rate.gpu for rate in catalog.matmul.rates}))


@lru_cache(maxsize=128)
def fit_sustained(matmul: MatmulFile, gpus: tuple[Gpu, ...], without: str | None = None) -> Mapping[str, Sustained]:
    """The constants of each architecture and vendor by number type, fitted on these GPUs but for the one called
    `without`."""
    points: dict[str, list[tuple[Gpu, float, float]]] = {}
    for gpu in gpus:
        for kind in _FITTED:
            same = _TENSOR if kind == "fp16" else (kind,)  # libraries lag behind in one or the other
            rates = [rate for each in same if (rate := measured_rate(matmul, gpu.id, each))]
            peak = gpu.peak_flops(kind)
            if gpu.id == without or not rates or peak is None or gpu.supports(kind) is False:
                continue
            for name in _classes(gpu, kind):
                points.setdefault(name, []).append((gpu, max(rates), peak))
    return {name: _fit(rates, vendor=name.count(" ") == 1) for name, rates in sorted(points.items())}


def _fit(points: Sequence[tuple[Gpu, float, float]], vendor: bool) -> Sustained:
    shares = [rate / peak for _, rate, peak in points]
    # Where power limits some, the others show what the generation reaches of its peak.
    free = median(share for share in shares if share >= POWER_LIMITED_BELOW * sorted(shares)[-max(1, len(shares) // 3)])
    # A limit is what no GPU exceeds; it is only known where some GPU ran into it.
    per_unit = [
        rate / 1e12 / (gpu.spec.units * (gpu.spec.board_power_w / gpu.spec.units) ** POWER_EXPONENT)
        for gpu, rate, _ in points
        if gpu.spec.units and gpu.spec.board_power_w
    ]
    limited = any(share < POWER_LIMITED_BELOW * free for share in shares) and per_unit and not vendor
    return Sustained(
        of_peak=round(free, 4), tflops_per_unit=round(max(per_unit), 4) if limited else None, cards=len(points)
    )


def _power_limit(gpu: Gpu, tflops_per_unit: float | None) -> float | None:
    units, watts = gpu.spec.units, gpu.spec.board_power_w
    if not (tflops_per_unit and units and watts):
        return None
    return tflops_per_unit * 1e12 * units * math.pow(watts / units, POWER_EXPONENT)
