"""Fitting the factors of the speed model: least squares on what measurements say, with any GPU or model left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from operator import attrgetter, mul, sub
from typing import Literal, NamedTuple

from fitcard.advisor.speed import Setting, Work
from fitcard.catalog.schema.speed import Factors
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode

_AT_RATE = ("matmul", "attention", "convolution")
"""The kinds of work that run at a GPU's matrix rate."""
_NAMES = (*_AT_RATE, *(name for name in Factors.model_fields if name not in _AT_RATE))
# Made without validation: to build a validator takes longer than all else that `fit` imports.
PRIOR = Factors.model_construct(matmul=1.0, attention=1.1, convolution=4.0, moved=1.1, transposed=1.0, computed=1.0)
"""What a factor stays near where the measurements say little of it; its weight is that of `PRIOR_WEIGHT`
measurements."""
PRIOR_WEIGHT = 0.5


DISTURBED_WEIGHT = 0.25
"""What a measurement counts while the device was throttled or other jobs ran: as if its error were twice that of others."""


class Point(NamedTuple):
    """One measured throughput on a GPU of the catalog, ours or published."""

    model: str
    component: Component
    quantization: str
    gpu: str
    setting: Setting
    per_second: float
    record: str
    disturbed: bool = False
    """Whether something may have held it up, so that it counts less."""

    @property
    def weight(self) -> float:
        """How much it counts."""
        return DISTURBED_WEIGHT if self.disturbed else 1.0

    @property
    def seconds(self) -> float:
        """How long the pass took."""
        return self.setting.batch / self.per_second


class Told(NamedTuple):
    """A measurement that says how fast its GPU is: its weights are multiplied as they are, and the GPU sets the pace,
    not its host."""

    point: Point
    work: Work
    alone: Work | None
    """Its work as it would be expected had nobody measured matrix products on that GPU; None where then no rate is
    known."""


_Products = list[float]
"""A square, row after row: for each pair of kinds of work the sum of their products over some measurements, each as a
share of the measured time. After the kinds stands the target, all time that is not unpacking. A least-squares fit needs
to know no more, however many measurements there are."""


class PointGroup(NamedTuple):
    """Measurements that count together: of one model in one mode on one GPU."""

    size: int
    products: _Products
    mean: _Products
    """Of one measurement."""


class OfGpu(NamedTuple):
    """What a fit needs to know of one GPU."""

    largest: int
    """Measurements of its largest group."""
    groups: _Products
    """With each group counted as one measurement."""
    rows: _Products
    """With each measurement counted as one."""


class Basis(NamedTuple):
    """What fits of a catalog rest on."""

    told: Sequence[Told]
    groups: dict[str, dict[str, list[PointGroup]]]
    """Those of each model on each GPU, one for each mode."""
    gpus: dict[str, OfGpu]


def basis_of(told: Sequence[Told]) -> Basis:
    """That of some measurements."""
    rows: dict[tuple[str, str, Mode], list[list[float]]] = {}
    for one in told:
        seconds, scale = one.point.seconds, math.sqrt(one.point.weight)
        row = [scale * value / seconds for value in (*_kinds(one.work), seconds - one.work.unpacked)]
        rows.setdefault((one.point.gpu, one.point.model, one.point.setting.mode), []).append(row)
    groups: dict[str, dict[str, list[PointGroup]]] = {}
    for (gpu, model, _), its in rows.items():
        groups.setdefault(gpu, {}).setdefault(model, []).append(_group(its))
    return Basis(told, groups, {gpu: _of_gpu(its) for gpu, its in groups.items()})


_kinds: Callable[[Work | Factors], tuple[float, ...]] = attrgetter(*_NAMES)


def _group(rows: Sequence[Sequence[float]]) -> PointGroup:
    columns = list(zip(*rows, strict=True))
    products: list[float] = [sum(map(mul, one, other)) for one in columns for other in columns]
    return PointGroup(len(rows), products, [value / len(rows) for value in products])


def _of_gpu(groups: Mapping[str, Sequence[PointGroup]]) -> OfGpu:
    every = [group for its in groups.values() for group in its]
    return OfGpu(
        max(group.size for group in every),
        _summed(group.mean for group in every),
        _summed(group.products for group in every),
    )


def _summed(several: Iterable[Sequence[float]]) -> _Products:
    return [sum(values) for values in zip(*several, strict=True)]


def _without(gpu: OfGpu, groups: Mapping[str, Sequence[PointGroup]], model: str) -> OfGpu:
    """What a fit needs to know of a GPU when one of its models is left out; there are others. Taken off the sums, since
    to add up the others for each model takes many times as long, and a fit is rounded to far fewer digits than that
    loses."""
    own = groups[model]
    return OfGpu(
        max(group.size for other, its in groups.items() if other != model for group in its),
        list(map(sub, gpu.groups, _summed(group.mean for group in own))),
        list(map(sub, gpu.rows, _summed(group.products for group in own))),
    )


def fit_without(basis: Basis, by: Literal["gpu", "model"], key: str, measured: Collection[str]) -> Factors | None:
    """The factors as they are fitted without a GPU or a model; None where nothing else was measured."""
    gpus = dict(basis.gpus)
    if by == "gpu":
        gpus.pop(key, None)
    else:
        for gpu in (gpu for gpu, groups in basis.groups.items() if key in groups):
            if len(basis.groups[gpu]) == 1:
                del gpus[gpu]
            else:
                gpus[gpu] = _without(gpus[gpu], basis.groups[gpu], key)
    return fit_factors(gpus, measured) if gpus else None


def fit_factors(gpus: Mapping[str, OfGpu], measured: Collection[str]) -> Factors:
    """The factors with the least squared relative error of the time, none below zero, pulled lightly to `PRIOR`.

    Time is linear in the factors, so this is a least-squares problem with a bound, solved exactly by trying all choices
    of factors that may lie on it (six are few).
    Measurements count per GPU, mode and model, not per row, so that neither a GPU with many rows nor one with many
    batches of one model is the only one that is heard.
    A GPU on which nobody measured matrix products (it is not in `measured`) may sustain more or less than its
    specification lets expect: its rate is fitted beside the factors, so that this error does not become one of theirs.
    """
    largest = max((gpu.largest for gpu in gpus.values()), default=1)
    slower = {key: 1.0 for key in gpus if key not in measured}
    sure = _summed([_NOTHING, *(gpu.groups for key, gpu in gpus.items() if key not in slower)])
    factors: list[float] = []
    for _ in range(8):  # then no factor moves by a thousandth any more
        before = factors
        scaled = [_scaled(gpus[key].groups, scale) for key, scale in slower.items()]
        factors = _bounded([largest * value for value in _summed([sure, *scaled])])
        if factors == before or not slower:
            break
        slower = {key: _slower(gpus[key].rows, factors) for key in slower}
    return Factors(**dict(zip(_NAMES, factors, strict=True)))


_N, _R = len(_NAMES), len(_AT_RATE)
_NOTHING = [0.0] * (_N + 1) ** 2
_TIMES_AT_RATE = [(row < _R) + (column < _R) for row in range(_N + 1) for column in range(_N + 1)]
"""Of each product in a square, how many of its two factors are work at the GPU's matrix rate."""


def _scaled(products: _Products, scale: float) -> _Products:
    """As if all work at the GPU's matrix rate took so many times as long."""
    scales = 1.0, scale, scale * scale
    return [value * scales[times] for value, times in zip(products, _TIMES_AT_RATE, strict=True)]


def _slower(products: _Products, factors: Sequence[float]) -> float:
    """How much longer than expected a GPU takes for what runs at its matrix rate, in least squares of relative time."""
    top = bottom = 0.0
    for i, factor in enumerate(factors[:_R]):
        row = products[i * (_N + 1) : (i + 1) * (_N + 1)]
        top += factor * (row[_N] - sum(map(mul, factors[_R:], row[_R:])))
        bottom += factor * sum(map(mul, factors[:_R], row))
    return top / bottom if bottom and top > 0 else 1.0


def _bounded(products: _Products) -> list[float]:
    n = _N
    whole = [products[row * (n + 1) : (row + 1) * (n + 1)] for row in range(n)]
    for i, prior in enumerate(_kinds(PRIOR)):  # each as one more measurement: its factor over this is one
        whole[i][i] += PRIOR_WEIGHT / prior**2
        whole[i][n] += PRIOR_WEIGHT / prior
    best = (0.0, [0.0] * n)
    for size in range(n, 0, -1):
        for free in combinations(range(n), size):
            solved = _solved([[whole[i][j] for j in (*free, n)] for i in free])
            if min(solved) < 0:
                continue
            factors = [0.0] * n
            for i, value in zip(free, solved, strict=True):
                factors[i] = value
            # What is left is the target's own sum less this, which a solution makes as large as can be.
            explained = sum(factors[i] * whole[i][n] for i in free)
            if explained > best[0]:
                best = (explained, factors)
        if size == n and best[0]:  # none is held at zero, so no other choice leaves less
            break
    return [round(value, 4) for value in best[1]]


def _solved(rows: list[list[float]]) -> list[float]:
    """The solution of linear equations, each with its right side last, by elimination. Sums of squares, to each of
    which the prior adds, have one, and need no exchange of rows."""
    n = len(rows)
    for i, row in enumerate(rows):
        for k in range(i + 1, n):
            ratio = rows[k][i] / row[i]
            rows[k] = [value - ratio * above for value, above in zip(rows[k], row, strict=True)]
    solution = [0.0] * n
    for i in reversed(range(n)):
        solution[i] = (rows[i][n] - sum(map(mul, rows[i][i + 1 :], solution[i + 1 :]))) / rows[i][i]
    return solution
