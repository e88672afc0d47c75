"""A model's parameters, reached by the names of its tensors."""

from __future__ import annotations

import torch
from torch import nn


def owner(model: nn.Module, tensor_name: str) -> tuple[nn.Module, str, nn.Module]:
    """The module that owns a tensor, with its parent and the attribute by which the parent holds it."""
    module_name = tensor_name.rpartition(".")[0]
    parent_name, _, attribute = module_name.rpartition(".")
    parent = model.get_submodule(parent_name)
    return parent, attribute, model.get_submodule(module_name)


def set_parameter(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Set a parameter of the model by its full name."""
    module = model.get_submodule(name.rpartition(".")[0])
    module._parameters[name.rpartition(".")[2]] = nn.Parameter(tensor, requires_grad=False)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and packed weights that the model holds, counted tensor by tensor."""
    packed = [b for name, b in model.named_buffers() if name.endswith("packed")]
    return sum(held_bytes(tensor) for tensor in [*model.parameters(), *packed])


def held_bytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor; of a quantized one, the bytes of all the tensors that it is made of."""
    flatten = getattr(tensor, "__tensor_flatten__", None)  # torch's protocol, which torchao follows
    if flatten is not None:
        return sum(held_bytes(getattr(tensor, name)) for name in flatten()[0])
    size = tensor.numel() * tensor.element_size()
    if (state := getattr(tensor, "quant_state", None)) is not None:  # bitsandbytes, 4 bit
        size += held_bytes(state.absmax) + held_bytes(state.code)
    if (scales := getattr(tensor, "SCB", None)) is not None:  # bitsandbytes, 8 bit; CB is the tensor itself
        size += held_bytes(scales)
    return size
