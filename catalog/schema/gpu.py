"""Cards: what their makers state, each figure with its source, and what follows from it by arithmetic."""

from collections.abc import Set
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from fitcard.catalog.schema.record import (
    UNVERIFIED,
    Count,
    Date,
    Many,
    Name,
    Positive,
    Record,
    Slug,
    Sources,
    Text,
    check_sources,
)

NumberType = Literal["fp32", "tf32", "fp16", "fp16_fp16_accumulate", "bf16", "fp8", "int8"]
NUMBER_TYPES: tuple[NumberType, ...] = get_args(NumberType)
Segment = Literal["desktop", "laptop", "workstation", "datacenter", "integrated", "cpu"]
Figures = dict[str, Many[Text]]
PciId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}(:[0-9a-f]{2})?$")]

GIB = 2**30
GB = 10**9


class UnitRates(Record):
    """Operations per unit and clock, dense, a multiply-add counted as 2; 16-bit and FP8 accumulate in FP32."""

    unit: Text
    """What the maker calls a unit: SM, CU, Xe core."""
    supports: Many[NumberType]
    """Number types that the hardware multiplies natively."""
    fp32: Count | None = None
    """Operations per unit and clock in FP32."""
    tf32: Count | None = None
    """Operations per unit and clock in TF32."""
    fp16: Count | None = None
    """Operations per unit and clock in FP16 that accumulates in FP32."""
    fp16_fp16_accumulate: Count | None = None
    """Operations per unit and clock in FP16 that accumulates in FP16."""
    bf16: Count | None = None
    """Operations per unit and clock in BF16."""
    fp8: Count | None = None
    """Operations per unit and clock in FP8."""
    int8: Count | None = None
    """Operations per unit and clock in INT8."""
    sources: Figures
    """Each rate, and `supports`, under every source that states it."""

    @model_validator(mode="after")
    def _supported(self) -> Self:
        for name in NUMBER_TYPES:
            if name != "fp16_fp16_accumulate" and getattr(self, name) is not None and name not in self.supports:
                raise ValueError(f"has a rate for {name}, which `supports` does not list")
        return self


class PublishedRates(Record):
    """Dense peak rates as the maker prints them, in TFLOP/s (TOP/s for int8); the arithmetic is checked against these."""

    fp32: Positive | None = None
    """In FP32."""
    tf32: Positive | None = None
    """In TF32."""
    fp16: Positive | None = None
    """In FP16 that accumulates in FP32; sheets often print twice that, or four times with sparsity."""
    fp16_fp16_accumulate: Positive | None = None
    """In FP16 that accumulates in FP16."""
    bf16: Positive | None = None
    """In BF16."""
    fp8: Positive | None = None
    """In FP8."""
    int8: Positive | None = None
    """In INT8, in TOP/s."""


class GpuSpec(Record):
    """One GPU. Figures that nobody states are null, and shown as not known."""

    name: Name
    """The maker's name for it, without the maker."""
    aliases: Many[Name] = ()
    """The ways people type it."""
    segment: Segment
    """What kind of machine it is sold for; decides how much of its memory display and system keep."""
    chip: Text | None = None
    """The maker's name of the chip, such as AD102."""
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")] | None = None
    """NVIDIA only, as text: "8.9"."""
    gfx: Text | None = None
    """AMD only: gfx1100."""
    pci_ids: Many[PciId] = ()
    """By which drivers know it: "1002:744c:c8" is vendor, device and, where one device id has several GPUs, revision."""
    unit_rates: Slug | None = None
    """Which of the file's `unit_rates` its units have."""
    units: Count | None = None
    """How many units of `unit_rates` it has: SMs, CUs, Xe cores, cores."""
    boost_mhz: Positive | None = None
    """The clock in MHz that the maker promises under load."""
    memory_gib: Positive
    """Memory in GiB: what is sold as 24 GB is 24."""
    unified_memory: bool = False
    """Whether processor and GPU share one memory."""
    memory_type: Text | None = None
    """The kind of memory: GDDR6X, HBM3, LPDDR5X."""
    memory_bus_bits: Count | None = None
    """Width of the memory bus in bits."""
    memory_gbps_per_pin: Positive | None = None
    """Data rate of the memory in Gbit/s a pin."""
    bandwidth_gb_per_s: Positive | None = None
    """Memory bandwidth in GB/s, 10^9 bytes."""
    published_tflops: PublishedRates = Field(default_factory=PublishedRates)
    """Rates as the maker prints them; optional where units x clock x rate says the same."""
    board_power_w: Positive | None = None
    """Power of the whole GPU in W."""
    bus: Text | None = None
    """The bus to the host: PCIe 4.0 x16."""
    released: Date | None = None
    """The day on which it could first be bought."""
    launch_price_usd: Positive | None = None
    """The price that the maker announced, in USD."""
    note: Text | None = None
    """What a reader of its page should know besides."""
    sources: Figures
    """Each figure under every source that states it, or under `unverified` when nobody has read it."""

    @property
    def figures(self) -> frozenset[str]:
        """The names of the figures that are stated, and so need a source."""
        words = {"name", "aliases", "pci_ids", "segment", "unit_rates", "unified_memory", "note", "sources"}
        stated = {name for name in self.model_fields_set - words if getattr(self, name) is not None}
        return frozenset(stated)

    @property
    def unverified(self) -> tuple[str, ...]:
        """The figures that nobody has read in a source."""
        read = {name for key, names in self.sources.items() if key != UNVERIFIED for name in names}
        return tuple(name for name in self.sources.get(UNVERIFIED, ()) if name not in read)

    @property
    def memory_bytes(self) -> int:
        return round(self.memory_gib * GIB)


class GpuFile(Record):
    """One generation of one vendor."""

    vendor: Name
    """Who makes the chips."""
    generation: Name
    """The architecture, as the vendor calls it."""
    reviewed: Date
    """The day on which somebody last held the file to its sources."""
    sources: Sources
    """The documents that its figures were read in, by the short keys that name them."""
    unit_rates: dict[Slug, UnitRates] = {}
    """What the units of this generation do in a clock, by kind of unit."""
    gpus: dict[Slug, GpuSpec] = Field(min_length=1)
    """The GPUs, by the ids that are their addresses."""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        sources = set(self.sources)
        for key, rates in self.unit_rates.items():
            stated = {"supports"} | {name for name in NUMBER_TYPES if getattr(rates, name) is not None}
            _within(f"unit_rates.{key}", stated, rates.sources, sources)
        for key, gpu in self.gpus.items():
            named = {"pci_ids"} if gpu.pci_ids else set[str]()  # no figure, but read in a source too
            _within(f"gpus.{key}", gpu.figures | named, gpu.sources, sources)
            if gpu.unit_rates and gpu.unit_rates not in self.unit_rates:
                raise ValueError(
                    f"gpus.{key}: no unit_rates {gpu.unit_rates!r} in this file (there are: {', '.join(self.unit_rates)})"
                )
            _plausible(key, gpu, self.unit_rates.get(gpu.unit_rates or ""))
        return self


def _within(where: str, figures: Set[str], listed: Figures, sources: set[str]) -> None:
    try:
        check_sources(set(figures), listed, sources)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _plausible(key: str, gpu: GpuSpec, rates: UnitRates | None) -> None:
    """Hold stated figures to the arithmetic between them, within the rounding of data sheets."""
    if gpu.memory_bus_bits and gpu.memory_gbps_per_pin and gpu.bandwidth_gb_per_s:
        product = gpu.memory_bus_bits / 8 * gpu.memory_gbps_per_pin
        if abs(product / gpu.bandwidth_gb_per_s - 1) > 0.015:
            raise ValueError(
                f"gpus.{key}: bandwidth_gb_per_s is {gpu.bandwidth_gb_per_s:g}, "
                f"but {gpu.memory_bus_bits} bit x {gpu.memory_gbps_per_pin:g} Gbit/s makes {product:g}"
            )
    for name in NUMBER_TYPES:
        stated = getattr(gpu.published_tflops, name)
        derived = _peak(gpu, rates, name)
        if stated and derived and abs(derived / (stated * 1e12) - 1) > 0.03:
            raise ValueError(
                f"gpus.{key}: published_tflops.{name} is {stated:g}, but units x clock x rate makes {derived / 1e12:.4g}"
            )


def _peak(gpu: GpuSpec, rates: UnitRates | None, number_type: NumberType) -> float | None:
    per_clock = getattr(rates, number_type, None) if rates else None
    if not (per_clock and gpu.units and gpu.boost_mhz):
        return None
    return float(gpu.units * gpu.boost_mhz * 1e6 * per_clock)


class Gpu(Record):
    """A GPU of the catalog with what its generation adds: what the advisor and the pages work with."""

    id: Slug
    vendor: Text
    generation: str
    spec: GpuSpec
    rates: UnitRates | None
    sources: Sources
    reviewed: Date | None
    """Null for what is no entry of the catalog: a device that only runs know, or so much memory that somebody asked about."""

    @property
    def name(self) -> str:
        return f"{self.vendor} {self.spec.name}" if not self.spec.name.startswith(self.vendor) else self.spec.name

    def peak_flops(self, number_type: NumberType) -> float | None:
        """Dense peak rate in FLOP/s: as the maker prints it, else units x clock x rate; None when not known."""
        stated = getattr(self.spec.published_tflops, number_type)
        return stated * 1e12 if stated else _peak(self.spec, self.rates, number_type)

    def supports(self, number_type: NumberType) -> bool | None:
        """Whether the hardware multiplies this type natively; None when not known."""
        return number_type in self.rates.supports if self.rates else None
