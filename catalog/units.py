"""Amounts of memory as people type them."""

from __future__ import annotations

import re

from fitcard.catalog.errors import FitcardError

GIB = 2**30
_UNITS = {"gb": 10**9, "g": 10**9, "gib": GIB, "mb": 10**6, "m": 10**6, "mib": 2**20}
_AS_SOLD = {"gb": GIB, "g": GIB, "gib": GIB, "mb": 2**20, "m": 2**20, "mib": 2**20}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([gm](?:i?b)?)?", re.IGNORECASE)


def parse_bytes(typed: str, option: str) -> int:
    """The bytes of an amount: 8GB, 8G, 8gb and 8 are 8 x 10^9, 8GiB is 8 x 2^30.

    Raises FitcardError for anything else.
    """
    return _parse(typed, option, _UNITS, "8GB (10^9 bytes each; also 8G or 8) or 8GiB (2^30)")


def parse_vram(typed: str, option: str) -> int:
    """The bytes of a GPU's memory as GPUs are sold and tools print it: 8GB, 8G, 8 and 8192M are all 8 x 2^30.

    Raises FitcardError for anything else.
    """
    return _parse(typed, option, _AS_SOLD, "8GB (as GPUs are sold; also 8G, 8 or 8192M)")


def _parse(typed: str, option: str, units: dict[str, int], allowed: str) -> int:
    amount = _AMOUNT.fullmatch(typed.strip())
    size = int(float(amount[1]) * units[(amount[2] or "gb").lower()]) if amount else 0
    if size <= 0:
        raise FitcardError(f"{option} takes an amount such as {allowed} (got {typed!r})")
    return size


MOST_TOKENS = 1 << 24
"""More than any model's context."""


def parse_tokens(typed: str) -> int:
    """A number of tokens as people type it: 32768, 32,768 or 32k, whose k is 1,024.

    Raises FitcardError for anything else.
    """
    text = re.sub(r"[\s,_]", "", typed.lower())
    number, times = (text[:-1], 1024) if text.endswith("k") else (text, 1)
    if not number.isdecimal() or not 0 < len(number) <= 8 or not 0 < int(number) * times <= MOST_TOKENS:
        raise FitcardError(f"{typed!r} is no number of tokens such as 8192 or 32k")
    return int(number) * times
