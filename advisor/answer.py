"""An answer: one variant on one GPU, as every question is answered and as it is written as JSON."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from fitcard.advisor.choice import Verdict
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Workload

EvidenceKind = Literal["measured", "published", "predicted"]

SCHEMA_VERSION = 1
"""Of the JSON: higher where a key goes or means something else."""


class MemoryAnswer(NamedTuple):
    """The sum, in bytes. `evidence` is `measured` when `required_bytes` was seen on that very GPU."""

    weights_bytes: int
    activations_bytes: int
    buffers_bytes: int
    runtime_bytes: int
    required_bytes: int
    available_bytes: int
    evidence: EvidenceKind
    cache_bytes: int = 0
    """Keys, values and states of a language model."""
    host_bytes: int = 0
    """In main memory besides, which is no part of the sum."""


class SpeedAnswer(NamedTuple):
    """BestSpeed. `low` and `high` are the slowest and fastest process of a measured one, the 80 % interval of a
    predicted one, and null for a published one, whose authors state none."""

    per_second: float
    unit: str
    low: float | None
    high: float | None
    evidence: EvidenceKind
    record: str | None
    """The key of the run, or the address of the publication; null for a prediction."""
    batch: int
    """The batch at which it was measured, or for which it is predicted."""


class Answer(NamedTuple):
    """One variant on one GPU."""

    model: str
    component: Component
    quantization: str
    gpu: str
    workload: Workload
    verdict: Verdict
    evidence: EvidenceKind
    memory: MemoryAnswer
    max_batch: int
    """The largest batch that is not `no`; 0 when none is. Of a language model the most sequences at once."""
    speed: SpeedAnswer | None
    """Of a language model that of writing, with the context full."""
    reasons: tuple[str, ...]
    engine: str = ""
    """What executes it: a key of `engines:`, or llama.cpp."""
    max_context: int | None = None
    """The longest context of a language model that is not `no`, with as many sequences; None for an encoder."""
    prefill: SpeedAnswer | None = None
    """How fast a language model reads the prompt."""
    time_to_first_token_s: float | None = None

    def document(self) -> dict[str, Any]:
        """As it is written as JSON."""
        document = {**self._asdict(), "workload": self.workload._asdict(), "memory": self.memory._asdict()}
        for name in ("speed", "prefill"):
            document[name] = one._asdict() if (one := getattr(self, name)) else None
        if self.workload.image_width is None:
            del document["workload"]["image_width"]
        return {"schema_version": SCHEMA_VERSION, **document}
