"""Runs faster than their device can compute, or than its memory can deliver the weights."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of
from fitcard.catalog.linters.published import BOOST, figure, pass_flops, peak_of, read_bytes
from fitcard.catalog.schema.run import Machine, Run
from fitcard.catalog.storage.memo import memo

NAME = "run_speed"
SCOPE = "pages"

CORE_FLOPS = 0.5e12
"""What no core exceeds in FP32: two units of 16 lanes, a multiply-add each, at 6 GHz make 0.38 TFLOP/s."""
CORE_FLOPS_16_BIT = 1.5e12
"""The same in 16 bit or INT8 without a matrix unit: four times the lanes' rate, as AVX-512 VNNI has it."""
CORE_FLOPS_MATRIX = 24e12
"""The same with a matrix unit: AMX does 4,096 INT8 operations a clock; Arm's and Apple's, shared by cores, less."""
CORE_BANDWIDTH = 100e9
"""Bytes a second that no core reads from main memory."""
SOCKET_BANDWIDTH = 4e12
"""Bytes a second that no machine's processors read together: two sockets with HBM have 3.2 TB/s."""
CACHE_BYTES = 1200 << 20
"""Weights that a processor's last cache may keep from one pass to the next: at most 1,152 MB a socket, of an EPYC 9684X."""
FASTER_WHEN_LARGER = 3.0
"""How many times less a pass over a larger batch may take: short passes wait for the host, and settle late."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Passes above the roofline of the device, with a margin, and larger batches that took far less time than smaller ones."""
    yield from problems_of(catalog, _of_model)


@memo
def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is impossible about the speed of one run. Of each batch the fastest single pass counts."""
    flops_per_s, bandwidth, cache_bytes = limits(catalog, run)
    weights = read_bytes(catalog.traces[run.model], run.component, run.weights_bytes or 0) - cache_bytes
    slowest_before = 0.0
    for index, speed in enumerate(run.speed):
        at, fastest = f"speed.{index}.samples_s", min(min(samples) for samples in speed.samples_s)
        size = run.workload.image_size, run.workload.text_tokens
        needed = pass_flops(catalog.traces[run.model], run.component, speed.batch, *size)
        if needed and needed / fastest > flops_per_s:
            yield Fault(
                at, f"has a pass of {fastest:g} s at batch {speed.batch}, which makes {figure(needed / fastest / 1e12)} TFLOP/s "
                f"({figure(speed.per_second)} a second); {run.machine.device} does at most {figure(flops_per_s / 1e12)}",
            )  # fmt: skip
        elif weights > 0 and weights / fastest > bandwidth:
            yield Fault(
                at, f"has a pass of {fastest:g} s at batch {speed.batch}, which reads the weights at {figure(weights / fastest / 1e9)} GB/s; "
                f"{run.machine.device} does at most {figure(bandwidth / 1e9)}",
            )  # fmt: skip
        if speed.median_s * FASTER_WHEN_LARGER < slowest_before:
            yield Fault(
                at, f"takes {speed.median_s:g} s at batch {speed.batch}, and a smaller batch took {slowest_before:g} s"
            )
        slowest_before = max(slowest_before, speed.median_s)


def limits(catalog: Catalog, run: Run) -> tuple[float, float, int]:
    """What a run's device never exceeds: FLOP/s, bytes/s from memory, and the bytes of weights that its cache may keep.

    A GPU whose rates the catalog does not have is held to the fastest one that it has.
    """
    if run.machine.device_vendor == "CPU":
        cores = run.machine.cpu_cores
        return (
            cores * _core_flops(run.machine, run.activation_type),
            min(cores * CORE_BANDWIDTH, SOCKET_BANDWIDTH),
            CACHE_BYTES,
        )
    gpu = catalog.gpus.get(run.machine.device)
    peak = peak_of(catalog, gpu, run.quantization) * BOOST
    gpus = [gpu] if gpu and gpu.spec.bandwidth_gb_per_s else catalog.gpus.values()
    bandwidth = max((each.spec.bandwidth_gb_per_s or 0 for each in gpus), default=0.0) * 1e9 * BOOST
    return peak, bandwidth, 256 << 20  # the largest last cache of a GPU, of the MI300X


def _core_flops(machine: Machine, activation_type: str | None) -> float:
    # Arm's features do not say whether there is a matrix unit.
    if any(name.startswith("amx") for name in machine.cpu_features) or "asimd" in machine.cpu_features:
        return CORE_FLOPS_MATRIX
    # Labels with INT8 arithmetic have FP32 activations too, so FP32 alone proves nothing where the processor has VNNI.
    narrow = activation_type != "float32" or "avx512_vnni" in machine.cpu_features
    return CORE_FLOPS_16_BIT if narrow else CORE_FLOPS
