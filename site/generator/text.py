"""Numbers and prose as text on a page. Everything here is a filter of the templates.

All of them give text that needs no escaping: HTML as Markup, or words and figures without any of HTML's own characters.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import markdown
from markdown.treeprocessors import Treeprocessor
from markupsafe import Markup, escape

from fitcard.catalog.addresses import forbidden_scheme
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.run import IMPORTED, recorder
from fitcard.catalog.schema.trace import Component

if TYPE_CHECKING:
    from fitcard.advisor.answer import MemoryAnswer
    from fitcard.advisor.evidence import BestSpeed
    from fitcard.advisor.recommend import Span

GB = 10**9
GIB = 2**30

NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def gb(size: float | None, digits: int = 2) -> str:
    """Bytes as GB of 10^9 bytes."""
    return "not known" if size is None else f"{size / GB:,.{digits}f} GB"


def gib(size: float | None) -> str:
    """Bytes as GiB of 2^30 bytes, without needless zeros."""
    return "not known" if size is None else f"{size / GIB:,.4g} GiB"


def count(number: float | None) -> str:
    """A whole number with thousands separated."""
    return "not known" if number is None else f"{number:,.0f}"


def millions(number: float) -> str:
    """A count of parameters, short: 428 M or 1.87 B."""
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.0f} M"


def rate(number: float | None) -> str:
    """A throughput with three significant digits."""
    if number is None:
        return "not known"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def percent(share: float, digits: int = 1) -> str:
    return f"{share * 100:.{digits}f} %"


def seconds(value: float | None) -> str:
    """A duration in the unit in which it reads best."""
    if value is None:
        return "not known"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def component_title(component: Component) -> str:
    """A component as pages call it: Vision encoder."""
    return COMPONENTS[component].title


def unit(component: Component) -> str:
    """The unit of a component's throughput: images/s."""
    return COMPONENTS[component].unit


def xml_text(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return NO_XML.sub("�", text)


class _SafeLinks(Treeprocessor):
    """Keeps links and pictures only where they go to the web or to this site; `javascript:` and its like go nowhere."""

    def run(self, root: etree.Element) -> None:
        for element in root.iter():
            for attribute in ("href", "src"):
                target = element.get(attribute)
                if target is not None and forbidden_scheme(target):
                    del element.attrib[attribute]


def prose(text: str) -> Markup:
    """Markdown from the catalog as HTML. HTML in it is text and stays text."""
    return Markup(_markdown().reset().convert(text))


@lru_cache(maxsize=4096)
def phrase(text: str) -> Markup:
    """One line of Markdown as HTML, without the paragraph around it."""
    html = _markdown().reset().convert(text)
    single = html.startswith("<p>") and html.endswith("</p>") and html.count("<p>") == 1
    return Markup(html[3:-4] if single else html)


@lru_cache(maxsize=1)
def _markdown() -> markdown.Markdown:
    converter = markdown.Markdown(output_format="html")
    converter.preprocessors.deregister("html_block")
    converter.inlinePatterns.deregister("html")
    # Last, when whatever is written in escapes and stand-ins is what it will be on the page.
    converter.treeprocessors.register(_SafeLinks(converter), "safe_links", -1)
    return converter


def tag(word: str, kind: str, href: str | None = None, who: str | None = None) -> Markup:
    """A verdict or a word of evidence in its colour, as a link where it is told where to.

    `who` measured it begins with a mark, which stands after the word; what is linked as published was imported.
    """
    who = IMPORTED if word == "published" and href else who
    said = Markup(' title="{}"').format(who) if who else ""
    mark = f' <span aria-hidden="true">{escape(who[0])}</span>' if who else ""
    if href is None:
        return Markup(f'<span class="tag {kind}-{escape(word)}"{said}>{escape(word)}{mark}</span>')
    return Markup(f'<a class="tag {kind}-{escape(word)}" href="{escape(href)}"{said}>{escape(word)}{mark}</a>')


def known_speed(speed: BestSpeed | None, unit: str, accuracy: str, runs: str, tokens: int | None = None) -> Markup:
    """A throughput with its evidence and with what it was: hundreds of rows of a page have one, so no macro writes it.

    `accuracy` is the address of the page on predictions, `runs` that of the runs; `tokens` the length of the texts, where it
    is about texts.
    """
    if speed is None:
        return Markup('<span class="dim">not known</span>')
    if speed.evidence == "predicted":
        interval = f'<span class="dim">({rate(speed.low)}–{rate(speed.high)})</span> '
        evidence = tag("predicted", "evidence", accuracy)
    else:
        interval = ""
        address = speed.record if speed.evidence == "published" else f"{runs}{speed.record}/"
        evidence = tag(speed.evidence, "evidence", address, recorder(speed.recorded_by))
    each = f", {tokens} tokens each" if tokens else ""
    how = "one sequence" if unit == COMPONENTS["language"].unit else f"{speed.mode}, batch {speed.batch}{each}"
    conditions = f'<span class="dim">{escape(speed.quantization)}, {how}</span>'
    return Markup(f"{rate(speed.per_second)} {escape(unit)} {interval}{evidence}<br>{conditions}")


def span(speed: Span | None) -> Markup:
    """A predicted throughput with its interval."""
    if speed is None:
        return Markup('<span class="dim">not known</span>')
    return Markup(f'{rate(speed.per_second)} <span class="dim">({rate(speed.low)}–{rate(speed.high)})</span>')


def needed_of_free(memory: MemoryAnswer) -> str:
    """What is needed of what is free, in GB."""
    return f"{memory.required_bytes / GB:.2f} of {memory.available_bytes / GB:.1f} GB"


FILTERS: dict[str, Callable[..., str]] = {
    "gb": gb,
    "gib": gib,
    "count": count,
    "millions": millions,
    "rate": rate,
    "percent": percent,
    "seconds": seconds,
    "prose": prose,
    "phrase": phrase,
    "tag": tag,
    "recorder": lambda name: escape(recorder(name)),
    "known_speed": known_speed,
    "span": span,
    "needed_of_free": needed_of_free,
    "component_title": component_title,
    "unit": unit,
}
