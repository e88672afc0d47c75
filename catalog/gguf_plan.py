"""What a GGUF file's header says of a language model: what each layer keeps, and what llama.cpp computes in.

What a layer keeps follows from its tensors, whatever the architecture is called: keys and values are as wide as the rows
of the matrices that make them. Which layers look back a window alone stands in the metadata, or in llama.cpp's own table
for architectures whose files do not say. Tests hold the result to llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.gguf_header import GgufTensor, GgufValue
from fitcard.catalog.schema.language import CacheLayers, ComputePoint, layers_together

Metadata = Mapping[str, GgufValue]

WINDOW_PATTERNS: Mapping[str, tuple[int, bool]] = {
    "afmoe": (4, False), "cohere2": (4, False), "cohere2moe": (4, True), "exaone-moe": (4, False), "exaone4": (4, False),
    "gemma2": (2, False), "gemma3": (6, False), "gemma3n": (5, False), "gpt-oss": (2, False), "laguna": (4, True),
    "mellum": (4, False), "olmo2": (4, False), "plamo3": (8, False), "smallthinker": (4, True),
}  # fmt: skip
"""How often a layer with the whole context comes among those with a window, and whether it is the first of so many or
the last: `load_swa_pattern` in `src/models/*.cpp` of https://github.com/ggml-org/llama.cpp/tree/b11549."""
SHARED_FROM = {"gemma3n": 20}
"""From which layer on keys and values are another layer's: `n_layer_kv_from_start` there."""
NO_LANGUAGE = {"clip": "an image encoder", "bert": "a text encoder", "nomic-bert": "a text encoder", "modern-bert": "a text encoder",
               "jina-bert-v2": "a text encoder", "t5": "an encoder and decoder", "t5encoder": "a text encoder",
               "gemma-embedding": "a text encoder", "wavtokenizer-dec": "a decoder of sound"}  # fmt: skip

CELLS = 256
_BLOCK = re.compile(r"^blk\.(\d+)\.(.+)$")


def experts(metadata: Metadata) -> tuple[int, int]:
    """How many experts a layer has and how many of them work on a token; zeros for a dense model."""
    count = _whole(metadata, "expert_count")
    return (count, _whole(metadata, "expert_used_count") or count) if count else (0, 0)


def cached_layers(metadata: Metadata, tensors: Iterable[GgufTensor]) -> list[GgufTensor]:
    """The tensors that llama.cpp loads: not those of layers that only guess further tokens (`nextn`)."""
    last = _whole(metadata, "block_count") - _whole(metadata, "nextn_predict_layers")
    return [t for t in tensors if not (match := _BLOCK.match(t.name)) or int(match[1]) < last]


def cache_plan(metadata: Metadata, tensors: Iterable[GgufTensor]) -> tuple[CacheLayers, ...]:
    """The layers that keep the same, together. Raises FitcardError for a file of another kind of model."""
    architecture = _architecture(metadata)
    layers: dict[int, dict[str, GgufTensor]] = {}
    for tensor in cached_layers(metadata, tensors):
        if match := _BLOCK.match(tensor.name):
            layers.setdefault(int(match[1]), {})[match[2]] = tensor
    if not layers:
        raise FitcardError(f"the file holds no layers of a language model (architecture {architecture})")
    sliding = _sliding(metadata, architecture, len(layers))
    shared = SHARED_FROM.get(architecture, len(layers) - _whole(metadata, "attention.shared_kv_layers"))
    return layers_together(
        (number, layer)
        for number, own in sorted(layers.items())
        for layer in _kept(metadata, own, number in sliding, number >= shared)
    )


def _kept(metadata: Metadata, own: Mapping[str, GgufTensor], sliding: bool, shared: bool) -> Iterable[CacheLayers]:
    """What one layer keeps: keys and values, a state, or both."""
    heads = _whole(metadata, "attention.head_count")
    if "attn_kv_a_mqa.weight" in own:
        yield CacheLayers(kind="latent", layers=(), heads=heads, key_width=own["attn_kv_a_mqa.weight"].shape[0])
    elif "attn_k.weight" in own or ("attn_qkv.weight" in own and "ssm_conv1d.weight" not in own):
        keys, values = _widths(metadata, own)
        window = _whole(metadata, "attention.sliding_window") if sliding else None
        kind = "shared" if shared else "sliding" if window else "full"
        yield CacheLayers(kind=kind, layers=(), heads=heads, key_width=keys, value_width=values, window=window)  # type: ignore[arg-type]
    if "ssm_conv1d.weight" in own:
        channels, kernel = own["ssm_conv1d.weight"].shape
        yield CacheLayers(
            kind="state",
            layers=(),
            convolution_channels=channels,
            convolution_kernel=kernel,
            recurrent_state=_whole(metadata, "ssm.inner_size") * _whole(metadata, "ssm.state_size"),
        )
    elif "shortconv.conv.weight" in own:
        channels, kernel = own["shortconv.conv.weight"].shape
        yield CacheLayers(kind="state", layers=(), convolution_channels=channels, convolution_kernel=kernel)


def _widths(metadata: Metadata, own: Mapping[str, GgufTensor]) -> tuple[int, int]:
    """Numbers of a token's keys and of its values."""
    if "attn_k.weight" in own:
        keys = own["attn_k.weight"].shape[0]
        return keys, own["attn_v.weight"].shape[0] if "attn_v.weight" in own else keys
    heads = _whole(metadata, "attention.head_count")
    each = _whole(metadata, "attention.key_length") or _whole(metadata, "embedding_length") // max(heads, 1)
    width = (_whole(metadata, "attention.head_count_kv") or heads) * each
    return width, width


def _sliding(metadata: Metadata, architecture: str, layers: int) -> frozenset[int]:
    """The layers that look back a window alone. Where nobody says which, none is taken for one, so that no cache is
    stated too small."""
    if not _whole(metadata, "attention.sliding_window"):
        return frozenset()
    pattern = metadata.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        return frozenset(number for number, slides in enumerate(pattern) if slides)
    every, first = WINDOW_PATTERNS.get(architecture, (1, False))
    if isinstance(pattern, int):
        every = pattern
    if every == 0:
        return frozenset(range(layers))
    return frozenset(number for number in range(layers) if number % every != (0 if first else every - 1))


def compute_points(
    metadata: Metadata, tensors: Sequence[GgufTensor], plan: Sequence[CacheLayers]
) -> tuple[ComputePoint, ...]:
    """llama.cpp's compute buffer by formula: the widest moment of a layer, in numbers of 4 bytes a token, and the mask.

    With flash attention and one output, found on build b11549; for llama.cpp's own figure the model must be traced.
    """
    width, (_, used) = _whole(metadata, "embedding_length"), experts(metadata)
    numbers = 0
    for tensor in tensors:
        if match := re.search(r"\.ffn_up(_exps)?\.weight$", tensor.name):
            wide = tensor.shape[-2]
            # The outputs of experts reuse the room of their inputs where that is large enough.
            own = used * (3 * wide + (width if width > 2 * wide else 0)) if match[1] else 3 * wide
            numbers = max(numbers, own + 5 * width)
        elif tensor.name.endswith("attn_q.weight"):
            numbers = max(numbers, 3 * tensor.shape[0] + 5 * width)
        elif tensor.name.endswith("attn_kv_a_mqa.weight"):
            latent = 2 * tensor.shape[0] + _whole(metadata, "attention.key_length_mla")
            numbers = max(numbers, _whole(metadata, "attention.head_count") * latent + 5 * width)
        elif tensor.name.endswith("ssm_conv1d.weight"):
            numbers = max(numbers, 8 * _whole(metadata, "ssm.inner_size"))
    masked = any(layer.kind in ("full", "sliding", "latent") for layer in plan)
    window = _whole(metadata, "attention.sliding_window") if any(layer.kind == "sliding" for layer in plan) else 0
    return tuple(
        ComputePoint(
            ubatch=ubatch,
            context=context,
            compute_bytes=ubatch
            * (4 * numbers + 36 + masked * 2 * (context + (padded(window + ubatch) if window else 0)))
            + 32,
        )
        for ubatch in (128, 512)
        for context in (4096, 32768)
    )


_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
    14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M",
    32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
}  # fmt: skip
"""Labels by `general.file_type`: `llama_ftype` in `include/llama.h` of llama.cpp, build b11549."""


def label_of(metadata: Metadata) -> str:
    """The label that a file says of itself; `not stated` where it says none."""
    number = metadata.get("general.file_type")
    return _FILE_TYPES.get(number, "not stated") if isinstance(number, int) else "not stated"


_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def parts_of(path: Path) -> list[Path]:
    """All the files of a model that is split into several, by the names that llama.cpp gives them; else the one.

    Raises FitcardError for a part that is not there.
    """
    if not (match := _PART.search(path.name)):
        return [path]
    stem, count = path.name[: match.start()], int(match[2])
    parts = [path.with_name(f"{stem}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]
    if missing := [part for part in parts if not part.is_file()]:
        raise FitcardError(
            f"{path.name} is one of {count} parts, and {missing[0].name} is not beside it: download all parts"
        )
    return parts


def padded(tokens: int) -> int:
    """Tokens that llama.cpp makes room for: `GGML_PAD(..., 256)` in `src/llama-context.cpp`, build b11549."""
    return -(-tokens // CELLS) * CELLS


def _architecture(metadata: Metadata) -> str:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise FitcardError("the file does not say which architecture its model has (general.architecture)")
    if architecture in NO_LANGUAGE:
        raise FitcardError(f"the file holds {NO_LANGUAGE[architecture]} ({architecture}), and no language model")
    return architecture


def _whole(metadata: Metadata, key: str) -> int:
    """A whole number of the model's own; of a list by layer the largest; 0 where there is none."""
    value = metadata.get(f"{metadata.get('general.architecture')}.{key}")
    if isinstance(value, tuple):
        return max((int(one) for one in value), default=0)
    return int(value) if isinstance(value, int | float) else 0
