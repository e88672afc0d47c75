"""Parts of pages that are drawn once for as long as nothing that they are made from changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from markupsafe import Markup

from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import combined, digest

AT_HAND = 64
"""Parts that stay in memory: some are on thousands of pages."""


class Kept(Extension):
    """`{% kept KEY %}...{% endkept %}` in a template.

    The key names all that the part is made from but for code and templates, and where it stands. Without a key it is drawn every
    time, as it is where nobody said what the code and templates are.
    """

    tags = {"kept"}
    drawn_by = ""
    """Identifies code and templates."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._at_hand: dict[str, Markup] = {}

    def by(self, code: str, templates: Mapping[str, bytes]) -> None:
        """Say what draws the parts."""
        self.drawn_by = combined((code, *(f"{name} {digest(text)}" for name, text in templates.items())))

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        key = parser.parse_expression()
        body = parser.parse_statements(("name:endkept",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_html", [key]), [], [], body).set_lineno(line)

    def _html(self, key: str | None, caller: Callable[[], str]) -> str:
        if not key or not self.drawn_by:
            return caller()
        if key not in self._at_hand:
            if len(self._at_hand) >= AT_HAND:
                self._at_hand.clear()
            kept = cache.kept(combined(("html", self.drawn_by, key)), lambda: caller().encode())
            self._at_hand[key] = Markup(kept.decode())
        return self._at_hand[key]
