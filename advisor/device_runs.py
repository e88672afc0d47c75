"""What was run on a device, whatever the model: on a device that the catalog does not describe, all that predictions
can rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fitcard.advisor.fit_speed import DISTURBED_WEIGHT
from fitcard.catalog import Catalog
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode
from fitcard.catalog.storage.memo import memo
from fitcard.catalog.summaries import RunSummary


class Timed(NamedTuple):
    """One good run in short: what it was of, and its throughput at each batch."""

    key: str
    device: str
    component: Component
    quantization: str
    mode: Mode
    speeds: tuple[tuple[int, float, int], ...]
    """Batch, items per second, and multiply-adds of one forward pass."""
    disturbed: tuple[int, ...]
    """The batches that something may have held up."""


def counts(catalog: Catalog, run: RunSummary) -> bool:
    """Whether a run counts as evidence: it succeeded, without a cap on memory, with the configuration of today."""
    config = catalog.model_index[run.model].config_sha256
    return run.status == "ok" and run.config_sha256 == config and run.memory_limit_bytes is None


@memo
def timed_runs(catalog: Catalog, model: str) -> list[Timed]:
    """The good runs of a model in short, newest first."""
    runs = [run for run in reversed(catalog.summaries_of(model)) if counts(catalog, run)]
    trace = catalog.traces[model] if runs else None
    return [
        Timed(
            run.key,
            run.device,
            run.component,
            run.quantization,
            run.mode,
            tuple(
                (batch.batch, batch.per_second, trace.multiply_adds(run.component, batch.batch))
                for batch in run.batches
                if batch.per_second
            ),
            tuple(batch.batch for batch in run.batches if batch.disturbed),
        )
        for run in runs
        if trace
    ]


def only_run(catalog: Catalog) -> list[str]:
    """The devices that only runs know, as processors are."""
    return sorted({run.device for run in catalog.run_index} - set(catalog.gpus))


def timed_on(catalog: Catalog, device: str) -> dict[str, list[Timed]]:
    """The good runs on one device, newest first, by model."""
    models = sorted({run.model for run in catalog.summaries_on(device)})
    timed = {model: [run for run in timed_runs(catalog, model) if run.device == device] for model in models}
    return {model: runs for model, runs in timed.items() if runs}


NewestRuns = Mapping[tuple[Component, str, Mode], Mapping[str, Timed]]
"""The newest run with a speed of each model on a device, by component, label and mode."""


def newest_on(timed: Mapping[str, Sequence[Timed]]) -> NewestRuns:
    """The newest of the runs on one device."""
    newest: dict[tuple[Component, str, Mode], dict[str, Timed]] = {}
    for model, runs in timed.items():
        for run in runs:
            if run.speeds:
                newest.setdefault((run.component, run.quantization, run.mode), {}).setdefault(model, run)
    return newest


class RunTimes(NamedTuple):
    """Seconds per multiply-add of the models that were run, as logarithms."""

    by_model: Mapping[str, float]
    weights: Mapping[str, float]
    """How much each counts."""
    total: float
    """The sum of all, each times its weight."""
    weight: float
    """The sum of the weights."""

    def mean(self, without: str = "") -> float | None:
        """Their mean, without one model; None where no other was run. Taken off the sums, since to add up the others for
        each model takes many times as long."""
        if len(self.by_model) == (without in self.by_model):
            return None
        own = self.weights.get(without, 0.0)
        return (self.total - own * self.by_model.get(without, 0.0)) / (self.weight - own)


def run_times(newest: NewestRuns, component: Component, label: str, mode: Mode, batch: int) -> RunTimes:
    """Seconds per multiply-add of every model's run of a component and label on a device, at its batch nearest to
    `batch`. Components are kept apart: texts are bound by the weights, images by arithmetic."""
    by_model: dict[str, float] = {}
    weights: dict[str, float] = {}
    for model, run in newest.get((component, label, mode), {}).items():
        at, per_second, multiply_adds = min(run.speeds, key=lambda speed: abs(math.log(speed[0] / batch)))
        by_model[model] = math.log(at / per_second / multiply_adds)
        weights[model] = DISTURBED_WEIGHT if at in run.disturbed else 1.0
    total = sum(weights[model] * log for model, log in by_model.items())
    return RunTimes(by_model, weights, total, sum(weights.values()))
