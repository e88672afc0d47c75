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
from fitcard.profiler.meta_model import Path, build, kept_modules, paths, resolve, vision_config
from fitcard.profiler.modules import put, weight_bytes

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Variant:
    """One component of a model in one quantization, for one device."""

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

    def skeleton(self) -> nn.Module:
        """The model on the meta device, without the modules that this component does not need."""
        model = build(self.config)
        kept_modules(model, {tensor.name for tensor in self.stored})
        return model

    def way(self, model: nn.Module) -> Path:
        """How to run the component of `model`."""
        return next(path for path in paths(model) if path.component == self.component)


@dataclass(frozen=True)
class Runnable:
    """A variant on its device, loaded from its file."""

    call: Callable[[Inputs], torch.Tensor]
    """Inputs to embeddings (batch, width)."""
    weights_bytes: int
    """Bytes of the tensors in memory, counted tensor by tensor."""

    def run(self, given: Inputs) -> torch.Tensor:
        with torch.inference_mode():
            return self.call(given)


def of_module(variant: Variant, model: nn.Module) -> Runnable:
    """A model whose parameters have been put in place, with its buffers moved to the device as well.

    Raises AssertionError when a parameter is still missing.
    """
    for name, buffer in model.named_buffers():
        if not name.endswith("packed"):
            buffer.data = buffer.data.to(variant.device.torch_device)
    if left := [name for name, parameter in model.named_parameters() if parameter.is_meta]:
        raise AssertionError(f"the file does not hold {', '.join(left[:3])}")
    way = variant.way(model)
    return Runnable(lambda given: way.call(model, given), weight_bytes(model))


def with_values(variant: Variant, values: Callable[[StoredTensor], torch.Tensor]) -> nn.Module:
    """The component in float32 in main memory, its weights from `values`."""
    model = variant.skeleton()
    for tensor in variant.stored:
        put(model, tensor.name, values(tensor))
    return model
