"""The view of the accuracy page: predictions against everything that was measured, as plots and as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fitcard.advisor.accuracy import (
    WAYS,
    MemoryErrors,
    MemoryRow,
    SpeedAccuracy,
    SpeedGroup,
    SpeedRow,
    memory_errors,
    memory_summary,
    speed_accuracy,
    speed_groups,
    worst,
)
from fitcard.advisor.hardware import device_names
from fitcard.catalog import Catalog
from fitcard.site.generator.pages.charts import Mark
from fitcard.site.generator.pages.view import PageView

SIDE = 360
"""Width and height of a plot, in its own units."""
MARGIN = 44
MOST_ROWS, MOST_DOTS = 500, 1000
"""More than anybody looks at; every measurement also stands on its run's own page."""

R = TypeVar("R")


@dataclass(frozen=True)
class Dot:
    """One measurement, placed."""

    x: float
    y: float
    series: int
    title: str


@dataclass(frozen=True)
class Plot:
    """Measured (across) against predicted (up), both on a logarithmic scale."""

    name: str
    unit: str
    dots: tuple[Dot, ...]
    ticks: tuple[Mark, ...]
    series: tuple[str, ...]
    side: int = SIDE
    margin: int = MARGIN


@dataclass(frozen=True, kw_only=True)
class AccuracyPage(PageView):
    """Everything that the template of the accuracy page draws."""

    ways: Mapping[str, str]
    """What each way of leaving out means."""
    names: Mapping[str, str]
    """Of devices, by id."""
    speeds: list[tuple[SpeedAccuracy, list[SpeedGroup]]]
    speed_plots: list[tuple[SpeedAccuracy, Plot]]
    worst: list[tuple[str, Sequence[SpeedRow]]]
    """The largest errors of each way of leaving out."""
    memory: MemoryErrors
    memory_rows: Sequence[MemoryRow]
    """The largest errors first."""
    memory_plot: Plot


def view(catalog: Catalog) -> AccuracyPage:
    """The view of the accuracy page."""
    memory = memory_errors(catalog)
    speeds = speed_accuracy(catalog)
    names = device_names(catalog, {gpu for one in speeds for gpu in (row.gpu for row in one.rows)})
    points = [
        (row.measured_bytes / 1e9, row.predicted_bytes / 1e9, row.gpu, _memory_title(row)) for row in _thinned(memory)
    ]
    return AccuracyPage(
        ways=WAYS,
        names=names,
        speeds=[(one, speed_groups(one.rows)) for one in speeds],
        speed_plots=[(one, _speed_plot(names, one)) for one in speeds if one.rows],
        worst=[(one.way, worst(one.rows, 5)) for one in speeds if one.rows],
        memory=memory_summary(catalog),
        memory_rows=worst(memory, MOST_ROWS),
        memory_plot=_plot("Memory", "GB", points),
    )


def _speed_plot(names: Mapping[str, str], one: SpeedAccuracy) -> Plot:
    rows = [
        (row.measured_per_second, row.predicted_per_second, f"{names[row.gpu]}, {row.mode}", _speed_title(row))
        for row in _thinned(one.rows)
    ]
    return _plot(one.way, "items/s", rows)


def _thinned(rows: Sequence[R]) -> Sequence[R]:
    """As many rows as a plot can show, evenly chosen."""
    return rows[:: -(-len(rows) // MOST_DOTS) or 1]


def _plot(name: str, unit: str, rows: Sequence[tuple[float, float, str, str]]) -> Plot:
    series = tuple(sorted({of for _, _, of, _ in rows}))
    values = [value for measured, predicted, _, _ in rows for value in (measured, predicted)] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(values)) * 2) / 2, math.ceil(math.log10(max(values)) * 2) / 2
    span = max(high - low, 0.5)

    def placed(value: float) -> float:
        return (math.log10(value) - low) / span * (SIDE - MARGIN - 10)

    marks = [10**power * step for power in range(math.floor(low), math.ceil(high) + 1) for step in (1, 3)]
    ticks = [
        Mark(round(placed(m), 1), f"{m / 1000:g}k" if m >= 10_000 else f"{m:g}")
        for m in marks
        if low - 0.01 <= math.log10(m) <= high + 0.01
    ]
    dots = [
        Dot(round(MARGIN + placed(measured), 1), round(SIDE - MARGIN - placed(predicted), 1), series.index(of), title)
        for measured, predicted, of, title in rows
    ]
    return Plot(name, unit, tuple(dots), tuple(ticks), series)


def _memory_title(row: MemoryRow) -> str:
    return (
        f"{row.model}, {row.component}, {row.quantization}, batch {row.batch}: "
        f"{row.predicted_bytes / 1e9:.2f} GB predicted, {row.measured_bytes / 1e9:.2f} GB measured"
    )


def _speed_title(row: SpeedRow) -> str:
    return (
        f"{row.model}, {row.quantization}, batch {row.batch}: "
        f"{row.predicted_per_second:.4g} predicted, {row.measured_per_second:.4g} measured"
    )
