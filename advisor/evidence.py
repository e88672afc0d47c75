"""What has been measured or published about a variant on a GPU. Kept apart by kind, and never blended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from fitcard.advisor.device_runs import counts
from fitcard.advisor.run_band import doubted_on, flagged_on_gpus
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Run, Speed
from fitcard.catalog.schema.trace import Component, Phase
from fitcard.catalog.schema.workload import Mode, Setup
from fitcard.catalog.storage.memo import shared
from fitcard.catalog.summaries import RunSummary


def good_runs(catalog: Catalog, model: str) -> tuple[Run, ...]:
    """The runs of a model that count as evidence, newest first."""
    return good(catalog.runs_of(model), catalog.model_index[model].config_sha256)


def good(runs: Sequence[Run], config_sha256: str) -> tuple[Run, ...]:
    """Those of a model's runs (oldest first) that count as evidence, newest first: they succeeded, without a cap on
    memory, with the configuration of today."""
    return tuple(
        run
        for run in reversed(runs)
        if run.status == "ok" and run.config_sha256 == config_sha256 and run.memory_limit_bytes is None
    )


class BestSpeed(NamedTuple):
    """The highest throughput that anybody measured for a component on a GPU, whatever the quantization and mode; or
    what is expected of the best choice there."""

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
    recorded_by: str | None = None
    """Who recorded the run, where that was none of fitcard's own runners."""


class Cited(NamedTuple):
    """A published speed with the address at which it stands."""

    speed: PublishedSpeed
    url: str


class Evidence(NamedTuple):
    """What was measured or published of one model. Runs outside the band in which they are expected are no evidence."""

    good: Mapping[tuple[Component, str, Setup], Sequence[RunSummary]]
    """The good runs of each component and label in each setup, newest first."""
    newest: Mapping[tuple[Component, str, Setup], RunSummary]
    """The newest run whatever became of it."""
    published: Mapping[tuple[Component, str, Setup], Cited]
    """The highest throughput that others published."""
    fastest: Mapping[tuple[Component, str], BestSpeed]
    """The highest throughput of each component on each GPU; our own runs before those of others."""
    read: Callable[[str], Run]
    """Gives the run of a key: most answers need none of them."""
    doubted: Callable[[str], Collection[str]]
    """Gives the keys of the runs on a device that are outside their band. On a processor that rests on the runs of
    other models, which most answers need not read."""

    def run(self, component: Component, label: str, setup: Setup) -> Run | None:
        """The newest good run of a variant on that very device."""
        summaries = self.good.get((component, label, setup), ())
        doubted = self.doubted(setup.device) if summaries else ()
        return next((self.read(summary.key) for summary in summaries if summary.key not in doubted), None)

    def unsupported(self, component: Component, label: str, setup: Setup) -> RunSummary | None:
        """The newest run of a variant on a device, if it says that the engine cannot serve it there."""
        run = self.newest.get((component, label, setup))
        return run if run and run.status == "unsupported" else None


@shared
def evidence_of(catalog: Catalog, model: str) -> Evidence:
    """What was measured or published of a model of the catalog."""
    runs = catalog.summaries_of(model)
    good_ones = [run for run in reversed(runs) if counts(catalog, run)]
    by_variant: dict[tuple[Component, str, Setup], list[RunSummary]] = {}
    for run in good_ones:
        by_variant.setdefault((run.component, run.quantization, Setup(run.device, run.mode)), []).append(run)
    file = catalog.published.get(model)
    cited = [Cited(speed, file.sources[speed.source].url) for speed in file.comparable] if file else []
    published: dict[tuple[Component, str, Setup], Cited] = {}
    for one in cited:
        key = (one.speed.component, one.speed.quantization, Setup(one.speed.gpu, one.speed.mode))
        if key not in published or one.speed.per_second > published[key].speed.per_second:
            published[key] = one
    newest = {(run.component, run.quantization, Setup(run.device, run.mode)): run for run in runs}
    on_gpus = [run for run in good_ones if run.device in catalog.gpus]
    doubted = flagged_on_gpus(catalog, model) if on_gpus else ()
    fastest = _fastest((run for run in on_gpus if run.key not in doubted), cited)
    return Evidence(by_variant, newest, published, fastest, catalog.run, partial(doubted_on, catalog, model))


def _fastest(runs: Iterable[RunSummary], cited: Iterable[Cited]) -> dict[tuple[Component, str], BestSpeed]:
    best: dict[tuple[Component, str], BestSpeed] = {}

    def take(component: Component, device: str, one: BestSpeed) -> None:
        other = best.get((component, device))
        if other is None or (other.evidence == one.evidence and one.per_second > other.per_second):
            best[component, device] = one

    for run in runs:
        for one in run.batches:
            if one.per_second is not None:
                speed = BestSpeed(
                    one.per_second, run.quantization, run.mode, one.batch, "measured", run.key,
                    recorded_by=run.recorded_by,
                )  # fmt: skip
                take(run.component, run.device, speed)
    for s, url in cited:
        take(s.component, s.gpu, BestSpeed(s.per_second, s.quantization, s.mode, s.batch, "published", url))
    return best


class Utilisation(NamedTuple):
    """How much of a GPU's peak a run reached."""

    mfu: float | None
    """Arithmetic per second over the dense peak rate for the type that multiplies; None where the GPU's is not
    known."""
    mbu: float | None
    """Bytes of weights per second, each read once a pass, over the bandwidth."""


def utilisation(catalog: Catalog, run: Run, speed: Speed) -> Utilisation | None:
    """MFU and MBU of one batch of a run; None for a device whose specification the catalog does not hold."""
    if run.machine.device not in catalog.gpus:
        return None
    phase = catalog.traces[run.model].phase(run.component)
    return utilisation_of(run, speed, catalog.gpus[run.machine.device], phase, catalog.quantizations[run.quantization])


_TYPES: dict[str, NumberType] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""Number types by torch's names."""


def utilisation_of(run: Run, speed: Speed, gpu: Gpu, phase: Phase, quantization: Quantization) -> Utilisation:
    """MFU and MBU of one batch of a run of `phase` on a GPU."""
    # Quantized weights are unpacked before they are multiplied, but for the labels whose integer or FP8 units multiply.
    kind = quantization.multiplies_in
    if kind not in ("fp8", "int8"):
        kind = _TYPES[run.activation_type or "float32"]
    peak, bandwidth = gpu.peak_flops(kind), gpu.spec.bandwidth_gb_per_s
    flops = 2 * phase.multiply_adds(speed.batch)
    return Utilisation(
        mfu=flops / speed.median_s / peak if peak else None,
        mbu=(run.weights_bytes or 0) / speed.median_s / (bandwidth * 1e9) if bandwidth else None,
    )
