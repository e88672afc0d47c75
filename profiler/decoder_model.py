"""A language model without its weights, and its tensors under the names that they have on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from fitcard.profiler.meta_model import explained, resolve


def build(config: Mapping[str, Any]) -> nn.Module:
    """The language model of a Hugging Face configuration, with its image encoder if it has one, all on the meta device.

    In evaluation mode. It is built there, so that a model of any size takes no memory, and in BF16, the only type in
    which transformers runs mixtures of experts on that device.
    Raises FitcardError for a configuration that the installed transformers cannot build.
    """
    import transformers

    resolved = resolve(dict(config))
    with explained(resolved.model_type), torch.device("meta"):
        kind = transformers.AutoModelForImageTextToText if sees(resolved) else transformers.AutoModelForCausalLM
        model: nn.Module = kind.from_config(resolved, dtype=torch.bfloat16)
    return model.eval().requires_grad_(False)


def sees(config: Any) -> bool:
    """Whether a configuration of transformers is that of a vision-language model."""
    return hasattr(config, "vision_config") and hasattr(config, "text_config")


def hub_tensors(model: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor of the checkpoint: transformers fuses experts as it loads, and this undoes it.

    Tied weights are there once. Buffers that checkpoints hold count too, such as the bias of DeepSeek-V3's routers.
    """
    from transformers.core_model_loading import revert_weight_conversion

    once = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    held = {name: tensor for name, tensor in model.state_dict().items() if name in once}
    for name, tensor in revert_weight_conversion(model, held).items():
        yield name, tuple(tensor.shape)
