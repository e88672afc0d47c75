"""The rules that turn sums into a verdict and a choice: what hardware refuses, what fits, and which quantization to
pick."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from fitcard.advisor.memory import weights_of
from fitcard.advisor.records import VariantRecords
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.trace import ONNX_LOOP, Component, Phase, Trace

Verdict = Literal["fits", "tight", "no", "unsupported"]

TIGHT_ABOVE = 0.9
"""A need above this share of what is available is `tight`: the next driver or a larger window may not leave it."""


def verdict_of(required: int, available: int) -> Verdict:
    """Whether so many bytes fit into so many."""
    if required > available:
        return "no"
    return "tight" if required > TIGHT_ABOVE * available else "fits"


def refusal(quantization: Quantization, gpu: Gpu, phase: Phase | None = None) -> str | None:
    """Why a GPU cannot serve a label, with `phase` that of a model's component, or None."""
    requires = quantization.requires
    if requires.vendors and gpu.vendor not in requires.vendors:
        return f"{quantization.name} needs {' or '.join(requires.vendors)}: {requires.why}"
    capability = gpu.spec.compute_capability
    least = requires.nvidia_compute_capability
    if least and capability and float(capability) < least:
        return f"{quantization.name} needs compute capability {least}, this GPU has {capability}: {requires.why}"
    if quantization.engine.exports_graph and phase and phase.one_by_one:
        return ONNX_LOOP
    return None


def best_label(
    trace: Trace,
    component: Component,
    quantizations: Mapping[str, Quantization],
    gpu: Gpu,
    verdicts: Mapping[str, Verdict],
) -> str | None:
    """The quantization to pick on a GPU, from the verdict of each; None where none is usable.

    The rule, of what fits (or else is tight): 16 bit first where the GPU multiplies it natively, since more bits buy no
    accuracy that anybody measured here; FP32 where it does not; then the most bits per weight, as they really are.
    """
    usable = [label for label, verdict in verdicts.items() if verdict == "fits"]
    usable = usable or [label for label, verdict in verdicts.items() if verdict == "tight"]
    if not usable:
        return None
    slow = frozenset(kind for kind in _SIXTEEN_BIT if gpu.supports(kind) is False)
    place = {label: at for at, label in enumerate(_by_preference(trace, component, tuple(quantizations.items()), slow))}
    return min(usable, key=lambda label: place[label])


_SIXTEEN_BIT: tuple[NumberType, ...] = ("bf16", "fp16")


@lru_cache(maxsize=1 << 11)
def _by_preference(
    trace: Trace, component: Component, quantizations: tuple[tuple[str, Quantization], ...], slow: frozenset[NumberType]
) -> list[str]:
    """The labels in the order of that rule, for a GPU that does not multiply `slow` natively. Kept, since every GPU asks."""

    def rank(item: tuple[str, Quantization]) -> tuple[int, float]:
        quantization = item[1]
        if quantization.plain:
            kind = quantization.multiplies_in
            return 1 if kind == "fp32" else 3 if kind in slow else 0, 0.0
        return 2, -weights_of(VariantRecords(trace, component, quantization), 16).bits_per_weight

    return [label for label, _ in sorted(quantizations, key=rank)]
