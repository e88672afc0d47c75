"""ggml's own encoder and decoder, through the shared library that the prebuilt wheel of `xllamacpp` carries.

Quantizing a K-quant well is a search for scales, and ggml's is the one that real files are made with; so it is
called, not
imitated. (The `gguf` package encodes only the older types.)
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES

TYPE_NUMBERS = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8,
    "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
    "IQ3_XXS": 18, "IQ4_NL": 20, "IQ3_S": 21, "IQ2_S": 22, "IQ4_XS": 23, "MXFP4": 39,
}  # fmt: skip
"""`enum ggml_type` of ggml.h."""

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@functools.cache
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("xllamacpp")
    folders = spec.submodule_search_locations if spec else None
    libraries = sorted(Path(folders[0]).glob("xllamacpp*.so")) if folders else []
    if not libraries:
        raise FitcardError(
            "GGUF variants are encoded by ggml, which comes with the package xllamacpp: pip install xllamacpp"
        )
    library = ctypes.CDLL(str(libraries[0]))
    chunk = library.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    library.ggml_quantize_init.argtypes = [ctypes.c_int]
    return library


def quantize(type_name: str, values: Floats) -> Bytes:
    """Pack rows of float32 (rows, columns) into ggml blocks (rows, bytes). The type must hold rows of that length."""
    rows, columns = values.shape
    type_ = TENSOR_TYPES[type_name]
    source = np.ascontiguousarray(values, dtype=np.float32)
    packed = np.empty((rows, columns // type_.block_elements * type_.block_bytes), dtype=np.uint8)
    number = TYPE_NUMBERS[type_name]
    _library().ggml_quantize_init(number)
    written = _library().ggml_quantize_chunk(number, source.ctypes.data, packed.ctypes.data, 0, rows, columns, None)
    if written != packed.nbytes:
        raise AssertionError(f"ggml wrote {written} bytes of {type_name} where {packed.nbytes} were expected")
    return packed


def dequantize(type_name: str, packed: Bytes, columns: int) -> Floats:
    """Unpack ggml blocks (rows, bytes) into float32 (rows, columns) with ggml's own code: the truth that ours is held
    to."""
    function = getattr(_library(), f"dequantize_row_{type_name[:2].lower()}{type_name[2:]}")
    function.restype = None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    source = np.ascontiguousarray(packed)
    values = np.empty((packed.shape[0], columns), dtype=np.float32)
    function(source.ctypes.data, values.ctypes.data, values.size)
    return values
