"""A Hugging Face configuration, reduced to what may reach transformers: nothing in it runs code, asks the hub or is
absurdly large."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fitcard.catalog.errors import FitcardError, shorten

_NEVER_PASSED = re.compile(
    r"_?(attn|experts)_implementation(_internal|_autoset)?|(use_)?(hub_)?kernels?|kernel_(config|mapping)"
    r"|auto_map|trust_remote_code|(use_(timm_|pretrained_))?backbone|backbone_kwargs"
    r"|(torch_)?dtype|quantization_config|_?name_or_path|_commit_hash"
)
"""Keys with which a configuration could load code (a kernel or a backbone from the hub, the repository's own
modules), or choose
how numbers are held, which is the quantization's part."""
_TELLING = re.compile(r"auto_map|quantization_config|(use_(timm_|pretrained_))?backbone")
"""Of these, the ones without which the model may be another one than the configuration means."""
_DEEPEST = 20
"""Levels of a configuration. transformers' own have three."""


@dataclass(frozen=True)
class SafeConfig:
    """A configuration that may reach transformers."""

    values: dict[str, Any]
    dropped: tuple[str, ...]
    """The keys that were left out and have a value, as paths such as `vision_config.quantization_config`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The dropped keys, except those that change nothing here: without these the model may not be the one that is
        meant."""
        return tuple(path for path in self.dropped if _TELLING.fullmatch(path.rpartition(".")[2]))


def safe_config(config: dict[str, Any]) -> SafeConfig:
    """The configuration without the keys that are never passed on, at any depth.

    Raises FitcardError for one that is nested too deeply, or with a size that no model has.
    """
    dropped: list[str] = []
    values: dict[str, Any] = _reduced(config, (), dropped)
    if not isinstance(values.get("model_type"), str):
        raise FitcardError(f"model_type is {shorten(values.get('model_type'))}; it takes a name, such as 'siglip'")
    for path, value in _sizes(values):
        _check_size(path, value)
    return SafeConfig(values, tuple(dropped))


def _reduced(value: Any, path: tuple[str, ...], dropped: list[str]) -> Any:
    if len(path) > _DEEPEST:
        raise FitcardError(
            f"{'.'.join(path[:3])}... is nested more than {_DEEPEST} deep, as no model's configuration is"
        )
    if isinstance(value, list):
        return [_reduced(item, (*path, str(at)), dropped) for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    reduced: dict[str, Any] = {}
    for key, item in value.items():
        if _NEVER_PASSED.fullmatch(str(key)):
            if item is not None:
                dropped.append(".".join((*path, str(key))))
        else:
            reduced[key] = _reduced(item, (*path, str(key)), dropped)
    return reduced


@dataclass(frozen=True)
class _Size:
    """What a size may be: far more than any model has, and far less than what would fill a machine."""

    name: re.Pattern[str]
    most: int
    optional: bool = False
    """Whether null is allowed: transformers then works it out from the others."""


_SIZES: Sequence[_Size] = (
    _Size(re.compile(r"hidden_size|d_model|n_embd|dim|embed_dim"), 1 << 17),
    _Size(re.compile(r"embedding_size|projection_dim|head_dim|qk_\w+_dim|\w*lora_rank"), 1 << 17, True),
    _Size(re.compile(r"moe_intermediate_size"), 1 << 17, True),
    _Size(re.compile(r"intermediate_size|ffn_dim|d_ff|n_inner"), 1 << 20, True),
    _Size(re.compile(r"num_(hidden_|encoder_|decoder_)?layers|n_layers?|depth"), 1 << 10),
    _Size(re.compile(r"num_(attention_)?heads|n_heads?"), 1 << 12),
    _Size(re.compile(r"num_key_value_heads|num_register_tokens"), 1 << 14, True),
    _Size(re.compile(r"n_routed_experts|num_(local_)?experts|num_experts_per_tok"), 1 << 14, True),
    _Size(re.compile(r"image_size|patch_size|num_patches"), 1 << 16, True),
    _Size(re.compile(r"num_channels"), 1 << 10, True),
    _Size(re.compile(r"vocab_size"), 1 << 23),
    _Size(re.compile(r"max_position_embeddings|n_positions"), 1 << 24),
)  # fmt: skip
_MAY_BE_ZERO = re.compile(
    r"num_register_tokens|n_routed_experts|num_(local_)?experts|num_experts_per_tok"
    r"|intermediate_size|n_inner|\w*lora_rank"
)


def _sizes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a configuration and of its parts, with its value."""
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        yield here, item
        yield from _sizes(item, here)


def _check_size(path: str, value: Any) -> None:
    """Raise FitcardError for a value at `path` that is no size of a model, where the key means one."""
    name = path.rpartition(".")[2]
    size = next((size for size in _SIZES if size.name.fullmatch(name)), None)
    if size is None or (value is None and size.optional):
        return
    least = 0 if _MAY_BE_ZERO.fullmatch(name) else 1
    for number in _numbers(value):
        if type(number) is not int or not least <= number <= size.most:
            raise FitcardError(f"{path} is {shorten(value)}; it takes a whole number from {least} to {size.most:,}")


def _numbers(value: Any) -> list[Any]:
    """The numbers of a size that has one for each stage of a model or each side of an image, in lists or by name."""
    if isinstance(value, dict):
        value = [side for name, side in value.items() if name in ("height", "width")] or [value]
    if not (isinstance(value, list) and 0 < len(value) <= _DEEPEST * 50):
        return [value]
    return [number for item in value for number in (item if isinstance(item, list) and item else [item])]
