"""The sizes of what goes into a model, read from its configuration: pixels and patches of an image, tokens of a text."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from fitcard.catalog.errors import FitcardError

Pixels = tuple[int, int]
"""Height and width."""
USUAL_PIXELS = 224
"""Of an image for models that take any size and name none, as ResNet: what ImageNet's classifiers are compared at."""

USUAL_TOKENS = 512
"""Of a text for models that take any length and name none, as T5: what it and BERT were trained at."""


def vision_config(config: Any) -> Any:
    """The part of a configuration that is about images, which for a vision encoder is all of it."""
    return getattr(config, "vision_config", config)


def pair(size: Any) -> Pixels | None:
    """A size as transformers' configurations write it - a number, a list, height and width by name - as height and
    width; None for anything else."""
    if isinstance(size, dict):
        size = [size.get("height"), size.get("width")]
    if isinstance(size, list | tuple):
        size = list(size) * 2 if len(size) == 1 else size
        return (int(size[0]), int(size[1])) if len(size) == 2 and all(isinstance(n, int) for n in size) else None
    return (size, size) if isinstance(size, int) and size > 0 else None


def own_image_size(config: Any) -> Pixels | None:
    """Pixels of the image that a vision encoder is made for; None where its configuration names none.

    A model that takes images of any shape up to so many patches (NaFlex) is run on the square that fills them.
    """
    if patches := naflex_patches(config):
        side = int(config.patch_size) * math.isqrt(patches)
        return side, side
    return pair(getattr(config, "image_size", None))


def naflex_patches(config: Any) -> int | None:
    """The most patches of an image, for a model that takes images cut into patches already."""
    patches = getattr(config, "num_patches", None)
    return patches if isinstance(patches, int) and not hasattr(config, "image_size") else None


def image_tokens(config: Any, size: Pixels) -> int | None:
    """Patches that an image becomes; None for a model that has no patches of one size."""
    patch = pair(getattr(vision_config(config), "patch_size", None))
    return None if patch is None else (size[0] // patch[0]) * (size[1] // patch[1])


def longest_text(model: nn.Module | None, config: Any) -> int | None:
    """Tokens of the longest text; None where its configuration names no length.

    Tables of positions with a padding row begin to count after it, as RoBERTa's do.
    """
    longest = next((n for key in _LENGTHS if isinstance(n := getattr(config, key, None), int) and n > 0), None)
    tables = (
        module for name, module in (model.named_modules() if model else ()) if name.endswith("position_embeddings")
    )
    rows = [one.padding_idx for one in tables if isinstance(one, nn.Embedding) and one.num_embeddings == longest]
    padding = rows[0] if rows else None
    return None if longest is None else longest - (0 if padding is None else padding + 1)


_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_length", "max_sequence_length")


def text_length(model: nn.Module, config: Any, asked: int | None) -> int:
    """Tokens of the texts to run: as asked, or the most that the model takes or its library passes on, or the usual
    length.

    Raises FitcardError for more than there are positions.
    """
    longest, cut = longest_text(model, config), getattr(config, "max_seq_length", None)
    if asked is not None and longest is not None and asked > longest and hasattr(config, "max_position_embeddings"):
        raise FitcardError(f"{type(model).__name__} takes texts of at most {longest:,} tokens (--tokens is {asked:,})")
    usual = longest or USUAL_TOKENS
    return asked or (min(usual, cut) if isinstance(cut, int) and cut > 0 else usual)
