"""Published figures above what the card's arithmetic allows."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.gpu import NUMBER_TYPES, Gpu, NumberType
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.quantization import Quantization

NAME = "published"
SCOPE = "pages"

BOOST = 1.2
"""Cards clock higher than the boost clock that their makers promise: plain matrix products reach up to 1.17 times the printed peak."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Throughputs, and rates of matrix products, that no card of that kind can reach."""
    for key, file in catalog.published.items():
        for index, speed in enumerate(file.speeds):
            rate = _flops_per_s(catalog, key, speed)
            peak = _peak(catalog.gpus[speed.gpu], _number_types(catalog.quantizations[speed.quantization]))
            if rate and peak and rate > peak * BOOST:
                message = (
                    f"makes {rate / 1e12:.4g} TFLOP/s, and the peak of {speed.gpu} in {speed.quantization} is {peak / 1e12:.4g} "
                    f"(got {speed.per_second:g})"
                )
                yield catalog.problem("published", key, ("speeds", index, "per_second"), message)
    for index, measured in enumerate(catalog.matmul.rates):
        card = catalog.gpus[measured.gpu]
        for kind in ("fp32", "tf32", "fp16", "bf16", "fp8", "int8"):
            rate, peak = getattr(measured, kind), _peak(card, ("fp32", kind) if kind != "fp32" else ("fp32", "tf32"))
            if rate and peak and rate * 1e12 > peak * BOOST:
                message = f"is above the {peak / 1e12:.4g} that {measured.gpu} has as its peak (got {rate:g})"
                yield catalog.problem("", "matmul", ("rates", index, kind), message)


def _flops_per_s(catalog: Catalog, model: str, speed: PublishedSpeed) -> float | None:
    """The arithmetic behind a throughput, from the trace; None where it was measured on inputs of another size than was traced."""
    trace = catalog.traces[model]
    if speed.component not in trace.components():
        return None
    phase = trace.phase(speed.component)
    if (speed.image_size or phase.image_size, speed.text_tokens or phase.text_tokens) != (
        phase.image_size,
        phase.text_tokens,
    ):
        return None
    return 2 * phase.multiply_adds(speed.batch) / speed.batch * speed.per_second


def _number_types(quantization: Quantization) -> tuple[NumberType, ...]:
    """The number types that a quantization's products may run in; any, where its layers are quantized."""
    if not quantization.plain:
        return NUMBER_TYPES
    return ("fp32", "tf32" if quantization.multiplies_in == "fp32" else quantization.multiplies_in)


def _peak(card: Gpu, kinds: tuple[NumberType, ...]) -> float | None:
    """The highest rate in FLOP/s of these types; None where one that the card has is not known, as the highest may be that one."""
    known = [card.peak_flops(kind) for kind in kinds if card.supports(kind) is not False]
    return max((peak for peak in known if peak), default=None) if all(known) else None
