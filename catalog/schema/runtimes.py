"""What a runtime needs besides the model, and what a GPU keeps for itself: the terms of the memory sum that no trace
shows."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fitcard.catalog.schema.gpu import Segment
from fitcard.catalog.schema.record import MEASURED, UNVERIFIED, Count, Date, Record, Slug, Sources, Text


class Amount(Record):
    """Bytes with the reason for them."""

    bytes: Count
    """The amount in bytes."""
    why: Text
    """What takes them."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""


class Share(Record):
    """A share of the memory with the reason for it."""

    share: float
    """The share, 1 being all of it."""
    why: Text
    """The reason for it."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""


class TokenSpeed(Record):
    """What llama.cpp sustains on a vendor's GPUs, for the first roofline of language models."""

    bandwidth_share: Annotated[float, Field(gt=0, le=1)]
    """Of the memory's bandwidth, while a token reads weights and cache."""
    token_s: Annotated[float, Field(ge=0)]
    """What each token takes besides: kernels and the host."""
    decode_doubt: Annotated[float, Field(gt=0)]
    """Half the width of the 80 % interval, as a natural logarithm."""
    prefill_share: Annotated[float, Field(gt=0, le=1)] | None
    """Of the 16-bit rate, while a prompt is read; null where nobody said enough."""
    prefill_doubt: Annotated[float, Field(gt=0)] | None
    """Half the width of its interval."""
    why: Text
    """What it was fitted to."""
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
    """Bytes of a GPU that display and system keep, by kind of GPU."""
    allocator_slack: dict[Text, Share]
    """What the allocator holds beyond what is alive, as a share of activations and unpacked weights, by vendor."""
    unified_share: Share
    """The share of a unified memory that the graphics side may use."""
    speed_doubt: dict[Literal["quantized", "vendor", "host"], Share]
    """What widens the interval of a predicted speed where no measurement on a GPU says how far off it is, in natural
    logarithms."""
    dequantize_chunk_elements: dict[Text, Count]
    """How many elements are unpacked at a time, by vendor; sets the temporary buffers of packed weights."""
    dequantize_bytes_per_element: Count
    """Bytes that are alive for each of them while they are unpacked: float32 values, shifted quants and scales."""

    llama_cpp: dict[Text, Amount] = {}
    """Bytes that llama.cpp itself takes besides its buffers, by vendor; `CPU` for main memory."""
    token_speed: dict[Text, TokenSpeed] = {}
    """How fast it runs language models, by vendor; a vendor that is not here has no predicted speed."""

    @model_validator(mode="after")
    def _sources_known(self) -> Self:
        amounts: list[Amount | Share | TokenSpeed] = [
            *self.context.values(),
            *self.llama_cpp.values(),
            *self.token_speed.values(),
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
        named |= {f"llama_cpp.{k}": v.source for k, v in self.llama_cpp.items()}
        named |= {f"token_speed.{k}": v.source for k, v in self.token_speed.items()}
        named |= {f"reserve.{k}": v.source for k, v in self.reserve.items()}
        named |= {f"allocator_slack.{k}": v.source for k, v in self.allocator_slack.items()}
        named |= {f"speed_doubt.{k}": v.source for k, v in self.speed_doubt.items()}
        named["unified_share"] = self.unified_share.source
        return tuple(name for name, source in named.items() if source == UNVERIFIED)
