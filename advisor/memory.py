"""Memory: what a variant needs at a batch, and what a GPU has.

    needed    = weights + activations + buffers + runtime
    available = memory of the GPU - what display and system keep

Weights follow from the tensor rule, exactly. Activations are the traced peak, exact at traced batches and linear
between and beyond them. Buffers are what the runtime needs for a moment on top: unpacked weights, copies that libraries
make, and what the allocator holds beyond what is alive.
The runtime's own bytes and the reserve are stated, with their reasons, in `catalog/runtimes.yaml`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from fitcard.advisor.records import VariantRecords, records_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Quantization, held_tensors, typed_of
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES
from fitcard.catalog.schema.trace import Activations, Phase, at_batch
from fitcard.catalog.schema.workload import Variant


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


Features = frozenset[str]
"""A processor's instruction sets, by the names of `catalog/host.py`."""
NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Those that multiply BF16."""


@dataclass(frozen=True)
class Terms:
    """A variant's sum on a vendor's runtime, with everything but the batch filled in."""

    weights: int
    gaps: int
    """What the allocator holds around the weights, at any batch."""
    activations: tuple[tuple[int, int], ...]
    """Traced peaks, as batch and bytes."""
    unpacked: int
    copies: int
    """Bytes that the runtime copies once and keeps."""
    outputs: tuple[tuple[tuple[int, ...] | int, ...], ...]
    """Sizes (rows, columns, groups) of the matrix products whose outputs need something besides."""
    per_output: float
    strided: tuple[tuple[tuple[int, ...] | int, int], ...]
    """Outermost size and bytes of the weights that a processor copies for each row of it."""
    slack: float
    runtime: int

    def need(self, batch: int) -> Need:
        """The sum at a batch."""
        activations = _on_line(self.activations, batch)
        unpacked = self.unpacked
        if self.outputs:
            largest = max(at_batch(m, batch) * at_batch(n, batch) * at_batch(g, batch) for m, n, g in self.outputs)
            unpacked += int(largest * self.per_output)
        copies = self.copies
        if batch > 1 and self.strided:
            copies += max(at_batch(outer, batch) * size for outer, size in self.strided)
        return Need(
            weights_bytes=self.weights,
            activations_bytes=activations,
            buffers_bytes=unpacked + int((activations + unpacked) * self.slack) + copies + self.gaps,
            runtime_bytes=self.runtime,
        )

    @cached_property
    def least_bytes(self) -> int:
        """What is required at batch 1."""
        return self.need(1).required_bytes

    def max_batch(self, available: int, most: int) -> int:
        """The largest batch up to `most` whose need is available; need grows with the batch, so bisection finds it. 0
        when none is."""
        if self.least_bytes > available:
            return 0
        low, high = 1, most
        # Beyond the last traced point the sum is a straight line, so a first guess is next to exact.
        ends = self.activations[-1][0], 2 * self.activations[-1][0]
        at = [self.need(end).required_bytes for end in ends]
        if at[0] <= available and at[1] > at[0]:
            guess = ends[0] + (available - at[0]) * (ends[1] - ends[0]) // (at[1] - at[0])
            low, high = max(low, min(guess - 2, most)), min(most, guess + 2)
            if self.need(low).required_bytes > available or (
                high < most and self.need(high).required_bytes <= available
            ):
                low, high = 1, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.need(middle).required_bytes <= available:
                low = middle
            else:
                high = middle - 1
        return low


def terms_of(catalog: Catalog, variant: Variant, vendor: str) -> Terms:
    """The sum of a variant of the catalog on a vendor's runtime (`CPU` for a processor of which nothing more is
    known)."""
    return terms(records_of(catalog, variant), catalog.runtimes, vendor)


@lru_cache(maxsize=1 << 15)
def terms(of: VariantRecords, runtimes: Runtimes, vendor: str, features: Features | None = None) -> Terms:
    """The sum of a variant on a vendor's runtime (`CPU` for a processor). Kept, since every GPU and batch asks for it
    again.

    `features` are the processor's instruction sets; where they are not known, the larger sum is given. Raises KeyError
    for a component that the model does not have.
    """
    quantization, phase = of.quantization, of.phase
    on_cpu = vendor == "CPU"
    width = _width(quantization, features if on_cpu else None)
    weights = weights_of(of, width)
    layers = quantization.memory
    # Products of 8-bit integers read their weights as they lie where the processor has tiles for them (LOG.md,
    # 2026-11-24).
    repacks = on_cpu and not (features and "amx_int8" in features)
    per_output = layers.bytes_per_output(vendor)
    outputs = {
        (op.shape["m"], op.shape["n"], op.shape["groups"])
        for op in phase.operations
        if per_output and op.kind == "matmul" and op.weight is not None
    }
    return Terms(
        weights=weights.bytes,
        gaps=weights.gaps if vendor in CACHING else 0,
        activations=tuple((a.batch, a.bytes_32 if width == 32 else a.bytes_16) for a in phase.activations),
        unpacked=_unpacked_bytes(runtimes, quantization, weights.largest_packed, vendor, width),
        copies=int((layers.cpu_weight_copies or 0) * weights.packed_bytes) if repacks else 0,
        outputs=tuple(sorted(outputs, key=repr)),
        per_output=per_output,
        strided=_strided_copies(phase, quantization, width, features) if on_cpu else (),
        slack=runtimes.allocator_slack[vendor].share,
        runtime=runtimes.context[vendor].bytes + quantization.engine.libraries.bytes_on(vendor),
    )


def _unpacked_bytes(runtimes: Runtimes, quantization: Quantization, largest: int, vendor: str, width: int) -> int:
    """The largest matrix as plain numbers, where an engine unpacks weights before it multiplies; in chunks, each in
    float32 besides."""
    if quantization.unpacks == "nothing":
        return 0
    chunk = min(runtimes.dequantize_chunk_elements[vendor], largest) if quantization.unpacks == "chunks" else 0
    return largest * width // 8 + chunk * runtimes.dequantize_bytes_per_element


@dataclass(frozen=True)
class VariantWeights:
    """What the advisor needs to know of a variant's tensors."""

    bytes: int
    gaps: int
    """What torch's caching allocator takes of a GPU's memory beyond them."""
    largest_packed: int
    """Elements of the largest packed matrix; 0 when none is packed."""
    packed_elements: int
    """Elements of all packed matrices of linear layers."""
    packed_bytes: int
    """Bytes of all packed matrices."""
    packed_layers: tuple[tuple[str, int], ...]
    """How many linear layers hold a matrix of each packed type."""
    bits_per_weight: float


@lru_cache(maxsize=1 << 14)
def weights_of(of: VariantRecords, bits: int) -> VariantWeights:
    """The weights of a variant whose plain numbers are held in `bits`. Kept, since every GPU and batch asks for them
    again."""
    typed = typed_of(of.trace, of.component, of.quantization)
    packed = [row for row in typed if TENSOR_TYPES[row.type].packed]
    held = held_tensors(typed, bits)
    linear = [(row.tensor.elements, row.times) for row in packed if row.tensor.kind == "linear"]
    layers: Counter[str] = Counter()
    for row in packed:
        layers[row.type] += row.times if row.tensor.kind == "linear" else 0
    stored = sum(row.bytes * row.times for row in typed)
    return VariantWeights(
        bytes=sum(size * count for size, count in held),
        gaps=_gaps(held),
        largest_packed=max((elements for elements, _ in linear), default=0),
        packed_elements=sum(elements * count for elements, count in linear),
        packed_bytes=sum(row.bytes * row.times for row in packed),
        packed_layers=tuple(sorted(layers.items())),
        bits_per_weight=stored * 8 / sum(row.tensor.elements * row.times for row in typed),
    )


CACHING = {"NVIDIA", "AMD", "Intel"}
"""Vendors on whose GPUs torch's caching allocator serves."""
_MIB = 1 << 20
_SMALL, _SEGMENT, _OWN, _STEP = _MIB, 20 * _MIB, 10 * _MIB, 2 * _MIB
"""Tensors up to the first size share segments of 2 MiB, larger ones segments of 20 MiB, those from 10 MiB on have their
own in steps of 2 MiB: kSmallSize, kLargeBuffer, kMinLargeAlloc and kRoundLarge of c10/core/AllocatorConfig.h in torch
2.11."""


def _gaps(tensors: Iterable[tuple[int, int]]) -> int:
    """Bytes that the allocator takes for tensors, given as size and number, beyond their own; the largest are placed
    first.

    What is left of a segment counts where it is less than a quarter: more than that, something else was seen to use.
    """
    sizes: Counter[int] = Counter()
    for size, count in tensors:
        sizes[size] += count
    gaps = small = 0
    left: Counter[int] = Counter()
    for size, count in sorted(sizes.items(), reverse=True):
        if size >= _OWN:
            gaps += count * (-size % _STEP)
        elif size <= _SMALL:
            small += count * (size + -size % 512)
        else:
            for space in [space for space in left if space >= size]:
                filled = min(left[space], -(-count // (space // size)))
                left[space] -= filled
                for _ in range(filled):
                    here = min(count, space // size)
                    left[space - here * size] += 1
                    count -= here
            while count:
                here = min(count, _SEGMENT // size)
                left[_SEGMENT - here * size] += 1
                count -= here
    gaps += sum(space * number for space, number in left.items() if space < _SEGMENT // 4)
    return gaps + -small % _STEP


def activation_bytes(traced: Sequence[Activations], batch: int, bits: int) -> int:
    """The activation peak at `batch`: exact where traced, on the straight line through the two nearest points
    elsewhere."""
    return _on_line([(a.batch, a.bytes_32 if bits == 32 else a.bytes_16) for a in traced], batch)


def _on_line(points: Sequence[tuple[int, int]], batch: int) -> int:
    for at, size in points:
        if at == batch:
            return size
    if len(points) == 1:
        return points[0][1] * batch // points[0][0]
    above = next((i for i, (at, _) in enumerate(points) if at > batch), len(points) - 1)
    (x0, y0), (x1, y1) = points[max(above, 1) - 1], points[max(above, 1)]
    return y0 + (y1 - y0) * (batch - x0) // (x1 - x0)


def _width(quantization: Quantization, features: Features | None) -> int:
    """Bits of an activation, as the profiler runs it there."""
    if quantization.engine.float32_without_bf16 and features is not None and not features & NATIVE_BF16:
        return 32
    return quantization.held_bits


def _strided_copies(
    phase: Phase, quantization: Quantization, bits: int, features: Features | None
) -> tuple[tuple[tuple[int, ...] | int, int], ...]:
    """What torch's CPU linear layers copy in 16 bit, as outermost size and bytes of the weight.

    A linear layer whose three-dimensional input is not contiguous gets a copy of its weight for every row of the
    outermost dimension as soon as the batch is 2 or more. Found and measured here (torch 2.13.0 with oneDNN 3.12.0;
    LOG.md, 2026-11-23): the rise of the resident set is outer x rows x columns x 2 bytes, to 0.2 %. FP32 does not do
    it; FP16 does where the processor multiplies it natively (LOG.md, 2026-11-24); BF16 does not on one with AVX2 and no
    AVX-512 (LOG.md, 2026-11-27).
    """
    if bits == 32:
        return ()
    if quantization.weight_type != "F16" and features is not None and "avx2" in features and "avx512f" not in features:
        return ()
    if quantization.weight_type == "F16" and features is not None and not features & {"avx512_fp16", "amx_fp16"}:
        return ()
    return tuple((layer.outer, layer.rows * layer.columns * 2) for layer in phase.strided_linears)


def available_bytes(runtimes: Runtimes, gpu: Gpu) -> int:
    """Bytes of a GPU that a program may use: the stated share of a unified memory, else all but the stated reserve."""
    if gpu.spec.unified_memory:
        return int(gpu.spec.memory_bytes * runtimes.unified_share.share)
    return max(0, gpu.spec.memory_bytes - runtimes.reserve[gpu.spec.segment].bytes)
