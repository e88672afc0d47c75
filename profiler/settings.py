"""How to profile a model: the device, the variants, the batches, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fitcard.catalog.schema.run import Mode, WeightsSource
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.devices import Device
from fitcard.profiler.weights import SEED

REPEATS = 3
SECONDS_PER_BATCH = 20.0
TIMEOUT_S = 3600.0
RANDOM = WeightsSource(kind="random", seed=SEED)


@dataclass(frozen=True)
class Settings:
    """How to profile."""

    device: Device
    components: tuple[Component, ...]
    quantizations: tuple[str, ...]
    batches: tuple[int, ...]
    mode: Mode = "eager"
    checkpoint: Path | None = None
    """A checkpoint on disk; None for random weights."""
    weights: WeightsSource = RANDOM
    """Where its numbers come from, as the record says it."""
    repeats: int = REPEATS
    seconds: float = SECONDS_PER_BATCH
    """The most time for one batch in one process."""
    timeout_s: float = TIMEOUT_S
    """The most time for one process."""
    memory_limit_bytes: int | None = None
    context: int | None = None
    """Tokens that a language model's cache has room for; None for an encoder."""


def variants(model_id: str, settings: Settings) -> list[Variant]:
    """Every variant that a profile runs, in order."""
    return [
        Variant(model_id, component, label) for component in settings.components for label in settings.quantizations
    ]


def default_batches(kind: str) -> tuple[int, ...]:
    """The batches to run where none are given: 1 to 256 on a GPU, up to the largest that fits; two on a processor,
    which is slow."""
    return (1, 4) if kind == "cpu" else tuple(2**n for n in range(9))
