"""Runs on a machine that cannot be: another maker's GPU, sensors that read what no sensor reads."""

from __future__ import annotations

from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem, shorten
from fitcard.catalog.gpu_names import parse
from fitcard.catalog.linters.over_runs import Fault, KeyedFaults, faults_of, problems_of
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.run import Run, Speed
from fitcard.catalog.storage.memo import memo

NAME = "run_machine"
SCOPE = "pages"

CLOCK = 1.5
"""How many times its promised boost clock a GPU may run at: laptops are promised the clock of their lowest power."""
POWER = 1.6
"""How many times its maker's board power a GPU may be allowed, and take: makers of fast boards set up to 1.4 times."""
TEMPERATURE_C = 120
"""Above it every GPU has switched itself off."""
ENERGY = 2.0
"""How many times more or less an item may take than watts times the mean pass: the counter also sees the time between short passes, up to
1.6 times in real records."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Devices and makers that do not belong together, and power, clocks and temperatures out of reach."""
    yield from problems_of(catalog, _of_model)


@memo
def _of_model(catalog: Catalog, model: str) -> KeyedFaults:
    return faults_of(catalog, model, faults)


def faults(catalog: Catalog, run: Run) -> Iterator[Fault]:
    """What is impossible about the machine of one run."""
    machine, gpu = run.machine, catalog.gpus.get(run.machine.device)
    vendor = gpu.vendor if gpu else "CPU" if machine.device.startswith("cpu-") else machine.device_vendor
    if machine.device_vendor != vendor:
        yield Fault("machine.device_vendor", f"is {machine.device_vendor}, and {machine.device} is of {vendor}")
    elif vendor not in catalog.runtimes.context:
        names = ", ".join(catalog.runtimes.context)
        yield Fault(
            "machine.device_vendor", f"is {shorten(vendor)}, which runtimes.yaml does not know (it knows: {names})"
        )
    elif vendor == "CPU" and not machine.device.startswith("cpu-"):
        yield Fault("machine.device", f"is {machine.device}: ids of processors begin with cpu-")
    elif gpu and not _may_be(gpu, machine.device_name, machine.device_memory_bytes):
        memory = f" with {machine.device_memory_bytes:,} bytes" if machine.device_memory_bytes else ""
        yield Fault(
            "machine.device_name",
            f"is {machine.device_name}{memory}, which is not what the catalog calls {machine.device}",
        )
    board = gpu.spec.board_power_w if gpu else None
    if board and machine.power_limit_w and machine.power_limit_w > board * POWER:
        yield Fault(
            "machine.power_limit_w",
            f"is {machine.power_limit_w:g} W, and the board power of {machine.device} is {board:g} W",
        )
    for index, speed in enumerate(run.speed):
        for field, message in _sensors(run, speed, board, gpu.spec.boost_mhz if gpu else None):
            yield Fault(f"speed.{index}.power.{field}", f"{message} at batch {speed.batch}")


def _may_be(gpu: Gpu, name: str, memory_bytes: int | None) -> bool:
    """Whether a device of this name and memory may be that GPU; models that differ in memory alone share a name."""
    names = {parse(known).key for known in (gpu.name, gpu.spec.name, *gpu.spec.aliases)}
    return parse(name).key in names and (memory_bytes is None or abs(gpu.spec.memory_bytes / memory_bytes - 1) < 0.1)


def _sensors(run: Run, speed: Speed, board: float | None, boost: float | None) -> Iterator[Fault]:
    power = speed.power
    if power is None:
        return
    if run.machine.device_vendor != "NVIDIA":
        yield Fault(
            "watts",
            f"is given, and fitcard reads the sensors of NVIDIA's GPUs alone, not of {run.machine.device_vendor}",
        )
    limit = max((watts for watts in (board, run.machine.power_limit_w) if watts), default=None)
    if limit and power.watts > limit * POWER:
        yield Fault("watts", f"is {power.watts:g} W, and {run.machine.device} is allowed {limit:g} W")
    if boost and power.clock_mhz > boost * CLOCK:
        yield Fault(
            "clock_mhz", f"is {power.clock_mhz:g} MHz, and the boost clock of {run.machine.device} is {boost:g} MHz"
        )
    if power.temperature_c > TEMPERATURE_C:
        yield Fault("temperature_c", f"is {power.temperature_c}, and GPUs switch off below {TEMPERATURE_C}")
    passes = [sum(samples) / len(samples) / speed.batch for samples in speed.samples_s]
    low, high = power.watts * min(passes) / ENERGY, power.watts * max(passes) * ENERGY
    if not low <= power.joules_per_item <= high:
        message = f"is {power.joules_per_item:g} J, and {power.watts:g} W over passes of this length make {low:.3g} to {high:.3g}"
        yield Fault("joules_per_item", message)
