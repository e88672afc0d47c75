"""Small language models of many kinds: few layers and narrow, with the shapes and counts that llama.cpp's rules look at."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

QWEN3_06B: Config = {
    "model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
    "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936, "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}  # fmt: skip

SMOLVLM_256M: Config = {
    "model_type": "idefics3", "scale_factor": 4, "tie_word_embeddings": False,
    "vision_config": {"hidden_size": 768, "image_size": 512, "patch_size": 16, "num_attention_heads": 12,
                      "num_hidden_layers": 12, "intermediate_size": 3072},
    "text_config": {"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
                    "num_key_value_heads": 3, "head_dim": 64, "intermediate_size": 1536, "vocab_size": 49280,
                    "max_position_embeddings": 8192},
}  # fmt: skip

_DENSE: Config = {
    "hidden_size": 512, "num_hidden_layers": 17, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64,
    "intermediate_size": 1024, "vocab_size": 1024, "max_position_embeddings": 65536,
}  # fmt: skip
_LATENT: Config = {
    "hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 1056,
    "moe_intermediate_size": 256, "n_routed_experts": 16, "n_shared_experts": 2, "num_experts_per_tok": 4,
    "first_k_dense_replace": 2, "vocab_size": 1024, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
    "v_head_dim": 128, "n_group": 1, "topk_group": 1, "max_position_embeddings": 65536, "tie_word_embeddings": False,
}  # fmt: skip
_GRANITE: Config = {
    **_DENSE, "model_type": "granitemoehybrid", "num_hidden_layers": 10, "layer_types": ["mamba"] * 4 + ["attention"] + ["mamba"] * 5,
    "intermediate_size": 256, "shared_intermediate_size": 512, "mamba_n_heads": 16, "mamba_d_head": 64, "mamba_d_state": 64,
    "mamba_expand": 2, "mamba_n_groups": 1, "mamba_d_conv": 4, "tie_word_embeddings": True,
}  # fmt: skip

CONFIGS: dict[str, Config] = {
    "qwen3": QWEN3_06B,
    "smolvlm": SMOLVLM_256M,
    "qwen2": {**_DENSE, "model_type": "qwen2", "num_attention_heads": 8, "tie_word_embeddings": True},
    "llama": {**_DENSE, "model_type": "llama", "tie_word_embeddings": False},
    # rows of 576 = 2.25 x 256 and of 48 = 1.5 x 32
    "smollm": {**_DENSE, "model_type": "llama", "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
               "intermediate_size": 1520, "tie_word_embeddings": True},
    "llama-80-layers": {**_DENSE, "model_type": "llama", "num_hidden_layers": 80, "tie_word_embeddings": False},
    "mixtral": {**_DENSE, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3moe": {**_DENSE, "model_type": "qwen3_moe", "moe_intermediate_size": 256, "num_experts": 16,
                 "num_experts_per_tok": 4, "tie_word_embeddings": False},
    "gemma3": {**_DENSE, "model_type": "gemma3_text", "hidden_size": 1152, "num_hidden_layers": 26, "head_dim": 256,
               "num_attention_heads": 4, "num_key_value_heads": 1, "sliding_window": 512},
    "deepseek2-lite": {**_LATENT, "model_type": "deepseek_v2", "num_hidden_layers": 27, "q_lora_rank": None},
    "deepseek2": {**_LATENT, "model_type": "deepseek_v3", "q_lora_rank": 384},
    "lfm2": {**_DENSE, "model_type": "lfm2", "layer_types": ["conv", "conv", "full_attention"] * 5 + ["conv", "conv"],
             "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0, "conv_L_cache": 3},
    "granitehybrid": {**_GRANITE, "num_local_experts": 16, "num_experts_per_tok": 4},
    "granitehybrid-dense": {**_GRANITE, "num_local_experts": 0, "num_experts_per_tok": 0},
    "mamba": {"model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 8, "vocab_size": 1024, "state_size": 16},
    "gpt-oss": {**_DENSE, "model_type": "gpt_oss", "hidden_size": 2880, "num_local_experts": 32, "num_experts_per_tok": 4,
                "intermediate_size": 2880, "sliding_window": 128, "num_hidden_layers": 8},
}  # fmt: skip
