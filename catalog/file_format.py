"""How many bytes a variant's file has, from its tensors alone, for each file format.

Sources: GGUF from `docs/gguf.md` of ggml-org/ggml (version 3, alignment 32, little endian); safetensors from the format
section of huggingface/safetensors' README (8-byte length, JSON header padded with spaces to 8 bytes, then the data).
The profiler writes with the formats' own libraries, and tests hold these sums to the files on disk, to the byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from catalog.quantization import Quantization, StoredTensor, stored_tensors, typed_tensors
from catalog.tensor_types import tensor_bytes
from catalog.trace import Tensor

GGUF_ALIGNMENT = 32
SAFETENSORS_METADATA = {"format": "pt"}
NF4_BLOCK = 64
_SAFETENSORS_SIZES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "I8": 1, "U8": 1}
"""Bytes of an element by safetensors' names, in the order in which the library lays the tensors out."""


def gguf_metadata(model_id: str, label: str) -> dict[str, str | int]:
    """The key-value pairs of a GGUF file that fitcard writes; tensors keep their Hugging Face names."""
    return {
        "general.architecture": "fitcard",
        "general.name": model_id,
        "general.quantization_version": 2,
        "fitcard.quantization": label,
    }


def file_bytes(quantization: Quantization, label: str, model_id: str, tensors: Sequence[Tensor]) -> int | None:
    """Exact size of the file that holds `tensors`, or None for a format whose size is not known without writing it."""
    if quantization.format == "gguf":
        return _gguf_bytes(quantization, tensors, gguf_metadata(model_id, label))
    if quantization.format == "safetensors":
        return _safetensors_bytes(label, list(stored_tensors(quantization, tensors)))
    return None


def _gguf_bytes(quantization: Quantization, tensors: Sequence[Tensor], metadata: dict[str, str | int]) -> int:
    header = 4 + 4 + 8 + 8  # magic, version, number of tensors, number of pairs
    for key, value in metadata.items():
        header += 8 + len(key.encode()) + 4 + (8 + len(value.encode()) if isinstance(value, str) else 4)
    for tensor in tensors:
        names = sum(len(name.encode()) for name, _ in tensor.each())
        header += names + tensor.count * (8 + 4 + 8 * len(tensor.shape) + 4 + 8)  # name, dimensions, type, offset
    return _aligned(header, GGUF_ALIGNMENT) + sum(
        count * _aligned(tensor_bytes(name, tensor.shape), GGUF_ALIGNMENT)
        for name, tensor, count in typed_tensors(quantization, tensors)
    )


_Part = tuple[str, str, tuple[int, ...]]
"""Name, safetensors' name of the type, and shape of a tensor in a file."""


def _safetensors_bytes(label: str, stored: Sequence[StoredTensor]) -> int:
    metadata = dict(SAFETENSORS_METADATA)
    parts: list[_Part] = []
    for tensor in stored:
        own, more = _parts(label, tensor)
        parts += own
        metadata |= more
    if len(metadata) > len(SAFETENSORS_METADATA):
        metadata["tensor_names"] = json.dumps([tensor.name for tensor in stored if tensor.name in metadata])
    by_type: dict[str, list[_Part]] = {}
    for part in parts:
        by_type.setdefault(part[1], []).append(part)
    header = len(json.dumps({"__metadata__": metadata}, separators=(",", ":"), ensure_ascii=False).encode())
    offset, digits = 0, 1
    for dtype, size in _SAFETENSORS_SIZES.items():
        for name, _, shape in sorted(by_type.get(dtype, ())):
            offset += math.prod(shape) * size
            before, digits = digits, len(str(offset))
            # ,"name":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]} - tensors' names need no escapes
            header += (
                len(name.encode())
                + len(dtype)
                + sum(len(str(n)) + 1 for n in shape)
                - (len(shape) > 0)
                + before
                + digits
                + 46
            )
    return 8 + _aligned(header, 8) + offset


def _parts(label: str, tensor: StoredTensor) -> tuple[list[_Part], dict[str, str]]:
    """The tensors that a file holds for one tensor of the model, and its entry in the file's metadata, if it has one.

    torchao: `flatten_tensor_state_dict` of torchao 0.18.0. bitsandbytes: the state dict of its layers in 0.50.2.
    """
    name, shape = tensor.name, tensor.shape
    if tensor.type in ("INT8CZ", "FP8C", "INT4G128"):
        rows, columns = shape
        module, _, attribute = name.rpartition(".")
        found = {
            "INT8CZ": {"zero_point": ("I8", (rows, 1)), "qdata": ("I8", shape), "scale": ("F32", (rows, 1))},
            "FP8C": {"qdata": ("F8_E4M3", shape), "scale": ("F32", (rows, 1))},
            "INT4G128": {"qdata": ("U8", (rows, columns // 2)), "scale_and_zero": ("BF16", (columns // 128, rows, 2))},
        }[tensor.type]
        parts = [(f"{module}._{attribute}_{part}", dtype, size) for part, (dtype, size) in found.items()]
        return parts, {name: json.dumps(_torchao_facts(label, tensor, list(found)))}
    if tensor.type == "NF4":
        blocks = -(-math.prod(shape) // NF4_BLOCK)
        state = {"quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": "bfloat16", "shape": list(shape)}
        return [
            (name, "U8", (blocks * NF4_BLOCK // 2, 1)),
            (f"{name}.absmax", "F32", (blocks,)),
            (f"{name}.quant_map", "F32", (16,)),
            (f"{name}.quant_state.bitsandbytes__nf4", "U8", (len(json.dumps(state)),)),
        ], {}
    if tensor.type == "INT8C":
        prefix = name.removesuffix("weight")
        return [(name, "I8", shape), (f"{prefix}SCB", "F32", shape[:1]), (f"{prefix}weight_format", "U8", ())], {}
    return [(name, tensor.type, shape)], {}


def _torchao_facts(label: str, tensor: StoredTensor, parts: list[str]) -> dict[str, object]:
    """What torchao writes about a quantized tensor beside its parts."""
    rows_of = {"_type": "PerRow", "_data": {"dim": -1}}
    bfloat16 = {"_type": "torch.dtype", "_data": "bfloat16"}
    block = [1, tensor.shape[1]]
    if tensor.type == "INT8CZ":
        symmetric = {"_type": "MappingType", "_data": "SYMMETRIC"}
        given = {"granularity": rows_of, "mapping_type": symmetric, "reduce_range": False}
        dynamic = {"_type": "QuantizeTensorToInt8Kwargs", "_data": given} if label == "INT8-dynamic" else None
        facts = {"act_quant_kwargs": dynamic, "reduce_range": False, "block_size": block, "dtype": bfloat16}
        return {"_type": "Int8Tensor", "_data": facts, "_tensor_data_names": parts}
    if tensor.type == "FP8C":
        auto = {"_type": "KernelPreference", "_data": "AUTO"}
        fast = {"emulate": False, "use_fast_accum": True, "pad_inner_dim": False}
        given = {
            "float8_dtype": {"_type": "torch.dtype", "_data": "float8_e4m3fn"}, "granularity": rows_of,
            "mm_config": None, "hp_value_lb": None, "hp_value_ub": None, "kernel_preference": auto,
        }  # fmt: skip
        facts = {
            "block_size": block, "mm_config": {"_type": "Float8MMConfig", "_data": fast},
            "act_quant_kwargs": {"_type": "QuantizeTensorToFloat8Kwargs", "_data": given}, "kernel_preference": auto,
            "dtype": bfloat16,
        }  # fmt: skip
        return {"_type": "Float8Tensor", "_data": facts, "_tensor_data_names": parts}
    facts = {"block_size": [1, 128], "shape": list(tensor.shape)}
    return {"_type": "Int4OpaqueTensor", "_data": facts, "_tensor_data_names": parts}


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
