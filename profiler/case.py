"""One variant on one device: the tasks that measure it, and its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from fitcard.catalog import Catalog
from fitcard.catalog.host import cpu_id, gpu_of_device, slug
from fitcard.catalog.schema.quantization import Census, Quantization, bits_per_weight, census, predicted_census
from fitcard.catalog.schema.run import Power, Run, RunWorkload, Speed
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.backends import backend
from fitcard.profiler.devices import Device, device_memory_bytes, device_name, machine
from fitcard.profiler.fidelity import Reference, fidelity
from fitcard.profiler.processes import Processes, TaskFailed
from fitcard.profiler.record import About, record
from fitcard.profiler.settings import Settings
from fitcard.profiler.task import (
    Embedded,
    EmbedTask,
    Measured,
    MeasuredMemory,
    MeasuredSpeed,
    MeasureTask,
    Task,
    WriteTask,
    Written,
    read_result,
)
from fitcard.profiler.variant import VariantSpec

REFERENCE = "FP32"

Progress = Callable[[Variant, str], None]
"""Told the variant and what begins now, before each process."""

R = TypeVar("R", Written, Embedded, Measured)


@dataclass(frozen=True)
class Profile:
    """What all cases of one profile share."""

    catalog: Catalog
    model_id: str
    settings: Settings
    processes: Processes
    folder: Path
    """Where the variants' files are written."""
    progress: Progress = lambda *_: None
    warn: Callable[[str], None] = lambda _: None
    """Told in a sentence what is odd about the user's data, though it can be measured."""


def device_id(catalog: Catalog, device: Device) -> str:
    """The device's id: that of the GPU in the catalog with its very name and memory, else a slug of its name.

    A GPU that merely resembles one of the catalog's is not taken for it. Processors begin with `cpu-`.
    """
    if device.kind == "cpu":
        return cpu_id()
    name = device_name(device)
    return gpu_of_device(catalog, name, device_memory_bytes(device)) or slug(name)


class Case:
    """One variant on the profile's device, and the processes that measure it."""

    def __init__(self, profile: Profile, variant: Variant) -> None:
        self.profile, self.variant = profile, variant
        self.settings, self.processes = profile.settings, profile.processes
        catalog, device = profile.catalog, profile.settings.device
        self.model, self.trace = catalog.models[variant.model], catalog.traces[variant.model]
        self.quantization: Quantization = catalog.quantizations[variant.quantization]
        chunks = catalog.runtimes.dequantize_chunk_elements
        self.spec = VariantSpec(
            variant.model, variant.quantization, self.model.config, variant.component, self.quantization,
            self.trace.tensors_of(variant.component), device, chunks.get(device.vendor, chunks["CPU"]),
        )  # fmt: skip
        self.path = profile.folder / f"{variant.component}-{slug(variant.quantization)}.{self.quantization.format}"
        self.machine = machine(device, device_id(catalog, device))

    def unsupported(self) -> str | None:
        """Why this device cannot serve the variant, or None."""
        device, requires, label = self.settings.device, self.quantization.requires, self.variant.quantization
        if requires.vendors and device.vendor not in requires.vendors:
            return f"{label} needs {' or '.join(requires.vendors)}: {requires.why}"
        least = requires.nvidia_compute_capability
        if least is not None and device.vendor == "NVIDIA" and device.compute_capability() < least:
            return f"{label} needs compute capability {least}: {requires.why}"
        reason: str | None = backend(self.quantization).unsupported(self.spec, self.settings.mode)
        return reason

    def artifact(self) -> Written:
        """Write the variant's file, unless it is written already: the result of the task that did it then lies beside
        it."""
        with self.processes.writing.setdefault(self.path, Lock()):  # the reference is a case too
            earlier = read_result(self._file("artifact"))
            if isinstance(earlier, Written) and self.path.exists():
                return earlier
            checkpoint, seed = self.settings.checkpoint, self.settings.weights.seed
            task = WriteTask(spec=self.spec, artifact=self.path, checkpoint=checkpoint, seed=seed)
            written = self._do(task, Written)
        if written.nonfinite:
            self.profile.warn(
                f"{written.nonfinite:,} weights of the {self.variant.component} component in {checkpoint} are infinite "
                "or not a number; its embeddings may be as well"
            )
        return written

    def embeddings(self) -> Embedded:
        """The embeddings of the fixed inputs by this variant. Raises TaskFailed."""
        self.artifact()
        task = EmbedTask(
            spec=self.spec, artifact=self.path, mode=self.settings.mode, batches=self.settings.batches
        )  # fmt: skip
        return self._do(task, Embedded)

    def run(self, reference: Callable[[], Reference | None]) -> Run:
        """Measure the case, and compare it with the reference, which is asked for once the variant's file is
        written."""
        try:
            written = self.artifact()
            counted = self._counted(written)
            truth = reference()
            memory, speeds = self._measure(embed=truth is not None)
        except TaskFailed as failure:
            return self.record(failure.status, failure.reason)
        finally:
            if self.variant.quantization != REFERENCE:
                for part in self.path.parent.glob(f"{self.path.name}*"):
                    part.unlink()
        activations = backend(self.quantization).activation_type(self.quantization, self.settings.device)
        embeddings = speeds[0].embeddings
        return self.record(
            "ok", None,
            activation_type=str(activations).removeprefix("torch."),
            threads=speeds[0].threads if self.settings.device.kind == "cpu" else None,
            census=counted, bits_per_weight=bits_per_weight(counted), file_bytes=written.file_bytes,
            weights_bytes=memory.weights_bytes, memory=memory.rows, out_of_memory_batch=memory.out_of_memory_batch,
            load_s=min(speed.load_s for speed in speeds), first_run_s=min(speed.first_run_s for speed in speeds),
            speed=tuple(_pooled_speed(speeds, row.batch) for row in memory.rows),
            fidelity=fidelity(embeddings, truth) if truth and embeddings is not None else None,
        )  # fmt: skip

    def record(self, status: str, reason: str | None, **measured: Any) -> Run:
        """The record of this case."""
        phase = self.trace.phase(self.variant.component)
        workload = RunWorkload(image_size=phase.image_size, text_tokens=phase.text_tokens)
        about = About(self.variant, self.model, self.machine, self.settings, self.processes.at_once)
        return record(about, status, reason, workload=workload, **measured)

    def _counted(self, written: Written) -> Census:
        counted = census(list(written.census))
        if counted != predicted_census(self.quantization, self.spec.tensors):
            raise TaskFailed(
                "crashed",
                f"the file does not hold what the rule of {self.variant.quantization} says: {', '.join(counted)}",
            )
        return counted

    def _measure(self, *, embed: bool) -> tuple[MeasuredMemory, list[MeasuredSpeed]]:
        """Memory, and speed in as many processes as there are repeats; the first of them embeds the fixed inputs."""
        both = self.settings.device.kind != "cpu"
        first = self._do(
            self._task("both" if both else "memory", self.settings.batches, embed=embed and both), Measured
        )
        assert first.memory is not None
        batches = tuple(row.batch for row in first.memory.rows)
        speeds = [first.speed] if first.speed else []
        while len(speeds) < self.settings.repeats:
            task = self._task("speed", batches, embed=embed and not speeds)
            measured = self._do(task, Measured, f"speed {len(speeds) + 1}/{self.settings.repeats}")
            assert measured.speed is not None
            speeds.append(measured.speed)
        return first.memory, speeds

    def _task(self, kind: Any, batches: tuple[int, ...], *, embed: bool) -> MeasureTask:
        return MeasureTask(
            kind=kind, spec=self.spec, artifact=self.path, mode=self.settings.mode, batches=batches,
            seconds=self.settings.seconds, embed=embed, memory_limit_bytes=self.settings.memory_limit_bytes,
        )  # fmt: skip

    def _do(self, task: Task, expected: type[R], what: str = "") -> R:
        """Do one task in a fresh process. Raises TaskFailed when there is no result."""
        self.profile.progress(self.variant, what or task.kind)
        result = self.processes.do(task, self._file(task.kind))
        assert isinstance(result, expected), f"{task.kind} was answered by {result.kind}"
        return result

    def _file(self, kind: str) -> Path:
        return self.path.with_suffix(f".{kind}.json")


def _pooled_speed(speeds: Sequence[MeasuredSpeed], batch: int) -> Speed:
    rows = [row for speed in speeds for row in speed.rows if row.batch == batch]
    powers = [row.power for row in rows if row.power]
    busy = [row.others_busy for row in rows if row.others_busy is not None]
    return Speed(
        batch=batch, samples_s=tuple(tuple(round(sample, 7) for sample in row.samples_s) for row in rows),
        settled=tuple(row.settled for row in rows), power=_pooled_power(powers) if powers else None,
        others_busy=max(busy, default=None),
    )  # fmt: skip


def _pooled_power(powers: Sequence[Power]) -> Power:
    """What the processes of one case read, as one: means of energy, power and clock, the highest temperature, every
    reason."""
    return Power(
        joules_per_item=sum(power.joules_per_item for power in powers) / len(powers),
        watts=sum(power.watts for power in powers) / len(powers),
        clock_mhz=sum(power.clock_mhz for power in powers) / len(powers),
        temperature_c=max(power.temperature_c for power in powers),
        throttled=tuple(sorted({reason for power in powers for reason in power.throttled})),
    )
