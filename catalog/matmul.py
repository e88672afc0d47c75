"""Rates of plain matrix products that others measured on cards: what a card sustains, rather than what its maker prints."""

from __future__ import annotations

from pydantic import model_validator

from catalog.record import Date, Many, Positive, Record, Slug, Sources, Text


class MatmulRate(Record):
    """One measurement on one card, in TFLOP/s (TOP/s for int8), a multiply-add counted as 2; 16 bit accumulates in FP32."""

    gpu: Slug
    fp32: Positive | None = None
    tf32: Positive | None = None
    fp16: Positive | None = None
    bf16: Positive | None = None
    fp8: Positive | None = None
    int8: Positive | None = None
    settings: Text | None = None
    """Library versions and what else matters."""
    where: Text
    """The row in the source."""
    source: Slug


class MatmulFile(Record):
    """The file `matmul.yaml`."""

    reviewed: Date
    sources: Sources
    rates: Many[MatmulRate]

    @model_validator(mode="after")
    def _sources_known(self) -> MatmulFile:
        if unknown := sorted({rate.source for rate in self.rates} - set(self.sources)):
            raise ValueError(f"no source {', '.join(unknown)} under `sources:` (there are: {', '.join(self.sources)})")
        return self
