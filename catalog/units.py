"""Amounts of memory as people type them."""

from __future__ import annotations

import re

from fitcard.catalog.errors import FitcardError

_UNITS = {"gb": 10**9, "gib": 2**30, "mb": 10**6, "mib": 2**20}


def parse_bytes(typed: str, option: str) -> int:
    """The bytes of an amount such as 8GB (10^9 each) or 8GiB (2^30). Raises FitcardError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([GM]i?B)\s*", typed, re.IGNORECASE)
    if not found or float(found[1]) <= 0:
        raise FitcardError(f"{option} takes an amount such as 8GB (10^9 bytes each) or 8GiB (2^30) (got {typed!r})")
    return int(float(found[1]) * _UNITS[found[2].lower()])
