"""What becomes of a checkpoint's tensors in a GGUF file: the experts of a layer are one tensor, and some tensors are
cut.

Source: the `modify_tensors` methods in `conversion/` of https://github.com/ggml-org/llama.cpp/tree/b11549.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fitcard.catalog.schema.trace import EXPERT, Tensor


def gguf_form(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """The tensors as a GGUF file holds them, under the names that the `gguf` package maps. Encoders' stay as they
    are."""
    for tensor in tensors:
        if tensor.parts is not None:
            for part in tensor.parts:
                yield tensor.model_copy(update={**part.model_dump(), "parts": None})
        elif EXPERT in tensor.name:
            update = {"name": tensor.name.replace(f".{EXPERT}", ""), "shape": (tensor.experts, *tensor.shape)}
            yield tensor.model_copy(update=update)
        else:
            yield tensor
