"""What a runtime needs besides the model, and what a card keeps for itself: the terms of the memory sum that no trace shows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fitcard.catalog.schema.gpu import Segment
from fitcard.catalog.schema.quantization import Runtime
from fitcard.catalog.schema.record import UNVERIFIED, Count, Date, Record, Slug, Sources, Text

MEASURED = "measured"
"""The source key of an amount that our own runs show."""


class Amount(Record):
    """Bytes with the reason for them."""

    bytes: Count
    """The amount in bytes."""
    why: Text
    """What takes them."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""


class Libraries(Record):
    """Bytes that the libraries of a runtime take on top of torch's."""

    cpu_bytes: Count = 0
    """Of main memory, where a processor runs the model."""
    card_bytes: Count = 0
    """Of a card's memory."""
    why: Text
    """What takes them."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""

    def bytes_on(self, vendor: str) -> int:
        return self.cpu_bytes if vendor == "CPU" else self.card_bytes


class Share(Record):
    """A share of the memory with the reason for it."""

    share: float
    """The share, 1 being all of it."""
    why: Text
    """The reason for it."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""


class Work(Record):
    """What the layers of one quantization need for a moment besides activations, as our own runs show it."""

    cpu_bytes_per_output: Annotated[float, Field(ge=0)] = 0
    """Bytes alive for each number that the largest matrix product puts out, on a processor."""
    card_bytes_per_output: Annotated[float, Field(ge=0)] = 0
    """The same on a card."""
    cpu_weight_copies: Annotated[float, Field(ge=0)] = 0
    """Copies of all its packed weights that the runtime makes at the first pass and keeps, on a processor."""
    why: Text
    """What needs it."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""


class Runtimes(Record):
    """The file `runtimes.yaml`."""

    reviewed: Date
    """The day on which somebody last held the file to its sources."""
    sources: Sources
    """The documents that this was read in, by the short keys that name them."""
    context: dict[Text, Amount]
    """Bytes that the runtime itself takes, by vendor; `CPU` for main memory."""
    reserve: dict[Segment, Amount]
    """Bytes of a card that display and system keep, by kind of card."""
    allocator_slack: dict[Text, Share]
    """What the allocator holds beyond what is alive, as a share of activations and unpacked weights, by vendor."""
    unified_share: Share
    """The share of a unified memory that the graphics side may use."""
    context_extra: dict[Runtime, Libraries]
    """What a runtime's own libraries take on top of torch's."""
    work: dict[Text, Work]
    """By quantization; what is not named needs nothing besides."""
    speed_doubt: dict[Literal["quantized", "vendor", "host"], Share]
    """What widens the interval of a predicted speed where no measurement on a card says how far off it is, in natural logarithms."""
    dequantize_chunk_elements: dict[Text, Count]
    """How many elements are unpacked at a time, by vendor; sets the temporary buffers of packed weights."""
    dequantize_bytes_per_element: Count
    """Bytes that are alive for each of them while they are unpacked: float32 values, shifted quants and scales."""

    @model_validator(mode="after")
    def _sources_known(self) -> Runtimes:
        amounts: list[Amount | Libraries | Share | Work] = [
            *self.context.values(),
            *self.context_extra.values(),
            *self.work.values(),
            *self.reserve.values(),
            *self.speed_doubt.values(),
            *self.allocator_slack.values(),
            self.unified_share,
        ]
        for amount in amounts:
            if amount.source not in (UNVERIFIED, MEASURED) and amount.source not in self.sources:
                raise ValueError(f"no source {amount.source} under `sources:`")
        return self

    def unverified(self) -> tuple[str, ...]:
        """The amounts that rest on nobody's document or measurement."""
        named = {f"context.{k}": v.source for k, v in self.context.items()}
        named |= {f"reserve.{k}": v.source for k, v in self.reserve.items()}
        named |= {f"allocator_slack.{k}": v.source for k, v in self.allocator_slack.items()}
        named |= {f"context_extra.{k}": v.source for k, v in self.context_extra.items()}
        named |= {f"work.{k}": v.source for k, v in self.work.items()}
        named |= {f"speed_doubt.{k}": v.source for k, v in self.speed_doubt.items()}
        named["unified_share"] = self.unified_share.source
        return tuple(name for name, source in named.items() if source == UNVERIFIED)
