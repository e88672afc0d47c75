"""What has been measured or published about a variant on a card. Kept apart by kind, and never blended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from catalog import Catalog
from catalog.published import PublishedSpeed
from catalog.run import Mode, Run
from catalog.trace import Component


def good_runs(catalog: Catalog, model: str) -> list[Run]:
    """The runs of a model that count as evidence, newest first: they succeeded, without a cap on memory, with the configuration of today."""
    config = catalog.models[model].config_sha256
    return [
        run for run in reversed(catalog.runs_of(model))
        if run.status == "ok" and run.config_sha256 == config and run.memory_limit_bytes is None
    ]  # fmt: skip


def newest_run(
    catalog: Catalog, model: str, component: Component, quantization: str, card: str, mode: Mode
) -> Run | None:
    """The newest good run of a variant on that very card."""
    for run in good_runs(catalog, model):
        if (run.component, run.quantization, run.machine.device, run.mode) == (component, quantization, card, mode):
            return run
    return None


@dataclass(frozen=True)
class Known:
    """The highest throughput that anybody measured for a component on a card, whatever the quantization and mode."""

    per_second: float
    quantization: str
    mode: Mode
    batch: int
    evidence: Literal["measured", "published"]
    record: str
    """The key of the run, or the address of the publication."""


def fastest_known(catalog: Catalog, model: str, component: Component, card: str) -> Known | None:
    """The highest throughput that is known; our own runs before those of others."""
    found = [
        Known(speed.per_second, run.quantization, run.mode, speed.batch, "measured", run.key)
        for run in good_runs(catalog, model) for speed in run.speed
        if run.component == component and run.machine.device == card
    ]  # fmt: skip
    file = catalog.published.get(model)
    if not found and file:
        found = [
            Known(s.per_second, s.quantization, s.mode, s.batch, "published", file.sources[s.source].url)
            for s in file.speeds if s.component == component and s.gpu == card
        ]  # fmt: skip
    return max(found, key=lambda known: known.per_second, default=None)


@dataclass(frozen=True)
class Cited:
    """A published speed with the address at which it stands."""

    speed: PublishedSpeed
    url: str


def published_speed(
    catalog: Catalog, model: str, component: Component, quantization: str, card: str, mode: Mode
) -> Cited | None:
    """The highest throughput that others published for a variant on a card."""
    file = catalog.published.get(model)
    found = [
        speed for speed in (file.speeds if file else ())
        if (speed.gpu, speed.component, speed.mode, speed.quantization) == (card, component, mode, quantization)
    ]  # fmt: skip
    if not found or file is None:
        return None
    best = max(found, key=lambda speed: speed.per_second)
    return Cited(best, file.sources[best.source].url)
