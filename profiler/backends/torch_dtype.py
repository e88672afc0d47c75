"""FP32, FP16 and BF16: plain tensors in safetensors, run by torch as they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from fitcard.catalog.file_format import SAFETENSORS_METADATA
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.profiler.devices import Device
from fitcard.profiler.parameters import set_parameter
from fitcard.profiler.variant import Runnable, VariantSpec, of_module
from fitcard.profiler.weights import Values

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def unsupported(variant: VariantSpec, mode: Mode) -> str | None:
    """Why the device cannot serve it, or None."""
    return None


def activation_type(quantization: Quantization, device: Device) -> torch.dtype:
    """The type of activations while it runs."""
    return DTYPES[quantization.weight_type]


def write(path: Path, variant: VariantSpec, values: Values) -> None:
    """Write the variant's file."""
    tensors = {t.name: values(t).to(DTYPES[t.type]).contiguous() for t in variant.stored}
    save_file(tensors, path, metadata=SAFETENSORS_METADATA)


def read_census(path: Path) -> list[tuple[str, int, int]]:
    """Type, elements and bytes of every tensor in the file, as the file says."""
    rows: list[tuple[str, int, int]] = []
    with safe_open(path, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a dict: it has keys(), and no iteration
            rows.append(plain_row(opened.get_slice(name)))
    return rows


def plain_row(part: Any) -> tuple[str, int, int]:
    """Type, elements and bytes of a tensor of a safetensors file that is no part of a packed one."""
    elements = math.prod(part.get_shape())
    return part.get_dtype(), elements, elements * DTYPES[part.get_dtype()].itemsize


def load(path: Path, variant: VariantSpec, model: nn.Module) -> Runnable:
    """Put the file's tensors on the device."""
    with safe_open(path, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a dict: it has keys(), and no iteration
            # A copy: what safetensors gives is a view of the mapped file, which would stay in memory as a whole.
            set_parameter(model, name, opened.get_tensor(name).to(variant.device.torch_device, copy=True))
    return of_module(variant, model)
