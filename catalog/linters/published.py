"""Published figures above what the GPU's arithmetic and memory allow."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.gpu import NUMBER_TYPES, Gpu, NumberType
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.trace import Component, Trace, at_batch

NAME = "published"
SCOPE = "pages"

BOOST = 1.2
"""Cards clock higher than the boost clock that their makers promise: plain matrix products reach up to 1.17 times the printed peak."""


CACHE_BYTES = 256 << 20
"""Weights that a GPU's last cache may keep from one pass to the next; the largest is that of the MI300X."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Throughputs, and rates of matrix products, that no card of that kind can reach; components that a model does not have."""
    for key, file in catalog.published.items():
        for index, speed in enumerate(file.speeds):
            if fault := speed_fault(catalog, key, speed):
                field, message = fault
                yield catalog.problem("published", key, ("speeds", index, field), message)
            read, released = file.sources[speed.source].read, catalog.gpus[speed.gpu].spec.released
            if released and read < released:
                message = f"was read on {read}, before {speed.gpu} was released, {released}"
                yield catalog.problem("published", key, ("speeds", index, "source"), message)
    for index, measured in enumerate(catalog.matmul.rates):
        card = catalog.gpus[measured.gpu]
        for kind in ("fp32", "tf32", "fp16", "bf16", "fp8", "int8"):
            rate, peak = getattr(measured, kind), _peak(card, ("fp32", kind) if kind != "fp32" else ("fp32", "tf32"))
            if rate and peak and rate * 1e12 > peak * BOOST:
                message = f"is above the {peak / 1e12:.4g} that {measured.gpu} has as its peak (got {rate:g})"
                yield catalog.problem("", "matmul", ("rates", index, kind), message)


def speed_fault(catalog: Catalog, model: str, speed: PublishedSpeed) -> tuple[str, str] | None:
    """The field and the message of what is impossible about a throughput; None for one that can be."""
    trace, gpu = catalog.traces[model], catalog.gpus[speed.gpu]
    if speed.component not in trace.components():
        return (
            "component",
            f"is {speed.component}, which {model} does not have (it has: {', '.join(trace.components())})",
        )
    seconds = speed.batch / speed.per_second
    flops = pass_flops(trace, speed.component, speed.batch, speed.image_size, speed.text_tokens)
    peak = peak_of(catalog, gpu, speed.quantization)
    if flops / seconds > peak * BOOST:
        return "per_second", (
            f"makes {figure(flops / seconds / 1e12)} TFLOP/s, and the peak of {speed.gpu} in {speed.quantization} is {figure(peak / 1e12)} "
            f"(got {speed.per_second:g})"
        )
    # A weight has at least two bits in every quantization that there is.
    weights = (
        read_bytes(trace, speed.component, catalog.trace_index[model].parameters[speed.component] // 4) - CACHE_BYTES
    )
    bandwidth = (gpu.spec.bandwidth_gb_per_s or 0) * 1e9
    if bandwidth and weights / seconds > bandwidth * BOOST:
        return "per_second", (
            f"reads the weights at {figure(weights / seconds / 1e9)} GB/s, and {speed.gpu} has {figure(bandwidth / 1e9)} (got {speed.per_second:g})"
        )
    return None


def figure(number: float) -> str:
    """A rate in a message, never with an exponent."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def pass_flops(
    trace: Trace, component: Component, batch: int, image_size: int | None, text_tokens: int | None
) -> float:
    """The least arithmetic of a pass, in FLOP, a multiply-add counted as 2.

    On inputs of another size than was traced, linear layers grow with the tokens and attention faster; so that a smaller
    input is never asked for too much, linear layers alone are counted then. 0 for a component that is not there.
    """
    if component not in trace.components():
        return 0.0
    phase = trace.phase(component)
    if (image_size or phase.image_size, text_tokens or phase.text_tokens) == (phase.image_size, phase.text_tokens):
        return 2.0 * phase.multiply_adds(batch)
    linear = sum(
        at_batch(op.count, batch) * at_batch(op.flops, batch) for op in phase.operations if op.kind == "matmul"
    )
    pixels = (image_size / phase.image_size) ** 2 if image_size and phase.image_size else 1.0
    tokens = text_tokens / phase.text_tokens if text_tokens and phase.text_tokens else 1.0
    return 0.9 * linear * min(pixels, tokens, 1.0)


def read_bytes(trace: Trace, component: Component, weights_bytes: int) -> float:
    """Of the bytes of a component's weights those that every pass reads: tables of embeddings are looked up in a few rows."""
    tensors = trace.tensors_of(component)
    every = sum(tensor.count * tensor.elements for tensor in tensors)
    read = sum(tensor.count * tensor.elements for tensor in tensors if tensor.kind == "linear")
    return weights_bytes * read / every if every else 0.0


def peak_of(catalog: Catalog, gpu: Gpu | None, quantization: str) -> float:
    """The highest rate in FLOP/s that a GPU may reach in a quantization; that of the catalog's fastest where it is not known."""
    kinds = _number_types(catalog.quantizations[quantization])
    peak = _peak(gpu, kinds) if gpu else None
    if peak:
        return peak
    rates = (each.peak_flops(kind) for each in catalog.gpus.values() for kind in kinds)
    return max((rate for rate in rates if rate), default=float("inf"))


def _number_types(quantization: Quantization) -> tuple[NumberType, ...]:
    """The number types that a quantization's products may run in; any, where its layers are quantized."""
    if not quantization.plain:
        return NUMBER_TYPES
    return ("fp32", "tf32" if quantization.multiplies_in == "fp32" else quantization.multiplies_in)


def _peak(card: Gpu, kinds: tuple[NumberType, ...]) -> float | None:
    """The highest rate in FLOP/s of these types; None where one that the card has is not known, as the highest may be that one."""
    known = [card.peak_flops(kind) for kind in kinds if card.supports(kind) is not False]
    return max((peak for peak in known if peak), default=None) if all(known) else None
