"""GPUs by vendor, and the values by which lists of GPUs can be filtered."""

from __future__ import annotations

from fitcard.advisor.hardware import gpus_by_memory
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu

MEMORY_OPTIONS = tuple((size, f"{size} GiB") for size in (4, 6, 8, 12, 16, 24, 48, 80))
"""Least amounts of memory to filter by, with their labels."""


def by_vendor(catalog: Catalog) -> list[tuple[str, list[Gpu]]]:
    """GPUs by vendor and memory, for choosers and lists."""
    gpus = [catalog.gpus[key] for key in gpus_by_memory(catalog)]
    vendors = sorted({gpu.vendor for gpu in gpus})
    return [(vendor, [gpu for gpu in gpus if gpu.vendor == vendor]) for vendor in vendors]


def vendor_options(catalog: Catalog) -> list[tuple[str, str]]:
    """The vendors as options of a select."""
    return [(vendor, vendor) for vendor, _ in by_vendor(catalog)]


def segment_options(catalog: Catalog) -> list[tuple[str, str]]:
    """The kinds of GPU (desktop, laptop, ...) as options of a select."""
    return [(segment, segment) for segment in sorted({gpu.segment for gpu in catalog.gpu_index.values()})]
