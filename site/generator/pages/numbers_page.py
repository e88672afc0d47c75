"""The view of the page that says how the numbers are made."""

from __future__ import annotations

from typing import Any

from fitcard.advisor.accuracy import memory_summary
from fitcard.advisor.choice import TIGHT_ABOVE
from fitcard.catalog import Catalog
from fitcard.catalog.check import check
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES


def view(catalog: Catalog) -> dict[str, Any]:
    """Assumptions with their reasons, and predictions against measurements."""
    return {
        "runtimes": catalog.runtimes,
        "layers": {label: one.memory for label, one in catalog.quantizations.items() if one.memory.most},
        "libraries": {
            name: one.libraries for name, one in catalog.quantization_file.engines.items() if one.libraries.cpu_bytes
        },
        "types": tuple(TENSOR_TYPES.values()),
        "unverified": UNVERIFIED,
        "report": check(catalog),
        "fit": catalog.speed,
        "memory": memory_summary(catalog),
        "tight_above": TIGHT_ABOVE,
    }
