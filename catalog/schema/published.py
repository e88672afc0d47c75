"""Measurements made by others, cited to the page or commit. They are shown as such and never mixed with our own."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fitcard.catalog.schema.record import (
    MOST_PIXELS,
    MOST_TOKENS,
    Batch,
    Date,
    Id,
    Many,
    Positive,
    Record,
    Slug,
    Sources,
    Text,
)
from fitcard.catalog.schema.trace import Component


class PublishedSpeed(Record):
    """A throughput that somebody measured and published."""

    gpu: Slug
    """The id of the card."""
    component: Component
    """What was run."""
    quantization: Id
    """The label of the arithmetic that was used."""
    mode: Literal["eager", "compiled"]
    """Whether the model was compiled."""
    batch: Batch
    """Items at once."""
    image_size: Annotated[int, Field(ge=1, le=MOST_PIXELS)] | None = None
    """Pixels along each side of the images."""
    text_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    """Tokens of each text."""
    per_second: Positive
    """Images or texts a second."""
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
    """Where it stands: a key of `sources:`."""


class PublishedFile(Record):
    """All that others published about one model."""

    reviewed: Date
    """The day on which somebody last held the file to its sources."""
    sources: Sources
    """The documents that the figures were read in, by the short keys that name them."""
    speeds: Many[PublishedSpeed] = Field(min_length=1)
    """The measurements, one an entry."""

    @property
    def comparable(self) -> tuple[PublishedSpeed, ...]:
        """The speeds from which conclusions are drawn: those of the runtimes that the labels stand for here."""
        return tuple(speed for speed in self.speeds if speed.runtime is None)

    @model_validator(mode="after")
    def _sources_known(self) -> Self:
        if unknown := sorted({speed.source for speed in self.speeds} - set(self.sources)):
            raise ValueError(f"no source {', '.join(unknown)} under `sources:` (there are: {', '.join(self.sources)})")
        return self
