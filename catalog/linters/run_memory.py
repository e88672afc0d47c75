"""Runs that took less memory than their weights, or more than there is."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of
from fitcard.catalog.schema.run import Run
from fitcard.catalog.storage.memo import memo

NAME = "run_memory"
SCOPE = "pages"

ROUNDING = 1.03
"""What GPUs say of their memory differs by up to 2 % from what they are sold with."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Loaded memory below the weights; peaks above the device's memory, or above the cap under which the run was to stay."""
    yield from problems_of(catalog, _of_model)


@memo
def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is impossible about the memory of one run."""
    gpu = catalog.gpus.get(run.machine.device)
    room, whose = run.machine.memory_bytes, "the machine"
    if run.machine.device_vendor != "CPU":
        sizes = [run.machine.device_memory_bytes, gpu.spec.memory_bytes if gpu else None]
        room, whose = min((size for size in sizes if size), default=room), run.machine.device
    for index, memory in enumerate(run.memory):
        at, batch = f"memory.{index}", f"at batch {memory.batch}"
        if run.weights_bytes and memory.loaded_bytes < run.weights_bytes:
            yield Fault(
                f"{at}.loaded_bytes",
                f"is {memory.loaded_bytes:,} {batch}, less than the {run.weights_bytes:,} of its weights",
            )
        if memory.total_bytes > room * ROUNDING:
            yield Fault(at, f"takes {memory.total_bytes:,} bytes {batch}, and {whose} has {room:,}")
        if run.memory_limit_bytes and memory.peak_bytes > run.memory_limit_bytes * ROUNDING:
            yield Fault(
                f"{at}.peak_bytes",
                f"is {memory.peak_bytes:,} {batch}, above the cap of {run.memory_limit_bytes:,} of this run",
            )
        if run.machine.device_vendor == "CPU" and memory.reserved_bytes is not None:
            yield Fault(f"{at}.reserved_bytes", "is what the allocator of a GPU holds, and this ran on a processor")
