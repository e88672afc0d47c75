"""What the linters of runs share: which runs there are, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Phase, Trace


class Fault(NamedTuple):
    """What is impossible about a run."""

    field: str
    """The field, below the run."""
    message: str


KeyedFaults = list[tuple[str, Fault]]
"""The faults of the runs of a model, each with the key of its run."""


def faults_of(catalog: Catalog, model: str, faults: Callable[[Catalog, Run], Iterator[Fault]]) -> KeyedFaults:
    """What a linter finds in the runs of a model."""
    return [(run.key, fault) for run in catalog.runs_of(model) for fault in faults(catalog, run)]


def problems_of(catalog: Catalog, of_model: Callable[[Catalog, str], KeyedFaults]) -> Iterator[Problem]:
    """What a linter finds in all runs, each with its line."""
    for model in dict.fromkeys(run.model for run in catalog.run_index):
        for key, (field, message) in of_model(catalog, model):
            yield catalog.run_problem(key, field, message)


def traced(catalog: Catalog, run: Run) -> tuple[Trace, Phase] | None:
    """The trace of a run's model and the phase that it ran; None where it ran another configuration, a component that is not
    there, or a language model, which has no one phase."""
    if run.config_sha256 != catalog.trace_index[run.model].config_sha256:
        return None
    trace = catalog.traces[run.model]
    return (trace, trace.phase(run.component)) if any(one.component == run.component for one in trace.phases) else None
