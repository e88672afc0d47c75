"""What was measured of a model, device by device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from fitcard.advisor.evidence import Utilisation, good_runs, utilisation
from fitcard.advisor.run_band import flagged
from fitcard.catalog import Catalog
from fitcard.catalog.schema.run import Machine, Memory, Run, Speed


@dataclass(frozen=True)
class BatchRow:
    """One batch of a run."""

    run: Run
    speed: Speed
    memory: Memory | None
    utilisation: Utilisation | None
    outside: bool
    """Whether the run is outside the expected band, and nobody signed it off."""
    disturbances: tuple[str, ...]
    """What may have held it up."""


@dataclass(frozen=True)
class DeviceRuns:
    """All that was measured of a model on one device: the newest run of each variant, what failed, and runs under a cap."""

    device: str
    name: str
    """The device as its driver calls it; with its id where another device of the model has the same name."""
    machine: Machine
    runs: tuple[Run, ...]
    rows: tuple[BatchRow, ...]
    """The runs, batch by batch."""
    failed: tuple[Run, ...]
    capped: tuple[Run, ...]


def device_runs(catalog: Catalog, key: str) -> list[DeviceRuns]:
    """The runs of a model by device, in the order of components and quantizations."""
    good: dict[tuple[object, ...], Run] = {}
    for run in good_runs(catalog, key):
        good.setdefault(_variant(run), run)
    newest: dict[tuple[object, ...], Run] = {}
    capped: dict[tuple[object, ...], Run] = {}
    for run in catalog.runs_of(key):  # oldest first, so that the newest stays
        if run.memory_limit_bytes is None:
            newest[_variant(run)] = run
        else:
            capped[*_variant(run), run.memory_limit_bytes] = run
    failed = [run for run in newest.values() if run.status != "ok"]
    components = catalog.traces[key].components()
    labels = list(catalog.every_label)

    def order(run: Run) -> tuple[int, int, str, int]:
        return components.index(run.component), labels.index(run.quantization), run.mode, run.memory_limit_bytes or 0

    def on(device: str, runs: Iterable[Run]) -> tuple[Run, ...]:
        return tuple(sorted((run for run in runs if run.machine.device == device), key=order))

    devices = dict.fromkeys(run.machine.device for run in (*good.values(), *failed, *capped.values()))
    groups = [
        (device, on(device, good.values()), on(device, failed), on(device, capped.values())) for device in devices
    ]
    doubted = flagged(catalog, key)
    machines = {device: (*runs, *failures, *limited)[-1].machine for device, runs, failures, limited in groups}
    times = Counter(machine.device_name for machine in machines.values())
    return [
        DeviceRuns(
            device=device,
            name=machine.device_name if times[machine.device_name] == 1 else f"{machine.device_name} ({device})",
            machine=machine,
            runs=runs,
            rows=tuple(_rows(catalog, runs, doubted)),
            failed=failures,
            capped=limited,
        )
        for (device, runs, failures, limited), machine in zip(groups, machines.values(), strict=True)
    ]


def _rows(catalog: Catalog, runs: Iterable[Run], doubted: Container[str]) -> Iterator[BatchRow]:
    for run in runs:
        for speed in run.speed:
            used = utilisation(catalog, run, speed)
            memory, disturbances = run.batch_memory(speed.batch), run.disturbances(speed)
            yield BatchRow(run, speed, memory, used, run.key in doubted, disturbances)


def _variant(run: Run) -> tuple[object, ...]:
    return run.machine.device, run.component, run.quantization, run.mode
