"""Runs of a day that has not come, or on which the model or the GPU was not there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of
from fitcard.catalog.schema.run import Run

NAME = "run_dates"
SCOPE = "pages"

EARLY = timedelta(days=180)
"""How long before its release somebody may have had a GPU or a model."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Runs after the newest day that is known, and before the releases of what they ran and ran on."""
    yield from problems_of(catalog, _of_model)


def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is impossible about the day of one run."""
    day, last = date.fromisoformat(run.measured_at[:10]), newest_day(catalog)
    if day > last + timedelta(days=1):  # in another time zone it may be tomorrow
        yield Fault("measured_at", f"is in the future: the newest day known here is {last} (got {run.measured_at})")
    gpu, model = catalog.gpus.get(run.machine.device), catalog.models[run.model]
    for what, released in ((run.machine.device, gpu.spec.released if gpu else None), (run.model, model.released)):
        if released and day < date.fromisoformat(released) - EARLY:
            yield Fault("measured_at", f"is long before {what} was released, {released} (got {run.measured_at})")


def newest_day(catalog: Catalog) -> date:
    """Today, or the newest day on which somebody reviewed a file where this machine's clock is behind that."""
    reviewed = (file.reviewed for _, _, file in catalog.sourced_files())
    return max(datetime.now(UTC).date(), *map(date.fromisoformat, reviewed))
