"""The components that a model can have: how they are called, and what one item of their work is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fitcard.catalog.schema.trace import Component


@dataclass(frozen=True)
class ComponentWords:
    """How pages and commands call a component and its work."""

    title: str
    """`Vision encoder`; in a sentence it is lower case."""
    item: str
    """What goes in, in the plural: images, texts, pairs."""
    unit: str
    """Of its throughput: images/s."""


COMPONENTS: dict[Component, ComponentWords] = {
    "vision": ComponentWords("Vision encoder", "images", "images/s"),
    "text": ComponentWords("Text encoder", "texts", "texts/s"),
    "all": ComponentWords("Whole model", "pairs", "pairs/s"),
    "language": ComponentWords("Language model", "sequences", "tokens/s"),
}


def main_component(components: Sequence[Component]) -> Component:
    """The language model where there is one, else the image encoder, since that is what most people run; else the first
    that there is."""
    return next((component for component in ("language", "vision") if component in components), components[0])
