"""Which addresses a text may lead to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

ALLOWED = ("http", "https", "mailto")
"""The schemes that a link may have; it may also have none, within the site."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_TARGETS = re.compile(r"\]\(\s*<?([^)>]*)|^\s*\[[^\]]*\]:\s*<?(\S+)|<([A-Za-z][^<>\s]*:[^<>]*)>", re.MULTILINE)
"""Where links of a Markdown text go: in parentheses, in a reference's definition, in angle brackets."""


def forbidden_scheme(target: str) -> str | None:
    """The scheme of an address as a browser reads it, where a link must not have it; None for one that is in order.

    Browsers decode entities, and drop spaces and control characters, before they look for the scheme.
    """
    for _ in range(3):  # an entity may spell another one
        target = html.unescape(target)
    bare = "".join(character for character in target if character.isprintable() and not character.isspace())
    match = _SCHEME.match(bare)
    return match[1].lower() if match and match[1].lower() not in ALLOWED else None


def forbidden_links(text: str) -> Iterator[str]:
    """The addresses in a Markdown text that no link may have."""
    for groups in _TARGETS.findall(text):
        yield from (target for target in groups if target and forbidden_scheme(target))
