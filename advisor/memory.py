"""Memory: what a variant needs at a batch, and what a card has.

    needed    = weights + activations + buffers + runtime
    available = memory of the card - what display and system keep

Weights follow from the tensor rule, exactly. Activations are the traced peak, exact at traced batches and linear between
and beyond them. Buffers are what the runtime needs for a moment on top: unpacked weights, copies that libraries make, and
what the allocator holds beyond what is alive.
The runtime's own bytes and the reserve are stated, with their reasons, in `catalog/runtimes.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from catalog import Catalog
from catalog.gpu import Card
from catalog.quantization import Quantization, bits_per_weight, held_bytes, predicted_census, stored_tensors
from catalog.runtimes import Runtimes
from catalog.tensor_types import TENSOR_TYPES
from catalog.trace import Activations, Component, Linear, Phase


@dataclass(frozen=True)
class Need:
    """Bytes that a variant needs, term by term."""

    weights_bytes: int
    activations_bytes: int
    buffers_bytes: int
    runtime_bytes: int

    @property
    def required_bytes(self) -> int:
        return self.weights_bytes + self.activations_bytes + self.buffers_bytes + self.runtime_bytes


def need(
    catalog: Catalog, model: str, component: Component, label: str, batch: int, vendor: str, bits: int | None = None
) -> Need:
    """The memory that a variant needs on a vendor's runtime (`CPU` for a processor).

    `bits` is the width of activations and unpacked numbers where it is not the label's own: a processor without native BF16
    runs GGUF in 32 bit. Raises KeyError for a component that the model does not have.
    """
    quantization, runtimes = catalog.quantizations[label], catalog.runtimes
    phase = catalog.traces[model].phase(component)
    width = bits or quantization.held_bits
    weights = weights_of(catalog, model, component, label, width)
    activations = activation_bytes(phase.activations, batch, width)
    work = runtimes.work.get(label)
    outputs = _largest_output(phase, batch)
    unpacked = _unpacked_bytes(runtimes, label, quantization.runtime, weights.largest_packed, vendor, width)
    if work:
        unpacked += int(outputs * (work.cpu_bytes_per_output if vendor == "CPU" else work.card_bytes_per_output))
    slack = int((activations + unpacked) * runtimes.allocator_slack[vendor].share)
    copies, extra = 0, 0
    if vendor == "CPU":
        copies = _cpu_copies(phase, quantization, batch, width)
        copies += int(work.cpu_weight_copies * weights.packed_bytes) if work else 0
        extra = (
            runtimes.context_extra[quantization.runtime].bytes if quantization.runtime in runtimes.context_extra else 0
        )
    return Need(
        weights_bytes=weights.bytes,
        activations_bytes=activations,
        buffers_bytes=unpacked + slack + copies,
        runtime_bytes=runtimes.context[vendor].bytes + extra,
    )


def _unpacked_bytes(runtimes: Runtimes, label: str, runtime: str, largest: int, vendor: str, width: int) -> int:
    """The largest matrix as plain numbers, where a runtime unpacks weights before it multiplies; GGUF layers do it in chunks."""
    if runtime == "gguf":
        chunk = min(runtimes.dequantize_chunk_elements[vendor], largest)
        return largest * width // 8 + chunk * runtimes.dequantize_bytes_per_element
    return largest * width // 8 if label in ("INT8-weight-only", "NF4") else 0


def _largest_output(phase: Phase, batch: int) -> int:
    """Numbers that the largest matrix product of a forward pass puts out."""

    def at(size: Linear | int) -> int:
        return size if isinstance(size, int) else size[0] + size[1] * batch

    sizes = [
        at(op.shape["m"]) * at(op.shape["n"]) * at(op.shape["groups"])
        for op in phase.operations if op.kind == "matmul" and op.weight is not None
    ]  # fmt: skip
    return max(sizes, default=0)


@dataclass(frozen=True)
class Weights:
    """What the advisor needs to know of a variant's tensors."""

    bytes: int
    largest_packed: int
    """Elements of the largest packed matrix; 0 when none is packed."""
    packed_bytes: int
    """Bytes of all packed matrices."""
    bits_per_weight: float


@lru_cache(maxsize=4096)
def weights_of(catalog: Catalog, model: str, component: Component, label: str, bits: int) -> Weights:
    """The weights of a variant. Kept, since every card and batch asks for them again."""
    quantization, tensors = catalog.quantizations[label], catalog.traces[model].tensors_of(component)
    packed = [s for s in stored_tensors(quantization, tensors) if TENSOR_TYPES[s.type].packed]
    largest = max((s.tensor.elements for s in packed if s.tensor.kind == "linear"), default=0)
    stored_bits = bits_per_weight(predicted_census(quantization, tensors))
    return Weights(held_bytes(quantization, tensors, bits), largest, sum(s.bytes for s in packed), stored_bits)


def activation_bytes(traced: Sequence[Activations], batch: int, bits: int) -> int:
    """The activation peak at `batch`: exact where traced, on the straight line through the two nearest points elsewhere."""
    points = [(a.batch, a.bytes_32 if bits == 32 else a.bytes_16) for a in traced]
    for at, size in points:
        if at == batch:
            return size
    if len(points) == 1:
        return points[0][1] * batch // points[0][0]
    above = next((i for i, (at, _) in enumerate(points) if at > batch), len(points) - 1)
    (x0, y0), (x1, y1) = points[max(above, 1) - 1], points[max(above, 1)]
    return y0 + (y1 - y0) * (batch - x0) // (x1 - x0)


def _cpu_copies(phase: Phase, quantization: Quantization, batch: int, bits: int) -> int:
    """What torch's CPU linear layers copy in BF16.

    A linear layer whose three-dimensional input is not contiguous gets a copy of its weight for every row of the outermost
    dimension as soon as the batch is 2 or more. Found and measured here (torch 2.13.0 with oneDNN 3.12.0; LOG.md,
    2026-11-23): the rise of the resident set is outer x rows x columns x 2 bytes, to 0.2 %. FP16 and FP32 do not do it.
    """
    if batch < 2 or bits == 32 or quantization.weight_type == "F16":
        return 0
    return max((layer.outer * layer.rows * layer.columns * 2 for layer in phase.strided_linears), default=0)


def available_bytes(catalog: Catalog, card: Card) -> int:
    """Bytes of the card that a program may use: the stated share of a unified memory, else all but the stated reserve."""
    if card.spec.unified_memory:
        return int(card.spec.memory_bytes * catalog.runtimes.unified_share.share)
    return max(0, card.spec.memory_bytes - catalog.runtimes.reserve[card.spec.segment].bytes)
