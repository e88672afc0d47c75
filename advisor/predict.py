"""The throughput that is expected of a variant on a card, with an interval that is as wide as past errors were."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from fitcard.advisor.evidence import Timed, timed_on
from fitcard.advisor.speed import Setting, Work, has_own_rate, work
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.speed import Factors
from fitcard.catalog.schema.trace import Component


@dataclass(frozen=True)
class Predicted:
    """A throughput in items per second with its 80 % interval."""

    per_second: float
    low: float
    high: float
    why: str


def predict(
    catalog: Catalog,
    model: str,
    component: Component,
    label: str,
    card: Gpu,
    mode: Mode,
    batch: int,
    *,
    only_card: bool,
) -> Predicted | None:
    """The expected throughput; None where neither the card's rate nor a run on that device says anything.

    `only_card` leaves out what was measured or published of models on that very card.
    """
    if card.id not in catalog.gpus:
        return None if only_card else _from_other_runs(catalog, model, component, label, card.id, mode, batch)
    constants = catalog.speed
    if constants is None:
        return None
    found = work(catalog, model, component, label, card, Setting(mode, batch), constants.sustained)
    if found is None:
        return None
    factors = _factors_without(catalog, card.id) if only_card else constants.factors
    seconds = found.seconds(factors)
    doubts = [constants.half_width["gpu"]]
    near = None if only_card else constants.known.get(card.id, {}).get(mode)
    if near:
        seconds *= near.slower
        doubts = [constants.half_width["model"]]
        basis = f"and corrected by {near.count} measurements of models on this card"
    elif has_own_rate(catalog, card, label):
        basis = "from matrix products that others measured on this card, and the model's own operations"
    else:
        doubts.append(constants.half_width["rate"])
        basis = "from the card's specification and the model's own operations"
    vendors = {
        catalog.gpus[gpu].vendor
        for gpu in constants.known
        if gpu in catalog.gpus and not (only_card and gpu == card.id)
    }
    allowances = catalog.runtimes.speed_doubt
    if not catalog.quantizations[label].plain:
        doubts.append(allowances["quantized"].share)
    if card.vendor not in vendors:
        doubts.append(allowances["vendor"].share)
    smallest = min((modes[mode].smallest_batch for modes in constants.known.values() if mode in modes), default=1)
    if found.waits_for_host(seconds) or batch < smallest:
        doubts.append(allowances["host"].share)
    half = math.hypot(*doubts)
    rate = batch / seconds
    return Predicted(
        rate,
        rate * math.exp(-half),
        rate * math.exp(half),
        f"the speed is predicted {basis}; {_shares(found, seconds, factors)}",
    )


def _shares(found: Work, seconds: float, factors: Factors) -> str:
    """The largest kinds of work, in words."""
    if found.launches >= seconds:
        return "handing over its kernels takes longer than computing them at this batch"
    named = {
        "matrix products": found.matmul * factors.matmul,
        "attention": found.attention * factors.attention,
        "element-wise work": found.moved * factors.moved + found.transposed * factors.transposed + found.computed * factors.computed,
        "the patch embedding": found.convolution * factors.convolution,
        "unpacking weights": found.unpacked,
    }  # fmt: skip
    whole = sum(named.values())
    largest = sorted(named.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{share / whole:.0%} {name}" for name, share in largest if share / whole >= 0.02)


def _factors_without(catalog: Catalog, gpu: str) -> Factors:
    """The factors as they are fitted without a card, so that its own figures have no part in a prediction that leaves them out."""
    from fitcard.advisor.calibrate import fit_without

    assert catalog.speed is not None
    if gpu not in catalog.speed.known:
        return catalog.speed.factors
    return fit_without(catalog, "gpu", gpu) or catalog.speed.factors


def _from_other_runs(
    catalog: Catalog, model: str, component: Component, label: str, device: str, mode: Mode, batch: int
) -> Predicted | None:
    """On a device that only runs know: the time of each multiply-add that other runs of the same label took there."""
    seen = other_runs(catalog, component, label, device, mode, batch)
    if not seen.by_model or catalog.speed is None:
        return None
    per_multiply_add = math.exp(seen.total / len(seen.by_model))
    rate = batch / (per_multiply_add * catalog.traces[model].phase(component).multiply_adds(batch))
    half = catalog.speed.half_width["device"]
    why = f"the speed is predicted from {len(seen.by_model)} runs of {label} on this device, by multiply-adds"
    return Predicted(rate, rate * math.exp(-half), rate * math.exp(half), why)


@dataclass(frozen=True)
class Seen:
    """Seconds per multiply-add of the models that were run, as logarithms."""

    by_model: dict[str, float]
    total: float
    """Their sum."""


@lru_cache(maxsize=1 << 13)
def other_runs(catalog: Catalog, component: Component, label: str, device: str, mode: Mode, batch: int) -> Seen:
    """Seconds per multiply-add of every model's run of a component and label on a device, at its batch
    nearest to `batch`. Towers of texts and of images are kept apart: one is bound by its weights, the other by arithmetic."""
    found: dict[str, float] = {}
    for model, run in _newest_on(catalog, device).get((component, label, mode), {}).items():
        at, per_second, multiply_adds = min(run.speeds, key=lambda speed: abs(math.log(speed[0] / batch)))
        found[model] = math.log(at / per_second / multiply_adds)
    return Seen(found, sum(found.values()))


@lru_cache(maxsize=1024)
def _newest_on(catalog: Catalog, device: str) -> dict[tuple[Component, str, Mode], dict[str, Timed]]:
    """The newest run with a speed of each model on a device, by component, label and mode."""
    found: dict[tuple[Component, str, Mode], dict[str, Timed]] = {}
    for model, runs in timed_on(catalog, device).items():
        for run in runs:
            if run.speeds:
                found.setdefault((run.component, run.quantization, run.mode), {}).setdefault(model, run)
    return found
