"""GGUF: encoded by ggml, kept packed in memory, unpacked in each layer as it runs.

That is how image-generation users run GGUF in torch (ComfyUI-GGUF, diffusers). llama.cpp itself runs no encoder of this
kind whole: it keeps the vision component of a vision-language model and drops the pooling head and the text component.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from torch import nn

from fitcard.catalog.file_format import GGUF_ALIGNMENT, gguf_metadata
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES
from fitcard.profiler import ggml
from fitcard.profiler.devices import Device
from fitcard.profiler.packed_layers import PackedEmbedding, PackedLinear
from fitcard.profiler.parameters import owner, set_parameter
from fitcard.profiler.variant import Runnable, VariantSpec, of_module
from fitcard.profiler.weights import Values


def unsupported(variant: VariantSpec, mode: Mode) -> str | None:
    """Why the device cannot serve it, or None."""
    return None


def write(path: Path, variant: VariantSpec, values: Values) -> None:
    """Write the variant's file, one tensor at a time."""
    metadata = gguf_metadata(variant.model_id, variant.label)
    writer = gguf.GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        if key == "general.architecture":
            continue
        if isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_uint32(key, value)
    for tensor in variant.stored:
        raw = gguf.GGMLQuantizationType[tensor.type]
        packed = TENSOR_TYPES[tensor.type].packed
        # The writer takes the shape of packed tensors in bytes, and works the elements out itself.
        shape = (
            (*tensor.shape[:-1], tensor.bytes // (tensor.tensor.elements // tensor.shape[-1]))
            if packed
            else tensor.shape
        )
        dtype = np.dtype(np.uint8) if packed else np.dtype(np.float32 if tensor.type == "F32" else np.float16)
        writer.add_tensor_info(tensor.name, shape, dtype, tensor.bytes, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in variant.stored:
        numbers = values(tensor).numpy()
        if TENSOR_TYPES[tensor.type].packed:
            encoded = ggml.quantize(tensor.type, numbers.reshape(-1, tensor.shape[-1]))
        else:
            encoded = numbers.astype(np.float32 if tensor.type == "F32" else np.float16)
        writer.write_tensor_data(encoded)
    writer.close()


def read_census(path: Path) -> list[tuple[str, int, int]]:
    """Type, elements and bytes of every tensor in the file, as the file says."""
    return [(t.tensor_type.name, int(t.n_elements), int(t.n_bytes)) for t in gguf.GGUFReader(path).tensors]


def activation_type(quantization: Quantization, device: Device) -> torch.dtype:
    """The type of activations while it runs: BF16 where the device multiplies it natively, else what it does best."""
    return device.fast_type


def load(path: Path, variant: VariantSpec, model: nn.Module) -> Runnable:
    """Put the file's tensors on the device, replacing the layers whose weights stay packed."""
    assert gguf.GGUF_DEFAULT_ALIGNMENT == GGUF_ALIGNMENT
    device = variant.device
    dtype = activation_type(variant.quantization, device)
    reader = gguf.GGUFReader(path)
    tensors = [
        (t.name, t.tensor_type.name, int(t.data_offset), int(t.n_bytes), tuple(int(n) for n in t.shape[::-1]))
        for t in reader.tensors
    ]
    del reader  # it maps the whole file; only its directory is needed
    for name, type_name, offset, size, shape in tensors:
        raw = np.fromfile(path, dtype=np.uint8, count=size, offset=offset)
        if not TENSOR_TYPES[type_name].packed:
            numbers = torch.from_numpy(raw.view(np.float32 if type_name == "F32" else np.float16).reshape(shape))
            set_parameter(model, name, numbers.to(device=device.torch_device, dtype=dtype, copy=True))
            continue
        packed = torch.from_numpy(raw.reshape(shape[0], -1)).to(device.torch_device)
        parent, attribute, module = owner(model, name)
        if isinstance(module, nn.Embedding):
            setattr(parent, attribute, PackedEmbedding(type_name, packed, dtype, variant.chunk_elements))
        else:
            assert isinstance(module, nn.Linear)
            setattr(parent, attribute, PackedLinear(type_name, packed, module.bias, dtype, variant.chunk_elements))
    return of_module(variant, model)
