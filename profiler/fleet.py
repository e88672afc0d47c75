"""`fitcard profile --fleet`: the cases spread over a Ray cluster, each accelerator type running all of them.

Ray schedules, notices dead workers and runs their cases again elsewhere. fitcard must be installed on every node.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError, printable
from fitcard.catalog.linters import impossible
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode, Variant
from fitcard.catalog.storage.writer import add_run
from fitcard.profiler.case import Case, Profile
from fitcard.profiler.devices import find_device
from fitcard.profiler.fidelity import Reference
from fitcard.profiler.processes import Processes
from fitcard.profiler.references import References
from fitcard.profiler.settings import Settings, default_batches, variants
from fitcard.profiler.weights_source import find_weights, pinned
from fitcard.profiler.workspace import workspace


@dataclass(frozen=True)
class Asked:
    """What one job is to bring back."""

    accelerator: str
    """As Ray calls its type; empty for a processor."""
    variant: Variant
    config_sha256: str
    batches: tuple[int, ...]
    mode: Mode
    memory_limit_bytes: int | None

    def __str__(self) -> str:
        return f"{self.accelerator or 'cpu'} {self.variant.component} {self.variant.quantization}"


RETRIES = 3
"""How often a case is run again when the worker or the node under it died."""
_TYPE = "accelerator_type:"


def profile_fleet(
    catalog: Catalog, model_id: str, settings: Settings, weights: str, address: str, folder: Path, console: Console,
    sealed_by: Callable[[Run], Run],
) -> list[Run]:  # fmt: skip
    """Run every case on every accelerator type of the cluster at `address`, and add each record when it arrives.

    A processor is used where the cluster has no accelerators. Raises FitcardError when there is no cluster, when its
    processors cannot be given whole to one case, and, after everything else is done, for a fault that is no record.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise FitcardError("--fleet needs Ray, which is not installed: pip install 'fitcard[fleet]'") from None
    weights = pinned(weights, model_id)
    _answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise FitcardError(f"no Ray cluster answers at {address}: {str(error).strip().splitlines()[0]}") from None
    try:
        types = sorted(key.removeprefix(_TYPE) for key in ray.cluster_resources() if key.startswith(_TYPE))
        console.print(f"{len(ray.nodes())} nodes; {', '.join(types) or 'no accelerators, so processors'}")
        waiting: dict[Any, Asked] = {}
        config, limit = catalog.models[model_id].config_sha256, settings.memory_limit_bytes
        for accelerator in types or [""]:
            kind, options = _kind(accelerator), _options(ray, accelerator)
            batches = settings.batches or default_batches(kind)
            shared = ray.put((catalog, model_id, replace(settings, batches=batches), weights, kind))
            reference, case = ray.remote(_reference).options(**options), ray.remote(_case).options(**options)
            compared = settings.components if settings.memory_limit_bytes is None else ()
            references = {component: reference.remote(shared, component) for component in compared}
            for variant in variants(model_id, settings):
                job = case.remote(shared, variant, references.get(variant.component))
                waiting[job] = Asked(accelerator, variant, config, batches, settings.mode, limit)
        return list(_collect(ray, catalog, waiting, folder, console, sealed_by))
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Raise FitcardError at once when nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return  # `auto`, or a form that Ray understands
    try:
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=10).close()
    except OSError as error:
        raise FitcardError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


def _options(ray: Any, accelerator: str) -> dict[str, Any]:
    """What Ray must give one case: a whole accelerator, or a whole node's processors, since cases must not share
    them."""
    common = {"max_retries": RETRIES, "scheduling_strategy": "SPREAD"}
    if accelerator:
        return {**common, "num_gpus": 1, "accelerator_type": accelerator}
    cores = {node["Resources"]["CPU"] for node in _alive(ray) if node["Resources"].get("CPU")}
    if len(cores) != 1:
        counts = ", ".join(f"{count:g}" for count in sorted(cores)) or "none"
        raise FitcardError(
            f"a case takes a node's processors whole, so every node must have as many (there are: {counts})"
        )
    return {**common, "num_cpus": cores.pop()}


def _alive(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _kind(accelerator: str) -> str:
    """torch's name for the device of a Ray accelerator type: Intel's begin with Intel-, the others are CUDA's or
    ROCm's."""
    return ("xpu" if accelerator.startswith("Intel-") else "cuda") if accelerator else "cpu"


def _collect(
    ray: Any,
    catalog: Catalog,
    waiting: dict[Any, Asked],
    folder: Path,
    console: Console,
    sealed_by: Callable[[Run], Run],
) -> Iterator[Run]:
    """Add the record of each job when it is there; one that cannot be read or believed costs its own case alone."""
    total, lost = len(waiting), list[str]()
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=60)
        for job in done or _hopeless(ray, waiting):
            asked = waiting.pop(job)
            try:
                run = Run.model_validate(ray.get(job, timeout=1))
                check_answer(catalog, asked, run)
                run = sealed_by(run)
                add_run(folder, run)
            except Exception as error:  # what a node sends can be anything
                cause = getattr(error, "cause", None) or error
                first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
                lost.append(printable(f"{asked}: {first}"))
                continue
            _, component, label = asked.variant
            console.print(f"{total - len(waiting)} of {total}: {run.machine.device} {component} {label}: {run.status}")
            yield run
    if lost:
        raise FitcardError(f"{len(lost)} of {total} cases have no record:\n" + "\n".join(lost))


def check_answer(catalog: Catalog, asked: Asked, run: Run) -> None:
    """Raise FitcardError for a record of something else than was asked for, or of what cannot be."""
    machine, variant = run.machine, asked.variant
    vendors = _VENDORS[_kind(asked.accelerator)]
    pairs: tuple[tuple[str, object, object], ...] = (
        ("model", run.model, variant.model),
        ("component", run.component, variant.component),
        ("quantization", run.quantization, variant.quantization),
        ("mode", run.mode, asked.mode),
        ("config_sha256", run.config_sha256, asked.config_sha256),
        ("memory_limit_bytes", run.memory_limit_bytes, asked.memory_limit_bytes),
    )
    for field, answered, request in pairs:
        if answered != request:
            raise FitcardError(f"its record is of another {field}: {answered}, and {request} was asked for")
    if machine.device_vendor not in vendors:
        raise FitcardError(f"its record is of a device of {machine.device_vendor}, not of {' or '.join(vendors)}")
    name = f"{machine.device_vendor} {machine.device_name}".lower()
    if not all(part in name for part in asked.accelerator.lower().split("-")):
        raise FitcardError(f"its record is of {machine.device_name}, and {asked.accelerator} was asked for")
    if other := sorted({memory.batch for memory in run.memory} - set(asked.batches)):
        raise FitcardError(f"its record has batch {other[0]}, which was not asked for")
    if faults := impossible(catalog, run):
        raise FitcardError(f"its record cannot be: {faults[0].field} {faults[0].message}")


_VENDORS = {"cpu": ("CPU",), "cuda": ("NVIDIA", "AMD"), "xpu": ("Intel",)}
"""Whose devices torch calls so."""


def _hopeless(ray: Any, waiting: dict[Any, Asked]) -> list[Any]:
    """The jobs that wait for an accelerator type of which no node is left."""
    left = {key.removeprefix(_TYPE) for node in _alive(ray) for key in node["Resources"] if key.startswith(_TYPE)}
    return [job for job, asked in waiting.items() if asked.accelerator not in {*left, ""}]


_Shared = tuple[Catalog, str, Settings, str, str]


def _here(shared: _Shared) -> Settings:
    """The settings for the device and the checkpoint of the node that this runs on."""
    _, model_id, settings, weights, kind = shared
    checkpoint, source = find_weights(weights, model_id)
    return replace(settings, device=find_device(kind), checkpoint=checkpoint, weights=source)


def _reference(shared: _Shared, component: Component) -> Reference | None:
    here = _here(shared)
    with workspace() as folder, Processes(here) as processes:
        return References(Profile(shared[0], shared[1], here, processes, folder)).reference(component)


def _case(shared: _Shared, variant: Variant, reference: Reference | None) -> dict[str, Any]:
    here = _here(shared)
    with workspace() as folder, Processes(here) as processes:
        case = Case(Profile(shared[0], shared[1], here, processes, folder), variant)
        reason = case.unsupported()
        run = case.record("unsupported", reason) if reason else case.run(lambda: reference)
    return run.model_dump(mode="json")
