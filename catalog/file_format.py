"""How many bytes a variant's file has, from its tensors alone, for each file format.

Sources: GGUF from `docs/gguf.md` of ggml-org/ggml (version 3, alignment 32, little endian); safetensors from the format
section of huggingface/safetensors' README (8-byte length, JSON header padded with spaces to 8 bytes, then the data).
The profiler writes with the formats' own libraries, and tests hold these sums to the files on disk, to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from catalog.quantization import Quantization, StoredTensor, stored_tensors
from catalog.trace import Tensor

GGUF_ALIGNMENT = 32
SAFETENSORS_METADATA = {"format": "pt"}
_SAFETENSORS_ORDER = {"F32": 0, "BF16": 1, "F16": 2}  # wide types first, as the library sorts them


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
    if not quantization.defined:
        return None
    stored = list(stored_tensors(quantization, tensors))
    if quantization.format == "gguf":
        return _gguf_bytes(stored, gguf_metadata(model_id, label))
    if quantization.format == "safetensors":
        return _safetensors_bytes(stored)
    return None


def _gguf_bytes(stored: Sequence[StoredTensor], metadata: dict[str, str | int]) -> int:
    header = 4 + 4 + 8 + 8  # magic, version, number of tensors, number of pairs
    for key, value in metadata.items():
        header += 8 + len(key.encode()) + 4 + (8 + len(value.encode()) if isinstance(value, str) else 4)
    for tensor in stored:
        header += 8 + len(tensor.name.encode()) + 4 + 8 * len(tensor.shape) + 4 + 8  # name, dimensions, type, offset
    return _aligned(header, GGUF_ALIGNMENT) + sum(_aligned(tensor.bytes, GGUF_ALIGNMENT) for tensor in stored)


def _safetensors_bytes(stored: Sequence[StoredTensor]) -> int:
    header: dict[str, object] = {"__metadata__": SAFETENSORS_METADATA}
    offset = 0
    for tensor in sorted(stored, key=lambda t: (_SAFETENSORS_ORDER[t.type], t.name)):
        end = offset + tensor.bytes
        header[tensor.name] = {"dtype": tensor.type, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    return 8 + _aligned(len(text.encode()), 8) + offset


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
