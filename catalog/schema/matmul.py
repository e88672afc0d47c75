"""Rates of plain matrix products that others measured on GPUs: what a GPU sustains, rather than what its maker prints."""

from typing import Self

from pydantic import model_validator

from fitcard.catalog.schema.record import Date, Many, Positive, Record, Slug, Sources, Text


class MatmulRate(Record):
    """One measurement on one GPU, in TFLOP/s (TOP/s for int8), a multiply-add counted as 2; 16 bit accumulates in FP32."""

    gpu: Slug
    """The id of the GPU."""
    fp32: Positive | None = None
    """FP32, without TF32."""
    tf32: Positive | None = None
    """FP32 with TF32 allowed."""
    fp16: Positive | None = None
    """FP16."""
    bf16: Positive | None = None
    """BF16."""
    fp8: Positive | None = None
    """FP8."""
    int8: Positive | None = None
    """INT8, in TOP/s."""
    settings: Text | None = None
    """Library versions and what else matters."""
    where: Text
    """The row in the source."""
    source: Slug
    """Where it stands: a key of `sources:`."""


class MatmulFile(Record):
    """The file `matmul.yaml`."""

    reviewed: Date
    """The day on which somebody last held the file to its sources."""
    sources: Sources
    """The documents that the rates were read in, by the short keys that name them."""
    rates: Many[MatmulRate]
    """The measurements, one an entry."""

    @model_validator(mode="after")
    def _sources_known(self) -> Self:
        if unknown := sorted({rate.source for rate in self.rates} - set(self.sources)):
            raise ValueError(f"no source {', '.join(unknown)} under `sources:` (there are: {', '.join(self.sources)})")
        return self
