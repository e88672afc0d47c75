"""What a GGUF file says of a language model: its metadata, and the names that its tensors have there.

The keys are those that llama.cpp reads when it loads an architecture, with the values that its own converter writes.
Source: `conversion/` and `src/models/` of https://github.com/ggml-org/llama.cpp/tree/b11549. Names come from the `gguf`
package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import gguf

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.decoder_tensors import ATTENTION, MAMBA_1, experts_of
from fitcard.profiler.llama_cpp.rope import rope_metadata

Value = str | bool | int | float | list[int]
Metadata = dict[str, Value]


def architecture_of(config: Any) -> str:
    """llama.cpp's name of a configuration's architecture. Raises FitcardError for one that fitcard does not write."""
    if config.model_type not in ARCHITECTURES:
        raise FitcardError(
            f"no GGUF is written for model_type {config.model_type!r} (there are: {', '.join(sorted(ARCHITECTURES))})"
        )
    return ARCHITECTURES[config.model_type][0]


def metadata_of(config: Any) -> Metadata:
    """The metadata that llama.cpp needs of a language model; `config` is transformers' own object, with all defaults.

    There is no vocabulary: token ids go in and come out.
    """
    config = config.get_text_config()
    architecture = architecture_of(config)
    own = {**_common(config), **ARCHITECTURES[config.model_type][1](config)}
    return {
        "general.architecture": architecture,
        **{f"{architecture}.{key}": value for key, value in own.items() if value is not None},
        "tokenizer.ggml.model": "none",
    }


def tensor_names(config: Any) -> Callable[[str], str]:
    """A function from the name of a tensor of `gguf_form` to its name in the file. It raises FitcardError for
    others."""
    config = config.get_text_config()
    architecture = architecture_of(config)
    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    dense = not experts_of(config)[0]

    def name_of(name: str) -> str:
        plain = _as_the_package_has_it(name, dense)
        if plain.startswith("blk."):
            return plain
        found: str | None = names.get_name(plain, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise FitcardError(f"{name}: no tensor of {architecture} in the gguf package")
        return found

    return name_of


_RENAMED = (
    (r"^(model|language_model\.model|model\.language_model)\.text_model\.", "model."),
    (r"^model\.language_model\.", "model."),
    (r"\.e_score_correction_bias$", ".e_score_correction.bias"),
    (r"\.dt_bias$", ".dt_proj.bias"),
    (r"\.self_attn\.sinks$", ".self_attn.sinks.weight"),
    (r"^model\.layers\.(\d+)\.block_sparse_moe\.(gate|up|down)_linear\.weight$", r"blk.\1.ffn_\2_exps.weight"),
)
_SHARED = r"^model\.layers\.(\d+)\.shared_mlp\.(gate|up|down|output)_linear\.weight$"


def _as_the_package_has_it(name: str, dense: bool) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    if match := re.match(_SHARED, name):
        part = match[2].replace("output", "down")
        return f"blk.{match[1]}.ffn_{part}{'' if dense else '_shexp'}.weight"
    return name


def _common(config: Any) -> Mapping[str, Value | None]:
    """What the converter writes of every model that it finds in the configuration."""
    experts, used = experts_of(config)
    get: Callable[[str], Any] = lambda name: getattr(config, name, None)  # noqa: E731
    return {
        "block_count": config.num_hidden_layers,
        "context_length": get("max_position_embeddings"),
        "embedding_length": config.hidden_size,
        "feed_forward_length": get("intermediate_size"),
        "attention.head_count": get("num_attention_heads"),
        "attention.head_count_kv": get("num_key_value_heads"),
        "attention.layer_norm_rms_epsilon": get("rms_norm_eps") or get("norm_eps"),
        "attention.key_length": get("head_dim"),
        "attention.value_length": get("head_dim"),
        **rope_metadata(config),
        "vocab_size": config.vocab_size,
        "expert_count": experts or None,
        "expert_used_count": used or None,
    }


def _none(config: Any) -> Mapping[str, Value | None]:
    return {}


def _rotary(config: Any) -> Mapping[str, Value | None]:
    """Of Llama: how many numbers of a head are turned."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return {"rope.dimension_count": head}


def _gemma3(config: Any) -> Mapping[str, Value | None]:
    kinds = list(config.layer_types)
    return {
        "attention.sliding_window": config.sliding_window,
        "attention.sliding_window_pattern": (
            kinds.index("full_attention") + 1 if "full_attention" in kinds else len(kinds) + 1
        ),
        "rope.freq_base_swa": config.rope_parameters["sliding_attention"]["rope_theta"],
    }  # fmt: skip


def _qwen3_moe(config: Any) -> Mapping[str, Value | None]:
    return {"expert_feed_forward_length": config.moe_intermediate_size}


def _deepseek(config: Any) -> Mapping[str, Value | None]:
    functions = gguf.ExpertGatingFuncType
    gating = functions.SIGMOID if config.model_type == "deepseek_v3" else functions.SOFTMAX
    return {
        "attention.head_count_kv": 1,  # the latent is one key that all heads share
        "leading_dense_block_count": config.first_k_dense_replace,
        "attention.q_lora_rank": config.q_lora_rank,
        "attention.kv_lora_rank": config.kv_lora_rank,
        "attention.key_length": config.kv_lora_rank + config.qk_rope_head_dim,
        "attention.value_length": config.kv_lora_rank,
        "attention.key_length_mla": config.qk_nope_head_dim + config.qk_rope_head_dim,
        "attention.value_length_mla": config.v_head_dim,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_shared_count": config.n_shared_experts,
        "expert_group_count": config.n_group,
        "expert_group_used_count": config.topk_group,
        "expert_weights_scale": float(config.routed_scaling_factor),
        "expert_weights_norm": bool(getattr(config, "norm_topk_prob", False)),
        "expert_gating_func": int(gating),
        "rope.dimension_count": config.qk_rope_head_dim,
    }  # fmt: skip


def _lfm2(config: Any) -> Mapping[str, Value | None]:
    feed_forward = config.intermediate_size
    if config.block_auto_adjust_ff_dim:
        feed_forward = int((config.block_ffn_dim_multiplier or 1) * int(2 * feed_forward / 3))
        feed_forward = -(-feed_forward // config.block_multiple_of) * config.block_multiple_of
    heads = config.num_key_value_heads
    return {
        "feed_forward_length": feed_forward,
        "attention.head_count_kv": [0 if kind == "conv" else heads for kind in config.layer_types],
        "shortconv.l_cache": config.conv_L_cache,
    }


def _granite_hybrid(config: Any) -> Mapping[str, Value | None]:
    heads, experts = config.num_key_value_heads, experts_of(config)[0]
    return {
        "feed_forward_length": config.intermediate_size if experts else config.shared_intermediate_size,
        "expert_shared_feed_forward_length": config.shared_intermediate_size if experts else None,
        "attention.head_count_kv": [heads if kind == "attention" else 0 for kind in _granite_kinds(config)],
        "attention.scale": float(config.attention_multiplier),
        "embedding_scale": float(config.embedding_multiplier),
        "residual_scale": float(config.residual_multiplier),
        "logit_scale": float(config.logits_scaling),
        "ssm.conv_kernel": config.mamba_d_conv,
        "ssm.state_size": config.mamba_d_state,
        "ssm.group_count": config.mamba_n_groups,
        "ssm.inner_size": config.mamba_expand * config.hidden_size,
        "ssm.time_step_rank": config.mamba_n_heads,
        "context_length": 2**20,
        "rope.scaling.finetuned": False,
    }


def _granite_kinds(config: Any) -> list[str]:
    kinds: list[str] = list(getattr(config, "layer_types", None) or config.layers_block_type)
    return ["attention" if kind in ATTENTION else "mamba" for kind in kinds]


def _mamba(config: Any) -> Mapping[str, Value | None]:
    return {
        "context_length": 2**20,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": config.layer_norm_epsilon,
        "ssm.conv_kernel": config.conv_kernel,
        "ssm.inner_size": config.intermediate_size,
        "ssm.state_size": config.state_size,
        "ssm.time_step_rank": config.time_step_rank,
        "ssm.dt_b_c_rms": config.model_type == "falcon_mamba",
    }


def _gpt_oss(config: Any) -> Mapping[str, Value | None]:
    return {
        "attention.sliding_window": config.sliding_window,
        "expert_feed_forward_length": config.intermediate_size,
    }


ARCHITECTURES: Mapping[str, tuple[str, Callable[[Any], Mapping[str, Value | None]]]] = {
    "llama": ("llama", _rotary),
    "mistral": ("llama", _rotary),
    "mixtral": ("llama", _rotary),
    "qwen2": ("qwen2", _none),
    "qwen3": ("qwen3", _none),
    "qwen3_moe": ("qwen3moe", _qwen3_moe),
    "gemma3_text": ("gemma3", _gemma3),
    "deepseek_v2": ("deepseek2", _deepseek),
    "deepseek_v3": ("deepseek2", _deepseek),
    "lfm2": ("lfm2", _lfm2),
    "granitemoehybrid": ("granitehybrid", _granite_hybrid),
    **dict.fromkeys(MAMBA_1, ("mamba", _mamba)),
    "gpt_oss": ("gpt-oss", _gpt_oss),
}
"""transformers' `model_type`, llama.cpp's architecture, and what its metadata says beyond what is common to all."""
