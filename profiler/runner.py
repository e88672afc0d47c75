"""`fitcard profile`: every case in fresh processes, and a record for each, failures included."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait

import torch

from fitcard.catalog import Catalog
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.backends import backend
from fitcard.profiler.case import Case, Profile, Progress
from fitcard.profiler.devices import Device
from fitcard.profiler.measure import FIDELITY_INPUTS
from fitcard.profiler.processes import Processes
from fitcard.profiler.references import References
from fitcard.profiler.settings import Settings
from fitcard.profiler.workspace import workspace


def profile(
    catalog: Catalog,
    model_id: str,
    settings: Settings,
    variants: Sequence[Variant],
    progress: Progress = lambda *_: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Generator[Run]:
    """Run the variants of a model and give each record as soon as it is there. To be closed when it is left before
    its end.

    Raises FitcardError when a checkpoint is not this model's; anything that goes wrong with one case is a record.
    """
    with workspace() as folder, Processes(settings, len(variants)) as processes:
        context = Profile(catalog, model_id, settings, processes, folder, progress, warn)
        references = References(context)

        def measure(case: Case) -> Run:
            if (reason := case.unsupported()) is not None:
                return case.record("unsupported", reason)
            if settings.memory_limit_bytes is not None:
                return case.run(lambda: None)
            return case.run(lambda: references.reference(case.variant.component))

        waiting = {processes.pool.submit(measure, Case(context, variant)) for variant in variants}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def missing_packages(catalog: Catalog, labels: Sequence[str]) -> dict[str, str]:
    """The labels whose runtime cannot be imported here, with what is missing."""
    missing: dict[str, str] = {}
    for label in labels:
        try:
            backend(catalog.quantizations[label])
        except ImportError as error:
            missing[label] = error.name or str(error)
    return missing


def estimate_s(catalog: Catalog, settings: Settings, variants: Sequence[Variant]) -> float:
    """Roughly how long the variants will take, from two matrix products timed here. Right within a factor of two or
    so."""
    rates = {bits: _multiply_adds_per_s(settings.device, bits) for bits in (16, 32)}
    start_s, passes, total = 8.0, 4.5, 0.0
    for variant in variants:
        rate = rates[catalog.quantizations[variant.quantization].held_bits]
        item_s = catalog.traces[variant.model].phase(variant.component).multiply_adds() / rate
        batches_s = sum(settings.batches) * item_s
        if settings.device.kind == "cpu":
            total += (2 + settings.repeats) * start_s + (2 + settings.repeats * passes) * batches_s
        else:  # starts overlap, except for what happens on the GPU; seen on an H100
            total += settings.repeats * (5.0 + 1.5 * len(settings.batches) + passes * batches_s)
        total += FIDELITY_INPUTS[variant.component] * item_s
    return total


def _multiply_adds_per_s(device: Device, bits: int) -> float:
    """The rate of one product of 2048 x 2048 matrices, in float32 or in what the device multiplies fastest.

    A GPU is not asked: its context would stay in this process, and in the way of what is measured. 10 T/s stand for it.
    """
    if device.kind != "cpu":
        return 1e13
    a = torch.randn(2048, 2048, dtype=device.fast_type if bits == 16 else torch.float32)
    torch.mm(a, a)
    began, products = time.perf_counter(), 0
    while time.perf_counter() - began < 0.2:
        torch.mm(a, a)
        products += 1
    return products * 2048**3 / (time.perf_counter() - began)
