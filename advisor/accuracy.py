"""The predictor held against every measurement there is."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from fitcard.advisor.calibrate import Residual, left_out, left_out_on, summary
from fitcard.advisor.columns import Columns, Packed
from fitcard.advisor.device_runs import only_run
from fitcard.advisor.evidence import good_runs
from fitcard.advisor.kept import Fact, of_model, of_rules
from fitcard.advisor.memory import terms
from fitcard.advisor.records import records_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.record import Record
from fitcard.catalog.schema.speed import Errors
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode, Variant
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import combined, run_files

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


def memory_errors(catalog: Catalog) -> Columns[MemoryRow]:
    """Every good run in eager mode, batch by batch."""
    return Columns(MemoryRow, MEMORY.of_all(catalog).values())


def _memory_errors(catalog: Catalog, model: str) -> Packed:
    rows: list[MemoryRow] = []
    for run in (run for run in reversed(good_runs(catalog, model)) if run.mode == "eager"):
        for memory in run.memory:
            vendor, features = run.machine.device_vendor, frozenset(run.machine.cpu_features)
            of = records_of(catalog, Variant(run.model, run.component, run.quantization))
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
    return Packed.of(rows)


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
    rows: Columns[SpeedRow]


@dataclass(frozen=True)
class SpeedGroup:
    """The relative errors on one GPU in one mode."""

    gpu: str
    mode: Mode
    count: int
    median: float
    p90: float
    bias: float


def speed_groups(rows: Columns[SpeedRow]) -> list[SpeedGroup]:
    """The errors by GPU and mode."""
    grouped: dict[tuple[str, Mode], list[float]] = {}
    for gpu, mode, error in zip(rows.column("gpu"), rows.column("mode"), rows.errors, strict=True):
        grouped.setdefault((gpu, mode), []).append(error)
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


def _left_out(catalog: Catalog, way: str) -> tuple[Errors, Columns[SpeedRow]]:
    """The errors of one way of leaving out."""
    half = catalog.speed.half_width.get(way, 0.0) if catalog.speed else 0.0
    if way == "device":
        parts = _kept(catalog, only_run(catalog), _key_of_device, left_out_on)
    else:
        parts = _kept(catalog, [way], _key_of_way, _left_out_by)
    rows = Columns(SpeedRow, parts)
    return summary(rows.errors, half), rows


def _kept(
    catalog: Catalog,
    parts: Iterable[str],
    key: Callable[[Catalog, str], str],
    make: Callable[[Catalog, str], Sequence[Residual]],
) -> list[Packed]:
    """The errors of some parts, those of each kept under its key: each GPU and model that is left out costs a fit of
    its own, and there may be tens of thousands of runs on processors."""
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return [_packed(make(catalog, part)) for part in parts]
    keys = {part: key(catalog, part) for part in parts}
    stored, new, every = cache.read(keys.values()), dict[str, bytes](), list[Packed]()
    for part, its_key in keys.items():
        if its_key in stored:
            every.append(pickle.loads(stored[its_key]))
        else:
            every.append(_packed(make(catalog, part)))
            new[its_key] = pickle.dumps(every[-1], protocol=5)
    if new:
        cache.write(new)
    return every


def _left_out_by(catalog: Catalog, way: str) -> list[Residual]:
    return left_out(catalog, "model" if way == "model" else "gpu_whole" if way == "gpu_whole" else "gpu")


def _key_of_way(catalog: Catalog, way: str) -> str:
    """The digest of all figures that fits rest on, and of the models and GPUs that they are of."""
    run_on = {gpu: files for gpu, files in _files_on(catalog).items() if gpu in catalog.gpus}
    models = {model for files in run_on.values() for model in files} | set(catalog.published_index)
    gpus = {gpu for one in catalog.published_index.values() for gpu, _ in one.speeds} | set(run_on)
    gpus |= {rate.gpu for rate in catalog.matmul.rates}
    return combined(
        (
            "left out",
            way,
            of_rules(catalog),
            *(f"{gpu} {sorted(files.values())}" for gpu, files in run_on.items()),
            *(f"{model} {catalog.digests.get(f'published/{model}.yaml')}" for model in catalog.published_index),
            *(of_model(catalog, model, runs=False) for model in sorted(models)),
            *(f"{gpu} {catalog.gpu_index[gpu].digest}" for gpu in sorted(gpus)),
        )
    )


def _key_of_device(catalog: Catalog, device: str) -> str:
    """The digest of all that was run on a device, and of the models that it was run of."""
    files = _files_on(catalog).get(device, {})
    return combined(
        ("left out", device, *(f"{digest} {of_model(catalog, model, runs=False)}" for model, digest in files.items()))
    )


def _files_on(catalog: Catalog) -> dict[str, dict[str, str]]:
    """The digest of the file of each model's runs on each device."""
    by_device: dict[str, dict[str, str]] = {}
    for name, device, model in run_files(catalog.digests):
        by_device.setdefault(device, {})[model] = catalog.digests[name]
    return by_device


def _packed(residuals: Iterable[Residual]) -> Packed:
    return Packed.of(
        [
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
    )


def memory_summary(catalog: Catalog) -> MemoryErrors:
    """How far required memory is off."""
    rows = memory_errors(catalog)
    errors = list(map(abs, rows.errors))
    return MemoryErrors(
        count=len(rows), median_error=median(errors) if errors else None, worst_error=max(errors, default=None)
    )
