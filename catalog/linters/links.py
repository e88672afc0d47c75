"""Addresses that lead nowhere as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem

NAME = "links"
SCOPE = "files"

_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_EXAMPLES = ("example.com", "example.org", "example.net")


def check(catalog: Catalog) -> Iterator[Problem]:
    """Links of models whose address is malformed, or is given twice."""
    for key, model in catalog.models.items():
        seen: dict[str, str] = {}
        for name, url in model.links.items():
            if fault := address_fault(url):
                yield catalog.problem("models", key, ("links", name), f"{fault} (got {url})")
            elif url in seen:
                yield catalog.problem(
                    "models", key, ("links", name), f"is the address of {seen[url]!r} too (got {url})"
                )
            seen.setdefault(url, name)


def address_fault(url: str) -> str | None:
    """What is wrong with an address, as far as it shows without asking anybody; None for one that looks right."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        return f"is no address: {error}"
    if not _HOST.fullmatch(host):
        return "has no host that the public can reach"
    if host.removeprefix("www.") in _EXAMPLES:
        return "is an example's address"
    if parts.username or port:
        return "has a user or a port in it, which public pages need not"
    if url[-1] in ".,;" or url.count("(") != url.count(")"):
        return "ends with the sentence's punctuation"
    if tracking := [
        name for name, _ in parse_qsl(parts.query) if name.startswith("utm_") or name in ("fbclid", "gclid")
    ]:
        return f"says who came from where ({', '.join(tracking)}): leave that out"
    return None
