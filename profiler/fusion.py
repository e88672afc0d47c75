"""Element-wise operations between matrix products, fused into one kernel as compilers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Flow:
    """What one operation reads and writes, in elements by storage."""

    anchor: bool
    """Whether it is a kernel of its own: a matrix product, attention or a look-up, not arithmetic element by
    element."""
    read: dict[int, int]
    written: dict[int, int]


def fuse(flows: Sequence[Flow], result: torch.Tensor) -> tuple[int, int]:
    """Kernels, and elements that they read and write, when every unbroken run of element-wise operations becomes one
    kernel.

    That is what compilers such as torch's inductor do between matrix products: values that only the run itself reads
    stay
    in registers.
    """
    kernels = elements = start = 0
    while start < len(flows):
        end = start
        while end < len(flows) and not flows[end].anchor:
            end += 1
        if end > start:
            later = {key for flow in flows[end:] for key in flow.read} | {result.untyped_storage()._cdata}
            reads: dict[int, int] = {}
            writes: dict[int, int] = {}
            for flow in flows[start:end]:
                for key, size in flow.read.items():
                    if key not in writes:
                        reads[key] = max(reads.get(key, 0), size)
                writes |= flow.written
            kernels += 1
            elements += sum(reads.values()) + sum(size for key, size in writes.items() if key in later)
        start = end + 1
    return kernels, elements
