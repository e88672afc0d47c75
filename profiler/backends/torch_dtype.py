"""FP32, FP16 and BF16: plain tensors in safetensors, run by torch as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from catalog.file_format import SAFETENSORS_METADATA
from catalog.quantization import Quantization, StoredTensor
from profiler.devices import Device
from profiler.modules import put
from profiler.weights import Values

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def unsupported(quantization: Quantization, device: Device) -> str | None:
    """Why the device cannot serve it, or None."""
    return None


def write(path: Path, model_id: str, label: str, stored: Sequence[StoredTensor], values: Values) -> None:
    """Write the variant's file."""
    save_file({t.name: values(t).to(DTYPES[t.type]).contiguous() for t in stored}, path, metadata=SAFETENSORS_METADATA)


def read_census(path: Path) -> list[tuple[str, int, int]]:
    """Type, elements and bytes of every tensor in the file, as the file says."""
    names = {"F32": 4, "F16": 2, "BF16": 2}
    rows: list[tuple[str, int, int]] = []
    with safe_open(path, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a dict: it has keys(), and no iteration
            part = opened.get_slice(name)
            elements = 1
            for size in part.get_shape():
                elements *= size
            rows.append((part.get_dtype(), elements, elements * names[part.get_dtype()]))
    return rows


def activation_type(quantization: Quantization, device: Device) -> torch.dtype:
    """The type of activations while it runs."""
    assert quantization.weight_type is not None
    return DTYPES[quantization.weight_type]


def load(path: Path, model: nn.Module, quantization: Quantization, device: Device, chunk_elements: int) -> None:
    """Put the file's tensors into the model on the device."""
    with safe_open(path, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a dict: it has keys(), and no iteration
            # A copy: what safetensors gives is a view of the mapped file, which would stay in memory as a whole.
            put(model, name, opened.get_tensor(name).to(device.torch_device, copy=True))
