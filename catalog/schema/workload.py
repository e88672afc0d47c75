"""What is run, where, and on what: the three values that the advisor, the profiler and the pages hand around.

A variant is what is run, a workload what goes in, a setup what runs it. They replace up to nine loose parameters.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.trace import Component

Mode = Literal["eager", "compiled"]
CacheType = Literal["f16", "q8_0", "q4_0"]


class Variant(NamedTuple):
    """A component of a model in one quantization."""

    model: str
    """The model's id."""
    component: Component
    quantization: str
    """The label: a key of `quantizations.yaml`."""


class Workload(NamedTuple):
    """What goes into one pass. Sizes that are None are those of the trace; a GPU's answer states them."""

    batch: int = 1
    image_size: int | None = None
    """Pixels along each side."""
    text_tokens: int | None = None
    """Tokens of one text."""
    image_width: int | None = None
    """Pixels across, in an answer about images that are not square; `image_size` is then the height."""
    context_tokens: int | None = None
    """Tokens that a language model's cache has room for, of each sequence; None for an encoder."""
    prompt_tokens: int | None = None
    """Tokens that are read before the first is written."""
    parallel: int | None = None
    """Sequences that are worked on at once."""
    cache_type: CacheType | None = None
    """The type of cached keys and values."""
    ubatch: int | None = None
    """Tokens that one pass works on at most."""

    def check(self) -> None:
        """Raise FitcardError for a size below 1."""
        for what, size in (
            ("an image has", self.image_size),
            ("a text has", self.text_tokens),
            ("a context has", self.context_tokens),
            ("a prompt has", self.prompt_tokens),
            ("a pass has", self.ubatch),
        ):
            if size is not None and size < 1:
                raise FitcardError(f"{what} a size of at least 1 (got {size})")
        if self.parallel is not None and self.parallel < 1:
            raise FitcardError(f"at least one sequence is worked on (got {self.parallel})")
        if self.batch < 1:
            raise FitcardError(f"a batch holds at least one item (got {self.batch})")


class Setup(NamedTuple):
    """What runs it: a GPU of the catalog or a device that only runs know, and how."""

    device: str
    """The GPU's id in the catalog, or the id by which runs know a processor."""
    mode: Mode = "eager"
