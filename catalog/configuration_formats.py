"""Configurations of other libraries - open_clip, timm, sentence-transformers - as transformers would write them."""

from __future__ import annotations

import re
from typing import Any

from fitcard.catalog.errors import FitcardError, shorten

_TIMM_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?", re.ASCII)
_HEAD_OF_TEXT = re.compile(r"(ForCausalLM|LMHeadModel)\Z")


def makes_embeddings(name: str) -> bool:
    """Whether a model's name says that it makes embeddings: language models that were made to do so keep the class of
    one that writes text in their configuration."""
    return "embed" in name.lower()


def as_encoder(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a language model that makes embeddings: of its class without the head, which they do not
    pass through."""
    names = config.get("architectures")
    if not (isinstance(names, list) and names and isinstance(names[0], str)):  # pyright: ignore[reportUnknownArgumentType]
        return config
    return {**config, "architectures": [_HEAD_OF_TEXT.sub("Model", names[0])]}


def from_timm(config: dict[str, Any]) -> dict[str, Any] | None:
    """A timm model as the configuration of the class by which transformers runs timm's models; None for what is none."""
    name = config.get("architecture")
    if not isinstance(name, str):
        return None
    if not _TIMM_NAME.fullmatch(name):
        raise FitcardError(f"architecture is {shorten(name)}; it takes the name of a model of timm")
    size = (config.get("pretrained_cfg") or {}).get("input_size")
    image = {"image_size": list(size[1:])} if isinstance(size, list) and len(size) == 3 else {}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return {"model_type": "timm_wrapper", "architecture": name, "num_classes": 0, **image}


def from_open_clip(config: dict[str, Any], where: str) -> dict[str, Any] | None:
    """A CLIP model of open_clip as transformers writes it; None for what is none of open_clip.

    Both libraries build the same tensors of it: https://github.com/mlfoundations/open_clip/blob/v3.2.0/src/open_clip/model.py
    (CLIPVisionCfg, CLIPTextCfg) has the defaults. Raises FitcardError for a part that is no plain transformer of CLIP.
    """
    config = config.get("model_cfg") or config
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        return None
    if config.get("multimodal_cfg"):
        raise FitcardError(
            f"{where} is of open_clip, and multimodal_cfg makes it CoCa, which writes captions: fitcard does not read it"
        )
    vision, text = config["vision_cfg"], config["text_cfg"]
    for part, own in (("vision_cfg", vision), ("text_cfg", text)):
        foreign = [
            key
            for key in own
            if re.match(r"timm_model_name|hf_\w*name|no_causal_mask|attentional_pool", key) and own[key]
        ]
        if foreign or not isinstance(own.get("layers", 12), int):
            what = foreign[0] if foreign else "layers"
            raise FitcardError(
                f"{where} is of open_clip, and {part}.{what} ({shorten(own[what])}) makes it another model than CLIP's own: "
                "give the model's configuration of transformers"
            )
    act = "quick_gelu" if config.get("quick_gelu") else "gelu"
    width, text_width = vision.get("width", 768), text.get("width", 512)
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": config["embed_dim"],
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": width,
            "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
            "num_hidden_layers": vision.get("layers", 12),
            "num_attention_heads": width // vision.get("head_width", 64),
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 16),
            "hidden_act": act,
            "projection_dim": config["embed_dim"],
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": text_width,
            "intermediate_size": int(text_width * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "vocab_size": text.get("vocab_size", 49408),
            "max_position_embeddings": text.get("context_length", 77),
            "hidden_act": act,
            "projection_dim": config["embed_dim"],
        },
    }
