"""The devices of this machine and their free memory, as the system's own tools state them."""

from __future__ import annotations

import csv
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fitcard.catalog import Catalog
from fitcard.catalog.host import cpu_id, cpu_label, gpu_of_device
from fitcard.catalog.schema.gpu import GIB, Gpu, GpuSpec
from fitcard.catalog.schema.record import Record

MIB = 2**20
_AMD = "0x1002"


class Detected(Record):
    """One device of this machine."""

    name: str
    vendor: str
    memory_bytes: int
    free_bytes: int
    """At this moment; of a unified memory, what the graphics side may use of what is free."""
    driver: str | None
    gpu: str | None
    """The GPU of the catalog that it is, or the id by which runs know a processor; None for one that the catalog does
    not hold."""


def detect(catalog: Catalog) -> list[Detected]:
    """Every GPU that the system names, the processor last."""
    return [*_nvidia(catalog), *_amd(catalog), *_apple(catalog), *_processor()]


def with_free_memory(catalog: Catalog, device: Detected) -> tuple[Catalog, str]:
    """The catalog in which the device has nothing but what is free on it now, and its id."""
    key = device.gpu or "here"
    listed = catalog.gpus.get(key)
    # All that is free is a program's to use: nothing more is reserved.
    state = {"memory_gib": device.free_bytes / GIB, "segment": "datacenter", "unified_memory": False}
    if listed:
        gpu = listed.model_copy(update={"spec": listed.spec.model_copy(update=state)})
    else:
        gib = device.free_bytes / GIB
        spec = GpuSpec(name=device.name, segment="datacenter", memory_gib=gib, sources={"here": ("memory_gib",)})
        gpu = Gpu(id=key, vendor=device.vendor, generation="", spec=spec, rates=None, sources={}, reviewed=None)
    return replace(catalog, gpus={**catalog.gpus, key: gpu}), key


def _nvidia(catalog: Catalog) -> Iterator[Detected]:
    fields = "name,memory.total,memory.free,driver_version"
    for row in csv.reader(
        _output(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]).splitlines()
    ):
        if len(row) != 4:
            continue
        name, total, free, driver = (cell.strip() for cell in row)
        if not (total.isdigit() and free.isdigit()):  # one without memory of its own says "[N/A]"
            total, free = (str(size // MIB) for size in _main_memory())
        size = int(total) * MIB
        gpu, available = gpu_of_device(catalog, name, size), int(free) * MIB
        yield Detected(name=name, vendor="NVIDIA", memory_bytes=size, free_bytes=available, driver=driver, gpu=gpu)


def _amd(catalog: Catalog, root: Path = Path("/sys/class/drm")) -> Iterator[Detected]:
    for folder in sorted(root.glob("card[0-9]*")):
        device = folder / "device"
        total = _read(device / "mem_info_vram_total")
        if not re.fullmatch(r"card\d+", folder.name) or _read(device / "vendor") != _AMD or not total.isdigit():
            continue
        name = _read(device / "product_name") or f"AMD GPU {_read(device / 'device')}"
        used = _read(device / "mem_info_vram_used")
        gpu, free = gpu_of_device(catalog, name, int(total)), int(total) - int(used or 0)
        yield Detected(name=name, vendor="AMD", memory_bytes=int(total), free_bytes=free, driver=None, gpu=gpu)


def _apple(catalog: Catalog) -> Iterator[Detected]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return
    name = _output(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]).strip()
    total = _output(["/usr/sbin/sysctl", "-n", "hw.memsize"]).strip()
    if name and total.isdigit():
        usable = int(int(total) * catalog.runtimes.unified_share.share)
        gpu = gpu_of_device(catalog, name, int(total))
        yield Detected(name=name, vendor="Apple", memory_bytes=int(total), free_bytes=usable, driver=None, gpu=gpu)


def _processor() -> Iterator[Detected]:
    total, free = _main_memory()
    if total:
        yield Detected(name=cpu_label(), vendor="CPU", memory_bytes=total, free_bytes=free, driver=None, gpu=cpu_id())


def _main_memory() -> tuple[int, int]:
    """Bytes of main memory, and of it free for a new program."""
    info: dict[str, str] = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read(Path("/proc/meminfo")), re.M))
    if "MemTotal" in info:
        return int(info["MemTotal"]) * 1024, int(info.get("MemAvailable", info["MemTotal"])) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total, total
    return 0, 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _output(command: Sequence[str]) -> str:
    """What a program prints; nothing where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
