"""The tensors of a language model as records: their roles, which layers have them, their experts, and what GGUF makes
of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from fitcard.catalog.schema.language import language_role
from fitcard.catalog.schema.trace import EXPERT, Kind, Part, Role, Tensor, Trait, layer_pattern, tensor_role

Shape = tuple[int, ...]

ATTENTION = ("attention", "full_attention", "sliding_attention")
"""transformers' names of layers that have queries, keys and values; it names Mamba's `linear_attention` in places."""
MAMBA_1 = ("mamba", "falcon_mamba")
"""Models whose recurrence is Mamba's first; others have heads and groups."""

_VISION = re.compile(r"vision_model|vision_tower|visual\.|connector|multi_modal_projector")
_EXPERT = re.compile(r"(?<=\.experts\.)\d+(?=\.)")
_KINDS: dict[str, Kind] = {
    "token_embedding": "embedding", "ssm_conv": "convolution", "conv_kernel": "convolution", "ssm_state": "other",
    "bias": "other", "other": "other",
}  # fmt: skip


def experts_of(config: Any) -> tuple[int, int]:
    """How many experts a layer has and how many of them work on a token; zeros for a dense model."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    count = next((value for name in names if (value := getattr(config, name, None))), 0)
    return int(count), int(getattr(config, "num_experts_per_tok", 0) or 0) if count else 0


def language_tensors(config: Any, tensors: Iterable[tuple[str, Shape]]) -> tuple[Tensor, ...]:
    """Records of a checkpoint's tensors, one for all layers and experts alike.

    `config` is transformers' own object. Of a vision-language model these are the tensors of its language model alone.
    """
    config = config.get_text_config()
    groups = _groups((name, shape) for name, shape in tensors if not _VISION.search(name))
    untied = any(pattern.endswith("lm_head.weight") for pattern, _ in groups)
    records = [_record(config, pattern, shape, numbers, untied) for (pattern, shape), numbers in groups.items()]
    return tuple(_with_ordinals(records))


def vision_tensors(tensors: Iterable[tuple[str, Shape]]) -> tuple[Tensor, ...]:
    """Records of the tensors of a vision-language model's image encoder and projector."""
    groups = _groups((name, shape) for name, shape in tensors if _VISION.search(name))
    return tuple(
        Tensor(
            name=pattern,
            shape=shape,
            layers=len(numbers) or None,
            component="vision",
            kind=_vision_kind(pattern, shape),
            role="projection" if "proj.weight" in pattern and not numbers else tensor_role(pattern),
        )
        for (pattern, shape), numbers in groups.items()
    )


def _vision_kind(pattern: str, shape: Shape) -> Kind:
    if "position_embedding" in pattern:
        return "embedding"
    if len(shape) == 4:
        return "convolution"
    return "linear" if len(shape) == 2 else "other"


def _groups(tensors: Iterable[tuple[str, Shape]]) -> dict[tuple[str, Shape], list[int]]:
    """The numbers of the layers that have a tensor, by its name without them and its shape."""
    groups: dict[tuple[str, Shape], list[int]] = {}
    for name, shape in tensors:
        pattern, layer = layer_pattern(name)
        numbers = groups.setdefault((_EXPERT.sub(EXPERT, pattern), shape), [])
        if layer is not None and layer not in numbers[-1:]:  # the experts of a layer follow one another
            numbers.append(layer)
    return groups


def _record(config: Any, pattern: str, shape: Shape, numbers: list[int], untied: bool) -> Tensor:
    experts, used = experts_of(config)
    role: Role = language_role(pattern)
    is_expert = (bool(experts) and ".experts." in pattern) or ("block_sparse_moe." in pattern and len(shape) == 3)
    return Tensor(
        name=pattern,
        shape=shape,
        layers=len(numbers) or None,
        component="language",
        kind=_KINDS.get(role, "linear"),
        role=role,
        numbers=tuple(numbers) if numbers != list(range(len(numbers))) else None,
        experts=experts if is_expert else None,
        experts_used=used if is_expert else None,
        traits=tuple(_traits(config, role, experts, untied)) or None,
        stack=config.num_hidden_layers if role.startswith("ffn") and len(numbers) != config.num_hidden_layers else None,
        parts=tuple(_parts(config, pattern, shape, role)) or None,
    )


def _traits(config: Any, role: str, experts: int, untied: bool) -> Iterator[Trait]:
    """What llama.cpp's rule asks about the model of a tensor in this role."""
    if role == "token_embedding" and untied:
        yield "untied"
    if role.startswith("attn") and grouped_queries(config):
        yield "grouped_queries"
    if role.startswith(("attn", "ffn")):
        if experts > 1:
            yield "mixture"
        if experts >= 4:
            yield "four_experts"
        if experts == 8:
            yield "eight_experts"
    if role.startswith("attn") and _seventy_b(config):
        yield "seventy_b"


def grouped_queries(config: Any) -> bool:
    """Whether at least 4 query heads share a key head, in the first layer, which is the one that llama.cpp asks."""
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None)
    if kinds and kinds[0] not in ATTENTION:
        return False
    heads = getattr(config, "num_attention_heads", 0) or 0
    return heads // (getattr(config, "num_key_value_heads", None) or heads or 1) >= 4


def _seventy_b(config: Any) -> bool:
    """Whether llama.cpp takes it for LLM_TYPE_70B: 80 layers of Llama with shared keys, or of Qwen2 or OLMo."""
    if config.num_hidden_layers != 80:
        return False
    if config.model_type in ("llama", "mistral", "mixtral"):
        return bool(config.num_attention_heads != config.num_key_value_heads)
    return config.model_type in ("qwen2", "olmo")


def _parts(config: Any, pattern: str, shape: Shape, role: str) -> Iterator[Part]:
    if role == "mla_kv_b":
        heads, keys, values = config.num_attention_heads, config.qk_nope_head_dim, config.v_head_dim
        latent = shape[-1]  # the part for keys is transposed, so that its rows are short
        yield Part(name=pattern.replace("kv_b_proj", "k_b_proj"), shape=(heads, latent, keys), role="mla_k_b")
        yield Part(name=pattern.replace("kv_b_proj", "v_b_proj"), shape=(heads, values, latent), role="mla_v_b")
    elif "input_linear" in pattern:  # Granite keeps the gate and the other half of a feed-forward layer in one
        half = (*shape[:-2], shape[-2] // 2, shape[-1])
        for name, part_role in (("gate", "ffn_gate"), ("up", "ffn_up")):
            yield Part(name=_granite_name(pattern, name), shape=half, role=part_role)  # type: ignore[arg-type]
    elif pattern.endswith("block_sparse_moe.output_linear.weight"):
        yield Part(name=_granite_name(pattern, "down"), shape=shape, role="ffn_down")
    elif pattern.endswith("experts.gate_up_proj"):  # gpt-oss keeps them transposed
        half = (shape[0], shape[2] // 2, shape[1])
        for name, part_role in (("gate", "ffn_gate"), ("up", "ffn_up")):
            part = pattern.replace("gate_up_proj", f"{name}_proj") + ".weight"
            yield Part(name=part, shape=half, role=part_role)  # type: ignore[arg-type]
    elif pattern.endswith("experts.down_proj"):
        yield Part(name=f"{pattern}.weight", shape=(shape[0], shape[2], shape[1]), role="ffn_down")
    elif pattern.endswith("experts.gate_up_proj_bias"):
        for name in ("gate", "up"):
            part = pattern.replace("gate_up_proj_bias", f"{name}_proj") + ".bias"
            yield Part(name=part, shape=(shape[0], shape[1] // 2), role="bias")
    elif pattern.endswith("experts.down_proj_bias"):
        yield Part(name=pattern.replace("_bias", ".bias"), shape=shape, role="bias")
    elif role in ("ssm_conv", "conv_kernel"):
        yield Part(name=pattern, shape=(shape[0], shape[-1]), role=role)  # type: ignore[arg-type]
    elif role == "ssm_state" and config.model_type not in MAMBA_1:
        yield Part(name=pattern, shape=(*shape, 1), role="ssm_state")
    elif re.search(r"(mixer|mamba)\.norm\.weight$", pattern):
        groups = getattr(config, "mamba_n_groups", None) or config.n_groups
        yield Part(name=pattern, shape=(groups, shape[0] // groups), role="ssm_state")


def _granite_name(pattern: str, which: str) -> str:
    return re.sub(r"(block_sparse_moe|shared_mlp)\.\w+_linear\.weight$", rf"\1.{which}_linear.weight", pattern)


def _with_ordinals(records: list[Tensor]) -> Iterator[Tensor]:
    """Give each down projection its place among all of them, where a layer has several or not every layer has one.

    A GGUF file has them by layer and then by name: those of dense layers, of experts, of shared experts.
    """
    order = sorted(
        (number, bool(record.experts) + 2 * ("shared" in record.name), record.name)
        for record in records
        if record.role == "ffn_down"
        for number in record.numbers or range(record.layers or 1)
    )
    place = {(name, number): index for index, (number, _, name) in enumerate(order)}
    for record in records:
        if record.role != "ffn_down":
            yield record
            continue
        places = tuple(place[record.name, number] for number in record.numbers or range(record.layers or 1))
        yield record.model_copy(update={"ordinals": places if places != tuple(range(len(places))) else None})
