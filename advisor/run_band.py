"""Runs outside the band in which they are expected: shown with that mark, and left out of fits until somebody signs them off.

On a GPU the band is the 80 % interval of the prediction in which no run takes part, but only what others published. On a
device that only runs know it is what the other models' runs took there. Either is widened by `BAND`. So no run has a say
in whether a run of another model on the same GPU is believed. A run is signed off by an exception in the catalog's
`exceptions.yaml`, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import NamedTuple

from fitcard.advisor.device_runs import Timed, newest_on, run_times, timed_on, timed_runs
from fitcard.advisor.predict import predict
from fitcard.advisor.records import Rules, VariantRecords, rules_of
from fitcard.advisor.speed import Setting
from fitcard.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.workload import Workload
from fitcard.catalog.storage.memo import memo

NAME = "run_band"
SCOPE = "files"

BAND = 2.5
"""How many times beyond the interval a speed may be. Of 129 real runs, on an H100 and two processors, the farthest is 2.3
times beyond it."""
LEAST_MODELS = 2
"""Other models on a device that only runs know, below which nothing is expected there: of two that differ, either may be
wrong."""


class OutOfBand(NamedTuple):
    """A run that is not where it is expected, by the batch that is farthest out."""

    key: str
    model: str
    device: str
    batch: int
    per_second: float
    low: float
    high: float
    """The band, in items per second."""

    def __str__(self) -> str:
        factor = self.per_second / self.high if self.per_second > self.high else self.low / self.per_second
        return (
            f"{self.per_second:.4g} a second at batch {self.batch} is {factor:.2g} times outside the "
            f"{self.low:.4g} to {self.high:.4g} that are expected without it"
        )


def check(catalog: Catalog) -> Iterator[Problem]:
    """A linter: every run outside its band. It stands here and not in the catalog since it asks the predictor."""
    for model in dict.fromkeys(run.model for run in catalog.run_index):
        for out in out_of_band(catalog, model):
            message = f"{out}: run it again, or sign it off in exceptions.yaml with the reason"
            yield catalog.run_problem(out.key, "speed", message)


def out_of_band(catalog: Catalog, model: str) -> list[OutOfBand]:
    """The good runs of a model that are outside their band, signed off or not."""
    devices = {run.device for run in catalog.summaries_of(model) if run.device not in catalog.gpus}
    on_devices = [out for device in sorted(devices) for out in _on_device(catalog, device) if out.model == model]
    return [*_on_gpus(catalog, model), *on_devices]


def flagged(catalog: Catalog, model: str) -> dict[str, OutOfBand]:
    """Those that nobody signed off, by key."""
    return _open(catalog, out_of_band(catalog, model))


def flagged_on_gpus(catalog: Catalog, model: str) -> dict[str, OutOfBand]:
    """The same of a model's runs on GPUs of the catalog, which rest on no other model's runs."""
    return _open(catalog, _on_gpus(catalog, model))


def doubted_on(catalog: Catalog, model: str, device: str) -> Collection[str]:
    """The keys of a model's runs on a device that are flagged. Those of its runs on other GPUs, or of other models on a
    device that only runs know, may be among them."""
    on_gpu = device in catalog.gpus
    return flagged_on_gpus(catalog, model) if on_gpu else _open(catalog, _on_device(catalog, device))


def believed_on(catalog: Catalog, device: str) -> dict[str, list[Timed]]:
    """The good runs on a device that only runs know, newest first, by model, without those that are flagged."""
    doubted = _open(catalog, _on_device(catalog, device))
    timed = {
        model: [run for run in runs if run.key not in doubted] for model, runs in timed_on(catalog, device).items()
    }
    return {model: runs for model, runs in timed.items() if runs}


def _open(catalog: Catalog, outside: list[OutOfBand]) -> dict[str, OutOfBand]:
    if not outside:
        return {}
    signed = {(one.file, one.field) for one in catalog.exceptions if one.linter == NAME}
    return {out.key: out for out in outside if (_file(out), _field(out)) not in signed}


def _file(out: OutOfBand) -> str:
    return f"runs/{out.device}/{out.model}.yaml"


def _field(out: OutOfBand) -> str:
    return f"{out.key}.speed"


@memo
def _on_gpus(catalog: Catalog, model: str) -> list[OutOfBand]:
    runs = [run for run in timed_runs(catalog, model) if run.device in catalog.gpus]
    rules = rules_of(catalog) if runs else None
    if rules is None or rules.speed is None:
        return []
    outside = (_farthest(_gpu_bands(catalog, model, run, rules)) for run in runs)
    return [out for out in outside if out]


def _gpu_bands(catalog: Catalog, model: str, run: Timed, rules: Rules) -> Iterator[OutOfBand]:
    if run.component == "language":
        from fitcard.advisor.language_model import traced_model  # here, since answers about encoders need none of it
        from fitcard.advisor.language_speed import decode_rate

        language, gpu = traced_model(catalog.traces[model], rules.language[run.quantization]), catalog.gpus[run.device]
        speed = rules.runtimes.token_speed.get(gpu.vendor)
        for batch, per_second, _ in run.speeds:
            if rate := decode_rate(language, gpu, speed, Workload(parallel=batch), 1):
                yield OutOfBand(run.key, model, run.device, batch, per_second, rate.low, rate.high)
        return
    of = VariantRecords(catalog.traces[model], run.component, catalog.quantizations[run.quantization])
    without = rules.speed.published_factors if rules.speed else None
    for batch, per_second, _ in run.speeds:
        expected = predict(of, catalog.gpus[run.device], Setting(run.mode, batch), rules, without=without)
        if expected:
            yield OutOfBand(run.key, model, run.device, batch, per_second, expected.low, expected.high)


@memo
def _on_device(catalog: Catalog, device: str) -> list[OutOfBand]:
    speed, timed = catalog.speed, timed_on(catalog, device)
    if speed is None:
        return []
    newest, width = newest_on(timed), math.exp(speed.half_width["device"])
    outside: list[OutOfBand] = []
    for model, run in ((model, run) for model, runs in timed.items() for run in runs if run.component != "language"):
        bands: list[OutOfBand] = []
        for batch, per_second, multiply_adds in run.speeds:
            seen = run_times(newest, run.component, run.quantization, run.mode, batch).by_model
            others = [batch / multiply_adds / math.exp(log) for other, log in seen.items() if other != model]
            if len(others) >= LEAST_MODELS:
                low, high = min(others) / width, max(others) * width
                bands.append(OutOfBand(run.key, model, device, batch, per_second, low, high))
        out = _farthest(iter(bands))
        outside += [out] if out else []
    return outside


def _farthest(bands: Iterator[OutOfBand]) -> OutOfBand | None:
    """Of a run's batches the one that is farthest outside; None where all are within `BAND` times the band."""
    far = max(bands, key=_beyond, default=None)
    return far if far and _beyond(far) > BAND else None


def _beyond(out: OutOfBand) -> float:
    return max(out.per_second / out.high, out.low / out.per_second)
