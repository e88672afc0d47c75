"""How a model turns queries and keys by their positions, as a GGUF file says it.

Source: `conversion/base.py` and `conversion/llama.py` of https://github.com/ggml-org/llama.cpp/tree/b11549.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVED = ("default", "linear", "yarn", "llama3")
"""The kinds of scaling that fitcard writes."""


def rope_parameters(config: Any) -> dict[str, Any]:
    """The parameters of layers that see the whole context; empty for a model that does not turn anything."""
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    full: dict[str, Any] = parameters.get("full_attention", parameters)
    return full


def rope_metadata(config: Any) -> Mapping[str, Any]:
    """The pairs of the metadata, without the architecture's name before them; None where nothing is said."""
    rope = rope_parameters(config)
    kind = rope.get("rope_type", "default")
    scaled = kind in ("linear", "yarn")
    return {
        "rope.freq_base": float(rope["rope_theta"]) if "rope_theta" in rope else None,
        "rope.scaling.type": kind if scaled else None,
        "rope.scaling.factor": float(rope["factor"]) if scaled else None,
        "rope.scaling.original_context_length": rope.get("original_max_position_embeddings")
        if kind == "yarn"
        else None,
    }


def rope_divisors(config: Any) -> list[float] | None:
    """What Llama 3.1 and later divide each frequency by, which is a tensor of the file; None for other models."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = rope_parameters(config)
    if rope.get("rope_type") != "llama3":
        return None
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config.get_text_config(), "cpu")
    count = len(scaled)
    plain = [rope["rope_theta"] ** (-index / count) for index in range(count)]
    return [first / second for first, second in zip(plain, scaled.tolist(), strict=True)]
