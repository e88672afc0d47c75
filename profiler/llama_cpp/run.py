"""A model really run in llama.cpp: loaded whole, a prompt read, tokens written after contexts of several lengths.

Decoding is bound by memory and prefill by arithmetic, so both are timed, and decoding at several depths of the cache.
Each process loads the file afresh; what differs between processes is the noise. Tokens are drawn from a seed: speed
does not depend on what they say.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fitcard.profiler.llama_cpp.bindings import Buffer
from fitcard.profiler.llama_cpp.process import Failure, answers
from fitcard.profiler.llama_cpp.settings import LlamaSetting

PREFILLS = (512, 4096)
DEPTHS = (0, 4096, 16384)
DECODED = 64
"""Tokens that are decoded at each depth."""
BUSY = 0.9
"""Below this share of its threads' time a process shared the machine with other work: its speeds are marked."""
RUN_S = 1800.0
"""How long one point may take before the process counts as hung."""


@dataclass(frozen=True)
class LlamaPoint:
    """What is timed: a prompt of so many tokens, or so many decoded one by one after a depth."""

    phase: Literal["prefill", "decode"]
    tokens: int
    depth: int = 0


@dataclass(frozen=True)
class Sample:
    """One process's time for a point."""

    wall_s: float
    cpu_s: float
    """Of all threads."""
    threads: int

    @property
    def busy(self) -> float:
        """The share of its threads' time in which it ran. Waiting threads spin, so on a free machine it is near 1."""
        return self.cpu_s / (self.wall_s * self.threads)


@dataclass(frozen=True)
class LlamaSpeed:
    """A point as all processes saw it."""

    point: LlamaPoint
    samples: tuple[Sample, ...]

    @property
    def tokens_per_s(self) -> float:
        """The median over processes."""
        return statistics.median(self.rates)

    @property
    def rates(self) -> tuple[float, ...]:
        """Tokens a second of each process."""
        return tuple(self.point.tokens / sample.wall_s for sample in self.samples)

    @property
    def spread(self) -> float:
        """From the slowest process to the fastest, as a share of the median."""
        return (max(self.rates) - min(self.rates)) / self.tokens_per_s

    @property
    def disturbed(self) -> bool:
        """Whether other work ran meanwhile."""
        return any(sample.busy < BUSY for sample in self.samples)


@dataclass(frozen=True)
class LlamaRun:
    """A file run in one setting by several processes."""

    setting: LlamaSetting
    file_bytes: int
    parameters: int
    buffers: tuple[Buffer, ...]
    """What llama.cpp really allocated."""
    resident_bytes: int
    """Growth of the anonymous resident memory from before the file was loaded to after all points; the median."""
    load_s: float
    """The median."""
    speeds: tuple[LlamaSpeed, ...]
    failures: tuple[Failure, ...]
    """Of processes that did not finish; what they answered before counts."""

    @property
    def allocated_bytes(self) -> int:
        """All buffers together."""
        return sum(buffer.weights_bytes + buffer.cache_bytes + buffer.compute_bytes for buffer in self.buffers)


def points_for(context: int) -> tuple[LlamaPoint, ...]:
    """The standard points that a context has room for."""
    prefills = [LlamaPoint("prefill", tokens) for tokens in PREFILLS if tokens <= context]
    decodes = [LlamaPoint("decode", DECODED, depth) for depth in DEPTHS if depth + DECODED <= context]
    return (*prefills, *decodes)


def run(
    file: Path, setting: LlamaSetting, points: Sequence[LlamaPoint], processes: int = 3, timeout_s: float = RUN_S
) -> LlamaRun | Failure:
    """Run a file's model in one setting, each point once in each process. A failure when no process came as far as
    loading."""
    task = {
        "task": "run",
        "file": str(file),
        "setting": dataclasses.asdict(setting),
        "points": [dataclasses.asdict(point) for point in points],
    }
    loads: list[dict[str, Any]] = []
    samples: dict[LlamaPoint, list[Sample]] = {point: [] for point in points}
    failures: list[Failure] = []
    resident: list[int] = []
    for _ in range(processes):
        waiting = iter(points)
        for answer in answers(task, timeout_s):
            if isinstance(answer, Failure):
                failures.append(answer)
            elif "buffers" in answer:
                loads.append(answer)
            elif "resident_bytes" in answer:
                resident.append(answer["resident_bytes"])
            else:
                samples[next(waiting)].append(Sample(**answer))
    if not loads:
        return failures[0]
    return LlamaRun(
        setting=setting,
        file_bytes=file.stat().st_size,
        parameters=loads[0]["parameters"],
        buffers=tuple(Buffer(**fields) for fields in loads[0]["buffers"]),
        resident_bytes=round(statistics.median(resident)) if resident else 0,
        load_s=statistics.median(load["load_s"] for load in loads),
        speeds=tuple(LlamaSpeed(point, tuple(done)) for point, done in samples.items() if done),
        failures=tuple(failures),
    )


def logits(
    file: Path, tokens: Sequence[int], setting: LlamaSetting, timeout_s: float = RUN_S
) -> list[list[float]] | Failure:
    """The logits of what follows each token of a sequence, or why there are none."""
    task = {"task": "logits", "file": str(file), "setting": dataclasses.asdict(setting), "tokens": list(tokens)}
    rows: list[list[float]] = []
    for answer in answers(task, timeout_s):
        if isinstance(answer, Failure):
            return answer
        rows.append(answer["logits"])
    return rows
