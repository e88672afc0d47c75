"""What this machine says of itself, and which card of the catalog a device is. No torch, no drivers: text that the system gives."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.names import gpu_index
from fitcard.catalog.parallel import cores

_FEATURES = (
    "avx2", "f16c", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16",
    "i8mm",
)  # fmt: skip


def slug(name: str) -> str:
    """A name as an id: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def gpu_of_device(catalog: Catalog, name: str, memory_bytes: int | None) -> str | None:
    """The id of the GPU with this very name and memory; None where none or several have them.

    A GPU that merely resembles one of the catalog's is not taken for it.
    """
    return gpu_index(catalog).one(name, memory_bytes)


def cpu_id() -> str:
    """The id by which runs know this machine's processor."""
    return f"cpu-{slug(cpu_label())}"


def cpu_label() -> str:
    """The processor with its cores."""
    return f"{cpu_name()}, {cpu_cores()} cores"


def cpu_cores() -> int:
    """Cores that this process may use."""
    return cores()


def cpu_name() -> str:
    """The processor's name, with family and model where a hypervisor hides the rest of it."""
    info = _cpuinfo()
    name = info.get("model name") or platform.processor() or platform.machine()
    if not re.search(r"\d{3}", name) and "cpu family" in info:
        name += f" (family {info['cpu family']}, model {info.get('model', '?')})"
    return name


def cpu_features() -> tuple[str, ...]:
    """The instruction sets among those that matter for matrix arithmetic."""
    flags = set((_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split())
    return tuple(name for name in _FEATURES if name in flags)


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    rows = (line.partition(":") for line in path.read_text().split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in rows}
