"""The device at hand: what it is, what it does best, and how much memory a process uses on it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.host import cpu_cores, cpu_features, cpu_label, cpu_name
from fitcard.catalog.schema.run import Machine
from fitcard.catalog.storage.private import locked_file, user_folder
from fitcard.profiler import nvml

LIBRARIES = (
    "torch", "transformers", "safetensors", "gguf", "xllamacpp", "torchao", "bitsandbytes", "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True)
class Device:
    """A device that can run a variant."""

    kind: str
    """cpu, cuda, xpu or mps, as torch calls them."""
    vendor: str
    """CPU, NVIDIA, AMD, Intel or Apple: the key of the catalog's runtimes."""

    @property
    def torch_device(self) -> str:
        return self.kind

    @property
    def fast_type(self) -> torch.dtype:
        """The 16-bit type that the device multiplies natively, else float32."""
        if self.kind == "cuda":
            return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
        if self.kind == "mps":
            return torch.float16
        if self.kind == "xpu":
            return torch.bfloat16
        return torch.bfloat16 if {"avx512_bf16", "amx_bf16", "bf16"} & set(cpu_features()) else torch.float32

    def compute_capability(self) -> float:
        """CUDA's version of the device's features, such as 8.9; NVIDIA only."""
        major, minor = torch.cuda.get_device_capability()
        return major + minor / 10

    def synchronize(self) -> None:
        """Wait until all work that was given to the device is done."""
        if self.kind != "cpu":
            torch.accelerator.synchronize()

    def start_driver(self) -> None:
        """Start CUDA's driver, which takes a second or so and nothing of the GPU's memory: the context comes later."""
        if self.kind == "cuda":
            torch.cuda.get_device_capability()

    @contextmanager
    def turn(self) -> Generator[None]:
        """Have a GPU alone among all of this user's profilers. A processor is shared: its cases come one by one anyway.

        The kernel gives the lock back when its holder dies.
        """
        if self.kind == "cpu":
            yield
            return
        # Drivers that tell no UUID have all their GPUs take turns.
        one = getattr(torch.cuda.get_device_properties(0), "uuid", "cuda") if self.kind == "cuda" else self.kind
        with locked_file(user_folder("gpu-locks") / f"{one}.lock"):
            yield

    def reset_peak(self) -> None:
        """Forget the highest memory seen so far."""
        if self.kind in ("cuda", "xpu"):
            torch.accelerator.reset_peak_memory_stats()
        elif self.kind == "cpu" and Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")

    def release(self) -> None:
        """Give back what was freed but is still held, so that leftovers of loading do not count as weights."""
        gc.collect()
        if self.kind in ("cuda", "xpu"):
            torch.accelerator.empty_cache()
        elif platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)

    def memory(self) -> dict[str, int]:
        """Bytes in use now, the highest since the last reset, and what the allocator took from the device."""
        if self.kind in ("cuda", "xpu"):
            of = torch.accelerator
            return {
                "now": of.memory_allocated(),
                "peak": of.max_memory_allocated(),
                "reserved": of.max_memory_reserved(),
            }
        if self.kind == "mps":
            return {"now": torch.mps.current_allocated_memory(), "peak": torch.mps.driver_allocated_memory()}
        status = Path("/proc/self/status")
        if not status.exists():  # not Linux: no peak that can be reset, so the current size stands for both
            now = psutil.Process().memory_info().rss
            return {"now": now, "peak": now}
        sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status.read_text(), re.M))
        return {"now": int(sizes["VmRSS"]) * 1024, "peak": int(sizes["VmHWM"]) * 1024}

    def context_bytes(self) -> int:
        """What the runtime takes before any model is there: the process on a CPU, the device's context on CUDA."""
        if self.kind in ("cuda", "xpu"):
            torch.zeros(1, device=self.kind)
            if self.vendor == "NVIDIA" and (own := nvml.process_bytes(os.getpid())) is not None:
                return own - torch.cuda.memory_reserved()
            # Without the driver's own count, all that is taken from the GPU: right when nothing else runs on it.
            free, total = torch.cuda.mem_get_info() if self.kind == "cuda" else torch.xpu.mem_get_info()
            return total - free - torch.accelerator.memory_reserved()
        return self.memory()["now"]


def find_device(kind: str | None) -> Device:
    """The device of that kind, or the best that is there. Raises FitcardError when there is none of that kind."""
    available = {
        "cuda": torch.cuda.is_available(), "xpu": torch.xpu.is_available(), "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }  # fmt: skip
    if kind is None:
        kind = next(name for name, usable in available.items() if usable)
    if not available.get(kind, False):
        usable_names = ", ".join(name for name, usable in available.items() if usable)
        raise FitcardError(f"no {kind} device here that torch {torch.__version__} can use (there is: {usable_names})")
    vendor = {"cpu": "CPU", "mps": "Apple", "xpu": "Intel"}.get(kind) or ("AMD" if torch.version.hip else "NVIDIA")
    return Device(kind, vendor)


def device_name(device: Device) -> str:
    """The name by which the maker sells it."""
    if device.kind == "cuda":
        return torch.cuda.get_device_name()
    if device.kind == "xpu":
        return torch.xpu.get_device_name()
    if device.kind == "mps":
        return _apple_chip()
    return cpu_label()


def device_memory_bytes(device: Device) -> int | None:
    """The device's own memory; None where it is the machine's."""
    if device.kind == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return torch.xpu.get_device_properties(0).total_memory if device.kind == "xpu" else None


def machine(device: Device, device_id: str) -> Machine:
    """Everything about this machine that a measurement depends on."""
    libraries = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            libraries[library] = version(library)
        except PackageNotFoundError:
            continue
    driver, power_limit = nvml.driver_and_power_limit() if device.vendor == "NVIDIA" else (None, None)
    return Machine(
        driver=driver, power_limit_w=power_limit,
        device=device_id, device_name=device_name(device), device_vendor=device.vendor,
        cpu=cpu_name(), cpu_cores=cpu_cores(), cpu_features=cpu_features(),
        memory_bytes=psutil.virtual_memory().total, system=f"{platform.system()} {platform.release()}",
        libraries=libraries,
        device_memory_bytes=device_memory_bytes(device),
    )  # fmt: skip


def _apple_chip() -> str:
    """The chip's name, such as Apple M4 Max."""
    done = subprocess.run(
        ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "Apple"
