"""The predictor held against every measurement there is."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from statistics import median
from typing import NamedTuple

from advisor.calibrate import Residual, left_out, left_out_on, only_run, summary
from advisor.evidence import good_runs
from advisor.kept import Fact, of_model, of_rules
from advisor.memory import need
from catalog import Catalog, cache
from catalog.files import combined, run_files
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


@lru_cache(maxsize=2)
def memory_errors(catalog: Catalog) -> tuple[MemoryRow, ...]:
    """Every good run in eager mode, batch by batch."""
    return tuple(row for rows in MEMORY.of_all(catalog).values() for row in rows)


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
    """The errors of one way of leaving out."""
    half = catalog.speed.half_width.get(way, 0.0) if catalog.speed else 0.0
    if way == "device":
        rows = _kept(catalog, only_run(catalog), _key_of_device, left_out_on)
    else:
        rows = _kept(catalog, [way], _key_of_way, left_out)
    return summary([math.log(row.predicted_per_second / row.measured_per_second) for row in rows], half), rows


def _kept(
    catalog: Catalog,
    parts: Iterable[str],
    key: Callable[[Catalog, str], str],
    make: Callable[[Catalog, str], Sequence[Residual]],
) -> list[SpeedRow]:
    """The errors of some parts, those of each kept under its key: each card and model that is left out costs a fit of its own, and
    there may be tens of thousands of runs on processors."""
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return [_row(residual) for part in parts for residual in make(catalog, part)]
    keys = {part: key(catalog, part) for part in parts}
    kept, made, found = cache.read(keys.values()), dict[str, bytes](), list[SpeedRow]()
    for part, its_key in keys.items():
        if its_key in kept:
            found += pickle.loads(kept[its_key])
        else:
            new = [_row(residual) for residual in make(catalog, part)]
            found += new
            made[its_key] = pickle.dumps(new, protocol=5)
    if made:
        cache.write(made)
    return found


def _key_of_way(catalog: Catalog, way: str) -> str:
    """The digest of all figures that fits rest on, and of the models and cards that they are of."""
    on_cards = {card: files for card, files in _files_on(catalog).items() if card in catalog.cards}
    models = {model for files in on_cards.values() for model in files} | set(catalog.published_index)
    cards = {gpu for one in catalog.published_index.values() for gpu, _ in one.speeds} | set(on_cards)
    cards |= {rate.gpu for rate in catalog.matmul.rates}
    return combined((
        "left out", way, of_rules(catalog), *(f"{card} {sorted(files.values())}" for card, files in on_cards.items()),
        *(f"{model} {catalog.digests.get(f'published/{model}.yaml')}" for model in catalog.published_index),
        *(of_model(catalog, model, runs=False) for model in sorted(models)),
        *(f"{card} {catalog.card_index[card].digest}" for card in sorted(cards)),
    ))  # fmt: skip


def _key_of_device(catalog: Catalog, device: str) -> str:
    """The digest of all that was run on a device, and of the models that it was run of."""
    files = _files_on(catalog).get(device, {})
    return combined(
        ("left out", device, *(f"{digest} {of_model(catalog, model, runs=False)}" for model, digest in files.items()))
    )


@lru_cache(maxsize=8)
def _files_on(catalog: Catalog) -> dict[str, dict[str, str]]:
    """The digest of the file of each model's runs on each device."""
    found: dict[str, dict[str, str]] = {}
    for name, device, model in run_files(catalog.digests):
        found.setdefault(device, {})[model] = catalog.digests[name]
    return found


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
