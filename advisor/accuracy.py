"""The predictor held against every measurement there is."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import lru_cache
from statistics import median
from typing import NamedTuple

from advisor.calibrate import Residual, device_left_out, evidence_sha256, left_out, points, summary
from advisor.evidence import good_runs
from advisor.kept import Fact, of_model
from advisor.memory import need
from catalog import Catalog, cache
from catalog.files import combined
from catalog.record import Record
from catalog.run import Mode
from catalog.speed import Errors
from catalog.trace import Component

WAYS = {
    "gpu": "The card left out: nothing measured of any model on it, but others' matrix products on it",
    "gpu_whole": "The card left out whole: its specification alone",
    "model": "The model left out: other models on the same card",
    "device": "A device that only runs know: other models there",
}
"""The ways of leaving out, by key."""


class MemoryRow(NamedTuple):
    """One batch of one run: the memory that was predicted and the memory that was seen."""

    model: str
    component: Component
    quantization: str
    gpu: str
    batch: int
    record: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error(self) -> float:
        """Signed relative error: positive when the prediction is too high."""
        return self.predicted_bytes / self.measured_bytes - 1


def memory_errors(catalog: Catalog) -> Iterator[MemoryRow]:
    """Every good run in eager mode, batch by batch."""
    for rows in MEMORY.of_all(catalog).values():
        yield from rows


def _memory_errors(catalog: Catalog, model: str) -> list[MemoryRow]:
    rows: list[MemoryRow] = []
    for run in (run for run in reversed(good_runs(catalog, model)) if run.mode == "eager"):
        for memory in run.memory:
            vendor, features = run.machine.device_vendor, frozenset(run.machine.cpu_features)
            predicted = need(catalog, run.model, run.component, run.quantization, memory.batch, vendor, features)
            rows.append(MemoryRow(
                model=run.model, component=run.component, quantization=run.quantization, gpu=run.machine.device, batch=memory.batch,
                record=run.key, predicted_bytes=predicted.required_bytes, measured_bytes=memory.total_bytes,
            ))  # fmt: skip
    return rows


MEMORY = Fact(_memory_errors, runs=True)
"""The rows of a model."""


class SpeedRow(NamedTuple):
    """One measured or published throughput, and what was predicted for it without it."""

    model: str
    component: Component
    quantization: str
    gpu: str
    mode: Mode
    batch: int
    record: str
    predicted_per_second: float
    measured_per_second: float

    @property
    def error(self) -> float:
        """Signed relative error: positive when the prediction is too high."""
        return self.predicted_per_second / self.measured_per_second - 1


class SpeedAccuracy(NamedTuple):
    """One way of leaving out: its errors in sum, and row by row."""

    way: str
    summary: Errors
    rows: list[SpeedRow]


class MemoryErrors(Record):
    """The errors of required memory in sum."""

    count: int
    median_error: float | None
    worst_error: float | None


def speed_accuracy(catalog: Catalog) -> list[SpeedAccuracy]:
    """The speed model held to everything that it did not see, in each way of leaving out."""
    found: list[SpeedAccuracy] = []
    for way in WAYS:
        errors, rows = _left_out(catalog, way)
        found.append(SpeedAccuracy(way, errors, rows))
    return found


def _left_out(catalog: Catalog, way: str) -> tuple[Errors, list[SpeedRow]]:
    """The errors of one way of leaving out; kept, since each card and model that is left out costs a fit of its own."""
    half = catalog.speed.half_width.get(way, 0.0) if catalog.speed else 0.0
    if way == "device" or not catalog.digests:
        residuals = device_left_out(catalog) if way == "device" else left_out(catalog, way)
        return summary(residuals, half), [_row(residual) for residual in residuals]
    key = combined(("left out", way, _of_evidence(catalog)))
    if key in (kept := cache.read([key])):
        found: tuple[Errors, list[SpeedRow]] = pickle.loads(kept[key])
        return found
    residuals = left_out(catalog, way)
    found = summary(residuals, half), [_row(residual) for residual in residuals]
    cache.write({key: pickle.dumps(found, protocol=5)})
    return found


@lru_cache(maxsize=2)
def _of_evidence(catalog: Catalog) -> str:
    """The digest of all figures that fits rest on, and of the models and cards that they are of."""
    named = list(points(catalog))
    models = [of_model(catalog, model, runs=False) for model in sorted({point.model for point in named})]
    cards = [catalog.card_index[card].digest for card in sorted({point.gpu for point in named})]
    return combined((evidence_sha256(catalog), *models, *cards))


def _row(residual: Residual) -> SpeedRow:
    point = residual.point
    return SpeedRow(
        point.model, point.component, point.quantization, point.gpu, point.setting.mode, point.setting.batch, point.record,
        residual.per_second, point.per_second,
    )  # fmt: skip


def memory_summary(rows: Sequence[MemoryRow]) -> MemoryErrors:
    """How far required memory is off."""
    errors = [abs(row.error) for row in rows]
    return MemoryErrors(
        count=len(rows), median_error=median(errors) if errors else None, worst_error=max(errors, default=None)
    )
