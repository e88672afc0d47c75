"""Measurements made by others, cited to the page or commit. They are shown as such and never mixed with our own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catalog.record import Date, Many, Positive, Record, Slug, Sources, Text
from catalog.trace import Component


class PublishedSpeed(Record):
    """A throughput that somebody measured and published."""

    gpu: Slug
    component: Component
    quantization: Text
    mode: Literal["eager", "compiled"]
    batch: Annotated[int, Field(ge=1)]
    image_size: Annotated[int, Field(ge=1)] | None = None
    text_tokens: Annotated[int, Field(ge=1)] | None = None
    per_second: Positive
    autocast: bool = False
    """Whether weights stayed in 32 bit and were cast on the way, which keeps norms and residual sums in 32 bit."""
    channels_last: bool = False
    """Whether images went in channel by channel of each pixel; patches then come out in the order in which they are read."""
    runtime: Text | None = None
    """The program that ran it, where it is not the one that the label stands for here. Such a figure is shown; no speed is drawn from it."""
    settings: Text
    """What differs from how fitcard runs it: autocast, memory layout, library versions."""
    where: Text
    """The row in the source."""
    source: Slug


class PublishedFile(Record):
    """All that others published about one model."""

    reviewed: Date
    sources: Sources
    speeds: Many[PublishedSpeed] = Field(min_length=1)

    @property
    def comparable(self) -> tuple[PublishedSpeed, ...]:
        """The speeds from which conclusions are drawn: those of the runtimes that the labels stand for here."""
        return tuple(speed for speed in self.speeds if speed.runtime is None)

    @model_validator(mode="after")
    def _sources_known(self) -> PublishedFile:
        if unknown := sorted({speed.source for speed in self.speeds} - set(self.sources)):
            raise ValueError(f"no source {', '.join(unknown)} under `sources:` (there are: {', '.join(self.sources)})")
        return self
