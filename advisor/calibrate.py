"""Fitting the constants of the speed model, and holding it to measurements that took no part in the fit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations
from operator import attrgetter, mul, sub
from statistics import median
from typing import Literal, NamedTuple

from fitcard.advisor.evidence import TIMED, models_on, timed_on
from fitcard.advisor.kept import Fact, of_cards
from fitcard.advisor.rates import fit_sustained, measured_rate, sustained_rate
from fitcard.advisor.speed import Setting, Work, work
from fitcard.catalog import Catalog
from fitcard.catalog.schema.record import Date
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.speed import Errors, Factors, Known, SpeedFile
from fitcard.catalog.schema.trace import Component

_AT_RATE = ("matmul", "attention", "convolution")
"""The kinds of work that run at a card's matrix rate."""
_NAMES = (*_AT_RATE, *(name for name in Factors.model_fields if name not in _AT_RATE))
PRIOR = Factors(matmul=1.0, attention=1.1, convolution=4.0, moved=1.1, transposed=1.0, computed=1.0)
"""What a factor stays near where the measurements say little of it; its weight is that of `PRIOR_WEIGHT` measurements."""
PRIOR_WEIGHT = 0.5


class Point(NamedTuple):
    """One measured throughput on a card of the catalog, ours or published."""

    model: str
    component: Component
    quantization: str
    gpu: str
    setting: Setting
    per_second: float
    record: str

    @property
    def seconds(self) -> float:
        """How long the pass took."""
        return self.setting.batch / self.per_second


def points(catalog: Catalog) -> Iterator[Point]:
    """Every measured and published throughput on a card of the catalog, in a fixed order."""
    for model in _models(catalog):
        yield from _points_of(catalog, model)


def _models(catalog: Catalog) -> list[str]:
    """The models that were run on cards or that others published speeds of, in the order of the catalog."""
    ran = {model for device, models in models_on(catalog).items() if device in catalog.gpus for model in models}
    return [model for model in catalog.models if model in ran or model in catalog.published]


def _points_of(catalog: Catalog, model: str) -> Iterator[Point]:
    file = catalog.published.get(model)
    for speed in file.comparable if file else ():
        setting = Setting(speed.mode, speed.batch, speed.autocast, speed.channels_last)
        url = file.sources[speed.source].url if file else ""
        yield Point(model, speed.component, speed.quantization, speed.gpu, setting, speed.per_second, url)
    for run in TIMED.of(catalog, model):
        if run.device in catalog.gpus:
            for batch, per_second, _ in run.speeds:
                setting = Setting(run.mode, batch)
                yield Point(model, run.component, run.quantization, run.device, setting, per_second, run.key)


class Told(NamedTuple):
    """A measurement that says how fast its card is: its weights are multiplied as they are, and the card sets the pace, not its host."""

    point: Point
    work: Work
    alone: Work | None
    """Its work as it would be expected had nobody measured matrix products on that card; None where then no rate is known."""


def told(catalog: Catalog) -> list[Told]:
    """All measurements that say how fast a card is; those on a card without a rate or a bandwidth on record are none."""
    return [one for found in TOLD.of_some(catalog, _models(catalog)).values() for one in found]


def _told_by(catalog: Catalog, model: str) -> list[Told]:
    found: list[Told] = []
    for point in _points_of(catalog, model):
        if not catalog.quantizations[point.quantization].plain:
            continue
        of = (catalog, model, point.component, point.quantization, catalog.gpus[point.gpu], point.setting)
        one = work(*of, fit_sustained(catalog))
        if one and not one.waits_for_host(point.seconds):
            alone = work(*of, fit_sustained(catalog, without=point.gpu), ignore_measured=True)
            found.append(Told(point, one, alone))
    return found


TOLD = Fact(_told_by, runs=True, also=of_cards)
"""Those of a model."""


_Products = list[float]
"""A square, row after row: for each pair of kinds of work the sum of their products over some measurements, each as a share of the
measured time. After the kinds stands the target, all time that is not unpacking. A least-squares fit needs to know no more, however many
measurements there are."""


class Group(NamedTuple):
    """Measurements that count together: of one model in one mode on one card."""

    size: int
    products: _Products
    mean: _Products
    """Of one measurement."""


class OfGpu(NamedTuple):
    """What a fit needs to know of one card."""

    largest: int
    """Measurements of its largest group."""
    groups: _Products
    """With each group counted as one measurement."""
    rows: _Products
    """With each measurement counted as one."""


class Basis(NamedTuple):
    """What fits of a catalog rest on."""

    told: list[Told]
    groups: dict[str, dict[str, list[Group]]]
    """Those of each model on each card, one for each mode."""
    cards: dict[str, OfGpu]


@lru_cache(maxsize=2)
def basis(catalog: Catalog) -> Basis:
    """That of a catalog, from which those of fits without a card or a model follow by leaving out its groups."""
    return basis_of(told(catalog))


def basis_of(known: Sequence[Told]) -> Basis:
    """That of some measurements."""
    rows: dict[tuple[str, str, Mode], list[list[float]]] = {}
    for one in known:
        seconds = one.point.seconds
        row = [value / seconds for value in (*_kinds(one.work), seconds - one.work.unpacked)]
        rows.setdefault((one.point.gpu, one.point.model, one.point.setting.mode), []).append(row)
    groups: dict[str, dict[str, list[Group]]] = {}
    for (gpu, model, _), its in rows.items():
        groups.setdefault(gpu, {}).setdefault(model, []).append(_group(its))
    return Basis([*known], groups, {gpu: _of_card(its) for gpu, its in groups.items()})


_kinds: Callable[[Work | Factors], tuple[float, ...]] = attrgetter(*_NAMES)


def _group(rows: Sequence[Sequence[float]]) -> Group:
    columns = list(zip(*rows, strict=True))
    products: list[float] = [sum(map(mul, one, other)) for one in columns for other in columns]
    return Group(len(rows), products, [value / len(rows) for value in products])


def _of_card(groups: Mapping[str, Sequence[Group]]) -> OfGpu:
    every = [group for its in groups.values() for group in its]
    return OfGpu(
        max(group.size for group in every),
        _summed(group.mean for group in every),
        _summed(group.products for group in every),
    )


def _summed(several: Iterable[Sequence[float]]) -> _Products:
    return [sum(values) for values in zip(*several, strict=True)]


def _without(card: OfGpu, groups: Mapping[str, Sequence[Group]], model: str) -> OfGpu:
    """What a fit needs to know of a card when one of its models is left out; there are others. Taken off the sums, since to add up the
    others for each model takes many times as long, and a fit is rounded to far fewer digits than that loses."""
    own = groups[model]
    return OfGpu(
        max(group.size for other, its in groups.items() if other != model for group in its),
        list(map(sub, card.groups, _summed(group.mean for group in own))),
        list(map(sub, card.rows, _summed(group.products for group in own))),
    )


@lru_cache(maxsize=128)
def fit_without(catalog: Catalog, by: Literal["gpu", "model"], key: str) -> Factors | None:
    """The factors as they are fitted without a card or a model; None where nothing else was measured."""
    known = basis(catalog)
    cards = dict(known.cards)
    if by == "gpu":
        cards.pop(key, None)
    else:
        for gpu in (gpu for gpu, groups in known.groups.items() if key in groups):
            if len(known.groups[gpu]) == 1:
                del cards[gpu]
            else:
                cards[gpu] = _without(cards[gpu], known.groups[gpu], key)
    return fit_factors(catalog, cards) if cards else None


def fit_factors(catalog: Catalog, cards: Mapping[str, OfGpu]) -> Factors:
    """The factors with the least squared relative error of the time, none below zero, pulled lightly to `PRIOR`.

    Time is linear in the factors, so this is a least-squares problem with a bound, solved exactly by trying all choices of
    factors that may lie on it (six are few).
    Measurements count per card, mode and model, not per row, so that neither a card with many rows nor one with many batches
    of one model is the only one that is heard.
    A card on which nobody measured matrix products may sustain more or less than its specification lets expect: its rate
    is fitted beside the factors, so that this error does not become one of theirs.
    """
    largest = max((card.largest for card in cards.values()), default=1)
    slower = {gpu: 1.0 for gpu in cards if measured_rate(catalog, gpu, "bf16") is None}
    sure = _summed([_NOTHING, *(card.groups for gpu, card in cards.items() if gpu not in slower)])
    factors: list[float] = []
    for _ in range(8):  # then no factor moves by a thousandth any more
        before = factors
        scaled = [_scaled(cards[gpu].groups, scale) for gpu, scale in slower.items()]
        factors = _bounded([largest * value for value in _summed([sure, *scaled])])
        if factors == before or not slower:
            break
        slower = {gpu: _slower(cards[gpu].rows, factors) for gpu in slower}
    return Factors(**dict(zip(_NAMES, factors, strict=True)))


_N, _R = len(_NAMES), len(_AT_RATE)
_NOTHING = [0.0] * (_N + 1) ** 2
_TIMES_AT_RATE = [(row < _R) + (column < _R) for row in range(_N + 1) for column in range(_N + 1)]
"""Of each product in a square, how many of its two factors are work at the card's matrix rate."""


def _scaled(products: _Products, scale: float) -> _Products:
    """As if all work at the card's matrix rate took so many times as long."""
    scales = 1.0, scale, scale * scale
    return [value * scales[times] for value, times in zip(products, _TIMES_AT_RATE, strict=True)]


def _slower(products: _Products, factors: Sequence[float]) -> float:
    """How much longer than expected a card takes for what runs at its matrix rate, in least squares of relative time."""
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
    """The solution of linear equations, each with its right side last, by elimination. Sums of squares, to each of which the prior adds,
    have one, and need no exchange of rows."""
    n = len(rows)
    for i, row in enumerate(rows):
        for k in range(i + 1, n):
            ratio = rows[k][i] / row[i]
            rows[k] = [value - ratio * above for value, above in zip(rows[k], row, strict=True)]
    found = [0.0] * n
    for i in reversed(range(n)):
        found[i] = (rows[i][n] - sum(map(mul, rows[i][i + 1 :], found[i + 1 :]))) / rows[i][i]
    return found


class Residual(NamedTuple):
    """One prediction of a measurement that took no part in its fit."""

    point: Point
    per_second: float

    @property
    def error(self) -> float:
        """Signed relative error."""
        return self.per_second / self.point.per_second - 1

    @property
    def log_error(self) -> float:
        """Natural logarithm of predicted over measured."""
        return math.log(self.per_second / self.point.per_second)


def left_out(catalog: Catalog, by: str) -> list[Residual]:
    """Every point predicted without its card (`gpu`), without its card and what that sustains (`gpu_whole`), or without its model.

    A card left out keeps its specification; `gpu` also keeps matrix products that others measured on it, which say
    nothing of any model. A model left out keeps its neighbours on the same card, whose mean error corrects it.
    """
    found: list[Residual] = []
    name: Literal["gpu", "model"] = "model" if by == "model" else "gpu"
    every = basis(catalog).told
    out: dict[str, list[Told]] = {}
    near: dict[_Place, list[Told]] = {}
    for one in every:
        out.setdefault(getattr(one.point, name), []).append(one)
        near.setdefault(_place(one), []).append(one)
    for key in sorted(out):
        if (factors := fit_without(catalog, name, key)) is None:
            continue
        corrections = dict[_Place, float]()
        if by == "model":
            corrections = {where: _correction(near[where], key, factors) for where in set(map(_place, out[key]))}
        for one in out[key]:
            work = one.alone if by == "gpu_whole" else one.work
            if work is not None:
                seconds = work.seconds(factors) * corrections.get(_place(one), 1.0)
                found.append(Residual(one.point, one.point.setting.batch / seconds))
    return found


def device_left_out(catalog: Catalog) -> list[Residual]:
    """Every run on a device that only runs know, predicted from the runs of other models there; device by device."""
    return [residual for device in only_run(catalog) for residual in left_out_on(catalog, device)]


def only_run(catalog: Catalog) -> list[str]:
    """The devices that only runs know, as processors are."""
    return sorted(models_on(catalog).keys() - set(catalog.gpus))


def left_out_on(catalog: Catalog, device: str) -> list[Residual]:
    """The same of one device: it depends on what was run there, and on nothing else."""
    from fitcard.advisor.predict import other_runs

    found: list[Residual] = []
    setting = cache(Setting)  # tens of thousands of points have a few of them
    for model, run in ((model, run) for model, runs in timed_on(catalog, device).items() for run in runs):
        for batch, per_second, amount in run.speeds:
            alike = other_runs(catalog, run.component, run.quantization, run.device, run.mode, batch)
            own = alike.by_model.get(model, 0.0)  # a model is among them once
            others = len(alike.by_model) - (model in alike.by_model)
            if not others:
                continue
            seconds = math.exp((alike.total - own) / others) * amount
            how = setting(run.mode, batch)
            point = Point(model, run.component, run.quantization, run.device, how, per_second, run.key)
            found.append(Residual(point, batch / seconds))
    return found


_Place = tuple[str, Mode, bool]
"""Card, mode and autocast: what neighbours have in common."""


def _place(of: Told) -> _Place:
    return of.point.gpu, of.point.setting.mode, of.point.setting.autocast


def _correction(neighbours: Iterable[Told], without: str, factors: Factors) -> float:
    """How much longer than predicted other models take: a geometric mean."""
    logs = [math.log(one.point.seconds / one.work.seconds(factors)) for one in neighbours if one.point.model != without]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def summary(signed: Sequence[float], half_width: float) -> Errors:
    """Median, 90th percentile and bias of relative errors (predicted over measured, less one), and how many lie in an interval of that
    half width, which is a natural logarithm."""
    errors = sorted(map(abs, signed))
    low, high = math.expm1(-half_width), math.expm1(half_width)
    inside = sum(low <= error <= high for error in signed)
    return Errors(
        count=len(errors),
        median=round(median(errors), 4) if errors else 0.0,
        p90=round(errors[math.ceil(0.9 * len(errors)) - 1], 4) if errors else 0.0,
        bias=round(median(signed), 4) if signed else 0.0,
        covered=round(inside / len(errors), 3) if errors else 0.0,
    )


def calibrate(catalog: Catalog, today: Date) -> SpeedFile:
    """All constants, from all the figures there are."""
    every, _, cards = basis(catalog)
    factors = fit_factors(catalog, cards)
    rates = sorted(abs(error) for error in rate_errors(catalog))
    ways = {by: left_out(catalog, by) for by in ("model", "gpu", "gpu_whole")}
    half = {by: round(max(0.01, _quantile([abs(r.log_error) for r in found], 0.8)), 4) for by, found in ways.items()}
    ways["device"] = device_left_out(catalog)
    half["device"] = round(_quantile([abs(r.log_error) for r in ways["device"]], 0.8), 4) if ways["device"] else 0.5
    half["rate"] = round(_quantile(rates, 0.8), 4)
    return SpeedFile(
        fitted=today,
        fitted_on={
            "published": sum(one.point.record.startswith("http") for one in every),
            "measured": sum(not one.point.record.startswith("http") for one in every),
            "matrix products": len(catalog.matmul.rates),
        },
        evidence_sha256=evidence_sha256(catalog),
        factors=factors,
        sustained=dict(fit_sustained(catalog)),
        known=_known(every, factors),
        half_width=half,
        residuals={by: summary([r.error for r in found], half[by]) for by, found in ways.items()},
    )


def _known(every: Sequence[Told], factors: Factors) -> dict[str, dict[Mode, Known]]:
    found: dict[str, dict[Mode, list[tuple[float, int]]]] = {}
    for one in every:
        log, setting = math.log(one.point.seconds / one.work.seconds(factors)), one.point.setting
        found.setdefault(one.point.gpu, {}).setdefault(setting.mode, []).append((log, setting.batch))
    return {
        gpu: {mode: _as_known(rows) for mode, rows in sorted(modes.items())} for gpu, modes in sorted(found.items())
    }


def _as_known(rows: Sequence[tuple[float, int]]) -> Known:
    mean = sum(log for log, _ in rows) / len(rows)
    return Known(count=len(rows), slower=round(math.exp(mean), 4), smallest_batch=min(batch for _, batch in rows))


def rate_errors(catalog: Catalog) -> Iterator[float]:
    """Log errors of the sustained 16-bit rate of each measured card, predicted without its own measurement."""
    for key in sorted({rate.gpu for rate in catalog.matmul.rates}):
        card = catalog.gpus[key]
        if card.supports("fp16") is False and card.supports("bf16") is False:
            continue
        known = measured_rate(catalog, key, "bf16" if card.supports("bf16") else "fp16")
        guess = sustained_rate(catalog, card, "bf16" if card.supports("bf16") else "fp16", fit_sustained(catalog, key), ignore_measured=True)  # fmt: skip
        if known and guess:
            yield math.log(guess.flops_per_s / known)


def evidence_sha256(catalog: Catalog) -> str:
    """Identifies the figures that a fit rests on."""
    text = "\n".join(map(repr, points(catalog))) + "\n".join(map(repr, catalog.matmul.rates))
    return hashlib.sha256(text.encode()).hexdigest()


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
