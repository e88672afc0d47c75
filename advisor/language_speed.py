"""Speed of a language model in llama.cpp, by a roofline: writing is bound by memory, reading a prompt by arithmetic.

A token that is written reads the active weights and the cache of its sequence once, at the share of the bandwidth that
llama.cpp sustains on a vendor's GPUs, and takes a fixed time besides. The shares stand in `catalog/runtimes.yaml`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fitcard.advisor.cache import llama_cpp_cache_bytes
from fitcard.advisor.language_model import LanguageModel
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.runtimes import TokenSpeed
from fitcard.catalog.schema.workload import Workload

HEAD_WIDTH = 128
"""Numbers of a head, for the arithmetic of attention alone: most models have so many, and a trace does not say."""


class TokenRate(NamedTuple):
    """Tokens a second with the 80 % interval."""

    per_second: float
    low: float
    high: float


def decode_rate(
    model: LanguageModel, gpu: Gpu, speed: TokenSpeed | None, workload: Workload, depth: int
) -> TokenRate | None:
    """How fast tokens are written after `depth` others, all sequences together; None where the bandwidth is not known."""
    bandwidth = (gpu.spec.bandwidth_gb_per_s or 0) * 1e9
    if speed is None or not bandwidth:
        return None
    sequences, cache_type = workload.parallel or 1, workload.cache_type or "f16"
    cache = llama_cpp_cache_bytes(model.cache, max(depth, 1), cache_k=cache_type, cache_v=cache_type, ubatch=1)
    # Several sequences choose different experts, at most all of them.
    weights = min(
        model.weights_bytes, model.token_bytes * (sequences if model.active_parameters < model.parameters else 1)
    )
    seconds = (weights + sequences * cache) / (speed.bandwidth_share * bandwidth) + speed.token_s
    peak = gpu.peak_flops("fp16")
    if peak and speed.prefill_share:
        seconds = max(seconds, sequences * 2 * model.active_parameters / (speed.prefill_share * peak))
    return _with_interval(sequences / seconds, speed.decode_doubt)


def prefill_rate(model: LanguageModel, gpu: Gpu, speed: TokenSpeed | None, tokens: int) -> TokenRate | None:
    """How fast a prompt of so many tokens is read; None where the GPU's 16-bit rate is not known."""
    peak = gpu.peak_flops("fp16")
    if speed is None or not peak or speed.prefill_share is None or speed.prefill_doubt is None:
        return None
    attention = sum(
        len(layers.layers) * 4 * layers.heads * HEAD_WIDTH * min(tokens / 2, layers.window or tokens)
        for layers in model.cache
        if layers.kind in ("full", "sliding", "latent", "shared")
    )
    seconds = (2 * model.active_parameters + attention) / (speed.prefill_share * peak)
    return _with_interval(1 / seconds, speed.prefill_doubt)


def _with_interval(rate: float, doubt: float) -> TokenRate:
    return TokenRate(rate, rate * math.exp(-doubt), rate * math.exp(doubt))
