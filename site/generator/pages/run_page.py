"""The view of the page of one run: what was run where, and every sample."""

from __future__ import annotations

from dataclasses import dataclass

from fitcard.advisor.evidence import Utilisation, utilisation
from fitcard.advisor.run_band import OutOfBand, flagged
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import bits_per_weight
from fitcard.catalog.schema.run import Run, Speed
from fitcard.catalog.summaries import ModelSummary, RunSummary
from fitcard.site.generator.pages.jsonld import breadcrumbs, graph
from fitcard.site.generator.pages.variants import CensusShare, shares
from fitcard.site.generator.pages.view import PageView

DRAWN, WRITTEN = 60, 20
"""Samples of a process that are drawn, and that are written out; the record has them all."""


@dataclass(frozen=True)
class Strip:
    """The samples of one process, as bars over the slowest of all processes and as text."""

    samples: int
    bars: int
    path: str
    text: str


@dataclass(frozen=True)
class BatchSamples:
    """One batch: its speed, how much of the hardware it used, and its samples by process."""

    speed: Speed
    utilisation: Utilisation | None
    strips: list[Strip]
    disturbances: tuple[str, ...]
    """What may have held it up."""


@dataclass(frozen=True, kw_only=True)
class RunPage(PageView):
    """Everything that the template of a run's page draws."""

    run: Run
    model: ModelSummary
    counted: str
    """What the throughput counts: Images, Texts or Pairs."""
    census: tuple[CensusShare, ...]
    bits: float | None
    """Bits per weight of the file that was written."""
    speeds: list[BatchSamples]
    gpu: Gpu | None
    """None where the device is no GPU of the catalog."""
    current: bool
    """Whether the model's configuration is still that of the run."""
    outside: OutOfBand | None
    """How far it is outside the expected band, where nobody signed it off."""
    disturbed: list[str]
    """What may have held some of its batches up."""


def view(catalog: Catalog, entry: RunSummary) -> RunPage:
    """The view of one run."""
    run = catalog.run(entry.key)
    model = catalog.model_index[entry.model]
    return RunPage(
        jsonld=graph(
            breadcrumbs(
                ("Home", "../../"),
                ("Models", "../../models/"),
                (model.name, f"../../models/{entry.model}/"),
                (f"Run {run.key}", None),
            )
        ),
        run=run,
        model=model,
        counted=COMPONENTS[run.component].item.capitalize(),
        census=shares(run.census),
        bits=bits_per_weight(run.census) if run.census else None,
        speeds=[
            BatchSamples(speed, utilisation(catalog, run, speed), _strips(speed.samples_s), run.disturbances(speed))
            for speed in run.speed
        ],
        gpu=catalog.gpus.get(run.machine.device),
        current=run.config_sha256 == model.config_sha256,
        outside=flagged(catalog, entry.model).get(run.key),
        disturbed=list(dict.fromkeys(what for speed in run.speed for what in run.disturbances(speed))),
    )


def _strips(samples: tuple[tuple[float, ...], ...]) -> list[Strip]:
    slowest = max((value for process in samples for value in process), default=0.0) or 1.0
    return [_strip(process, slowest) for process in samples]


def _strip(process: tuple[float, ...], slowest: float) -> Strip:
    bars = process[:DRAWN]
    path = "".join(f"M{4 * at} 100V{100 - 100 * value / slowest:.1f}h3V100z" for at, value in enumerate(bars))
    text = ", ".join(f"{value:.4g}" for value in process[:WRITTEN])
    if len(process) > WRITTEN:
        text += f" and {len(process) - WRITTEN} more in the record"
    return Strip(len(process), len(bars), path, text)
