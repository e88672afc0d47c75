"""Inside the worker: load a model whole, read prompts, write tokens, and time both."""

from __future__ import annotations

import ctypes
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.llama_cpp import bindings
from fitcard.profiler.llama_cpp.model import load_model, new_context
from fitcard.profiler.llama_cpp.settings import LlamaSetting

WARM_TOKENS = 32
"""Read once before anything is timed, so that threads run and memory is touched."""


def run(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The buffers and the time of loading, then the time of each point, then what the process holds more than at
    first."""
    loaded = bindings.library()
    before = _anonymous_bytes()
    began = time.perf_counter()
    model = load_model(loaded, task["file"])
    load_s = time.perf_counter() - began
    setting = LlamaSetting(**task["setting"])
    context = new_context(loaded, model, setting)
    vocabulary: int = loaded.llama_vocab_n_tokens(loaded.llama_model_get_vocab(model))
    yield {
        "load_s": load_s,
        "parameters": loaded.llama_model_n_params(model),
        "buffers": [vars(buffer) for buffer in bindings.memory_breakdown(loaded, context)],
    }
    stream = _Stream(loaded, context, vocabulary)
    stream.read(min(WARM_TOKENS, setting.context))
    for point in task["points"]:
        stream.clear()
        stream.read(point["depth"])
        yield stream.timed(point["phase"], point["tokens"])
    yield {"resident_bytes": _anonymous_bytes() - before}


def logits(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The logits of what follows each of the given tokens, read one by one."""
    loaded = bindings.library()
    model = load_model(loaded, task["file"])
    context = new_context(loaded, model, LlamaSetting(**task["setting"]))
    vocabulary: int = loaded.llama_vocab_n_tokens(loaded.llama_model_get_vocab(model))
    for position, token in enumerate(task["tokens"]):
        _decode(loaded, context, [token])
        yield {"position": position, "logits": loaded.llama_get_logits_ith(context, -1)[:vocabulary]}


class _Stream:
    """One sequence of seeded tokens, and the threads that work on it."""

    def __init__(self, loaded: ctypes.CDLL, context: int, vocabulary: int) -> None:
        self.loaded, self.context = loaded, context
        self.random = random.Random(0)
        self.vocabulary = vocabulary
        self.threads: int = loaded.llama_n_threads(context)
        self.batch: int = loaded.llama_n_batch(context)

    def clear(self) -> None:
        """Forget all tokens."""
        self.loaded.llama_memory_clear(self.loaded.llama_get_memory(self.context), True)

    def read(self, tokens: int) -> None:
        """Read a prompt, in batches as large as the context takes."""
        for start in range(0, tokens, self.batch):
            self._decode(min(self.batch, tokens - start))
        self.loaded.llama_synchronize(self.context)

    def timed(self, phase: str, tokens: int) -> dict[str, float]:
        """Seconds for a prompt of so many tokens, or for so many one by one."""
        began, worked = time.perf_counter(), time.process_time()
        if phase == "prefill":
            self.read(tokens)
        else:
            for _ in range(tokens):
                self._decode(1)
                self.loaded.llama_synchronize(self.context)
        return {
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - worked,
            "threads": self.threads,
        }

    def _decode(self, tokens: int) -> None:
        _decode(self.loaded, self.context, [self.random.randrange(self.vocabulary) for _ in range(tokens)])


def _decode(loaded: ctypes.CDLL, context: int, tokens: list[int]) -> None:
    """Read tokens after those in the cache. Raises FitcardError when llama.cpp does not."""
    ids = (ctypes.c_int32 * len(tokens))(*tokens)
    code: int = loaded.llama_decode(context, loaded.llama_batch_get_one(ids, len(tokens)))
    if code:
        raise FitcardError(f"llama.cpp reads no more tokens (llama_decode gave {code})")


def _anonymous_bytes() -> int:
    """Resident memory of this process that is no mapped file."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)
