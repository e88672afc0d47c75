"""The predictor held against every measurement there is."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, TypeVar

from fitcard.advisor.calibrate import Residual, left_out, left_out_on, summary
from fitcard.advisor.device_runs import only_run
from fitcard.advisor.evidence import good_runs
from fitcard.advisor.memory import terms
from fitcard.advisor.records import records_of
from fitcard.advisor.run_band import flagged
from fitcard.catalog import Catalog
from fitcard.catalog.schema.record import Record
from fitcard.catalog.schema.speed import Errors
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode, Variant
from fitcard.catalog.storage.memo import memo, warm

WAYS = {
    "gpu": "The GPU left out: nothing measured of any model on it, but others' matrix products on it",
    "gpu_whole": "The GPU left out whole: its specification alone",
    "model": "The model left out: other models on the same GPU",
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


def memory_errors(catalog: Catalog) -> list[MemoryRow]:
    """Every good run in eager mode that is not flagged, batch by batch."""
    warm(_memory_rows, catalog, catalog.models)
    doubted = {
        key for model in dict.fromkeys(run.model for run in catalog.run_index) for key in flagged(catalog, model)
    }
    rows = (row for model in catalog.models for row in _memory_rows(catalog, model))
    return [row for row in rows if row.record not in doubted]


@memo
def _memory_rows(catalog: Catalog, model: str) -> list[MemoryRow]:
    rows: list[MemoryRow] = []
    for run in (run for run in reversed(good_runs(catalog, model)) if run.mode == "eager"):
        vendor, features = run.machine.device_vendor, frozenset(run.machine.cpu_features)
        of = records_of(catalog, Variant(run.model, run.component, run.quantization))
        for memory in run.memory:
            predicted = terms(of, catalog.runtimes, vendor, features).need(memory.batch)
            rows.append(
                MemoryRow(
                    model=run.model,
                    component=run.component,
                    quantization=run.quantization,
                    gpu=run.machine.device,
                    batch=memory.batch,
                    record=run.key,
                    predicted_bytes=predicted.required_bytes,
                    measured_bytes=memory.total_bytes,
                )
            )
    return rows


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


@dataclass(frozen=True)
class SpeedGroup:
    """The relative errors on one GPU in one mode."""

    gpu: str
    mode: Mode
    count: int
    median: float
    p90: float
    bias: float


def speed_groups(rows: Sequence[SpeedRow]) -> list[SpeedGroup]:
    """The errors by GPU and mode."""
    grouped: dict[tuple[str, Mode], list[float]] = {}
    for row in rows:
        grouped.setdefault((row.gpu, row.mode), []).append(row.error)
    groups: list[SpeedGroup] = []
    for (gpu, mode), errors in sorted(grouped.items()):
        sizes = sorted(map(abs, errors))
        p90 = sizes[math.ceil(0.9 * len(sizes)) - 1]
        groups.append(SpeedGroup(gpu, mode, len(errors), median(sizes), p90, median(errors)))
    return groups


class MemoryErrors(Record):
    """The errors of required memory in sum."""

    count: int
    median_error: float | None
    worst_error: float | None


def speed_accuracy(catalog: Catalog) -> list[SpeedAccuracy]:
    """The speed model held to everything that it did not see, in each way of leaving out."""
    return [SpeedAccuracy(way, *_left_out(catalog, way)) for way in WAYS]


def _left_out(catalog: Catalog, way: str) -> tuple[Errors, list[SpeedRow]]:
    """The errors of one way of leaving out."""
    half = catalog.speed.half_width.get(way, 0.0) if catalog.speed else 0.0
    if way == "device":
        rows = [row for device in only_run(catalog) for row in _rows_on(catalog, device)]
    else:
        rows = _rows_by(catalog, way)
    return summary([row.error for row in rows], half), rows


@memo
def _rows_on(catalog: Catalog, device: str) -> list[SpeedRow]:
    return _rows(left_out_on(catalog, device))


@memo
def _rows_by(catalog: Catalog, way: str) -> list[SpeedRow]:
    return _rows(left_out(catalog, "model" if way == "model" else "gpu_whole" if way == "gpu_whole" else "gpu"))


def _rows(residuals: Iterable[Residual]) -> list[SpeedRow]:
    return [
        SpeedRow(
            point.model,
            point.component,
            point.quantization,
            point.gpu,
            point.setting.mode,
            point.setting.batch,
            point.record,
            per_second,
            point.per_second,
        )
        for point, per_second in ((residual.point, residual.per_second) for residual in residuals)
    ]


Row = TypeVar("Row", MemoryRow, SpeedRow)


def worst(rows: Iterable[Row], most: int) -> list[Row]:
    """The rows with the largest errors, those first."""
    return heapq.nlargest(most, rows, key=lambda row: abs(row.error))


def memory_summary(catalog: Catalog) -> MemoryErrors:
    """How far required memory is off."""
    errors = [abs(row.error) for row in memory_errors(catalog)]
    return MemoryErrors(
        count=len(errors), median_error=median(errors) if errors else None, worst_error=max(errors, default=None)
    )
