"""The view of the page of one run: what was run where, and every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fitcard.advisor.evidence import utilisation
from fitcard.catalog import Catalog
from fitcard.catalog.schema.quantization import bits_per_weight
from fitcard.catalog.summaries import RunSummary
from fitcard.site.generator.pages.jsonld import breadcrumbs, graph
from fitcard.site.generator.pages.model_page import TOWERS
from fitcard.site.generator.pages.variants import shares


def view(catalog: Catalog, entry: RunSummary) -> dict[str, Any]:
    """Everything that the template of a run's page draws."""
    run = catalog.run(entry.key)
    model = catalog.model_index[entry.model]
    return {
        "run": run,
        "model": model,
        "tower": TOWERS[run.component],
        "counted": {"vision": "Images", "text": "Texts", "all": "Pairs"}[run.component],
        "quantization": catalog.quantizations[run.quantization],
        "census": shares(run.census),
        "bits": bits_per_weight(run.census) if run.census else None,
        "samples": [(speed, _strips(speed.samples_s)) for speed in run.speed],
        "utilisation": [utilisation(catalog, run, speed) for speed in run.speed],
        "card": catalog.gpus.get(run.machine.device),
        "current": run.config_sha256 == model.config_sha256,
        "jsonld": graph(breadcrumbs(("Home", "../../"), ("Models", "../../models/"), (model.name, f"../../models/{entry.model}/"), (f"Run {run.key}", None))),
    }  # fmt: skip


@dataclass(frozen=True)
class Strip:
    """The samples of one process, as bars over the slowest of all processes and as text."""

    samples: int
    bars: int
    path: str
    said: str


DRAWN, SAID = 60, 20
"""Samples of a process that are drawn, and that are written out; the record has them all."""


def _strips(samples: tuple[tuple[float, ...], ...]) -> list[Strip]:
    slowest = max((value for process in samples for value in process), default=0.0) or 1.0
    return [
        Strip(
            len(process), min(len(process), DRAWN),
            "".join(f"M{4 * at} 100V{100 - 100 * value / slowest:.1f}h3V100z" for at, value in enumerate(process[:DRAWN])),
            ", ".join(f"{value:.4g}" for value in process[:SAID])
            + (f" and {len(process) - SAID} more in the record" if len(process) > SAID else ""),
        )
        for process in samples
    ]  # fmt: skip
