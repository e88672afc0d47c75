"""How many bytes the cache of a language model takes in each engine, from its plan: what each layer keeps.

The plan says what the model needs; an engine pads it, or keeps it in other types. Tests hold each formula to what the
engine itself allocates.
"""

from __future__ import annotations

from collections.abc import Iterable

from fitcard.catalog.gguf_plan import padded
from fitcard.catalog.schema.language import CacheLayers
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES

STATE_BYTES = 4
"""Both engines keep the state of a recurrence in F32; llama.cpp the inputs of its convolution too."""


def llama_cpp_cache_bytes(
    plan: Iterable[CacheLayers],
    context: int,
    *,
    sequences: int = 1,
    cache_k: str = "f16",
    cache_v: str = "f16",
    ubatch: int = 512,
    unified: bool = False,
    full_window: bool = False,
) -> int:
    """Bytes of keys, values and states for `context` tokens of all sequences together.

    `unified` puts all sequences in one cache; `full_window` keeps the whole context of sliding layers, as the library
    does and llama-server does not. Equal to llama.cpp's own figure to the byte at build b11549.
    Source: `src/llama-kv-cache*.cpp` and `src/llama-memory-recurrent.cpp` of
    https://github.com/ggml-org/llama.cpp/tree/b11549.
    """
    streams = 1 if unified else sequences
    cells = padded(padded(context) // streams)
    total = 0
    for layers in plan:
        if layers.kind in ("full", "sliding", "latent"):
            held = cells
            if layers.kind == "sliding" and not full_window:
                window = (layers.window or 0) * (sequences if unified else 1)
                held = padded(min(cells, window + ubatch))
            each = streams * held * (_row(layers.key_width, cache_k) + _row(layers.value_width, cache_v))
        elif layers.kind == "state":
            inputs = layers.convolution_channels * max(0, layers.convolution_kernel - 1)
            each = sequences * STATE_BYTES * (inputs + layers.recurrent_state)
        else:
            each = 0
        total += len(layers.layers) * each
    return total


def transformers_cache_bytes(
    plan: Iterable[CacheLayers], tokens: int, *, sequences: int = 1, number_bytes: int = 2
) -> int:
    """Bytes of transformers' DynamicCache when each sequence has `tokens`, in numbers of the model's own width.

    It grows by the token. A sliding layer keeps all of its window but the token that is being worked on.
    Source: `src/transformers/cache_utils.py` of https://github.com/huggingface/transformers/tree/v5.23.0.
    """
    total = 0
    for layers in plan:
        if layers.kind in ("full", "sliding", "latent"):
            held = min(tokens, (layers.window or 1) - 1) if layers.kind == "sliding" else tokens
            each = held * (layers.key_width + layers.value_width) * number_bytes
        elif layers.kind == "state":
            inputs = layers.convolution_channels * layers.convolution_kernel
            each = inputs * number_bytes + layers.recurrent_state * STATE_BYTES
        else:
            each = 0
        total += len(layers.layers) * each * sequences
    return total


def _row(width: int, cache_type: str) -> int:
    """Bytes of a row of `width` numbers. Raises ValueError for one that the type does not hold."""
    return TENSOR_TYPES[cache_type.upper()].bytes((width,)) if width else 0
