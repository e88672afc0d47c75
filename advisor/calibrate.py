"""Fitting the constants of the speed model, and holding it to measurements that took no part in the fit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Literal, NamedTuple

from fitcard.advisor.device_runs import RunTimes, newest_on, only_run, run_times, timed_runs
from fitcard.advisor.fit_speed import Basis, Point, Told, basis_of, fit_factors, fit_without
from fitcard.advisor.rates import fit_sustained, measured_gpus, measured_rate, sustained_rate
from fitcard.advisor.records import VariantRecords
from fitcard.advisor.run_band import believed_on, flagged_on_gpus
from fitcard.advisor.speed import Setting, number_type, speeds_of, work
from fitcard.catalog import Catalog
from fitcard.catalog.schema.record import Date
from fitcard.catalog.schema.speed import Errors, Factors, Known, SpeedFile
from fitcard.catalog.schema.workload import Mode
from fitcard.catalog.storage.memo import memo


def points(catalog: Catalog) -> Iterator[Point]:
    """Every measured and published throughput on a GPU of the catalog, in a fixed order, without runs that are
    flagged."""
    for model in _models(catalog):
        yield from _points_of(catalog, model)


def _models(catalog: Catalog) -> list[str]:
    """The models that were run on GPUs or that others published speeds of, in the order of the catalog."""
    ran = {run.model for run in catalog.run_index if run.device in catalog.gpus}
    return [model for model in catalog.models if model in ran or model in catalog.published]


def _points_of(catalog: Catalog, model: str) -> Iterator[Point]:
    file = catalog.published.get(model)
    for speed in file.comparable if file else ():
        setting = Setting(speed.mode, speed.batch, speed.autocast, speed.channels_last)
        url = file.sources[speed.source].url if file else ""
        yield Point(model, speed.component, speed.quantization, speed.gpu, setting, speed.per_second, url)
    doubted = flagged_on_gpus(catalog, model)
    for run in timed_runs(catalog, model):
        if run.device in catalog.gpus and run.key not in doubted and run.component != "language":
            for batch, per_second, _ in run.speeds:
                setting = Setting(run.mode, batch)
                disturbed = batch in run.disturbed
                yield Point(model, run.component, run.quantization, run.device, setting, per_second, run.key, disturbed)


def told(catalog: Catalog) -> list[Told]:
    """All measurements that say how fast a GPU is; those on a GPU without a rate or a bandwidth on record are none."""
    return [one for model in _models(catalog) for one in told_by(catalog, model)]


@memo
def told_by(catalog: Catalog, model: str) -> list[Told]:
    """Those of one model."""
    measurements: list[Told] = []
    matmul, rated = catalog.matmul, measured_gpus(catalog)
    for point in _points_of(catalog, model):
        quantization = catalog.quantizations[point.quantization]
        if not quantization.plain:
            continue
        gpu, kind = catalog.gpus[point.gpu], number_type(quantization, point.setting.mode)
        of = VariantRecords(catalog.traces[model], point.component, quantization)
        one = work(of, point.setting, gpu, speeds_of(gpu, kind, matmul, fit_sustained(matmul, rated)))
        if one and not one.waits_for_host(point.seconds):
            laws = fit_sustained(matmul, rated, point.gpu)
            measurements.append(Told(point, one, work(of, point.setting, gpu, speeds_of(gpu, kind, None, laws))))
    return measurements


def basis(catalog: Catalog) -> Basis:
    """What fits rest on, from which those without a GPU or a model follow by leaving out its groups."""
    return basis_of(told(catalog))


def measured_in_16_bit(catalog: Catalog) -> frozenset[str]:
    """The GPUs on which somebody measured 16-bit matrix products."""
    gpus = {rate.gpu for rate in catalog.matmul.rates}
    return frozenset(gpu for gpu in gpus if measured_rate(catalog.matmul, gpu, "bf16") is not None)


def factors_without(catalog: Catalog, gpu: str) -> Factors | None:
    """The factors as they are fitted without a GPU, so that its own figures have no part in a prediction that leaves
    them out; None where nothing was fitted yet."""
    speed = catalog.speed
    if speed is None or gpu not in speed.known:
        return speed.factors if speed else None
    return fit_without(basis(catalog), "gpu", gpu, measured_in_16_bit(catalog)) or speed.factors


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


Way = Literal["gpu", "gpu_whole", "model"]


def left_out(catalog: Catalog, by: Way) -> list[Residual]:
    """Every point predicted without its GPU (`gpu`), without its GPU and what that sustains (`gpu_whole`), or without
    its model.

    A GPU left out keeps its specification; `gpu` also keeps matrix products that others measured on it, which say
    nothing of any model. A model left out keeps its neighbours on the same GPU, whose mean error corrects it.
    """
    return left_out_of(basis(catalog), by, measured_in_16_bit(catalog))


def left_out_of(basis: Basis, by: Way, measured: frozenset[str]) -> list[Residual]:
    """The same of the measurements that a fit rests on; `measured` are the GPUs with measured matrix products."""
    residuals: list[Residual] = []
    name: Literal["gpu", "model"] = "model" if by == "model" else "gpu"
    out: dict[str, list[Told]] = {}
    near: dict[_Place, list[Told]] = {}
    for one in basis.told:
        out.setdefault(one.point.model if by == "model" else one.point.gpu, []).append(one)
        near.setdefault(_place(one), []).append(one)
    for key in sorted(out):
        if (factors := fit_without(basis, name, key, measured)) is None:
            continue
        corrections = dict[_Place, float]()
        if by == "model":
            corrections = {where: _correction(near[where], key, factors) for where in set(map(_place, out[key]))}
        for one in out[key]:
            work = one.alone if by == "gpu_whole" else one.work
            if work is not None:
                seconds = work.seconds(factors) * corrections.get(_place(one), 1.0)
                residuals.append(Residual(one.point, one.point.setting.batch / seconds))
    return residuals


def device_left_out(catalog: Catalog) -> list[Residual]:
    """Every run on a device that only runs know, predicted from the runs of other models there; device by device."""
    return [residual for device in only_run(catalog) for residual in left_out_on(catalog, device)]


def left_out_on(catalog: Catalog, device: str) -> list[Residual]:
    """The same of one device: it depends on what was run there, and on nothing else."""
    residuals: list[Residual] = []
    timed = believed_on(catalog, device)
    newest, seen = newest_on(timed), dict[tuple[str, str, Setting], RunTimes]()
    for model, run in ((model, run) for model, runs in timed.items() for run in runs):
        if run.component == "language":  # bound by memory: another's multiply-adds say nothing of it
            continue
        for batch, per_second, multiply_adds in run.speeds:
            setting = Setting(run.mode, batch)
            key = run.component, run.quantization, setting
            if key not in seen:
                seen[key] = run_times(newest, run.component, run.quantization, run.mode, batch)
            others = seen[key].mean(without=model)
            if others is None:
                continue
            seconds = math.exp(others) * multiply_adds
            point = Point(model, run.component, run.quantization, run.device, setting, per_second, run.key)
            residuals.append(Residual(point, batch / seconds))
    return residuals


_Place = tuple[str, Mode, bool]
"""Card, mode and autocast: what neighbours have in common."""


def _place(of: Told) -> _Place:
    return of.point.gpu, of.point.setting.mode, of.point.setting.autocast


def _correction(neighbours: Iterable[Told], without: str, factors: Factors) -> float:
    """How much longer than predicted other models take: a geometric mean."""
    others = [one for one in neighbours if one.point.model != without]
    return math.exp(_mean_log(others, factors)) if others else 1.0


def _mean_log(some: Iterable[Told], factors: Factors) -> float:
    """The logarithm of how much longer than predicted some take: a mean in which each counts by its weight."""
    rows = [(one.point.weight, math.log(one.point.seconds / one.work.seconds(factors))) for one in some]
    return sum(weight * log for weight, log in rows) / sum(weight for weight, _ in rows)


def summary(signed: Sequence[float], half_width: float) -> Errors:
    """Median, 90th percentile and bias of relative errors (predicted over measured, less one), and how many lie in an
    interval of that half width, which is a natural logarithm."""
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
    rest, measured = basis(catalog), measured_in_16_bit(catalog)
    published = basis_of([one for one in rest.told if one.point.record.startswith("http")])
    factors = fit_factors(rest.gpus, measured)
    rates = sorted(abs(error) for error in rate_errors(catalog))
    by: tuple[Way, ...] = ("model", "gpu", "gpu_whole")
    ways: dict[str, list[Residual]] = {way: left_out_of(rest, way, measured) for way in by}
    half = {way: round(max(0.01, _quantile(_sizes(some), 0.8)), 4) for way, some in ways.items()}
    ways["device"] = device_left_out(catalog)
    half["device"] = round(_quantile(_sizes(ways["device"]), 0.8), 4) if ways["device"] else 0.5
    half["rate"] = round(_quantile(rates, 0.8), 4)
    return SpeedFile(
        fitted=today,
        fitted_on={
            "published": sum(one.point.record.startswith("http") for one in rest.told),
            "measured": sum(not one.point.record.startswith("http") for one in rest.told),
            "matrix products": len(catalog.matmul.rates),
        },
        evidence_sha256=evidence_sha256(catalog),
        factors=factors,
        published_factors=fit_factors(published.gpus, measured),
        sustained=dict(fit_sustained(catalog.matmul, measured_gpus(catalog))),
        known=_known(rest.told, factors),
        half_width=half,
        residuals={way: summary([r.error for r in some], half[way]) for way, some in ways.items()},
    )


def _sizes(residuals: Iterable[Residual]) -> list[float]:
    return [abs(residual.log_error) for residual in residuals]


def _known(every: Sequence[Told], factors: Factors) -> dict[str, dict[Mode, Known]]:
    known: dict[str, dict[Mode, list[Told]]] = {}
    for one in every:
        known.setdefault(one.point.gpu, {}).setdefault(one.point.setting.mode, []).append(one)
    return {
        gpu: {mode: _as_known(some, factors) for mode, some in sorted(modes.items())}
        for gpu, modes in sorted(known.items())
    }


def _as_known(some: Sequence[Told], factors: Factors) -> Known:
    slower, batch = round(math.exp(_mean_log(some, factors)), 4), min(one.point.setting.batch for one in some)
    return Known(count=len(some), slower=slower, smallest_batch=batch)


def rate_errors(catalog: Catalog) -> Iterator[float]:
    """Log errors of the sustained 16-bit rate of each measured GPU, predicted without its own measurement."""
    matmul, rated = catalog.matmul, measured_gpus(catalog)
    for gpu in rated:
        if gpu.supports("fp16") is False and gpu.supports("bf16") is False:
            continue
        kind: Literal["bf16", "fp16"] = "bf16" if gpu.supports("bf16") else "fp16"
        measured = measured_rate(matmul, gpu.id, kind)
        guess = sustained_rate(None, gpu, kind, fit_sustained(matmul, rated, gpu.id))
        if measured and guess:
            yield math.log(guess.flops_per_s / measured)


def evidence_sha256(catalog: Catalog) -> str:
    """Identifies the figures that a fit rests on."""
    text = "\n".join(map(repr, points(catalog))) + "\n".join(map(repr, catalog.matmul.rates))
    return hashlib.sha256(text.encode()).hexdigest()


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
