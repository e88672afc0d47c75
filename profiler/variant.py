"""A variant to run, and a variant that is ready to run: what the backends take and give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from fitcard.catalog.schema.quantization import Quantization, StoredTensor, stored_tensors
from fitcard.catalog.schema.trace import Component, Tensor
from fitcard.profiler.devices import Device
from fitcard.profiler.input_sizes import vision_config
from fitcard.profiler.meta_model import EntryPoint, build, drop_unused_modules, entry_points, resolve
from fitcard.profiler.parameters import set_parameter, weight_bytes

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class VariantSpec:
    """All that it takes to write and load a variant: one component of a model in one quantization, for one device."""

    model_id: str
    label: str
    config: dict[str, Any]
    component: Component
    quantization: Quantization
    tensors: tuple[Tensor, ...]
    device: Device
    chunk_elements: int
    """How many packed numbers are unpacked at a time."""

    @cached_property
    def stored(self) -> tuple[StoredTensor, ...]:
        """Every tensor with the type that it gets."""
        return tuple(stored_tensors(self.quantization, self.tensors))

    @cached_property
    def one_by_one(self) -> bool:
        """Whether the model treats each image of the batch by itself, as those do that take images of any shape."""
        return self.component != "text" and hasattr(vision_config(resolve(self.config)), "num_patches")

    def meta_model(self) -> nn.Module:
        """The model on the meta device, without the modules that this component does not need."""
        model = build(self.config)
        drop_unused_modules(model, {tensor.name for tensor in self.stored})
        return model

    def entry_point(self, model: nn.Module) -> EntryPoint:
        """How to run the component of `model`."""
        return next(one for one in entry_points(model) if one.component == self.component)


@dataclass(frozen=True)
class Runnable:
    """A variant on its device, loaded from its file."""

    call: Callable[[Inputs], torch.Tensor]
    """Inputs to embeddings (batch, width)."""
    weights_bytes: int
    """Bytes of the tensors in memory, counted tensor by tensor."""

    def run(self, batch_inputs: Inputs) -> torch.Tensor:
        """One forward pass, without gradients."""
        with torch.inference_mode():
            return self.call(batch_inputs)


def of_module(variant: VariantSpec, model: nn.Module) -> Runnable:
    """A model whose parameters have been put in place, with its buffers moved to the device as well.

    Raises AssertionError when a parameter is still missing.
    """
    for name, buffer in model.named_buffers():
        if not name.endswith("packed"):
            buffer.data = buffer.data.to(variant.device.torch_device)
    if missing := [name for name, parameter in model.named_parameters() if parameter.is_meta]:
        raise AssertionError(f"the file does not hold {', '.join(missing[:3])}")
    entry_point = variant.entry_point(model)
    return Runnable(lambda batch_inputs: entry_point.call(model, batch_inputs), weight_bytes(model))


def with_values(variant: VariantSpec, values: Callable[[StoredTensor], torch.Tensor]) -> nn.Module:
    """The component in float32 in main memory, its weights from `values`."""
    model = variant.meta_model()
    for tensor in variant.stored:
        set_parameter(model, tensor.name, values(tensor))
    return model
