"""The devices of this machine and their free memory, as the system's own tools state them.

What a tool does not state is not known. Main memory counts as a GPU's only where the GPU has no other: NVIDIA's GB10,
Orin and Thor, AMD's and Intel's integrated GPUs, and Apple's.
"""

from __future__ import annotations

import csv
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fitcard.catalog import Catalog
from fitcard.catalog.gpu_names import GpuNames
from fitcard.catalog.host import cpu_id, cpu_label, gpu_of_device
from fitcard.catalog.names import gpu_index
from fitcard.catalog.schema.gpu import GIB, Gpu, GpuSpec
from fitcard.catalog.schema.record import Record

MIB = 2**20
DRM = Path("/sys/class/drm")
WSL_NVIDIA_SMI = "/usr/lib/wsl/lib/nvidia-smi"
"""Where WSL keeps it, often outside PATH: https://docs.nvidia.com/cuda/wsl-user-guide/index.html"""
BOARD = Path("/proc/device-tree/model")
"""What the machine calls itself, where it has a device tree: `NVIDIA Jetson Orin Nano Developer Kit`."""
_AMD, _INTEL = "1002", "8086"
_LEAST_VRAM = 2 * GIB
"""An AMD GPU that the catalog does not hold and that has less memory of its own is integrated, and uses main memory."""


class Detected(Record):
    """One kind of device of this machine."""

    name: str
    vendor: str
    count: int = 1
    """How many of them there are; the figures below are those of each."""
    memory_bytes: int | None
    """None where nothing states it."""
    free_bytes: int | None
    """At this moment; of a unified memory, what the GPU may use of what is free. None where nothing states it."""
    driver: str | None
    gpu: str | None
    """The GPU of the catalog that it is, or the id by which runs know a processor; None for one that it lacks."""
    note: str | None = None
    """Why something is not known."""

    def line(self, unlisted: bool) -> str:
        """What is known of it in one line; `unlisted` says that the catalog lacks it."""
        count = f"{self.count} x " if self.count > 1 else ""
        lacking = ", which the catalog does not hold" if unlisted and not self.note else ""
        each = " each" if self.count > 1 else ""
        if self.memory_bytes is None:
            memory = "memory not known"
        elif self.free_bytes is None:
            memory = f"{self.memory_bytes / 1e9:.1f} GB{each}, how much of it is free is not known"
        else:
            memory = f"{self.free_bytes / 1e9:.1f} of {self.memory_bytes / 1e9:.1f} GB free{each}"
        driver = f", driver {self.driver}" if self.driver else ""
        note = f" ({self.note})" if self.note else ""
        return f"{count}{self.name}{lacking}: {memory}{driver}{note}"


class MainMemory(NamedTuple):
    """Main memory, in bytes."""

    total: int
    free: int
    """For a new program."""


def detect(catalog: Catalog) -> list[Detected]:
    """Every GPU that the system names, equal ones together, the processor last."""
    gpus = (*_nvidia(catalog), *_amd(catalog, DRM), *_intel(catalog, DRM), *_apple(catalog))
    return [*_together(gpus), *_processor()]


def with_free_memory(catalog: Catalog, device: Detected) -> tuple[Catalog, str]:
    """The catalog in which the device's GPU has nothing but what is free on it now, and the GPU's id.

    All of its memory where nothing states what is free. Raises ValueError for a device whose memory is not known.
    """
    size = device.memory_bytes if device.free_bytes is None else device.free_bytes
    if size is None:
        raise ValueError(f"the memory of {device.name} is not known")
    key = device.gpu or "here"
    listed = catalog.gpus.get(key)
    state = {"memory_gib": size / GIB, "segment": "datacenter", "unified_memory": False}  # nothing more is kept
    spec = (
        listed.spec.model_copy(update=state) if listed
        else GpuSpec(name=device.name, segment="datacenter", memory_gib=size / GIB, sources={"here": ("memory_gib",)})
    )  # fmt: skip
    gpu = (
        listed.model_copy(update={"spec": spec}) if listed
        else Gpu(id=key, vendor=device.vendor, generation="", spec=spec, rates=None, sources={}, reviewed=None)
    )  # fmt: skip
    return replace(catalog, gpus={**catalog.gpus, key: gpu}), key


def _together(devices: Iterable[Detected]) -> list[Detected]:
    """Equal devices as one with a count; what is free is that of the fullest."""
    kinds: dict[tuple[object, ...], list[Detected]] = {}
    for device in devices:
        kinds.setdefault(tuple(device.model_dump(exclude={"free_bytes"}).values()), []).append(device)
    merged: list[Detected] = []
    for equal in kinds.values():
        free = [device.free_bytes for device in equal if device.free_bytes is not None]
        least = min(free) if len(free) == len(equal) else None
        merged.append(equal[0].model_copy(update={"count": len(equal), "free_bytes": least}))
    return merged


# NVIDIA


def _nvidia(catalog: Catalog) -> Iterator[Detected]:
    program = shutil.which("nvidia-smi") or (WSL_NVIDIA_SMI if Path(WSL_NVIDIA_SMI).exists() else None)
    if program is None:
        return
    fields = "name,memory.total,memory.free,driver_version"
    printed = _run([program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    rows = [[cell.strip() for cell in row] for row in csv.reader(printed.text.splitlines()) if len(row) == 4]
    slices = _mig_slices(program) if rows else {}
    names = gpu_index(catalog)
    for number, row in enumerate(rows):
        if number in slices:
            for profile in slices[number]:
                yield _unknown(f"{row[0]} {profile}", "NVIDIA", "a slice of the GPU", driver=row[3])
        else:
            yield _nvidia_gpu(catalog, names, row)
    if printed.failed or not rows:
        said = next((line.strip() for line in printed.text.splitlines() if line.count(",") < 3 and line.strip()), "")
        yield _unknown("NVIDIA GPU", "NVIDIA", f"nvidia-smi failed: {said or printed.failed or 'it names no GPU'}")


def _nvidia_gpu(catalog: Catalog, names: GpuNames, row: Sequence[str]) -> Detected:
    """A row of nvidia-smi. A cell that is no number ("[N/A]", "[Insufficient Permissions]") is not known."""
    name, driver = row[0], row[3]
    total, free = (int(cell) * MIB if cell.isdigit() else None for cell in row[1:3])
    gpu, note = names.one(name, total), None
    if total is None and any(catalog.gpus[key].spec.unified_memory for key in names.called(name)):
        total, free = _main_memory()
        gpu = names.one(name, total) or names.one(_read(BOARD).rstrip("\0"), total) or gpu
    elif total is None or free is None:
        stated = ", ".join(dict.fromkeys(cell for cell in row[1:3] if not cell.isdigit()))
        note = f"nvidia-smi says {stated}"
    if total is not None and free is not None:
        free = min(free, total)
    return Detected(name=name, vendor="NVIDIA", memory_bytes=total, free_bytes=free, driver=driver, gpu=gpu, note=note)


def _mig_slices(program: str) -> dict[int, list[str]]:
    """The slices of each GPU that is cut with MIG, by the GPU's number: `MIG 1g.10gb`.

    nvidia-smi states the memory of the whole GPU for them, of which a program gets one slice.
    https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
    """
    slices: dict[int, list[str]] = {}
    number = -1
    for line in _run([program, "-L"]).text.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            number = int(gpu[1])
        elif mig := re.match(r"\s+(MIG \S+)\s+Device", line):
            slices.setdefault(number, []).append(mig[1])
    return slices


# AMD and Intel: what the kernel's drivers state


class PciDevice(NamedTuple):
    """A GPU below /sys/class/drm."""

    folder: Path
    vendor: str
    """As four hexadecimal digits, like `device` and `revision` (two)."""
    device: str
    revision: str
    """Empty where the system does not state it."""

    @property
    def pci_id(self) -> str:
        """As the catalog writes it."""
        return ":".join(part for part in (self.vendor, self.device, self.revision) if part)

    def number(self, name: str) -> int | None:
        """The number in one of its files; None where there is none."""
        text = _read(self.folder / name)
        return int(text) if text.isdigit() else None


def _pci_devices(root: Path, vendor: str) -> Iterator[PciDevice]:
    for card in sorted(root.glob("card[0-9]*")):
        if re.fullmatch(r"card\d+", card.name):  # card0-DP-1 is a connector
            ids = (
                _read(card / "device" / name).lower().removeprefix("0x") for name in ("vendor", "device", "revision")
            )
            device = PciDevice(card / "device", *ids)
            if device.vendor == vendor:
                yield device


def _amd(catalog: Catalog, root: Path = DRM) -> Iterator[Detected]:
    """AMD's GPUs, by the files of the kernel's amdgpu driver: https://docs.kernel.org/gpu/amdgpu/driver-misc.html"""
    devices = list(_pci_devices(root, _AMD))
    names = gpu_index(catalog) if devices else GpuNames({})
    for device in devices:
        own, shared = device.number("mem_info_vram_total"), device.number("mem_info_gtt_total") or 0
        candidates = names.by_pci_id(device.pci_id, None)
        if own is None:
            name = _common_name(catalog, candidates) or f"AMD GPU 0x{device.device}"
            yield _unknown(name, "AMD", "the kernel's amdgpu driver does not state it")
            continue
        unified = any(catalog.gpus[key].spec.unified_memory for key in candidates) or (
            not candidates and own < _LEAST_VRAM
        )
        total = own + shared if unified else own
        product = _read(device.folder / "product_name")
        gpu = _only(names.by_pci_id(device.pci_id, total)) or (names.one(product, total) if product else None)
        if unified and gpu is None:  # where firmware reserves much as VRAM, GTT is half of what is left
            gpu = _only(names.by_pci_id(device.pci_id, own + _main_memory().total))
        name = _name(catalog, gpu) or product or _common_name(catalog, candidates) or f"AMD GPU 0x{device.device}"
        free = _amd_free(catalog, device, own, shared) if unified else _less(own, device.number("mem_info_vram_used"))
        yield Detected(name=name, vendor="AMD", memory_bytes=total, free_bytes=free, driver=None, gpu=gpu)


def _amd_free(catalog: Catalog, device: PciDevice, own: int, shared: int) -> int:
    """What an integrated GPU may use now: its own memory and a share of GTT, main memory that the kernel lets it map."""
    free_own = max(own - (device.number("mem_info_vram_used") or 0), 0)
    free_shared = int(shared * catalog.runtimes.unified_share.share) - (device.number("mem_info_gtt_used") or 0)
    main = _main_memory()
    if main.total + own >= shared:  # in a container, main memory is the container's, and less than the GPU may map
        free_shared = min(free_shared, main.free)
    return free_own + max(free_shared, 0)


def _intel(catalog: Catalog, root: Path = DRM) -> Iterator[Detected]:
    """Intel's GPUs by their PCI ids: the kernel's drivers (i915, xe) state no memory, so it is the catalog's."""
    devices = list(_pci_devices(root, _INTEL))
    names = gpu_index(catalog) if devices else GpuNames({})
    for device in devices:
        candidates = names.by_pci_id(f"{device.vendor}:{device.device}", None)
        name = _common_name(catalog, candidates) or f"Intel GPU 0x{device.device}"
        if any(catalog.gpus[key].spec.unified_memory for key in candidates):
            main = _main_memory()
            free = int(main.free * catalog.runtimes.unified_share.share)
            gpu = _only(names.by_pci_id(f"{device.vendor}:{device.device}", main.total))
            yield Detected(name=name, vendor="Intel", memory_bytes=main.total, free_bytes=free, driver=None, gpu=gpu)
        elif gpu := _only(candidates):
            size = catalog.gpus[gpu].spec.memory_bytes
            yield Detected(name=name, vendor="Intel", memory_bytes=size, free_bytes=None, driver=None, gpu=gpu)
        else:
            yield _unknown(name, "Intel", "the kernel's driver does not state it")


def _only(keys: Sequence[str]) -> str | None:
    return keys[0] if len(keys) == 1 else None


def _name(catalog: Catalog, key: str | None) -> str | None:
    return catalog.gpus[key].name if key else None


def _common_name(catalog: Catalog, keys: Sequence[str]) -> str | None:
    """What GPUs that differ in memory alone are called; None where they differ in more."""
    bare = {re.sub(r" \(.*\)| \d+ ?GB", "", catalog.gpus[key].name) for key in keys}
    return bare.pop() if len(bare) == 1 else None


def _less(total: int, used: int | None) -> int | None:
    return None if used is None else max(total - used, 0)


# Apple and the processor


def _apple(catalog: Catalog) -> Iterator[Detected]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return
    name = _run(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]).text.strip()
    total = _run(["/usr/sbin/sysctl", "-n", "hw.memsize"]).text.strip()
    if name and total.isdigit():
        usable = int(int(total) * catalog.runtimes.unified_share.share)
        gpu = gpu_of_device(catalog, name, int(total))
        yield Detected(name=name, vendor="Apple", memory_bytes=int(total), free_bytes=usable, driver=None, gpu=gpu)


def _processor() -> Iterator[Detected]:
    total, free = _main_memory()
    if total:
        yield Detected(name=cpu_label(), vendor="CPU", memory_bytes=total, free_bytes=free, driver=None, gpu=cpu_id())


def _main_memory() -> MainMemory:
    info: dict[str, str] = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read(Path("/proc/meminfo")), re.M))
    if "MemTotal" in info:
        return MainMemory(int(info["MemTotal"]) * 1024, int(info.get("MemAvailable", info["MemTotal"])) * 1024)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return MainMemory(total, total)
    return MainMemory(0, 0)


def _unknown(name: str, vendor: str, note: str, driver: str | None = None) -> Detected:
    return Detected(name=name, vendor=vendor, memory_bytes=None, free_bytes=None, driver=driver, gpu=None, note=note)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


class Printed(NamedTuple):
    """What a program printed, on both streams."""

    text: str
    failed: str | None
    """Why it counts as failed; None where it does not."""


def _run(command: Sequence[str]) -> Printed:
    """Run one of the system's tools, which may be missing, hang or fail."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return Printed("", "it did not answer within 20 s")
    except OSError as error:
        return Printed("", error.strerror or "it cannot be started")
    failed = f"it ended with {done.returncode}" if done.returncode else None
    return Printed(done.stdout + (done.stderr if failed else ""), failed)
