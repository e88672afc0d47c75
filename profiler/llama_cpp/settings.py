"""How a context of llama.cpp is set up, and the parameters that this makes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

from fitcard.profiler.llama_cpp.bindings import CACHE_TYPES, FLASH_ATTENTION, ContextParams


@dataclass(frozen=True)
class LlamaSetting:
    """A context: how long, for how many sequences, and what is kept of them."""

    context: int
    """Tokens, of all sequences together."""
    ubatch: int = 512
    """Tokens that one pass works on at most."""
    outputs: Literal["one", "all"] = "one"
    """Whether a pass gives logits of one token a sequence, as servers ask for, or of all, as llama-bench does."""
    sequences: int = 1
    cache_k: str = "f16"
    """The type of cached keys: one of `CACHE_TYPES`."""
    cache_v: str = "f16"
    """The type of cached values. llama.cpp takes other than 16 bit only with flash attention."""
    flash_attention: bool | None = True
    """None lets llama.cpp decide."""
    unified: bool = False
    """Whether all sequences share one cache of the whole context, rather than have an equal part each."""
    full_window: bool = False
    """Whether layers with a sliding window keep the whole context. llama-server says no, the library yes."""
    threads: int | None = None
    """None for llama.cpp's own choice."""


def context_params(loaded: ctypes.CDLL, setting: LlamaSetting) -> ContextParams:
    """llama.cpp's parameters of a setting; what a setting does not say stays at its default."""
    params: ContextParams = loaded.llama_context_default_params()
    params.n_ctx = setting.context
    params.n_ubatch = setting.ubatch
    params.n_batch = max(setting.ubatch, params.n_batch)
    params.n_seq_max = setting.sequences
    params.n_outputs_max = setting.sequences if setting.outputs == "one" else 0
    params.n_outputs_max_per_seq = 1 if setting.outputs == "one" else 0
    params.type_k, params.type_v = CACHE_TYPES[setting.cache_k], CACHE_TYPES[setting.cache_v]
    params.flash_attn_type = FLASH_ATTENTION[setting.flash_attention]
    params.kv_unified = setting.unified
    params.swa_full = setting.full_window
    if setting.threads is not None:
        params.n_threads = params.n_threads_batch = setting.threads
    return params
