"""llama.cpp's own figures for a model's memory, without its weights: it reads the header of a file and counts what it
would allocate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fitcard.profiler.llama_cpp.bindings import Buffer
from fitcard.profiler.llama_cpp.process import ANSWER_S, Failure, answers
from fitcard.profiler.llama_cpp.settings import LlamaSetting


@dataclass(frozen=True)
class LlamaMemory:
    """Bytes that llama.cpp allocates for a model in one setting, all buffers together and each."""

    setting: LlamaSetting
    buffers: tuple[Buffer, ...]

    @property
    def weights_bytes(self) -> int:
        return sum(buffer.weights_bytes for buffer in self.buffers)

    @property
    def cache_bytes(self) -> int:
        """Of keys and values and of states."""
        return sum(buffer.cache_bytes for buffer in self.buffers)

    @property
    def compute_bytes(self) -> int:
        return sum(buffer.compute_bytes for buffer in self.buffers)


def memory_of(
    file: Path, settings: Sequence[LlamaSetting], timeout_s: float = ANSWER_S
) -> tuple[LlamaMemory | Failure, ...]:
    """What llama.cpp would allocate for a file in each setting, or why it does not say.

    The file may be sparse: no weight is read. One process answers all; after one that it did not survive, another goes
    on.
    """
    results: list[LlamaMemory | Failure] = []
    while len(results) < len(settings):
        left = settings[len(results) :]
        task = {"task": "memory", "file": str(file), "settings": [dataclasses.asdict(setting) for setting in left]}
        before = len(results)
        for setting, answer in zip(left, answers(task, timeout_s), strict=False):
            if isinstance(answer, Failure):
                results.append(answer)
            else:
                results.append(LlamaMemory(setting, tuple(Buffer(**fields) for fields in answer["buffers"])))
        if len(results) == before:
            raise AssertionError("the worker ended well and answered nothing")
    return tuple(results)
