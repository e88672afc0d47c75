"""Runs whose counts are not those of the model that they name."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of, traced
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES
from fitcard.catalog.storage.memo import memo

NAME = "run_counts"
SCOPE = "pages"

FILE = 1.5
"""How many times the tensors' bytes a file may have: graphs, names and padding take up to 0.5 % of a real one."""
FILE_BYTES = 64 << 20
"""And so much besides, for models so small that the graph is most of the file."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Tensors and parameters that are not those of the trace, inputs of another size, weights that cannot be held in so few bytes."""
    yield from problems_of(catalog, _of_model)


@memo
def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is impossible about the counts of one run."""
    if run.component not in catalog.traces[run.model].components():
        there = ", ".join(catalog.traces[run.model].components())
        yield Fault("component", f"is {run.component}, which {run.model} does not have (it has: {there})")
    if run.status != "ok" or not (known := traced(catalog, run)):
        return
    trace, phase = known
    elements, parameters = sum(row.elements for row in run.census.values()), trace.parameters(run.component)
    if elements != parameters:
        yield Fault(
            "census", f"counts {elements:,} elements, and {run.component} of {run.model} has {parameters:,} parameters"
        )
    if (run.workload.image_size, run.workload.text_tokens) != (phase.image_size, phase.text_tokens):
        sizes = f"{phase.image_size or 'no'} px and {phase.text_tokens or 'no'} tokens"
        got = f"{run.workload.image_size or 'no'} px and {run.workload.text_tokens or 'no'} tokens"
        yield Fault("workload", f"is {got}, and this configuration is run with {sizes}")
    size = sum(row.bytes for row in run.census.values())
    if run.file_bytes and run.file_bytes > FILE * size + FILE_BYTES:
        yield Fault("file_bytes", f"is {run.file_bytes:,}, and its tensors have {size:,}")
    least = sum(
        row.bytes if TENSOR_TYPES[name].packed else min(row.bytes, 2 * row.elements) for name, row in run.census.items()
    )
    most = sum(max(row.bytes, 4 * row.elements) for row in run.census.values())
    if run.weights_bytes and not 0.9 * least <= run.weights_bytes <= 1.1 * most:
        yield Fault(
            "weights_bytes",
            f"is {run.weights_bytes:,}, and tensors of these types are held in {least:,} to {most:,} bytes",
        )
