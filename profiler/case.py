"""One case in a process of its own: `python -m profiler.case FILE`, which reads what to do from FILE and writes the result
back beside it. A fresh process means that nothing of another case is in memory, and that a crash is one record, not the end.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from importlib import import_module
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any

import torch
from torch import nn

from catalog.quantization import Quantization, stored_tensors
from catalog.run import quantile
from catalog.store import write_atomically
from catalog.trace import Component, Tensor
from profiler.devices import Device
from profiler.modules import weight_bytes
from profiler.skeleton import Path, build, inputs, kept_modules, paths
from profiler.weights import checkpoint_values, random_values

BACKENDS = {"torch": "torch_dtype", "gguf": "gguf_packed"}
MIN_SAMPLES, MAX_SAMPLES = 3, 200
SETTLED = 0.01
"""Samples have settled when the standard error of their median is below this share of it."""
FIDELITY_INPUTS = 4


def backend(quantization: Quantization) -> ModuleType:
    """The module that writes, loads and describes variants of a quantization's runtime."""
    return import_module(f"profiler.backends.{BACKENDS[quantization.runtime]}")


def main() -> None:
    """Do the task that the file named on the command line asks for."""
    file = FilePath(sys.argv[1])
    task: dict[str, Any] = json.loads(file.read_text())
    try:
        result: dict[str, Any] = {"status": "ok", **TASKS[task["task"]](task)}
    except torch.OutOfMemoryError as error:
        result = {"status": "out_of_memory", "reason": str(error).splitlines()[0]}
    except MemoryError:
        result = {"status": "out_of_memory", "reason": "the process could not get more memory"}
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        result = {"status": "out_of_memory", "reason": str(error).splitlines()[0]}
    write_atomically(file.with_suffix(".result"), json.dumps(result).encode())


def write_artifact(task: dict[str, Any]) -> dict[str, Any]:
    """Quantize the real tensors, write the file, and count what is in it."""
    quantization, tensors = Quantization.model_validate(task["quantization"]), _tensors(task)
    stored = list(stored_tensors(quantization, tensors))
    folder = task["checkpoint"]
    values = checkpoint_values(FilePath(folder), stored) if folder else random_values(task["seed"])
    path = FilePath(task["artifact"])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        backend(quantization).write(temporary, task["model"], task["label"], stored, values)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return {"census": backend(quantization).read_census(path), "file_bytes": path.stat().st_size}


def measure_memory(task: dict[str, Any]) -> dict[str, Any]:
    """Memory at each batch, nothing timed."""
    case = _Case(task)
    runtime = case.context_bytes
    case.load()
    case.device.release()
    loaded = case.device.memory()["now"]
    rows: list[dict[str, Any]] = []
    for batch in task["batches"]:
        given = case.inputs(batch)
        case.device.reset_peak()
        for _ in range(2):  # the second pass shows what the allocator keeps from the first
            case.run(given)
        used = case.device.memory()
        rows.append({"batch": batch, "runtime_bytes": runtime, "loaded_bytes": loaded, "peak_bytes": used["peak"]})
        if "reserved" in used:
            rows[-1]["reserved_bytes"] = used["reserved"]
        del given
    return {"memory": rows, "weights_bytes": weight_bytes(case.model)}


def measure_speed(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of single forward passes at each batch, until they settle or the time for them is up."""
    case = _Case(task)
    started = time.perf_counter()
    case.load()
    case.device.synchronize()
    load_s = time.perf_counter() - started
    if task["mode"] == "compiled":
        case.compile()
    rows: list[dict[str, Any]] = []
    first_run_s = 0.0
    for batch in task["batches"]:
        given = case.inputs(batch)
        first = case.timed(given)  # the warm-up too: it compiles, reorders and fills caches
        first_run_s = first_run_s or first
        samples: list[float] = []
        began = time.perf_counter()
        while True:
            samples.append(case.timed(given))
            settled = len(samples) >= MIN_SAMPLES and _settled(samples)
            over = time.perf_counter() - began > task["seconds"] and len(samples) >= MIN_SAMPLES
            if settled or over or len(samples) >= MAX_SAMPLES:
                break
        rows.append({"batch": batch, "samples_s": samples, "settled": settled})
    return {"speed": rows, "load_s": load_s, "first_run_s": first_run_s, "threads": torch.get_num_threads()}


def embed(task: dict[str, Any]) -> dict[str, Any]:
    """Embeddings of the fixed inputs, for comparison with the reference: all at once, and one by one."""
    case = _Case(task)
    case.load()
    given = case.inputs(FIDELITY_INPUTS)
    together = case.run(given).float().cpu()
    alone = torch.cat(
        [case.run({k: v[i : i + 1] for k, v in given.items()}).float().cpu() for i in range(FIDELITY_INPUTS)]
    )
    return {"together": together.flatten(1).tolist(), "alone": alone.flatten(1).tolist()}


class _Case:
    """A variant on a device, loaded from its file."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.device = Device(task["device"], task["vendor"])
        self.quantization = Quantization.model_validate(task["quantization"])
        self.backend = backend(self.quantization)
        self.model: nn.Module = build(task["config"])
        self.path = _path(self.model, task["component"])
        self.dtype: torch.dtype = self.backend.activation_type(self.quantization, self.device)
        names = {s.name for s in stored_tensors(self.quantization, _tensors(task))}
        kept_modules(self.model, names)
        # The libraries that loading and the first pass would pull in belong to the runtime, not to the model.
        warm = torch.ones(2, 2, dtype=self.dtype, device=self.device.torch_device)
        torch.nn.functional.linear(warm, warm)
        self.context_bytes = self.device.context_bytes()

    def load(self) -> None:
        """Load the weights from the variant's file onto the device."""
        self.backend.load(
            FilePath(self.task["artifact"]), self.model, self.quantization, self.device, self.task["chunk_elements"]
        )
        for name, buffer in self.model.named_buffers():
            if not name.endswith("packed"):
                buffer.data = buffer.data.to(self.device.torch_device)
        left = [name for name, p in self.model.named_parameters() if p.is_meta]
        if left:
            raise AssertionError(f"the file does not hold {', '.join(left[:3])}")

    def compile(self) -> None:
        """Let torch.compile make the forward pass; the call itself, for a model's own methods would pass by a compiled module."""
        self.path = dataclasses.replace(self.path, call=torch.compile(self.path.call))

    def inputs(self, batch: int) -> dict[str, torch.Tensor]:
        return inputs(self.model, self.path, batch, self.dtype, self.device.torch_device)

    def run(self, given: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return self.path.call(self.model, given)

    def timed(self, given: dict[str, torch.Tensor]) -> float:
        self.device.synchronize()
        began = time.perf_counter()
        self.run(given)
        self.device.synchronize()
        return time.perf_counter() - began


def _settled(samples: list[float]) -> bool:
    """Whether the median is known well enough: 1.2533 sigma / sqrt(n) is its standard error, sigma from the IQR."""
    sigma = (quantile(samples, 0.75) - quantile(samples, 0.25)) / 1.349
    return 1.2533 * sigma / math.sqrt(len(samples)) < SETTLED * quantile(samples, 0.5)


def _tensors(task: dict[str, Any]) -> list[Tensor]:
    return [Tensor.model_validate(tensor) for tensor in task["tensors"]]


def _path(model: nn.Module, component: Component) -> Path:
    return next(path for path in paths(model) if path.component == component)


TASKS = {"artifact": write_artifact, "memory": measure_memory, "speed": measure_speed, "embed": embed}

if __name__ == "__main__":
    main()
