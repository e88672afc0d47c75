"""The throughput that is expected of a variant on a GPU, with an interval that is as wide as past errors were."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fitcard.advisor.device_runs import RunTimes
from fitcard.advisor.rates import measured_rate
from fitcard.advisor.records import Rules, VariantRecords
from fitcard.advisor.speed import Setting, Work, fitted_speeds, number_type, work
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.speed import Factors, SpeedFile

ANCHORED_HALF_WIDTH = 0.14
"""Half the width of the 80 % interval of an anchored prediction, a natural logarithm: of 26 runs on an H100 four of five were
within it when their middle batch, 8, was predicted from batches 1 and 64."""


class Predicted(NamedTuple):
    """A throughput in items per second with its 80 % interval."""

    per_second: float
    low: float
    high: float
    why: str


def predict(
    of: VariantRecords, gpu: Gpu, setting: Setting, rules: Rules, *, without: Factors | None = None
) -> Predicted | None:
    """The throughput expected on a GPU of the catalog; None where its rate is not known, or nothing was fitted yet.

    `without` are the factors as they are fitted without that GPU: then nothing that was measured or published of models
    on it takes part.
    """
    speed = rules.speed
    if speed is None:
        return None
    passed = work(of, setting, gpu, fitted_speeds(gpu, number_type(of.quantization, setting.mode), rules.matmul, speed))
    if passed is None:
        return None
    factors = without or speed.factors
    seconds = passed.seconds(factors)
    doubts = [speed.half_width["gpu"]]
    near = None if without else speed.known.get(gpu.id, {}).get(setting.mode)
    if near:
        seconds *= near.slower
        doubts = [speed.half_width["model"]]
        basis = f"and corrected by {near.count} measurements of models on this GPU"
    elif measured_rate(rules.matmul, gpu.id, of.quantization.multiplies_in) is not None:
        basis = "from matrix products that others measured on this GPU, and the model's own operations"
    else:
        doubts.append(speed.half_width["rate"])
        basis = "from the GPU's specification and the model's own operations"
    doubts += _allowances(of, gpu, setting, rules, passed.waits_for_host(seconds), leave_out=without is not None)
    half = math.hypot(*doubts)
    rate = setting.batch / seconds
    why = f"the speed is predicted {basis}; {_shares(passed, seconds, factors)}"
    return Predicted(rate, rate * math.exp(-half), rate * math.exp(half), why)


def _allowances(
    of: VariantRecords, gpu: Gpu, setting: Setting, rules: Rules, waits: bool, *, leave_out: bool
) -> list[float]:
    """What widens the interval where no measurement says how far off a prediction is."""
    measured = rules.speed.known if rules.speed else {}
    shares = rules.runtimes.speed_doubt
    doubts: list[float] = []
    if not of.quantization.plain:
        doubts.append(shares["quantized"].share)
    if gpu.vendor not in {vendor for key, vendor in rules.vendors.items() if not (leave_out and key == gpu.id)}:
        doubts.append(shares["vendor"].share)
    batches = (modes[setting.mode].smallest_batch for modes in measured.values() if setting.mode in modes)
    if waits or setting.batch < min(batches, default=1):
        doubts.append(shares["host"].share)
    return doubts


def _shares(passed: Work, seconds: float, factors: Factors) -> str:
    """The largest kinds of work, in words."""
    if passed.launches >= seconds:
        return "handing over its kernels takes longer than computing them at this batch"
    moved = passed.moved * factors.moved + passed.transposed * factors.transposed + passed.computed * factors.computed
    named = {
        "matrix products": passed.matmul * factors.matmul,
        "attention": passed.attention * factors.attention,
        "element-wise work": moved,
        "the patch embedding": passed.convolution * factors.convolution,
        "unpacking weights": passed.unpacked,
    }
    whole = sum(named.values())
    largest = sorted(named.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{share / whole:.0%} {name}" for name, share in largest if share / whole >= 0.02)


def predict_from_runs(of: VariantRecords, label: str, batch: int, seen: RunTimes, speed: SpeedFile) -> Predicted | None:
    """On a device that only runs know: by the time of each multiply-add that other runs of the same label took
    there."""
    mean = seen.mean()
    if mean is None:
        return None
    rate = batch / (math.exp(mean) * of.phase.multiply_adds(batch))
    half = speed.half_width["device"]
    why = f"the speed is predicted from {len(seen.by_model)} runs of {label} on this device, by multiply-adds"
    return Predicted(rate, rate * math.exp(-half), rate * math.exp(half), why)


def anchored(
    predicted: Callable[[int], Predicted | None], batch: int, own: Sequence[tuple[int, float]]
) -> Predicted | None:
    """The prediction for a batch, corrected by what the same variant's own run on that device reached at other batches.

    `predicted` gives the prediction for a batch without them; `own` holds batches and items per second, by batch. The
    ratio of measured to predicted is interpolated over the logarithm of the batch; outside the measured batches it is
    that of the nearest. Between two measured batches the prediction lies between what they reached, and the interval
    never excludes what a neighbouring batch reached.
    """
    expected = predicted(batch)
    near = _neighbours(batch, own)
    if expected is None or not near:
        return expected
    logs: list[float] = []
    for at, per_second in near:
        other = predicted(at)
        if other is None:
            return expected
        logs.append(math.log(per_second / other.per_second))
    reached = [per_second for _, per_second in near]
    (first, _), (last, _) = near[0], near[-1]
    share = math.log(batch / first) / math.log(last / first) if last > first else 0.0
    rate = expected.per_second * math.exp(logs[0] + share * (logs[-1] - logs[0]))
    if first <= batch <= last:
        rate = min(max(rate, min(reached)), max(reached))
    half = min(ANCHORED_HALF_WIDTH, math.log(expected.high / expected.per_second))
    batches = " and ".join(str(at) for at, _ in near)
    why = f"{expected.why}; corrected by this variant's own run at batch{'es' if len(near) > 1 else ''} {batches}"
    low, high = min(rate * math.exp(-half), *reached), max(rate * math.exp(half), *reached)
    return expected._replace(per_second=rate, low=low, high=high, why=why)


def _neighbours(batch: int, own: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Of measured batches the one itself, or those on both sides of it, or the nearest."""
    below = [one for one in own if one[0] <= batch][-1:]
    above = [one for one in own if one[0] >= batch][:1]
    return list(dict.fromkeys((*below, *above)))
