"""Fitting the constants of the speed model, and holding it to measurements that took no part in the fit."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from statistics import median
from typing import NamedTuple

from advisor.evidence import models_on, timed_on, timed_runs
from advisor.rates import fit_sustained, measured_rate, sustained_rate
from advisor.speed import PLAIN, Setting, Work, work
from catalog import Catalog
from catalog.record import Date
from catalog.run import Mode
from catalog.speed import Errors, Factors, Known, SpeedFile, Sustained
from catalog.trace import Component

_NAMES = tuple(Factors.model_fields)
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


def points(catalog: Catalog) -> Iterator[Point]:
    """Every measured and published throughput on a card of the catalog, in a fixed order."""
    for model in catalog.models:
        file = catalog.published.get(model)
        for speed in file.comparable if file else ():
            setting = Setting(speed.mode, speed.batch, speed.autocast, speed.channels_last)
            url = file.sources[speed.source].url if file else ""
            yield Point(model, speed.component, speed.quantization, speed.gpu, setting, speed.per_second, url)
        for run in timed_runs(catalog)[model]:
            if run.device in catalog.cards:
                for batch, per_second, _ in run.speeds:
                    setting = Setting(run.mode, batch)
                    yield Point(model, run.component, run.quantization, run.device, setting, per_second, run.key)


Worked = tuple[Point, Work]


def worked(
    catalog: Catalog, found: Iterable[Point], fit: Mapping[str, Sustained], *, ignore_measured: bool = False
) -> list[Worked]:
    """Each point with its work; those on a card without a rate or a bandwidth on record say nothing and are left out."""
    made: list[Worked] = []
    for point in found:
        one = work(
            catalog, point.model, point.component, point.quantization, catalog.cards[point.gpu], point.setting, fit,
            ignore_measured=ignore_measured,
        )  # fmt: skip
        if one is not None:
            made.append((point, one))
    return made


def telling(found: Iterable[Worked]) -> list[Worked]:
    """Those that say how fast the card is: its weights are multiplied as they are, and the card sets the pace, not its host."""
    return [
        (point, one) for point, one in found
        if point.quantization in PLAIN and not one.waits_for_host(point.setting.batch / point.per_second)
    ]  # fmt: skip


def fit_factors(catalog: Catalog, known: Sequence[Worked]) -> Factors:
    """The factors with the least squared relative error of the time, none below zero, pulled lightly to `PRIOR`.

    Time is linear in the factors, so this is a least-squares problem with a bound, solved exactly by trying which
    factors lie on it (six are few).
    Measurements count per card, mode and model, not per row, so that neither a card with many rows nor one with many batches
    of one model is the only one that is heard.
    A card on which nobody measured matrix products may sustain more or less than its specification lets expect: its rate
    is fitted beside the factors, so that this error does not become one of theirs.
    """
    groups = Counter((point.gpu, point.setting.mode, point.model) for point, _ in known)
    largest = max(groups.values(), default=1)
    guessed = {point.gpu for point, _ in known if measured_rate(catalog, point.gpu, "bf16") is None}
    slower = dict.fromkeys(guessed, 1.0)
    factors = PRIOR
    for _ in range(8 if guessed else 1):  # settles to four digits in fewer
        rows: list[tuple[list[float], float]] = []
        for point, one in known:
            seconds = point.setting.batch / point.per_second
            weight = math.sqrt(largest / groups[point.gpu, point.setting.mode, point.model]) / seconds
            scale = slower.get(point.gpu, 1.0)
            terms = [weight * getattr(one, name) * (scale if name in _AT_RATE else 1.0) for name in _NAMES]
            rows.append((terms, weight * (seconds - one.unpacked)))
        factors = _bounded(rows)
        for gpu in guessed:
            slower[gpu] = _slower([(p, w) for p, w in known if p.gpu == gpu], factors)
    return factors


_AT_RATE = {"matmul", "attention", "convolution"}


def _slower(known: Sequence[Worked], factors: Factors) -> float:
    """How much longer than expected a card takes for what runs at its matrix rate, in least squares of relative time."""
    top = bottom = 0.0
    for point, one in known:
        seconds = point.setting.batch / point.per_second
        at_rate = sum(getattr(one, name) * getattr(factors, name) for name in _AT_RATE) / seconds
        rest = one.seconds(factors) / seconds - at_rate
        top += at_rate * (1 - rest)
        bottom += at_rate * at_rate
    return top / bottom if bottom and top > 0 else 1.0


def _bounded(rows: list[tuple[list[float], float]]) -> Factors:
    pull = math.sqrt(PRIOR_WEIGHT)
    for index, name in enumerate(_NAMES):
        scale = pull / getattr(PRIOR, name)
        rows.append(([scale if i == index else 0.0 for i in range(len(_NAMES))], pull))
    best: tuple[float, list[float]] | None = None
    for size in range(len(_NAMES), 0, -1):
        for free in combinations(range(len(_NAMES)), size):
            solved = _least_squares([([row[i] for i in free], target) for row, target in rows])
            if solved is None or min(solved) < 0:
                continue
            whole = [0.0] * len(_NAMES)
            for i, value in zip(free, solved, strict=True):
                whole[i] = value
            rest = sum((sum(a * b for a, b in zip(row, whole, strict=True)) - target) ** 2 for row, target in rows)
            if best is None or rest < best[0]:
                best = (rest, whole)
        if best is not None:  # with more factors free the error is never larger
            break
    assert best is not None  # all at zero but one always solves
    return Factors(**{name: round(value, 4) for name, value in zip(_NAMES, best[1], strict=True)})


def _least_squares(rows: Sequence[tuple[Sequence[float], float]]) -> list[float] | None:
    """The solution of the normal equations by elimination; None where they have no single one."""
    n = len(rows[0][0])
    a = [[sum(row[i] * row[j] for row, _ in rows) for j in range(n)] for i in range(n)]
    b = [sum(row[i] * target for row, target in rows) for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(a[k][i]))
        if abs(a[pivot][i]) < 1e-12:
            return None
        a[i], a[pivot], b[i], b[pivot] = a[pivot], a[i], b[pivot], b[i]
        for k in range(i + 1, n):
            ratio = a[k][i] / a[i][i]
            b[k] -= ratio * b[i]
            for j in range(i, n):
                a[k][j] -= ratio * a[i][j]
    solved = [0.0] * n
    for i in reversed(range(n)):
        solved[i] = (b[i] - sum(a[i][j] * solved[j] for j in range(i + 1, n))) / a[i][i]
    return solved


class Residual(NamedTuple):
    """One prediction of a measurement that took no part in its fit."""

    point: Point
    per_second: float

    @property
    def log_error(self) -> float:
        """Natural logarithm of predicted over measured."""
        return math.log(self.per_second / self.point.per_second)


def left_out(catalog: Catalog, by: str) -> list[Residual]:
    """Every point predicted without its card (`gpu`), without its card and what that sustains (`gpu_whole`), or without its model.

    A card left out keeps its specification; `gpu` also keeps matrix products that others measured on it, which say
    nothing of any model. A model left out keeps its neighbours on the same card, whose mean error corrects it.
    """
    keys: Callable[[Point], str] = (lambda p: p.model) if by == "model" else (lambda p: p.gpu)
    found: list[Residual] = []
    fit = fit_sustained(catalog)
    every = telling(worked(catalog, points(catalog), fit))
    for key in sorted({keys(point) for point, _ in every}):
        kept = [(p, w) for p, w in every if keys(p) != key]
        out = [(p, w) for p, w in every if keys(p) == key]
        if not kept:
            continue
        factors = fit_factors(catalog, kept)
        if by == "gpu_whole":
            whole = fit_sustained(catalog, without=key)
            out = worked(catalog, [p for p, _ in out], whole, ignore_measured=True)
        for point, one in out:
            seconds = one.seconds(factors)
            if by == "model":
                seconds *= _correction([(p, w) for p, w in kept if p.gpu == point.gpu], point, factors)
            found.append(Residual(point, point.setting.batch / seconds))
    return found


def device_left_out(catalog: Catalog) -> list[Residual]:
    """Every run on a device that only runs know, predicted from the runs of other models there; device by device."""
    return [residual for device in only_run(catalog) for residual in left_out_on(catalog, device)]


def only_run(catalog: Catalog) -> list[str]:
    """The devices that only runs know, as processors are."""
    return sorted(models_on(catalog).keys() - set(catalog.cards))


def left_out_on(catalog: Catalog, device: str) -> list[Residual]:
    """The same of one device: it depends on what was run there, and on nothing else."""
    from advisor.predict import other_runs

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


def _correction(neighbours: Sequence[Worked], point: Point, factors: Factors) -> float:
    """How much longer than predicted other models take on the same card, in the same mode: a geometric mean."""
    logs = [
        math.log(p.setting.batch / p.per_second / w.seconds(factors))
        for p, w in neighbours
        if (p.setting.mode, p.setting.autocast) == (point.setting.mode, point.setting.autocast)
    ]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def summary(logs: Sequence[float], half_width: float) -> Errors:
    """Median, 90th percentile and bias of relative errors (given as natural logarithms of predicted over measured), and how many
    lie in an interval of that half width."""
    signed = [math.expm1(log) for log in logs]
    errors = sorted(map(abs, signed))
    inside = sum(abs(log) <= half_width for log in logs)
    return Errors(
        count=len(errors),
        median=round(median(errors), 4) if errors else 0.0,
        p90=round(errors[math.ceil(0.9 * len(errors)) - 1], 4) if errors else 0.0,
        bias=round(median(signed), 4) if signed else 0.0,
        covered=round(inside / len(errors), 3) if errors else 0.0,
    )


def calibrate(catalog: Catalog, today: Date) -> SpeedFile:
    """All constants, from all the figures there are."""
    fit = fit_sustained(catalog)
    every = telling(worked(catalog, points(catalog), fit))
    factors = fit_factors(catalog, every)
    rates = sorted(abs(error) for error in rate_errors(catalog))
    ways = {by: left_out(catalog, by) for by in ("model", "gpu", "gpu_whole")}
    half = {by: round(max(0.01, _quantile([abs(r.log_error) for r in found], 0.8)), 4) for by, found in ways.items()}
    ways["device"] = device_left_out(catalog)
    half["device"] = round(_quantile([abs(r.log_error) for r in ways["device"]], 0.8), 4) if ways["device"] else 0.5
    half["rate"] = round(_quantile(rates, 0.8), 4)
    return SpeedFile(
        fitted=today,
        fitted_on={
            "published": sum(point.record.startswith("http") for point, _ in every),
            "measured": sum(not point.record.startswith("http") for point, _ in every),
            "matrix products": len(catalog.matmul.rates),
        },
        evidence_sha256=evidence_sha256(catalog),
        factors=factors,
        sustained=fit,
        known=_known(every, factors),
        half_width=half,
        residuals={by: summary([r.log_error for r in found], half[by]) for by, found in ways.items()},
    )


def _known(every: Sequence[Worked], factors: Factors) -> dict[str, dict[Mode, Known]]:
    found: dict[str, dict[Mode, list[tuple[float, int]]]] = {}
    for point, one in every:
        log = math.log(point.setting.batch / point.per_second / one.seconds(factors))
        found.setdefault(point.gpu, {}).setdefault(point.setting.mode, []).append((log, point.setting.batch))
    return {
        gpu: {mode: _as_known(rows) for mode, rows in sorted(modes.items())} for gpu, modes in sorted(found.items())
    }


def _as_known(rows: Sequence[tuple[float, int]]) -> Known:
    mean = sum(log for log, _ in rows) / len(rows)
    return Known(count=len(rows), slower=round(math.exp(mean), 4), smallest_batch=min(batch for _, batch in rows))


def rate_errors(catalog: Catalog) -> Iterator[float]:
    """Log errors of the sustained 16-bit rate of each measured card, predicted without its own measurement."""
    for key in sorted({rate.gpu for rate in catalog.matmul.rates}):
        card = catalog.cards[key]
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
