"""What this machine says of itself, and which card of the catalog a device is. No torch, no drivers: text that the system gives."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.parallel import cores

_FEATURES = (
    "avx2", "f16c", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16",
    "i8mm",
)  # fmt: skip


def slug(name: str) -> str:
    """A name as an id: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def gpu_of_device(catalog: Catalog, name: str, memory_bytes: int | None) -> str | None:
    """The id of the card with this very name and memory; None where none or several have them.

    A card that merely resembles one of the catalog's is not taken for it.
    """
    fitting = [
        key for key, card in catalog.gpus.items()
        if _bare(name) in {_bare(known) for known in (card.name, card.spec.name, *card.spec.aliases)}
        and (memory_bytes is None or abs(card.spec.memory_bytes / memory_bytes - 1) < 0.1)
    ]  # fmt: skip
    return fitting[0] if len(fitting) == 1 else None


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


def _bare(name: str) -> str:
    """A card's name without its maker and its memory: `NVIDIA GeForce RTX 4060 Ti 16GB` is `geforcertx4060ti`."""
    words = re.sub(r"\b(nvidia|amd|intel|apple|graphics)\b|\(r\)|\(tm\)|\b\d+(\.\d+)? ?gi?b\b", " ", name.lower())
    return re.sub(r"[^a-z0-9]", "", words)
