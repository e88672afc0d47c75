"""Memory and seconds of single forward passes of one variant on its device. Runs in a worker."""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from collections.abc import Callable

import torch

from fitcard.catalog.schema.run import Memory, Power, quantile
from fitcard.profiler import nvml
from fitcard.profiler.backends import backend
from fitcard.profiler.devices import Device
from fitcard.profiler.meta_model import inputs
from fitcard.profiler.other_programs import OtherPrograms
from fitcard.profiler.out_of_memory import out_of_memory
from fitcard.profiler.task import (
    BatchSpeed,
    Embedded,
    Embeddings,
    EmbedTask,
    Measured,
    MeasuredMemory,
    MeasuredSpeed,
    MeasureTask,
)
from fitcard.profiler.variant import Inputs, Runnable

MIN_SAMPLES, MAX_SAMPLES = 3, 200
WARM_S, WARM_AGAIN_S = 0.5, 0.2
"""How long a GPU works before it is timed: from idle, until its clocks have risen, and from another batch."""
ENERGY_S = 0.5
"""The least time over which its energy is counted, from one step of its counter to another."""
SETTLED = 0.01
"""Samples have settled when the standard error of their median is below this share of it."""
FIDELITY_INPUTS = {"vision": 8, "text": 32, "all": 8}
"""How many embeddings are compared. Models of two components match 8 images with 32 texts."""


def measure(task: MeasureTask, ready_fd: int) -> Measured:
    """Memory at each batch up to the largest that fits, then speed at the batches that fit, or one of the two.

    A GPU's counters do not care what is timed after them, and starting a process on a GPU takes longer than most
    measurements.
    """
    model = PreparedModel(task, ready_fd)
    started = time.perf_counter()
    runnable = model.load()
    model.device.synchronize()
    load_s = time.perf_counter() - started
    memory = _memory(model, task, runnable) if task.kind != "speed" else None
    if task.kind == "memory":
        return Measured(memory=memory)
    if memory is None:
        return Measured(speed=_speed(model, task, runnable, task.batches, load_s))
    model.device.release()
    speed = _speed(model, task, runnable, tuple(row.batch for row in memory.rows), load_s)
    return Measured(memory=memory, speed=speed.model_copy(update={"first_run_s": memory.first_run_s}))


def embed(task: EmbedTask, ready_fd: int) -> Embedded:
    """Embeddings of the fixed inputs by the reference: all at once, and one by one, whose difference is the noise
    floor."""
    model = PreparedModel(task, ready_fd)
    runnable = model.load()
    alone = _embeddings(model, runnable, count=4, at_once=1)
    return Embedded(together=_embeddings(model, runnable, at_once=max(task.batches)), alone=alone)


class PreparedModel:
    """A variant whose model is built without weights, on a device whose runtime is started."""

    def __init__(self, task: MeasureTask | EmbedTask, ready_fd: int) -> None:
        self.task, self.spec, self.device = task, task.spec, task.spec.device
        self.backend = backend(self.spec.quantization)
        self.model = self.spec.meta_model()
        self.entry_point = self.spec.entry_point(self.model)
        self.device.start_driver()
        _await_turn(ready_fd)
        self.dtype: torch.dtype = self.backend.activation_type(self.spec.quantization, self.device)
        # The libraries that loading and the first pass would pull in belong to the runtime, not to the model.
        warm = torch.ones(2, 2, dtype=self.dtype, device=self.device.torch_device)
        torch.nn.functional.linear(warm, warm)
        self.context_bytes = self.device.context_bytes()
        if isinstance(task, MeasureTask) and task.memory_limit_bytes is not None:
            limit_memory(self.device, task.memory_limit_bytes, self.context_bytes)

    def load(self) -> Runnable:
        """Load the variant from its file onto the device, compiled if the mode says so."""
        runnable: Runnable = self.backend.load(self.task.artifact, self.spec, self.model)
        if self.task.mode == "eager":
            return runnable
        compiled: dict[int, Callable[[Inputs], torch.Tensor]] = {}

        def call(batch_inputs: Inputs) -> torch.Tensor:
            """One graph for each batch: with one for all, what a batch runs would depend on the batches before it."""
            batch = len(next(iter(batch_inputs.values())))
            if batch not in compiled:
                torch._dynamo.reset()
                compiled.clear()
                compiled[batch] = torch.compile(runnable.call, dynamic=False)
            return compiled[batch](batch_inputs)

        return Runnable(call, runnable.weights_bytes)

    def inputs(self, batch: int) -> Inputs:
        return inputs(self.model, self.entry_point, batch, self.dtype, self.device.torch_device)


def timed(device: Device, runnable: Runnable, batch_inputs: Inputs) -> float:
    """Seconds of one forward pass, from nothing under way to all of it done."""
    device.synchronize()
    began = time.perf_counter()
    runnable.run(batch_inputs)
    device.synchronize()
    return time.perf_counter() - began


def limit_memory(device: Device, limit_bytes: int, context_bytes: int) -> None:
    """Let this process have no more than `limit_bytes` of the device's memory, the runtime's own included.

    On a GPU torch's allocator refuses more than the limit less the context. On a processor the kernel refuses more
    private memory (RLIMIT_DATA, which counts what is reserved whether touched or not, and no mapped files). What a pass
    then really took in all is held to the limit once more by the memory pass. Raises MemoryError when the runtime alone
    takes more.
    """
    if context_bytes >= limit_bytes:
        raise MemoryError(f"the runtime alone takes {context_bytes / 1e6:,.0f} MB")
    if device.kind == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    elif device.kind == "mps":
        allowed = (limit_bytes - context_bytes) / torch.mps.recommended_max_memory()
        torch.mps.set_per_process_memory_fraction(min(2.0, allowed))
    else:
        runtime = getattr(torch, device.kind)
        total = runtime.get_device_properties(0).total_memory
        runtime.set_per_process_memory_fraction(min(1.0, (limit_bytes - context_bytes) / total))


def _await_turn(ready_fd: int) -> None:
    """Tell the parent that all is ready but the device, and wait until it closes standard input: the device is ours
    now."""
    os.close(ready_fd)
    sys.stdin.read()


def _memory(model: PreparedModel, task: MeasureTask, runnable: Runnable) -> MeasuredMemory:
    model.device.release()
    loaded = model.device.memory()["now"]
    rows: list[Memory] = []
    seconds: list[float] = []
    too_large: int | None = None
    for batch in task.batches:
        try:
            rows.append(_memory_at(model, task, runnable, batch, loaded, seconds))
        except Exception as error:
            if out_of_memory(error) is None or not rows:
                raise
            too_large = batch
            break
    return MeasuredMemory(
        rows=tuple(rows), weights_bytes=runnable.weights_bytes, out_of_memory_batch=too_large, first_run_s=seconds[0]
    )


def _memory_at(
    model: PreparedModel, task: MeasureTask, runnable: Runnable, batch: int, loaded: int, seconds: list[float]
) -> Memory:
    """The memory of one batch, from a state in which smaller batches left nothing; the time of each pass is added to
    `seconds`.

    Raises MemoryError above a cap.
    """
    batch_inputs = model.inputs(batch)
    model.device.release()
    model.device.reset_peak()
    for _ in range(2):  # the second pass shows what the allocator keeps from the first
        seconds.append(timed(model.device, runnable, batch_inputs))
    used = model.device.memory()
    reserved = used.get("reserved")
    # On a GPU, kernels and workspaces outside of torch's allocator come with the first pass that needs them.
    runtime = model.context_bytes if reserved is None else model.device.context_bytes()
    row = Memory(
        batch=batch, runtime_bytes=runtime, loaded_bytes=loaded, peak_bytes=used["peak"], reserved_bytes=reserved
    )
    if task.memory_limit_bytes is not None and row.total_bytes > task.memory_limit_bytes:
        raise MemoryError(f"batch {batch} took {row.total_bytes / 1e6:,.0f} MB in all")
    return row


def _speed(
    model: PreparedModel, task: MeasureTask, runnable: Runnable, batches: tuple[int, ...], load_s: float
) -> MeasuredSpeed:
    """Seconds of single forward passes at each batch, until they settle or the time for them is up.

    The first process of a case goes on to give the embeddings of the fixed inputs: the variant is loaded already.
    """
    rows: list[BatchSpeed] = []
    first_run_s = 0.0
    for batch in batches:
        batch_inputs = model.inputs(batch)
        warm_up_s = timed(model.device, runnable, batch_inputs)  # it compiles, reorders and fills caches
        first_run_s = first_run_s or warm_up_s
        rows.append(_samples(model, task, runnable, batch_inputs, batch, first=not rows))
        del batch_inputs
    return MeasuredSpeed(
        rows=tuple(rows), load_s=load_s, first_run_s=first_run_s, threads=torch.get_num_threads(),
        embeddings=_embeddings(model, runnable, at_once=max(batches)) if task.embed else None,
    )  # fmt: skip


def _samples(
    model: PreparedModel, task: MeasureTask, runnable: Runnable, batch_inputs: Inputs, batch: int, *, first: bool
) -> BatchSpeed:
    """Samples of one batch, whether they settled, and what the sensors saw meanwhile."""
    device, limit_s = model.device, task.seconds

    def work() -> float:
        return timed(device, runnable, batch_inputs)

    warm = 0.0 if device.kind == "cpu" else WARM_S if first else WARM_AGAIN_S
    warm_until = time.perf_counter() + min(warm, limit_s)
    while time.perf_counter() < warm_until:
        work()
    sensors = nvml.sensors() if device.vendor == "NVIDIA" else None
    if sensors:
        sensors.to_step(work)
        sensors.start()
    samples: list[float] = []
    began, others = time.perf_counter(), OtherPrograms()
    while True:
        samples.append(work())
        if sensors:
            sensors.sample()
        settled = len(samples) >= MIN_SAMPLES and _settled(samples)
        over = time.perf_counter() - began > limit_s and len(samples) >= MIN_SAMPLES
        if settled or over or len(samples) >= MAX_SAMPLES:
            break
    others_busy = others.share()
    power = _power(sensors, work, batch, len(samples), began) if sensors else None
    return BatchSpeed(
        batch=batch, samples_s=tuple(samples), settled=settled, power=power, others_busy=others_busy
    )  # fmt: skip


def _power(
    sensors: nvml.Sensors, work: Callable[[], float], batch: int, passes: int, began: float
) -> Power | None:  # fmt: skip
    """What the sensors saw, after more passes, which are no samples, where the energy counter needs them."""
    while time.perf_counter() - began < ENERGY_S:
        work()
        passes += 1
    passes += sensors.to_step(work)
    fields = sensors.stop(items=batch * passes)
    return Power(**fields) if fields else None


def _embeddings(model: PreparedModel, runnable: Runnable, *, at_once: int, count: int | None = None) -> Embeddings:
    """Embeddings of the first of the fixed inputs, no more at once than the largest batch that was seen to fit."""
    fixed = model.inputs(FIDELITY_INPUTS[model.spec.component])
    count = count or len(next(iter(fixed.values())))
    parts = [{k: v[i : i + min(at_once, count - i)] for k, v in fixed.items()} for i in range(0, count, at_once)]
    rows: Embeddings = torch.cat([runnable.run(part).float().cpu() for part in parts]).flatten(1).tolist()
    return rows


def _settled(samples: list[float]) -> bool:
    """Whether the median is known well enough: 1.2533 sigma / sqrt(n) is its standard error, sigma from the IQR."""
    sigma = (quantile(samples, 0.75) - quantile(samples, 0.25)) / 1.349
    return 1.2533 * sigma / math.sqrt(len(samples)) < SETTLED * quantile(samples, 0.5)
