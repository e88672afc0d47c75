"""What has been measured or published about a variant on a card. Kept apart by kind, and never blended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from fitcard.advisor.kept import Fact
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import NumberType
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.run import Mode, Run, Speed
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.storage.hashing import combined, run_files


@lru_cache(maxsize=64)
def good_runs(catalog: Catalog, model: str) -> tuple[Run, ...]:
    """The runs of a model that count as evidence, newest first."""
    return good(catalog, model, catalog.runs_of(model))


def good(catalog: Catalog, model: str, runs: Sequence[Run]) -> tuple[Run, ...]:
    """Those of a model's runs (oldest first) that count as evidence, newest first: they succeeded, without a cap on memory, with the
    configuration of today."""
    config = catalog.model_index[model].config_sha256
    return tuple(
        run for run in reversed(runs)
        if run.status == "ok" and run.config_sha256 == config and run.memory_limit_bytes is None
    )  # fmt: skip


class Timed(NamedTuple):
    """One good run in short: what it was of, and its throughput at each batch."""

    key: str
    device: str
    component: Component
    quantization: str
    mode: Mode
    speeds: tuple[tuple[int, float, int], ...]
    """Batch, items per second, and multiply-adds of one forward pass."""


def _by_label(catalog: Catalog, model: str) -> dict[str, str]:
    """For each label that a model was run in, the digest of those runs, and of those in BF16 that they are compared with."""
    keys: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for run in catalog.entries_of(model):
        keys.setdefault(run.quantization, {}).setdefault((run.component, run.device, run.mode), []).append(run.key)
    against = keys.get("BF16", {})
    return {
        label: combined(key for variant, own in of.items() for key in (*own, *against.get(variant, ())))
        for label, of in keys.items()
    }


LABELS = Fact(_by_label, runs=True)
"""By it is known whether what is said of a label has changed."""


@lru_cache(maxsize=2)
def labels_run(catalog: Catalog) -> Mapping[str, Mapping[str, str]]:
    """The same of all models."""
    return LABELS.of_all(catalog)


@lru_cache(maxsize=1024)
def timed_on(catalog: Catalog, device: str) -> dict[str, list[Timed]]:
    """The good runs on one device, newest first, by model."""
    models = models_on(catalog).get(device, {})
    found = {
        model: [run for run in runs if run.device == device] for model, runs in TIMED.of_some(catalog, models).items()
    }
    return {model: runs for model, runs in found.items() if runs}


@lru_cache(maxsize=8)
def models_on(catalog: Catalog) -> dict[str, dict[str, None]]:
    """The models that were run on each device, in the order of the catalog."""
    if catalog.digests:
        ran = {(model, device) for _, device, model in run_files(catalog.digests)}
    else:
        ran = {(run.model, run.device) for run in catalog.run_index}
    place = {model: at for at, model in enumerate(catalog.models)}
    found: dict[str, dict[str, None]] = {}
    for model, device in sorted(ran, key=lambda pair: place[pair[0]]):
        found.setdefault(device, {})[model] = None
    return found


def _timed_runs(catalog: Catalog, model: str) -> list[Timed]:
    return [
        Timed(
            run.key, run.machine.device, run.component, run.quantization, run.mode,
            tuple((s.batch, s.per_second, catalog.traces[model].phase(run.component).multiply_adds(s.batch)) for s in run.speed),
        )
        for run in good_runs(catalog, model)
    ]  # fmt: skip


TIMED = Fact(_timed_runs, runs=True)
"""The good runs of a model in short."""

_Variant = tuple[str, Component, str, str, Mode]
"""Model, component, quantization, card, mode."""


@lru_cache(maxsize=64)
def _newest(catalog: Catalog, model: str) -> tuple[dict[_Variant, Run], dict[_Variant, Run]]:
    """The newest good run of each variant of a model, and its newest run whatever became of it."""
    good: dict[_Variant, Run] = {}
    newest: dict[_Variant, Run] = {}
    for run in reversed(catalog.runs_of(model)):
        newest.setdefault((model, run.component, run.quantization, run.machine.device, run.mode), run)
    for run in good_runs(catalog, model):
        good.setdefault((model, run.component, run.quantization, run.machine.device, run.mode), run)
    return good, newest


def newest_run(
    catalog: Catalog, model: str, component: Component, quantization: str, card: str, mode: Mode
) -> Run | None:
    """The newest good run of a variant on that very card."""
    return _newest(catalog, model)[0].get((model, component, quantization, card, mode))


def seen_unsupported(
    catalog: Catalog, model: str, component: Component, quantization: str, card: str, mode: Mode
) -> Run | None:
    """The newest run of a variant on a card, if it says that the runtime cannot serve it there."""
    run = _newest(catalog, model)[1].get((model, component, quantization, card, mode))
    return run if run and run.status == "unsupported" else None


@dataclass(frozen=True)
class Utilisation:
    """How much of a card's peak a run reached."""

    mfu: float | None
    """Arithmetic per second over the dense peak rate for the type that multiplies; None where the card's is not known."""
    mbu: float | None
    """Bytes of weights per second, each read once a pass, over the bandwidth."""


def utilisation(catalog: Catalog, run: Run, speed: Speed) -> Utilisation | None:
    """MFU and MBU of one batch of a run; None for a device whose specification the catalog does not hold."""
    card = catalog.gpus.get(run.machine.device)
    if card is None:
        return None
    # Quantized weights are unpacked before they are multiplied, but for the labels whose integer or FP8 units multiply.
    own = catalog.quantizations[run.quantization].multiplies_in
    types: dict[str, NumberType] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
    kind = own if own in ("fp8", "int8") else types[run.activation_type or "float32"]
    peak, bandwidth = card.peak_flops(kind), card.spec.bandwidth_gb_per_s
    flops = 2 * catalog.traces[run.model].phase(run.component).multiply_adds(speed.batch)
    return Utilisation(
        mfu=flops / speed.median_s / peak if peak else None,
        mbu=(run.weights_bytes or 0) / speed.median_s / (bandwidth * 1e9) if bandwidth else None,
    )


class Known(NamedTuple):
    """The highest throughput that anybody measured for a component on a card, whatever the quantization and mode."""

    per_second: float
    quantization: str
    mode: Mode
    batch: int
    evidence: Literal["measured", "published", "predicted"]
    record: str | None
    """The key of the run, or the address of the publication; None for a prediction."""
    low: float | None = None
    high: float | None = None
    """The 80 % interval of a prediction."""


@lru_cache(maxsize=64)
def _known(catalog: Catalog, model: str) -> dict[tuple[Component, str], Known]:
    """The highest throughput that is known of each component of a model on each card; our own runs before those of others."""
    best: dict[tuple[Component, str], Known] = {}

    def take(component: Component, card: str, known: Known) -> None:
        other = best.get((component, card))
        if other is None or (other.evidence == known.evidence and known.per_second > other.per_second):
            best[component, card] = known

    for run in good_runs(catalog, model):
        for speed in run.speed:
            known = Known(speed.per_second, run.quantization, run.mode, speed.batch, "measured", run.key)
            take(run.component, run.machine.device, known)
    file = catalog.published.get(model)
    for s in file.comparable if file else ():
        url = file.sources[s.source].url if file else ""
        take(s.component, s.gpu, Known(s.per_second, s.quantization, s.mode, s.batch, "published", url))
    return best


def fastest_known(catalog: Catalog, model: str, component: Component, card: str) -> Known | None:
    """The highest throughput that is known; our own runs before those of others."""
    return _known(catalog, model).get((component, card))


@dataclass(frozen=True)
class Cited:
    """A published speed with the address at which it stands."""

    speed: PublishedSpeed
    url: str


@lru_cache(maxsize=64)
def _best_published(catalog: Catalog, model: str) -> dict[_Variant, Cited]:
    best: dict[_Variant, Cited] = {}
    if (file := catalog.published.get(model)) is None:
        return best
    for speed in file.comparable:
        key = (model, speed.component, speed.quantization, speed.gpu, speed.mode)
        if key not in best or speed.per_second > best[key].speed.per_second:
            best[key] = Cited(speed, file.sources[speed.source].url)
    return best


def published_speed(
    catalog: Catalog, model: str, component: Component, quantization: str, card: str, mode: Mode
) -> Cited | None:
    """The highest throughput that others published for a variant on a card."""
    return _best_published(catalog, model).get((model, component, quantization, card, mode))
