"""torchao: INT8, INT4 and FP8 as tensor subclasses, written to safetensors tensor by tensor and put
together again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torchao.quantization as ao
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchao.prototype.quantization.int4 import Int4OpaqueTensor
from torchao.prototype.safetensors.safetensors_support import (
    flatten_tensor_state_dict,
    unflatten_tensor_state_dict,
)
from torchao.quantization.quantize_.workflows import (
    QuantizeTensorToFloat8Kwargs,
    QuantizeTensorToInt8Kwargs,
)

from fitcard.catalog.file_format import SAFETENSORS_METADATA
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.profiler.backends.torch_dtype import DTYPES, plain_row
from fitcard.profiler.devices import Device
from fitcard.profiler.parameters import held_bytes, set_parameter
from fitcard.profiler.variant import Runnable, VariantSpec, of_module
from fitcard.profiler.weights import Values

GROUP = 128


def unsupported(variant: VariantSpec, mode: Mode) -> str | None:
    """Why the device cannot serve it, or None."""
    return None


def activation_type(quantization: Quantization, device: Device) -> torch.dtype:
    """The type of activations while it runs: BF16, torchao's own default, on every device that can hold it."""
    return torch.bfloat16


def write(path: Path, variant: VariantSpec, values: Values) -> None:
    """Write the variant's file in torchao's own layout: the parts of each quantized tensor, and how to join them."""
    tensors: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {}
    for tensor in variant.stored:
        numbers = values(tensor)
        if tensor.type in DTYPES:
            tensors[tensor.name] = numbers.to(DTYPES[tensor.type])
            continue
        quantized = _quantize(variant.label, tensor.type, numbers.to(torch.bfloat16))
        if tensor.type == "INT4G128":  # a prototype that torchao's own function does not know yet
            parts, more = _flat_int4(tensor.name, quantized)
        else:
            parts, more = flatten_tensor_state_dict({tensor.name: quantized})
        tensors |= parts
        metadata |= {tensor.name: more[tensor.name]}
    names = {"tensor_names": json.dumps(list(metadata))} if metadata else {}
    save_file(tensors, path, metadata={**SAFETENSORS_METADATA, **metadata, **names})


def _quantize(label: str, type_name: str, values: torch.Tensor) -> Any:
    """A matrix (rows, columns) as torchao's own configuration for `label` makes it."""
    if type_name == "INT8CZ":
        dynamic = QuantizeTensorToInt8Kwargs(granularity=ao.PerRow()) if label == "INT8-dynamic" else None
        return ao.Int8Tensor.from_hp(values, ao.PerRow(), act_quant_kwargs=dynamic)
    if type_name == "FP8C":
        rows = QuantizeTensorToFloat8Kwargs(granularity=ao.PerRow())
        fast = ao.Float8MMConfig(use_fast_accum=True)
        return ao.Float8Tensor.from_hp(values, granularity=ao.PerRow(), mm_config=fast, act_quant_kwargs=rows)
    return Int4OpaqueTensor.from_hp(values, [1, GROUP])


def _flat_int4(name: str, tensor: Any) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    module, _, attribute = name.rpartition(".")
    parts = {f"{module}._{attribute}_{part}": getattr(tensor, part) for part in tensor.tensor_data_names}
    facts = {"block_size": list(tensor.block_size), "shape": list(tensor.shape)}
    more = {"_type": "Int4OpaqueTensor", "_data": facts, "_tensor_data_names": tensor.tensor_data_names}
    return parts, {name: json.dumps(more)}


def read_census(path: Path) -> list[tuple[str, int, int]]:
    """Type, elements and bytes of every tensor in the file, the parts of a quantized one added up."""
    rows: list[tuple[str, int, int]] = []
    with safe_open(path, framework="pt") as opened:
        whole, joined = _joined(opened)
        for name in sorted(whole):
            rows.append(plain_row(opened.get_slice(name)))
        for tensor in joined.values():
            rows.append((_TYPES[type(tensor).__name__], tensor.numel(), held_bytes(tensor)))
    return rows


_TYPES = {"Int8Tensor": "INT8CZ", "Float8Tensor": "FP8C", "Int4OpaqueTensor": "INT4G128"}


def _joined(opened: Any) -> tuple[set[str], dict[str, torch.Tensor]]:
    """The names of the plain tensors of an open file, and its quantized tensors put together."""
    metadata: dict[str, str] = opened.metadata()
    quantized: list[str] = json.loads(metadata.get("tensor_names", "[]"))
    left = set(opened.keys())
    joined: dict[str, torch.Tensor] = {}
    for name in quantized:
        module, _, attribute = name.rpartition(".")
        facts = json.loads(metadata[name])
        parts = {part: f"{module}._{attribute}_{part}" for part in facts["_tensor_data_names"]}
        left -= set(parts.values())
        # Copies: what safetensors gives is a view of the mapped file, which would stay in memory as a whole.
        tensors = {part: opened.get_tensor(stored).clone() for part, stored in parts.items()}
        if facts["_type"] == "Int4OpaqueTensor":
            joined[name] = Int4OpaqueTensor(**tensors, **facts["_data"])
        else:
            named = {parts[part]: tensor for part, tensor in tensors.items()}
            tensor_by_name, _ = unflatten_tensor_state_dict(
                named, {name: metadata[name], "tensor_names": json.dumps([name])}
            )
            joined[name] = tensor_by_name[name]
    return left, joined


def load(path: Path, variant: VariantSpec, model: nn.Module) -> Runnable:
    """Put the file's tensors on the device."""
    device = variant.device.torch_device
    with safe_open(path, framework="pt") as opened:
        whole, joined = _joined(opened)
        for name in whole:
            set_parameter(model, name, opened.get_tensor(name).to(device, copy=True))
        for name, tensor in joined.items():
            set_parameter(model, name, tensor.to(device))
    return of_module(variant, model)
