"""Memory of a language model in llama.cpp: what it needs in a setting, and the longest context that there is room for.

    needed = weights + cache + compute buffer + runtime

Weights and cache are exact. The compute buffer is on the line through llama.cpp's own figures, or a formula's for a file
that only its header describes. With every layer on a GPU the token embeddings stay in main memory, where they are counted
apart; a GPU that shares its memory with the processor holds both.
"""

from __future__ import annotations

from typing import NamedTuple

from fitcard.advisor.cache import llama_cpp_cache_bytes
from fitcard.advisor.compute_buffer import compute_buffer_bytes
from fitcard.advisor.language_model import LanguageModel
from fitcard.catalog.gguf_plan import CELLS, padded
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.workload import Workload

DEFAULT = Workload(
    1, None, None, None, context_tokens=4096, prompt_tokens=512, parallel=1, cache_type="f16", ubatch=512
)
"""What an answer is about where nobody says otherwise: Ollama's context, and llama.cpp's own defaults for the rest."""
MOST_CONTEXT = 1 << 20
"""The longest context that is looked for where a model has no limit of its own."""


def completed(workload: Workload, longest: int | None) -> Workload:
    """A workload with the defaults of a language model filled in. A context of 0 means the longest of the model."""
    limit = longest or MOST_CONTEXT
    context = (
        limit if workload.context_tokens == 0 else workload.context_tokens or min(DEFAULT.context_tokens or 0, limit)
    )
    sequences = workload.parallel or workload.batch  # what a batch is of an encoder
    return workload._replace(
        batch=sequences,
        image_size=None,
        text_tokens=None,
        image_width=None,
        context_tokens=context,
        prompt_tokens=workload.prompt_tokens or min(DEFAULT.prompt_tokens or 0, context),
        parallel=sequences,
        cache_type=workload.cache_type or DEFAULT.cache_type,
        ubatch=workload.ubatch or DEFAULT.ubatch,
    )


class LanguageNeed(NamedTuple):
    """Bytes on the device, term by term, and in main memory besides."""

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int
    runtime_bytes: int
    host_bytes: int

    @property
    def required_bytes(self) -> int:
        """What the device must have."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes + self.runtime_bytes


def need(model: LanguageModel, runtimes: Runtimes, gpu: Gpu, workload: Workload) -> LanguageNeed:
    """The sum on a device in a completed workload, every layer on that device."""
    return need_on(model, runtimes, gpu.vendor, gpu.vendor == "CPU" or gpu.spec.unified_memory, workload)


def need_on(model: LanguageModel, runtimes: Runtimes, vendor: str, shared: bool, workload: Workload) -> LanguageNeed:
    """The same; `shared` is whether the processor uses the same memory."""
    context, sequences = workload.context_tokens or 0, workload.parallel or 1
    cache_type = workload.cache_type or "f16"
    ubatch = min(workload.ubatch or 512, context)
    cache = llama_cpp_cache_bytes(
        model.cache,
        padded(context) * sequences,
        sequences=sequences,
        cache_k=cache_type,
        cache_v=cache_type,
        ubatch=workload.ubatch or 512,
    )
    runtime = runtimes.llama_cpp.get(vendor)
    return LanguageNeed(
        weights_bytes=(model.weights_bytes if shared else model.device_bytes) + model.vision_bytes,
        cache_bytes=cache,
        compute_bytes=compute_buffer_bytes(model.compute, ubatch, padded(context)),
        runtime_bytes=runtime.bytes if runtime else 0,
        host_bytes=0 if shared else model.input_bytes,
    )


def longest_context(model: LanguageModel, runtimes: Runtimes, gpu: Gpu, workload: Workload, available: int) -> int:
    """The most tokens of context that fit, up to the model's own limit; 0 where not even the smallest does."""
    shared = gpu.vendor == "CPU" or gpu.spec.unified_memory
    return longest_context_on(model, runtimes, gpu.vendor, shared, workload, available)


def longest_context_on(
    model: LanguageModel, runtimes: Runtimes, vendor: str, shared: bool, workload: Workload, available: int
) -> int:
    """The same on a vendor's devices, in so many bytes."""
    limit = model.longest_context or MOST_CONTEXT
    low, high = 0, -(-limit // CELLS)
    while low < high:  # the need grows with the context
        middle = (low + high + 1) // 2
        asked = workload._replace(context_tokens=middle * CELLS)
        if need_on(model, runtimes, vendor, shared, asked).required_bytes <= available:
            low = middle
        else:
            high = middle - 1
    return min(low * CELLS, limit)
