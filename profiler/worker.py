"""One case in a process of its own: `python -m profiler.case FILE READY`, which reads what to do from FILE and writes the result
back beside it. A fresh process means that nothing of another case is in memory, and that a crash is one record, not the end.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any

import torch

from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import quantile
from fitcard.catalog.schema.trace import Tensor
from fitcard.catalog.storage.writer import write_atomically
from fitcard.profiler import nvml
from fitcard.profiler.devices import Device
from fitcard.profiler.meta_model import inputs
from fitcard.profiler.variant import Inputs, Runnable, Variant
from fitcard.profiler.weights import checkpoint_values, random_values

MIN_SAMPLES, MAX_SAMPLES = 3, 200
WARM_S, WARM_AGAIN_S = 0.5, 0.2
"""How long a card works before it is timed: from idle, until its clocks have risen, and from another batch."""
ENERGY_S = 0.5
"""The least time over which its energy is counted, from one step of its counter to another."""
SETTLED = 0.01
"""Samples have settled when the standard error of their median is below this share of it."""
FIDELITY_INPUTS = {"vision": 8, "text": 32, "all": 8}
"""How many embeddings are compared. Two-tower models match 8 images with 32 texts."""
NO_MEMORY = (
    "allocate memory", "bad_alloc", "bad allocation", "out of memory", "Failed to allocate", "mmap failed",
    "STATUS_ALLOC_FAILED", "STATUS_NOT_INITIALIZED", "Invalid buffer size",
)  # fmt: skip
"""How libraries say that memory ran out."""


Embeddings = list[list[float]]


def backend(quantization: Quantization) -> ModuleType:
    """The module that writes, loads and describes variants of a quantization's engine."""
    return import_module(f"fitcard.profiler.backends.{quantization.engine.backend}")


def main() -> None:
    """Do the task that the file named on the command line asks for."""
    file = FilePath(sys.argv[1])
    task: dict[str, Any] = {**json.loads(file.read_text()), "ready_fd": int(sys.argv[2])}
    _die_with(task["parent"])
    torch.backends.cudnn.allow_tf32 = False  # FP32 means FP32, in convolutions too
    try:
        result: dict[str, Any] = {"status": "ok", **TASKS[task["task"]](task)}
    except Exception as error:
        if (reason := _no_memory(error)) is None:
            raise
        result = {"status": "out_of_memory", "reason": reason}
    write_atomically(file.with_suffix(".result"), json.dumps(result).encode())


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when the one that started it is gone, even by kill -9. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of linux/prctl.h
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone")


def _await_turn(ready_fd: int) -> None:
    """Tell the parent that all is ready but the device, and wait until it closes standard input: the device is ours now."""
    os.close(ready_fd)
    sys.stdin.read()


def _no_memory(error: BaseException) -> str | None:
    """What to say of an error that means that memory ran out; None for any other."""
    text = str(error)
    if isinstance(error, MemoryError):
        return text or "the process could not get more memory"
    if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in NO_MEMORY):
        return text.strip().splitlines()[0]
    return None


def write_artifact(task: dict[str, Any]) -> dict[str, Any]:
    """Quantize the real tensors, write the file, and count what is in it."""
    variant = _variant(task)
    folder = task["checkpoint"]
    values = checkpoint_values(FilePath(folder), variant.stored) if folder else random_values(task["seed"])
    path, module = FilePath(task["artifact"]), backend(variant.quantization)
    try:
        module.write(path, variant, values)
        return {"census": module.read_census(path), "file_bytes": path.stat().st_size}
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def measure_memory(task: dict[str, Any]) -> dict[str, Any]:
    """Memory at each batch up to the largest that fits, nothing timed."""
    case = _Case(task)
    return _memory(case, case.load())


def measure_speed(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of single forward passes at each batch."""
    case = _Case(task)
    ready, load_s = _loaded(case)
    return {"load_s": load_s, **_speed(case, ready, task["batches"])}


def measure_both(task: dict[str, Any]) -> dict[str, Any]:
    """Memory, then speed at the batches that fit. A card's counters do not care what is timed after them, and starting a
    process on a card takes longer than most measurements."""
    case = _Case(task)
    ready, load_s = _loaded(case)
    memory = _memory(case, ready)
    case.device.release()
    speed = _speed(case, ready, [row["batch"] for row in memory["memory"]])
    return {"load_s": load_s, **speed, **memory}


def _loaded(case: _Case) -> tuple[Runnable, float]:
    """The variant on its device, and the seconds that loading took."""
    started = time.perf_counter()
    ready = case.load()
    case.device.synchronize()
    return ready, time.perf_counter() - started


def _memory(case: _Case, ready: Runnable) -> dict[str, Any]:
    case.device.release()
    loaded = case.device.memory()["now"]
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    too_large: int | None = None
    for batch in case.task["batches"]:
        try:
            rows.append({"batch": batch, "loaded_bytes": loaded, **_memory_at(case, ready, batch, seconds)})
        except Exception as error:
            if _no_memory(error) is None or not rows:
                raise
            too_large = batch
            break
    return {
        "memory": rows, "weights_bytes": ready.weights_bytes, "out_of_memory_batch": too_large, "first_run_s": seconds[0],
    }  # fmt: skip


def _memory_at(case: _Case, ready: Runnable, batch: int, seconds: list[float]) -> dict[str, int]:
    """The memory of one batch, from a state in which smaller batches left nothing, and how long each pass took.

    Raises MemoryError above a cap.
    """
    given = case.inputs(batch)
    case.device.release()
    case.device.reset_peak()
    for _ in range(2):  # the second pass shows what the allocator keeps from the first
        seconds.append(timed(case.device, ready, given))
    used = case.device.memory()
    if "reserved" not in used:
        row, total = {"runtime_bytes": case.context_bytes, "peak_bytes": used["peak"]}, used["peak"]
    else:  # kernels and workspaces outside of torch's allocator come with the first pass that needs them
        context = case.device.context_bytes()
        row = {"runtime_bytes": context, "peak_bytes": used["peak"], "reserved_bytes": used["reserved"]}
        total = context + used["reserved"]
    limit = case.task["memory_limit_bytes"]
    if limit is not None and total > limit:
        raise MemoryError(f"batch {batch} took {total / 1e6:,.0f} MB in all")
    return row


def _speed(case: _Case, ready: Runnable, batches: list[int]) -> dict[str, Any]:
    """Seconds of single forward passes at each batch, until they settle or the time for them is up.

    The first process of a case goes on to give the embeddings of the fixed inputs: the variant is loaded already.
    """
    rows: list[dict[str, Any]] = []
    first_run_s = 0.0
    for batch in batches:
        given = case.inputs(batch)
        took = timed(case.device, ready, given)  # the warm-up too: it compiles, reorders and fills caches
        first_run_s = first_run_s or took
        rows.append({"batch": batch, **_samples(case, ready, given, batch, first=not rows)})
        del given
    result = {"speed": rows, "first_run_s": first_run_s, "threads": torch.get_num_threads()}
    return {**result, "embeddings": _embeddings(case, ready, at_once=max(batches))} if case.task["embed"] else result


def _samples(case: _Case, ready: Runnable, given: Inputs, batch: int, first: bool) -> dict[str, Any]:
    """Samples of one batch, whether they settled, and what the sensors saw meanwhile."""
    device, seconds = case.device, case.task["seconds"]

    def work() -> float:
        return timed(device, ready, given)

    warm = 0.0 if device.kind == "cpu" else WARM_S if first else WARM_AGAIN_S
    warm_until = time.perf_counter() + min(warm, seconds)
    while time.perf_counter() < warm_until:
        work()
    sensors = nvml.sensors() if device.vendor == "NVIDIA" else None
    if sensors:
        sensors.to_step(work)
        sensors.start()
    samples: list[float] = []
    began = time.perf_counter()
    while True:
        samples.append(work())
        if sensors:
            sensors.sample()
        settled = len(samples) >= MIN_SAMPLES and _settled(samples)
        over = time.perf_counter() - began > seconds and len(samples) >= MIN_SAMPLES
        if settled or over or len(samples) >= MAX_SAMPLES:
            break
    found: dict[str, Any] = {"samples_s": samples, "settled": settled}
    if sensors:
        passes = len(samples)
        while time.perf_counter() - began < ENERGY_S:  # more passes, which are no samples
            work()
            passes += 1
        passes += sensors.to_step(work)
        found["power"] = sensors.stop(items=batch * passes)
    return found


def embed(task: dict[str, Any]) -> dict[str, Any]:
    """Embeddings of the fixed inputs by the reference: all at once, and one by one, whose difference is the noise floor."""
    case = _Case(task)
    ready = case.load()
    alone = _embeddings(case, ready, count=4, at_once=1)
    return {"together": _embeddings(case, ready, at_once=max(task["batches"])), "alone": alone}


def _embeddings(case: _Case, ready: Runnable, *, at_once: int, count: int | None = None) -> Embeddings:
    """Embeddings of the first of the fixed inputs, no more at once than the largest batch that was seen to fit."""
    given = case.inputs(FIDELITY_INPUTS[case.variant.component])
    count = count or len(next(iter(given.values())))
    parts = [{k: v[i : i + min(at_once, count - i)] for k, v in given.items()} for i in range(0, count, at_once)]
    return torch.cat([ready.run(part).float().cpu() for part in parts]).flatten(1).tolist()


class _Case:
    """A variant on a device."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.variant = _variant(task)
        self.device = self.variant.device
        self.backend = backend(self.variant.quantization)
        self.model = self.variant.skeleton()
        self.way = self.variant.way(self.model)
        self.device.start_driver()
        _await_turn(task["ready_fd"])
        self.dtype: torch.dtype = self.backend.activation_type(self.variant.quantization, self.device)
        # The libraries that loading and the first pass would pull in belong to the runtime, not to the model.
        warm = torch.ones(2, 2, dtype=self.dtype, device=self.device.torch_device)
        torch.nn.functional.linear(warm, warm)
        self.context_bytes = self.device.context_bytes()
        if task["memory_limit_bytes"] is not None:
            limit_memory(self.device, task["memory_limit_bytes"], self.context_bytes)

    def load(self) -> Runnable:
        """Load the variant from its file onto the device, compiled if the mode says so."""
        ready: Runnable = self.backend.load(FilePath(self.task["artifact"]), self.variant, self.model)
        if self.task["mode"] == "eager":
            return ready
        compiled: dict[int, Callable[[Inputs], torch.Tensor]] = {}

        def call(given: Inputs) -> torch.Tensor:
            """One graph for each batch: with one for all, what a batch runs would depend on the batches before it."""
            batch = len(next(iter(given.values())))
            if batch not in compiled:
                torch._dynamo.reset()
                compiled.clear()
                compiled[batch] = torch.compile(ready.call, dynamic=False)
            return compiled[batch](given)

        return Runnable(call, ready.weights_bytes)

    def inputs(self, batch: int) -> Inputs:
        return inputs(self.model, self.way, batch, self.dtype, self.device.torch_device)


def timed(device: Device, ready: Runnable, given: Inputs) -> float:
    """Seconds of one forward pass, from nothing under way to all of it done."""
    device.synchronize()
    began = time.perf_counter()
    ready.run(given)
    device.synchronize()
    return time.perf_counter() - began


def limit_memory(device: Device, limit_bytes: int, context_bytes: int) -> None:
    """Let this process have no more than `limit_bytes` of the device's memory, the runtime's own included.

    On a card torch's allocator refuses more than the limit less the context. On a processor the kernel refuses more
    private memory (RLIMIT_DATA, which counts what is reserved whether touched or not, and no mapped files). What a pass
    then really took in all is held to the limit once more by the memory pass. Raises MemoryError when the runtime alone
    takes more.
    """
    if context_bytes >= limit_bytes:
        raise MemoryError(f"the runtime alone takes {context_bytes / 1e6:,.0f} MB")
    if device.kind == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    elif device.kind == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (limit_bytes - context_bytes) / total))
    elif device.kind == "xpu":
        total = torch.xpu.get_device_properties(0).total_memory
        torch.xpu.set_per_process_memory_fraction(min(1.0, (limit_bytes - context_bytes) / total))
    else:
        allowed = (limit_bytes - context_bytes) / torch.mps.recommended_max_memory()
        torch.mps.set_per_process_memory_fraction(min(2.0, allowed))


def _settled(samples: list[float]) -> bool:
    """Whether the median is known well enough: 1.2533 sigma / sqrt(n) is its standard error, sigma from the IQR."""
    sigma = (quantile(samples, 0.75) - quantile(samples, 0.25)) / 1.349
    return 1.2533 * sigma / math.sqrt(len(samples)) < SETTLED * quantile(samples, 0.5)


def _variant(task: dict[str, Any]) -> Variant:
    return Variant(
        task["model"], task["label"], task["config"], task["component"], Quantization.model_validate(task["quantization"]),
        tuple(Tensor.model_validate(tensor) for tensor in task["tensors"]), Device(task["device"], task["vendor"]),
        task["chunk_elements"],
    )  # fmt: skip


TASKS = {
    "artifact": write_artifact,
    "memory": measure_memory,
    "speed": measure_speed,
    "both": measure_both,
    "embed": embed,
}

if __name__ == "__main__":
    main()
