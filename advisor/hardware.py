"""What is known of the device that a question is about: a GPU of the catalog, or a device that only runs know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fitcard.advisor.device_runs import NewestRuns, newest_on
from fitcard.advisor.run_band import believed_on
from fitcard.catalog import Catalog
from fitcard.catalog.errors import UnknownName
from fitcard.catalog.schema.gpu import GIB, Gpu, GpuSpec, PublishedRates, Segment
from fitcard.catalog.schema.run import Machine
from fitcard.catalog.schema.speed import Factors


class Hardware(NamedTuple):
    """A device as answers need it."""

    gpu: Gpu
    features: frozenset[str] | None = None
    """The instruction sets of a processor that runs know; None for a GPU."""
    only_runs: bool = False
    """Whether only runs know it, so that nothing is predicted from a specification."""
    runs: NewestRuns | None = None
    """What was run on a device that only runs know; None where that shall not be looked at."""
    without: Factors | None = None
    """The factors fitted without this GPU, where nothing of it shall take part in a prediction."""


def hardware_of(catalog: Catalog, device: str, *, only_predicted: bool = False, with_speed: bool = True) -> Hardware:
    """A device by its id. Raises UnknownName for one that neither the catalog nor a run knows."""
    if device in catalog.gpus:
        if only_predicted and with_speed:
            from fitcard.advisor.calibrate import factors_without  # here, since few answers need what fits factors

            return Hardware(catalog.gpus[device], without=factors_without(catalog, device))
        return Hardware(catalog.gpus[device])
    machine = newest_machine(catalog, device)
    if machine is None:
        raise UnknownName(f"no GPU is called {device!r}")
    features = frozenset(machine.cpu_features) if machine.device_vendor == "CPU" else None
    runs = newest_on(believed_on(catalog, device)) if with_speed and not only_predicted else None
    return Hardware(_described(machine, device), features, True, runs)


def gpu_of(catalog: Catalog, device: str) -> Gpu:
    """A GPU of the catalog, or a device that only runs know, described by its newest run."""
    return hardware_of(catalog, device, with_speed=False).gpu


def _described(machine: Machine, device: str) -> Gpu:
    memory = machine.device_memory_bytes or machine.memory_bytes
    segment: Segment = "cpu" if machine.device_vendor == "CPU" else "desktop"
    # All of it was checked with the run, and to have it checked again takes longer than all else that is asked of a
    # device.
    spec = GpuSpec.model_construct(
        name=machine.device_name,
        segment=segment,
        memory_gib=memory / GIB,
        sources={"run": ("memory_gib",)},
        published_tflops=PublishedRates.model_construct(),
    )
    return Gpu.model_construct(
        id=device, vendor=machine.device_vendor, generation="", spec=spec, rates=None, sources={}, reviewed=None
    )


def newest_machine(catalog: Catalog, device: str) -> Machine | None:
    """The machine of the newest run on a device; None where there is none."""
    index = catalog.run_index
    newest = next((at for at in reversed(range(len(index))) if index[at].device == device), None)
    return None if newest is None else catalog.runs[newest].machine


def device_name(catalog: Catalog, device: str) -> str:
    """The short name of a GPU, or of a device that only runs know."""
    if device in catalog.gpus:
        return catalog.gpu_index[device].spec_name
    machine = newest_machine(catalog, device)
    if machine is None:
        raise UnknownName(f"no GPU is called {device!r}")
    return machine.device_name


def device_names(catalog: Catalog, devices: Iterable[str]) -> dict[str, str]:
    """The short names of several devices, by id."""
    return {device: device_name(catalog, device) for device in devices}


def gpus_by_memory(catalog: Catalog) -> list[str]:
    """The ids of all GPUs, the smallest memory first."""
    return sorted(catalog.gpus, key=lambda key: (catalog.gpu_index[key].memory_gib, key))
