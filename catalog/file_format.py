"""How many bytes a variant's file has, from its tensors alone, for each file format.

Sources: GGUF from `docs/gguf.md` of ggml-org/ggml (version 3, alignment 32, little endian); safetensors from the format
section of huggingface/safetensors' README (8-byte length, JSON header padded with spaces to 8 bytes, then the data).
The profiler writes with the formats' own libraries, and tests hold these sums to the files on disk, to the byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from fitcard.catalog.schema.quantization import Quantization, Typed, typed_of, typed_tensors
from fitcard.catalog.schema.trace import LAYER, Component, Tensor, Trace
from fitcard.catalog.schema.workload import Variant

if TYPE_CHECKING:
    from fitcard.catalog.catalog import Catalog

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
        return _gguf_bytes(*_gguf_parts(typed_tensors(quantization, tensors)), gguf_metadata(model_id, label))
    if quantization.format == "safetensors":
        return _safetensors_bytes(quantization.rounds_activations, typed_tensors(quantization, tensors))
    return None


def variant_bytes(catalog: Catalog, variant: Variant) -> int | None:
    """`file_bytes` of a variant of the catalog; of a language model only what its tensors take, since the vocabulary that
    llama.cpp's converter writes before them is not known."""
    quantization = catalog.labels_of(variant.component)[variant.quantization]
    parts = _parts_of(catalog.traces[variant.model], variant.component, quantization)
    if variant.component == "language":
        return parts[1] if isinstance(parts, tuple) else parts
    return (
        _gguf_bytes(*parts, gguf_metadata(variant.model, variant.quantization)) if isinstance(parts, tuple) else parts
    )


@lru_cache(maxsize=1 << 14)
def _parts_of(trace: Trace, component: Component, quantization: Quantization) -> tuple[int, int] | int | None:
    """What does not depend on the model's name: for GGUF the bytes of the header but for its metadata and those of the
    data, for other formats the whole size. Kept, since several pages state it."""
    typed = typed_of(trace, component, quantization)
    if quantization.format == "gguf":
        return _gguf_parts(typed)
    return _safetensors_bytes(quantization.rounds_activations, typed) if quantization.format == "safetensors" else None


def _gguf_bytes(header: int, data: int, metadata: dict[str, str | int]) -> int:
    for key, value in metadata.items():
        header += 8 + len(key.encode()) + 4 + (8 + len(value.encode()) if isinstance(value, str) else 4)
    return _aligned(header, GGUF_ALIGNMENT) + data


def _gguf_parts(typed: Iterable[Typed]) -> tuple[int, int]:
    """Bytes of the header without the metadata, and of the data."""
    header = 4 + 4 + 8 + 8  # magic, version, number of tensors, number of pairs
    data, seen = 0, set[int]()
    for row in typed:
        tensor = row.tensor
        data += row.times * _aligned(row.bytes, GGUF_ALIGNMENT)
        if id(tensor) in seen:  # others of its layers, of another type
            continue
        seen.add(id(tensor))
        names = tensor.count * len(tensor.name.encode())
        if tensor.layers is not None:  # each layer's number stands in place of `{layer}`
            names += _digits_below(tensor.layers) - tensor.layers * len(LAYER)
        header += names + tensor.count * (8 + 4 + 8 * len(tensor.shape) + 4 + 8)  # name, dimensions, type, offset
    return header, data


def _digits_below(count: int) -> int:
    """Digits of all the numbers from 0 up to `count`, without it."""
    return sum(len(str(number)) for number in range(count))


_Part = tuple[str, str, tuple[int, ...]]
"""Name, safetensors' name of the type, and shape of a tensor in a file."""


def _safetensors_bytes(rounds_activations: bool, typed: Iterable[Typed]) -> int:
    metadata = len(json.dumps(SAFETENSORS_METADATA, separators=(",", ":")))
    # The length of the JSON header, entry by entry: `"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`. Only
    # the digits of the offsets depend on the order, which is by type and then by name.
    header = len('{"__metadata__":') + 1
    order: list[tuple[int, str, int]] = []
    described: list[str] = []
    for type_name, tensor, layers, _ in typed:
        parts, facts = _parts(rounds_activations, type_name, tensor.name, tensor.shape)
        digits = sum(len(str(layer)) for layer in layers) - len(LAYER) * len(layers) if tensor.layers else 0
        for name, dtype, shape in parts:
            header += len(layers) * (_text_length(name) + _shape_length(dtype, shape)) + digits
            place, size = _TYPE_ORDER[dtype], math.prod(shape) * _SAFETENSORS_SIZES[dtype]
            order += [(place, full, size) for full in _full_names(name, tensor, layers)]
        if facts:
            described += _full_names(tensor.name, tensor, layers)
            metadata += len(layers) * (_text_length(tensor.name) + _text_length(facts) + len(":,")) + digits
    if described:
        metadata += _text_length("tensor_names") + _text_length(json.dumps(described)) + len(":,")
    order.sort()
    offset = 0
    for _, _, size in order:
        header += len(str(offset))
        offset += size
        header += len(str(offset))
    return 8 + _aligned(header + metadata, 8) + offset


def _full_names(name: str, tensor: Tensor, layers: Iterable[int]) -> list[str]:
    return [name.replace(LAYER, str(layer)) for layer in layers] if tensor.layers else [name]


_TYPE_ORDER = {name: place for place, name in enumerate(_SAFETENSORS_SIZES)}
_ENTRY_LENGTH = len(',:{"dtype":"","shape":[],"data_offsets":[,]}')


def _shape_length(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of an entry of the header, but for its name and the digits of its offsets."""
    return _ENTRY_LENGTH + len(dtype) + sum(len(str(size)) for size in shape) + max(0, len(shape) - 1)


def _text_length(text: str) -> int:
    """Bytes of a text as a JSON string."""
    return len(json.dumps(text, ensure_ascii=False).encode())


def _parts(rounds_activations: bool, type_name: str, name: str, shape: tuple[int, ...]) -> tuple[list[_Part], str]:
    """The tensors that a file holds for one tensor of the model, and what the file's metadata say of it; "" for
    nothing.

    torchao: `flatten_tensor_state_dict` of torchao 0.18.0. bitsandbytes: the state dict of its layers in 0.50.2.
    """
    if type_name in ("INT8CZ", "FP8C", "INT4G128"):
        rows, columns = shape
        module, _, attribute = name.rpartition(".")
        pieces = {
            "INT8CZ": {"zero_point": ("I8", (rows, 1)), "qdata": ("I8", shape), "scale": ("F32", (rows, 1))},
            "FP8C": {"qdata": ("F8_E4M3", shape), "scale": ("F32", (rows, 1))},
            "INT4G128": {"qdata": ("U8", (rows, columns // 2)), "scale_and_zero": ("BF16", (columns // 128, rows, 2))},
        }[type_name]
        parts = [(f"{module}._{attribute}_{part}", dtype, size) for part, (dtype, size) in pieces.items()]
        return parts, json.dumps(_torchao_facts(rounds_activations, type_name, shape, list(pieces)))
    if type_name == "NF4":
        blocks = -(-math.prod(shape) // NF4_BLOCK)
        state = {"quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": "bfloat16", "shape": list(shape)}
        return [
            (name, "U8", (blocks * NF4_BLOCK // 2, 1)),
            (f"{name}.absmax", "F32", (blocks,)),
            (f"{name}.quant_map", "F32", (16,)),
            (f"{name}.quant_state.bitsandbytes__nf4", "U8", (len(json.dumps(state)),)),
        ], ""
    if type_name == "INT8C":
        prefix = name.removesuffix("weight")
        return [(name, "I8", shape), (f"{prefix}SCB", "F32", shape[:1]), (f"{prefix}weight_format", "U8", ())], ""
    return [(name, type_name, shape)], ""


def _torchao_facts(
    rounds_activations: bool, type_name: str, shape: tuple[int, ...], parts: list[str]
) -> dict[str, object]:
    """What torchao writes about a quantized tensor beside its parts."""
    rows_of = {"_type": "PerRow", "_data": {"dim": -1}}
    bfloat16 = {"_type": "torch.dtype", "_data": "bfloat16"}
    block = [1, shape[1]]
    if type_name == "INT8CZ":
        symmetric = {"_type": "MappingType", "_data": "SYMMETRIC"}
        options = {"granularity": rows_of, "mapping_type": symmetric, "reduce_range": False}
        dynamic = {"_type": "QuantizeTensorToInt8Kwargs", "_data": options} if rounds_activations else None
        facts = {"act_quant_kwargs": dynamic, "reduce_range": False, "block_size": block, "dtype": bfloat16}
        return {"_type": "Int8Tensor", "_data": facts, "_tensor_data_names": parts}
    if type_name == "FP8C":
        auto = {"_type": "KernelPreference", "_data": "AUTO"}
        fast = {"emulate": False, "use_fast_accum": True, "pad_inner_dim": False}
        options = {
            "float8_dtype": {"_type": "torch.dtype", "_data": "float8_e4m3fn"},
            "granularity": rows_of,
            "mm_config": None,
            "hp_value_lb": None,
            "hp_value_ub": None,
            "kernel_preference": auto,
        }
        facts = {
            "block_size": block,
            "mm_config": {"_type": "Float8MMConfig", "_data": fast},
            "act_quant_kwargs": {"_type": "QuantizeTensorToFloat8Kwargs", "_data": options},
            "kernel_preference": auto,
            "dtype": bfloat16,
        }
        return {"_type": "Float8Tensor", "_data": facts, "_tensor_data_names": parts}
    facts = {"block_size": [1, 128], "shape": list(shape)}
    return {"_type": "Int4OpaqueTensor", "_data": facts, "_tensor_data_names": parts}


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
