"""bitsandbytes: LLM.int8() and NF4, in the layers and the file layout that transformers reads."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from fitcard.catalog.file_format import NF4_BLOCK, SAFETENSORS_METADATA
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.profiler.backends.torch_dtype import DTYPES, plain_row
from fitcard.profiler.devices import Device
from fitcard.profiler.parameters import owner, set_parameter
from fitcard.profiler.variant import Runnable, VariantSpec, of_module
from fitcard.profiler.weights import Values

bnb: Any = import_module("bitsandbytes")  # its own types hide half of what it exports

OUTLIERS = 6.0
"""The size of an activation from which its column stays in 16 bit: the threshold of the paper and of transformers."""
_CPU_ROWS = 32
"""Rows that bitsandbytes' repacking for processors takes together."""
_STATE = ".quant_state.bitsandbytes__nf4"


def unsupported(variant: VariantSpec, mode: Mode) -> str | None:
    """Why the device cannot serve it, or None."""
    odd = [t for t in variant.stored if t.type == "NF4" and t.shape[-1] % NF4_BLOCK]
    if variant.device.kind == "cpu" and odd:
        # Held against its own quantization state: 23 % off for 288, 688 and 4304 wide rows, 0.2 % for 256 and 1152.
        return (
            f"bitsandbytes {bnb.__version__} unpacks NF4 wrongly on processors where a row is no multiple of {NF4_BLOCK} "
            f"({odd[0].name} has rows of {odd[0].shape[-1]}): its blocks run on into the next row, its kernel begins anew"
        )
    return None


def activation_type(quantization: Quantization, device: Device) -> torch.dtype:
    """The type of activations while it runs."""
    return torch.bfloat16


def write(path: Path, variant: VariantSpec, values: Values) -> None:
    """Write the variant's file, as transformers saves a model that bitsandbytes quantized."""
    tensors: dict[str, torch.Tensor] = {}
    for tensor in variant.stored:
        numbers = values(tensor)
        if tensor.type == "NF4":
            packed, state = bnb.functional.quantize_4bit(
                numbers.to(torch.bfloat16), blocksize=NF4_BLOCK, compress_statistics=False, quant_type="nf4"
            )
            tensors[tensor.name] = packed
            tensors |= {f"{tensor.name}.{key}": part for key, part in state.as_dict(packed=True).items()}
        elif tensor.type == "INT8C":
            prefix = tensor.name.removesuffix("weight")
            tensors[tensor.name], tensors[f"{prefix}SCB"], _ = bnb.functional.int8_vectorwise_quant(numbers.half())
            tensors[f"{prefix}weight_format"] = torch.tensor(0, dtype=torch.uint8)
        else:
            tensors[tensor.name] = numbers.to(DTYPES[tensor.type])
    save_file({name: part.contiguous() for name, part in tensors.items()}, path, metadata=SAFETENSORS_METADATA)


def read_census(path: Path) -> list[tuple[str, int, int]]:
    """Type, elements and bytes of every tensor in the file, the parts of a quantized one added up."""
    rows: list[tuple[str, int, int]] = []
    with safe_open(path, framework="pt") as opened:
        names = set(opened.keys())
        for name in sorted(names):
            prefix = name.removesuffix("weight")
            if name + _STATE in names:
                state = bnb.functional.unpack_tensor_to_dict(opened.get_tensor(name + _STATE))
                parts = [opened.get_tensor(n) for n in (name, f"{name}.absmax", f"{name}.quant_map")]
                size = sum(part.numel() * part.element_size() for part in parts)
                rows.append(("NF4", math.prod(state["shape"]), size))
            elif name.endswith("weight") and f"{prefix}SCB" in names:
                elements = math.prod(opened.get_slice(name).get_shape())
                rows.append(("INT8C", elements, elements + 4 * math.prod(opened.get_slice(f"{prefix}SCB").get_shape())))
            elif not name.endswith(("SCB", "weight_format", ".absmax", ".quant_map", _STATE)):
                rows.append(plain_row(opened.get_slice(name)))
    return rows


def load(path: Path, variant: VariantSpec, model: nn.Module) -> Runnable:
    """Put the file's tensors on the device, replacing each quantized layer by bitsandbytes' own."""
    device = variant.device.torch_device
    with safe_open(path, framework="pt") as opened:
        get = opened.get_tensor
        for tensor in variant.stored:
            name = tensor.name
            if tensor.type not in ("NF4", "INT8C"):
                set_parameter(model, name, get(name).to(device, copy=True))
                continue
            parent, attribute, module = owner(model, name)
            assert isinstance(module, nn.Linear)
            rows, columns = tensor.shape
            if tensor.type == "NF4":
                layer = bnb.nn.Linear4bit(
                    columns, rows, bias=False, compute_dtype=torch.bfloat16, compress_statistics=False,
                    quant_type="nf4", device="meta",
                )  # fmt: skip
                keys = ("absmax", "quant_map", "quant_state.bitsandbytes__nf4")
                stats = {f"{name}.{key}": get(f"{name}.{key}").clone() for key in keys}
                layer.weight = bnb.nn.Params4bit.from_prequantized(get(name).clone(), stats, device=device)
                if rows % _CPU_ROWS:
                    # On processors with AVX-512 BF16, bitsandbytes 0.50.2 repacks weights at the first call and fails for
                    # such a number of rows; without the repacking it multiplies them as it does on older processors.
                    layer.support_avx512bf16_for_cpu = False
            else:
                layer = bnb.nn.Linear8bitLt(
                    columns, rows, bias=False, has_fp16_weights=False, threshold=OUTLIERS, device="meta"
                )
                packed = get(name).to(device, copy=True)
                scales = get(f"{name.removesuffix('weight')}SCB").to(device, copy=True)
                layer.weight = bnb.nn.Int8Params(
                    packed, requires_grad=False, has_fp16_weights=False, CB=packed, SCB=scales
                )
            layer.bias = module.bias
            setattr(parent, attribute, layer.eval())
    return of_module(variant, model)
