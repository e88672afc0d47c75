"""What a run says of a language model: what llama.cpp allocated, and how long reading and writing took."""

from __future__ import annotations

import statistics
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fitcard.catalog.schema.record import Count, Record, Text, Written
from fitcard.catalog.schema.workload import CacheType

Seconds = Annotated[float, Field(gt=0, le=86_400)]
BUSY = 0.9
"""Below this share of its threads' time a process shared the machine with other work: its speeds are marked."""


class Allocation(Record):
    """Bytes that llama.cpp allocates in one setting, all buffers together."""

    context: Annotated[int, Field(ge=1)]
    """Tokens that the cache has room for."""
    ubatch: Annotated[int, Field(ge=1)]
    """Tokens of one pass."""
    outputs: Literal["one", "all"]
    """Whether a pass gives logits of one token a sequence, or of all."""
    cache_type: CacheType
    weights_bytes: Count
    cache_bytes: Count
    compute_bytes: Count

    @property
    def total_bytes(self) -> int:
        """All three."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


class TokenTimes(Record):
    """How long the processes took for one point: a prompt of so many tokens, or so many written after a depth."""

    phase: Literal["prefill", "decode"]
    tokens: Annotated[int, Field(ge=1)]
    depth: Count = 0
    wall_s: Annotated[Written[Seconds], Field(min_length=1)]
    """Of each process."""
    busy: Annotated[Written[Annotated[float, Field(ge=0, le=1.5)]], Field(min_length=1)]
    """The share of its threads' time in which each ran: near 1 on a machine with nothing else to do."""

    @model_validator(mode="after")
    def _one_each(self) -> TokenTimes:
        if len(self.busy) != len(self.wall_s):
            raise ValueError(f"busy says something of {len(self.busy)} processes, and wall_s has {len(self.wall_s)}")
        return self

    @property
    def rates(self) -> tuple[float, ...]:
        """Tokens a second of each process."""
        return tuple(self.tokens / seconds for seconds in self.wall_s)

    @property
    def per_second(self) -> float:
        """Tokens a second, the median of the processes."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> float:
        """From the slowest process to the fastest, as a share of the median."""
        return (max(self.rates) - min(self.rates)) / self.per_second

    @property
    def disturbed(self) -> bool:
        """Whether other work ran meanwhile."""
        return min(self.busy) < BUSY


class Generation(Record):
    """A language model really run in llama.cpp."""

    build: Text
    """llama.cpp's build, such as b11549."""
    threads: Annotated[int, Field(ge=1)]
    allocated: Allocation
    """What it really allocated in the setting that was run."""
    asked: Written[Allocation]
    """What it said that it would allocate, before the run and in other settings, asked without a weight."""
    resident_bytes: Count
    """Growth of the process's anonymous memory from before loading to after all points; the median."""
    times: Annotated[Written[TokenTimes], Field(min_length=1)]
    tiled: bool = False
    """Whether the same few rows are repeated in each tensor, as encoding all of them takes long; memory and speed do not
    depend on it."""

    def at(self, phase: str, tokens: int, depth: int = 0) -> TokenTimes | None:
        """The times of one point."""
        return next(
            (
                t
                for t in self.times
                if (t.phase, t.depth) == (phase, depth) and (phase == "decode" or t.tokens == tokens)
            ),
            None,
        )

    @property
    def decode(self) -> TokenTimes | None:
        """Writing into an empty cache, which every run measures."""
        return self.at("decode", 0)
