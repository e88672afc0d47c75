"""What every page's view has in common: what the head of a page asks for."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, kw_only=True)
class PageView:
    """The base of all views; a hand-written page has just this. Addresses are from the root of the site."""

    api: str | None = None
    """The JSON document with the same content."""
    feed: str | None = None
    """The page's own Atom feed."""
    share: str | None = None
    """The picture that shows up where the page is shared."""
    jsonld: Markup | None = None
    """The page for search engines."""
