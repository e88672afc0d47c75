"""The view of the page that says how the numbers are made."""

from __future__ import annotations

from statistics import median
from typing import Any

from advisor.accuracy import memory_errors
from advisor.answers import TIGHT_ABOVE
from catalog import Catalog
from catalog.check import check
from catalog.record import UNVERIFIED
from catalog.tensor_types import TENSOR_TYPES


def view(catalog: Catalog) -> dict[str, Any]:
    """Assumptions with their reasons, and predictions against measurements."""
    rows = memory_errors(catalog)
    errors = [abs(row.error) for row in rows]
    return {
        "runtimes": catalog.runtimes,
        "types": tuple(TENSOR_TYPES.values()),
        "unverified": UNVERIFIED,
        "report": check(catalog),
        "fit": catalog.speed,
        "rows": rows,
        "median_error": median(errors) if errors else None,
        "worst_error": max(errors, default=None),
        "tight_above": TIGHT_ABOVE,
    }
