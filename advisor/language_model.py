"""A language model in one quantization, as memory and speed see it: from its trace, or from the header of a GGUF file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.gguf_header import GgufHeader, GgufTensor
from fitcard.catalog.gguf_plan import cache_plan, cached_layers, compute_points, experts
from fitcard.catalog.schema.language import CacheLayers, ComputePoint
from fitcard.catalog.schema.quantization import Storage, typed_tensors
from fitcard.catalog.schema.trace import Trace


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A language model as llama.cpp runs it in one quantization."""

    cache: tuple[CacheLayers, ...]
    longest_context: int | None
    """Tokens; None where nothing limits them, or the file does not say."""
    parameters: int
    active_parameters: int
    """Those that work on one token."""
    weights_bytes: int
    """All tensors, as the file holds them."""
    input_bytes: int
    """The token embeddings, which llama.cpp keeps in main memory whatever runs the layers."""
    tied: bool
    """Whether the output head is the token embedding, which then is on the GPU too."""
    token_bytes: int
    """Weights that one token reads: all, but for experts that are not chosen and embeddings of other tokens."""
    compute: tuple[ComputePoint, ...]
    """The compute buffer at two sizes of a pass and two contexts."""
    estimated: bool
    """Whether `compute` is a formula's, and not what llama.cpp said."""
    vision_bytes: int = 0
    """The image encoder and projector of a vision-language model, in F16."""

    @property
    def device_bytes(self) -> int:
        """Weights on the GPU when every layer is there."""
        return self.weights_bytes - (0 if self.tied else self.input_bytes)


@lru_cache(maxsize=1 << 12)
def traced_model(trace: Trace, quantization: Storage) -> LanguageModel:
    """The language model of a trace in a quantization. Kept, since every GPU asks for it again.

    Raises ValueError for a trace without what llama.cpp says of it.
    """
    language = trace.language
    if language is None or language.llama_cpp is None:
        raise ValueError("llama.cpp was not asked about this model")
    own = [tensor for tensor in trace.tensors if tensor.component == "language"]
    tied = not any(tensor.role == "output_head" for tensor in own)
    weights = inputs = 0
    reads = 0.0
    for row in typed_tensors(quantization, own):
        size, tensor = row.bytes * row.times, row.tensor
        weights += size
        if tensor.role == "token_embedding":
            inputs += size
            reads += size if tied else row.bytes / tensor.shape[0]
        else:
            reads += size * tensor.active_elements / (tensor.count * tensor.elements)
    extra = language.llama_cpp.rope_bytes
    return LanguageModel(
        cache=language.cache,
        longest_context=language.longest_context,
        parameters=sum(tensor.count * tensor.elements for tensor in own),
        active_parameters=round(sum(tensor.active_elements for tensor in own)),
        weights_bytes=weights + extra,
        input_bytes=inputs,
        tied=tied,
        token_bytes=round(reads) + extra,
        compute=language.llama_cpp.compute,
        estimated=False,
        vision_bytes=2 * sum(t.count * t.elements for t in trace.tensors if t.component == "vision"),
    )


_INPUTS = ("token_embd", "per_layer_token_embd", "position_embd", "token_types")
"""Tensors of the input, which llama.cpp keeps in main memory (LLM_TENSOR_LAYER_INPUT in src/llama-arch.cpp, build
b11549)."""


def header_model(headers: Iterable[GgufHeader]) -> LanguageModel:
    """The language model of a file's header, or of those of all its parts. Raises FitcardError for another kind of model."""
    first, *others = headers
    tensors = [tensor for header in (first, *others) for tensor in header.tensors]
    if unknown := [tensor for tensor in tensors if tensor.bytes is None]:
        raise FitcardError(f"{unknown[0].name} has a tensor type that fitcard does not know ({unknown[0].type})")
    plan = cache_plan(first.metadata, tensors)
    tensors = cached_layers(first.metadata, tensors)
    count, used = experts(first.metadata)
    share = used / count if count else 1.0
    heads = [tensor for tensor in tensors if tensor.name == "output.weight"]
    inputs = [tensor for tensor in tensors if tensor.name.startswith(_INPUTS)]
    embedding = next((tensor for tensor in inputs if tensor.name == "token_embd.weight"), None)
    weights, input_bytes = _bytes(tensors), _bytes(inputs)
    unchosen = (1 - share) * _bytes(tensor for tensor in tensors if "_exps." in tensor.name)
    unread = input_bytes
    if embedding is not None and embedding.bytes is not None:  # one row is read, or all of them as the output head
        unread -= embedding.bytes // (embedding.shape[0] if heads else 1)
    parameters = sum(_elements(tensor) for tensor in tensors)
    resting = (1 - share) * sum(_elements(tensor) for tensor in tensors if "_exps." in tensor.name)
    context = first.metadata.get(f"{first.metadata['general.architecture']}.context_length")
    return LanguageModel(
        cache=plan,
        longest_context=context if isinstance(context, int) else None,
        parameters=parameters,
        active_parameters=round(parameters - resting),
        weights_bytes=weights,
        input_bytes=input_bytes,
        tied=not heads,
        token_bytes=round(weights - unchosen - unread),
        compute=compute_points(first.metadata, tensors, plan),
        estimated=True,
    )


def _bytes(tensors: Iterable[GgufTensor]) -> int:
    return sum(tensor.bytes or 0 for tensor in tensors)


def _elements(tensor: GgufTensor) -> int:
    product = 1
    for size in tensor.shape:
        product *= size
    return product
