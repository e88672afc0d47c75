"""`fitcard profile --fleet`: the cases spread over a Ray cluster, each accelerator type running all of them.

Ray schedules, notices dead workers and runs their cases again elsewhere. fitcard must be installed on every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from catalog import Catalog
from catalog.errors import FitcardError
from catalog.run import Run
from catalog.store import add_run
from catalog.trace import Component
from profiler.checkpoint import find_weights
from profiler.devices import find_device
from profiler.run import Case, Settings, Truth, cases, truth, workspace

RETRIES = 3
"""How often a case is run again when the worker or the node under it died."""
_TYPE = "accelerator_type:"


def profile_fleet(
    catalog: Catalog, model_id: str, settings: Settings, weights: str, address: str, folder: Path, console: Console
) -> list[Run]:
    """Run every case on every accelerator type of the cluster at `address`, and add each record when it arrives.

    A processor is used where the cluster has no accelerators. Raises FitcardError when there is no cluster.
    """
    try:
        import ray
    except ImportError:
        raise FitcardError("--fleet needs Ray, which is not installed: pip install 'fitcard[fleet]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise FitcardError(f"no Ray cluster answers at {address}: {str(error).strip().splitlines()[0]}") from None
    try:
        types = sorted(key.removeprefix(_TYPE) for key in ray.cluster_resources() if key.startswith(_TYPE))
        console.print(f"{len(ray.nodes())} nodes; {', '.join(types) or 'no accelerators, so processors'}")
        given = ray.put((catalog, model_id, settings, weights))
        waiting: dict[Any, tuple[str, Component, str]] = {}
        for accelerator in types or [""]:
            options = _options(ray, accelerator)
            reference = ray.remote(_reference).options(**options)
            case = ray.remote(_case).options(**options)
            compared = settings.components if settings.memory_limit_bytes is None else ()
            kind = _kind(accelerator)
            truths = {component: reference.remote(given, component, kind) for component in compared}
            for component, label in cases(settings):
                job = case.remote(given, component, label, kind, truths.get(component))
                waiting[job] = (accelerator or "cpu", component, label)
        return list(_collect(ray, waiting, folder, console))
    finally:
        ray.shutdown()


def _options(ray: Any, accelerator: str) -> dict[str, Any]:
    """What Ray must give one case: a whole accelerator, or a whole node's processors, since cases must not share them."""
    common = {"max_retries": RETRIES, "scheduling_strategy": "SPREAD"}
    if accelerator:
        return {**common, "num_gpus": 1, "accelerator_type": accelerator}
    cores = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not cores:
        raise FitcardError("no node of the cluster offers processors or accelerators")
    return {**common, "num_cpus": min(cores)}


def _kind(accelerator: str) -> str:
    """torch's name for the device of a Ray accelerator type: Intel's begin with Intel-, the others are CUDA's or ROCm's."""
    return ("xpu" if accelerator.startswith("Intel-") else "cuda") if accelerator else "cpu"


def _collect(ray: Any, waiting: dict[Any, tuple[str, Component, str]], folder: Path, console: Console) -> Iterator[Run]:
    total, lost = len(waiting), 0
    while waiting:
        (job,), _ = ray.wait(list(waiting))
        where, component, label = waiting.pop(job)
        try:
            run = Run.model_validate(ray.get(job))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FitcardError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            lost += 1
            console.print(f"{where} {component} {label}: lost after {RETRIES} more tries: {type(error).__name__}")
            continue
        add_run(folder, run)
        console.print(f"{total - len(waiting)} of {total}: {run.machine.device} {component} {label}: {run.status}")
        yield run
    if lost:
        console.print(f"{lost} of {total} cases have no record; run the command again for them")


def _here(given: tuple[Catalog, str, Settings, str], kind: str) -> Settings:
    """The settings for the device and the checkpoint of the node that this runs on."""
    _, model_id, settings, weights = given
    checkpoint, source = find_weights(weights, model_id)
    return replace(settings, device=find_device(kind), checkpoint=checkpoint, weights=source)


def _reference(given: tuple[Catalog, str, Settings, str], component: Component, kind: str) -> Truth | None:
    with workspace() as folder:
        return truth(given[0], given[1], component, _here(given, kind), folder, lambda *_: None)


def _case(
    given: tuple[Catalog, str, Settings, str], component: Component, label: str, kind: str, reference: Truth | None
) -> dict[str, Any]:
    with workspace() as folder:
        case = Case(given[0], given[1], component, label, _here(given, kind), folder)
        reason = case.unsupported()
        run = case.record("unsupported", reason) if reason else case.run(reference, lambda *_: None)
    return run.model_dump(mode="json")
