"""Runs of language models that are faster than their device, or whose bytes are not those of the model."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of
from fitcard.catalog.linters.published import figure
from fitcard.catalog.linters.run_speed import limits
from fitcard.catalog.schema.run import Run
from fitcard.catalog.storage.memo import memo

NAME = "run_generation"
SCOPE = "pages"

RESIDENT = (0.5, 1.5)
"""Between which shares of what was allocated a process's memory lies: logits that nobody reads are never touched."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Prompts read above the roofline, tokens written faster than the weights can be read, weights and memory that do not fit
    the rest."""
    yield from problems_of(catalog, _of_model)


@memo
def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is impossible about one run."""
    trace, generation = catalog.traces[run.model], run.generation
    if run.component != "language" or generation is None or trace.language is None:
        return
    elements, parameters = sum(row.elements for row in run.census.values()), trace.parameters("language")
    if elements != parameters:
        yield Fault("census", f"counts {elements:,} elements, and {run.model} has {parameters:,} parameters")
    size = sum(row.bytes for row in run.census.values())
    if not size <= generation.allocated.weights_bytes <= 1.1 * size:
        yield Fault(
            "generation.allocated.weights_bytes",
            f"is {generation.allocated.weights_bytes:,}, and its tensors have {size:,}",
        )
    total = generation.allocated.total_bytes
    if not RESIDENT[0] * size <= generation.resident_bytes <= RESIDENT[1] * total:
        yield Fault("generation.resident_bytes", f"is {generation.resident_bytes:,}, and {total:,} were allocated")
    flops_per_s, bandwidth, cache_bytes = limits(catalog, run)
    work = 2 * trace.active_parameters()
    read = size * trace.active_parameters() / parameters - cache_bytes
    for index, times in enumerate(generation.times):
        at, fastest = f"generation.times.{index}.wall_s", max(times.rates)
        if fastest * work > flops_per_s:
            yield Fault(
                at, f"has {figure(fastest)} tokens/s, which makes {figure(fastest * work / 1e12)} TFLOP/s; "
                f"{run.machine.device} does at most {figure(flops_per_s / 1e12)}",
            )  # fmt: skip
        elif times.phase == "decode" and read > 0 and fastest * read > bandwidth:
            yield Fault(
                at, f"has {figure(fastest)} tokens/s, which reads the weights at {figure(fastest * read / 1e9)} GB/s; "
                f"{run.machine.device} does at most {figure(bandwidth / 1e9)}",
            )  # fmt: skip
