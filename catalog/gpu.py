"""Cards: what their makers state, each figure with its source, and what follows from it by arithmetic."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from catalog.record import UNVERIFIED, Count, Date, Many, Positive, Record, Slug, Sources, Text, check_sources

NumberType = Literal["fp32", "tf32", "fp16", "fp16_fp16_accumulate", "bf16", "fp8", "int8"]
NUMBER_TYPES: tuple[NumberType, ...] = get_args(NumberType)
Segment = Literal["desktop", "laptop", "workstation", "datacenter", "integrated", "cpu"]
Figures = dict[str, Many[Text]]

GIB = 2**30
GB = 10**9


class UnitRates(Record):
    """Operations per unit and clock, dense, a multiply-add counted as 2; 16-bit and FP8 accumulate in FP32."""

    unit: Text
    """What the maker calls a unit: SM, CU, Xe core."""
    supports: Many[NumberType]
    """Number types that the hardware multiplies natively."""
    fp32: Count | None = None
    tf32: Count | None = None
    fp16: Count | None = None
    fp16_fp16_accumulate: Count | None = None
    bf16: Count | None = None
    fp8: Count | None = None
    int8: Count | None = None
    sources: Figures

    @model_validator(mode="after")
    def _supported(self) -> UnitRates:
        for name in NUMBER_TYPES:
            if name != "fp16_fp16_accumulate" and getattr(self, name) is not None and name not in self.supports:
                raise ValueError(f"has a rate for {name}, which `supports` does not list")
        return self


class PublishedRates(Record):
    """Dense peak rates as the maker prints them, in TFLOP/s (TOP/s for int8); the arithmetic is checked against these."""

    fp32: Positive | None = None
    tf32: Positive | None = None
    fp16: Positive | None = None
    fp16_fp16_accumulate: Positive | None = None
    bf16: Positive | None = None
    fp8: Positive | None = None
    int8: Positive | None = None


class Gpu(Record):
    """One card. Figures that nobody states are null, and shown as not known."""

    name: Text
    aliases: Many[Text] = ()
    """The ways people type it."""
    segment: Segment
    chip: Text | None = None
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")] | None = None
    gfx: Text | None = None
    unit_rates: Slug | None = None
    """Which of the file's `unit_rates` its units have."""
    units: Count | None = None
    boost_mhz: Positive | None = None
    memory_gib: Positive
    unified_memory: bool = False
    """Whether processor and card share one memory."""
    memory_type: Text | None = None
    memory_bus_bits: Count | None = None
    memory_gbps_per_pin: Positive | None = None
    bandwidth_gb_per_s: Positive | None = None
    published_tflops: PublishedRates = PublishedRates()
    board_power_w: Positive | None = None
    bus: Text | None = None
    released: Date | None = None
    launch_price_usd: Positive | None = None
    note: Text | None = None
    sources: Figures

    @property
    def figures(self) -> frozenset[str]:
        """The names of the figures that are stated, and so need a source."""
        words = {"name", "aliases", "segment", "unit_rates", "unified_memory", "note", "sources"}
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

    vendor: Text
    generation: Text
    reviewed: Date
    sources: Sources
    unit_rates: dict[Slug, UnitRates] = {}
    gpus: dict[Slug, Gpu] = Field(min_length=1)

    @model_validator(mode="after")
    def _sourced(self) -> GpuFile:
        known = set(self.sources)
        for key, rates in self.unit_rates.items():
            stated = {"supports"} | {name for name in NUMBER_TYPES if getattr(rates, name) is not None}
            _within(f"unit_rates.{key}", stated, rates.sources, known)
        for key, gpu in self.gpus.items():
            _within(f"gpus.{key}", set(gpu.figures), gpu.sources, known)
            if gpu.unit_rates and gpu.unit_rates not in self.unit_rates:
                raise ValueError(
                    f"gpus.{key}: no unit_rates {gpu.unit_rates!r} in this file (there are: {', '.join(self.unit_rates)})"
                )
            _plausible(key, gpu, self.unit_rates.get(gpu.unit_rates or ""))
        return self


def _within(where: str, figures: set[str], listed: Figures, known: set[str]) -> None:
    try:
        check_sources(figures, listed, known)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _plausible(key: str, gpu: Gpu, rates: UnitRates | None) -> None:
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


def _peak(gpu: Gpu, rates: UnitRates | None, number_type: NumberType) -> float | None:
    per_clock = getattr(rates, number_type, None) if rates else None
    if not (per_clock and gpu.units and gpu.boost_mhz):
        return None
    return float(gpu.units * gpu.boost_mhz * 1e6 * per_clock)


class Card(Record):
    """A card of the catalog with what its generation adds: what the advisor and the pages work with."""

    id: Slug
    vendor: Text
    generation: str
    spec: Gpu
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
