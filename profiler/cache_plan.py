"""What a language model keeps of each token and of each sequence, layer by layer, from its configuration alone."""

from __future__ import annotations

from typing import Any

from fitcard.catalog.schema.language import CacheLayers, layers_together
from fitcard.profiler.decoder_tensors import ATTENTION, MAMBA_1


def cache_plan(config: Any) -> tuple[CacheLayers, ...]:
    """The layers of a model that keep the same, together; `config` is transformers' own object, with all defaults."""
    config = config.get_text_config()
    return layers_together((number, _layer(config, kind)) for number, kind in enumerate(_kinds(config)))


def _kinds(config: Any) -> list[str]:
    """transformers' names of the layers' kinds, in their order."""
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None)
    default = "mamba" if config.model_type in MAMBA_1 else "full_attention"
    return list(kinds or [default] * config.num_hidden_layers)


def _layer(config: Any, kind: str) -> CacheLayers:
    if getattr(config, "kv_lora_rank", None):
        return _latent(config)
    if kind == "conv":
        return CacheLayers(
            kind="state", layers=(), convolution_channels=config.hidden_size, convolution_kernel=config.conv_L_cache
        )
    if kind not in ATTENTION:
        return _recurrent(config)
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    width = (getattr(config, "num_key_value_heads", None) or heads) * head
    window = getattr(config, "sliding_window", None) if kind == "sliding_attention" else None
    return CacheLayers(
        kind="sliding" if window else "full", layers=(), heads=heads, key_width=width, value_width=width, window=window
    )


def _latent(config: Any) -> CacheLayers:
    """Multi-head latent attention: a compressed key for all heads, which the values are worked out of too."""
    width = config.kv_lora_rank + config.qk_rope_head_dim
    return CacheLayers(kind="latent", layers=(), heads=config.num_attention_heads, key_width=width)


def _recurrent(config: Any) -> CacheLayers:
    """Mamba: the last inputs of a convolution, and a state of so many numbers a channel."""
    if config.model_type in MAMBA_1:
        inner, state, kernel, groups = config.intermediate_size, config.state_size, config.conv_kernel, 0
    else:
        inner, state, kernel = config.mamba_expand * config.hidden_size, config.mamba_d_state, config.mamba_d_conv
        groups = config.mamba_n_groups
    return CacheLayers(
        kind="state",
        layers=(),
        convolution_channels=inner + 2 * groups * state,  # Mamba-2 sends what the groups share through it too
        convolution_kernel=kernel,
        recurrent_state=inner * state,
    )
