"""The view of the page that says how the numbers are made."""

from __future__ import annotations

from typing import Any

from advisor.accuracy import memory_summary
from advisor.answers import TIGHT_ABOVE
from catalog import Catalog
from catalog.check import check
from catalog.record import UNVERIFIED
from catalog.tensor_types import TENSOR_TYPES


def view(catalog: Catalog) -> dict[str, Any]:
    """Assumptions with their reasons, and predictions against measurements."""
    return {
        "runtimes": catalog.runtimes,
        "types": tuple(TENSOR_TYPES.values()),
        "unverified": UNVERIFIED,
        "report": check(catalog),
        "fit": catalog.speed,
        "memory": memory_summary(catalog),
        "tight_above": TIGHT_ABOVE,
    }
