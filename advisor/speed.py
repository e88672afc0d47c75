"""Speed: what a forward pass takes on a GPU, from the model's own operations.

A pass is the sum of its matrix products, attention, convolutions and element-wise work, each at what the GPU sustains
for it, times a factor that is fitted on measurements (`catalog/speed.yaml`, written by `fitcard calibrate`). Matrix
products run at the sustained rate (`advisor/rates.py`), less what small ones waste; attention pads its heads;
element-wise work is bound by bandwidth and, on GPUs whose power holds the clock down, by arithmetic. A pass never takes
less than handing its kernels over.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from fitcard.advisor.memory import weights_of
from fitcard.advisor.rates import Rate, sustained_rate
from fitcard.advisor.records import VariantRecords
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.speed import Factors, SpeedFile, Sustained
from fitcard.catalog.schema.trace import Operation, Phase, at_batch
from fitcard.catalog.schema.workload import Mode

TILES = ((128, 1.0), (64, 1.3))
"""Sides of the square of the output that one unit of a GPU works on at a time, and how much slower it is than the
largest.

cuBLAS and CUTLASS choose smaller tiles where large ones would leave units idle; those read their inputs more often. The
price is an allowance: at the small batches that were run on an H100 its host set the pace.
"""
LAUNCH_S: dict[Mode, float] = {"eager": 20e-6, "compiled": 3e-6}
"""Seconds in which the host works through one operation and hands its kernel to the GPU. In eager mode measured: the
text encoder of SigLIP Base took 3.0 ms for 149 of them beside an H100, whose host sets the pace and not the GPU. Compiled
an allowance."""
ELEMENTWISE_FLOPS_PER_BYTE = 4
"""Arithmetic that goes with each byte of element-wise work; its factor is fitted, so this only sets a scale."""
AUTOCAST_EAGER, AUTOCAST_COMPILED = 52 / 24, 40 / 32
"""What autocast adds to element-wise bytes: norms and residual sums stay in 32 bit and are cast before each product.

Counted on one layer of width D in bytes per token: norm, copy, residual sum twice are 24 D in 16 bit; with autocast
norms read and write 8 D, casts 6 D, sums 10 D, twice, and 4 D for attention's output: 52 D. Compiled, with an MLP of 4
D: 32 D and 40 D.
"""


class Setting(NamedTuple):
    """How a pass is run, besides the GPU and the variant."""

    mode: Mode
    batch: int
    autocast: bool = False
    channels_last: bool = False


class Work(NamedTuple):
    """Seconds of each kind of work at the GPU's full speed; `Factors` says how much longer each really takes."""

    matmul: float
    attention: float
    convolution: float
    moved: float
    transposed: float
    computed: float
    unpacked: float
    """Of unpacking weights and of rounding and scaling what quantized layers take and give; it has no factor."""
    launches: float

    def waits_for_host(self, seconds: float) -> bool:
        """Whether a pass of that length waits for its host more than half of the time."""
        return self.launches > 0.5 * seconds

    def seconds(self, factors: Factors) -> float:
        """How long one pass takes."""
        at_rate = (
            self.matmul * factors.matmul + self.attention * factors.attention + self.convolution * factors.convolution
        )
        moved = self.moved * factors.moved + self.transposed * factors.transposed + self.computed * factors.computed
        return max(self.unpacked + at_rate + moved, self.launches)


def number_type(quantization: Quantization, mode: Mode) -> NumberType:
    """The type in which a label's matrix products are computed on a GPU."""
    return quantization.multiplies_in_eager if mode == "eager" else quantization.multiplies_in


def work(of: VariantRecords, setting: Setting, gpu: Gpu, speeds: Speeds | None) -> Work | None:
    """The work of one pass on a GPU that sustains these speeds; None where they, or what the label's layers cost, are
    not known."""
    layers = _layers(of, setting.mode)
    if speeds is None or layers is None:
        return None
    sizes = _sizes(of.phase, of.quantization.held_bits // 8, setting)
    units = gpu.spec.units
    matmul = 0.0
    for product in sizes.products:
        waste = 1.0
        if units and product.tiles[0] < 8 * units:  # of more than that, the last round does not show
            waste = min(
                -(-tiles // units) * units / tiles * price
                for tiles, (_, price) in zip(product.tiles, TILES, strict=True)
            )
        rate = speeds.layers if product.layer else speeds.plain
        matmul += product.times * max(product.flops * waste / rate, product.bytes / speeds.bandwidth)
    return Work(
        matmul=matmul,
        attention=sizes.attention_flops / speeds.plain,
        convolution=sizes.convolution_flops / speeds.plain,
        moved=sizes.moved_bytes / speeds.bandwidth,
        transposed=sizes.transposed_bytes / speeds.bandwidth,
        computed=sizes.moved_bytes * ELEMENTWISE_FLOPS_PER_BYTE / speeds.arithmetic,
        unpacked=(layers.unpacked_bytes + sizes.outputs * layers.bytes_per_output) / speeds.bandwidth,
        launches=sizes.kernels * LAUNCH_S[setting.mode] + layers.host_s,
    )


class Speeds(NamedTuple):
    """What a GPU sustains, per second."""

    layers: float
    """Of matrix products of linear layers, in the label's own type."""
    plain: float
    """Of the others, which run in 16 bit even where the layers multiply in 8."""
    arithmetic: float
    """Of element-wise FP32 arithmetic, at the clock that matrix products leave."""
    bandwidth: float


@lru_cache(maxsize=1 << 13)
def fitted_speeds(gpu: Gpu, kind: NumberType, matmul: MatmulFile, speed: SpeedFile) -> Speeds | None:
    """The same by the constants of a catalog. Kept, since every model, label and batch asks for them again."""
    return speeds_of(gpu, kind, matmul, speed.sustained)


def speeds_of(gpu: Gpu, kind: NumberType, matmul: MatmulFile | None, laws: Mapping[str, Sustained]) -> Speeds | None:
    """What a GPU sustains for a label that multiplies in `kind`; None where its rate or bandwidth is not known. Without
    `matmul`, nothing that was measured on that very GPU takes part."""
    bandwidth = (gpu.spec.bandwidth_gb_per_s or 0) * 1e9
    rate = sustained_rate(matmul, gpu, kind, laws)
    if rate is None or not bandwidth:
        return None
    plain = rate
    if kind in ("fp8", "int8"):
        plain = sustained_rate(matmul, gpu, "bf16", laws) or rate
    fp32 = sustained_rate(matmul, gpu, "fp32", laws) or plain
    return Speeds(rate.flops_per_s, plain.flops_per_s, fp32.flops_per_s * _clock_share(gpu, plain, laws), bandwidth)


class _Product(NamedTuple):
    """Matrix products alike."""

    times: int
    flops: int
    tiles: tuple[int, ...]
    """How many of each of `TILES` its output fills."""
    bytes: int
    layer: bool
    """Whether a linear layer's, whose weights a label may quantize."""


class _Sizes(NamedTuple):
    """A pass in numbers, whatever the GPU."""

    products: tuple[_Product, ...]
    attention_flops: float
    convolution_flops: int
    moved_bytes: float
    transposed_bytes: float
    kernels: int
    outputs: int
    """Numbers that linear layers put out."""


@lru_cache(maxsize=1 << 14)
def _sizes(phase: Phase, width: int, setting: Setting) -> _Sizes:
    batch = setting.batch
    eager = setting.mode == "eager"
    attention = moved = transposed = 0.0
    convolution = anchors = 0
    for op in phase.operations:
        count = at_batch(op.count, batch)
        flops = count * at_batch(op.flops, batch)
        anchors += count if op.kind in ("matmul", "attention", "convolution", "embedding") else 0
        if op.kind == "attention":
            attention += flops * _padding(at_batch(op.shape["head_dim"], batch))
        elif op.kind == "convolution":
            convolution += flops
        elif op.kind != "matmul" and eager:
            size = count * (at_batch(op.read, batch) + at_batch(op.written, batch)) * width
            cast = setting.autocast and (op.kind == "norm" or op.name in ("add", "add_", "clone"))
            moved += size * (AUTOCAST_EAGER if cast else 1)
            transposed += size if op.transposed and not setting.channels_last else 0
    if not eager:
        moved = at_batch(phase.fused.elements, batch) * width * (AUTOCAST_COMPILED if setting.autocast else 1)
    return _Sizes(
        products=tuple(_product(op, batch, width) for op in phase.operations if op.kind == "matmul"),
        attention_flops=attention,
        convolution_flops=convolution,
        moved_bytes=moved,
        transposed_bytes=transposed,
        outputs=sum(
            at_batch(op.count, batch) * at_batch(op.shape["m"], batch) * at_batch(op.shape["n"], batch)
            for op in phase.operations
            if op.kind == "matmul" and op.weight is not None
        ),
        kernels=sum(at_batch(op.count, batch) for op in phase.operations)
        if eager
        else anchors + at_batch(phase.fused.kernels, batch),
    )


def _product(op: Operation, batch: int, width: int) -> _Product:
    m, n, k, groups = (at_batch(op.shape[name], batch) for name in ("m", "n", "k", "groups"))
    weights = n * k if op.weight else 0
    return _Product(
        times=at_batch(op.count, batch),
        flops=at_batch(op.flops, batch),
        tiles=tuple(groups * -(-m // side) * -(-n // side) for side, _ in TILES),
        bytes=(at_batch(op.read, batch) + at_batch(op.written, batch) + weights) * width,
        layer=op.weight is not None,
    )


def _padding(head: int) -> float:
    """Kernels of fused attention come for heads of 32, 64, 96, 128, 192 and 256 numbers, and pad others."""
    return next((size for size in (32, 64, 96, 128, 192, 256) if size >= head), head) / head


def _clock_share(gpu: Gpu, rate: Rate, laws: Mapping[str, Sustained]) -> float:
    """How far below its full clock a GPU runs while matrix products draw their power; 1 where that is not known."""
    architecture = gpu.spec.compute_capability or gpu.generation
    law, peak = laws.get(f"{gpu.vendor} {architecture} fp16"), gpu.peak_flops("bf16") or gpu.peak_flops("fp16")
    if law is None or not peak:
        return 1.0
    return min(1.0, rate.flops_per_s / (law.of_peak * peak))


class _Layers(NamedTuple):
    """What the quantized layers of one pass take, beyond those that BF16 needs too."""

    host_s: float
    """Seconds of the host."""
    bytes_per_output: float
    unpacked_bytes: float


def _layers(of: VariantRecords, mode: Mode) -> _Layers | None:
    """None where that is not known."""
    weights, speed = weights_of(of, 16), of.quantization.speed
    if speed.layer_host_s is None or speed.layer_bytes_per_output is None or speed.unpack_bytes_per_weight is None:
        return None
    unpacked = speed.unpack_bytes_per_weight * weights.packed_elements
    if mode != "eager":
        return _Layers(0.0, 0.0, unpacked)
    seconds = [speed.layer_host_s.get(name) for name, count in weights.packed_layers if count]
    if None in seconds:
        return None
    counts = (count for _, count in weights.packed_layers if count)
    host = sum(count * each for count, each in zip(counts, seconds, strict=True) if each is not None)
    return _Layers(host, speed.layer_bytes_per_output, unpacked)
