"""The part of llama.cpp's C interface that fitcard calls, by ctypes, from the library that the wheel of `xllamacpp`
carries.

Structures change from one build of llama.cpp to the next without notice, and a field that moved is read as nonsense
rather than refused. So one build is served, `WHEEL`, and whatever else is installed is refused before anything is
called with it.

Source: `include/llama.h` and `src/llama-ext.h` of https://github.com/ggml-org/llama.cpp/tree/b11549.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fitcard.catalog.errors import FitcardError

BUILD = "b11549"
WHEEL = "2026.10.11549"
"""The version of xllamacpp whose structures these are: llama.cpp b11549."""

CACHE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
"""Types of the cache that fitcard offers, by `enum ggml_type` of ggml.h."""

LOAD_WHOLE = 0
"""LLAMA_LOAD_MODE_NONE: read the file into memory. With mmap, what is repacked counts twice."""

FLASH_ATTENTION = {None: -1, False: 0, True: 1}
"""`enum llama_flash_attn_type`; None lets llama.cpp decide."""


class ModelParams(ctypes.Structure):
    """`struct llama_model_params`."""

    _fields_ = (
        ("devices", ctypes.c_void_p),
        ("tensor_buft_overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("split_mode", ctypes.c_int),
        ("load_mode", ctypes.c_int),
        ("lazy_mode", ctypes.c_int),
        ("main_gpu", ctypes.c_int32),
        ("tensor_split", ctypes.c_void_p),
        ("progress_callback", ctypes.c_void_p),
        ("progress_callback_user_data", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("vocab_only", ctypes.c_bool),
        ("check_tensors", ctypes.c_bool),
        ("use_extra_bufts", ctypes.c_bool),
        ("no_host", ctypes.c_bool),
        ("no_alloc", ctypes.c_bool),
        ("load_mtp", ctypes.c_bool),
    )


class ContextParams(ctypes.Structure):
    """`struct llama_context_params`."""

    _fields_ = (
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("n_rs_seq", ctypes.c_uint32),
        ("n_outputs_max", ctypes.c_uint32),
        ("n_outputs_max_per_seq", ctypes.c_uint32),
        ("n_threads", ctypes.c_int32),
        ("n_threads_batch", ctypes.c_int32),
        ("ctx_type", ctypes.c_int),
        ("rope_scaling_type", ctypes.c_int),
        ("pooling_type", ctypes.c_int),
        ("attention_type", ctypes.c_int),
        ("flash_attn_type", ctypes.c_int),
        ("rope_freq_base", ctypes.c_float),
        ("rope_freq_scale", ctypes.c_float),
        ("yarn_ext_factor", ctypes.c_float),
        ("yarn_attn_factor", ctypes.c_float),
        ("yarn_beta_fast", ctypes.c_float),
        ("yarn_beta_slow", ctypes.c_float),
        ("yarn_orig_ctx", ctypes.c_uint32),
        ("defrag_thold", ctypes.c_float),
        ("cb_eval", ctypes.c_void_p),
        ("cb_eval_user_data", ctypes.c_void_p),
        ("type_k", ctypes.c_int),
        ("type_v", ctypes.c_int),
        ("moe_cache_size", ctypes.c_size_t),
        ("abort_callback", ctypes.c_void_p),
        ("abort_callback_data", ctypes.c_void_p),
        ("embeddings", ctypes.c_bool),
        ("offload_kqv", ctypes.c_bool),
        ("no_perf", ctypes.c_bool),
        ("op_offload", ctypes.c_bool),
        ("swa_full", ctypes.c_bool),
        ("kv_unified", ctypes.c_bool),
        ("samplers", ctypes.c_void_p),
        ("n_samplers", ctypes.c_size_t),
        ("ctx_other", ctypes.c_void_p),
    )


class Batch(ctypes.Structure):
    """`struct llama_batch`."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


class _Map(ctypes.Structure):
    """`std::map` of libstdc++ as it is returned: a comparator, the header node of a red-black tree, the number of
    nodes."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("compare", "color", "root", "leftmost", "rightmost", "count"))


class _Node(ctypes.Structure):
    """A node of that tree: four words of `_Rb_tree_node_base`, then the key (a buffer type) and
    `llama_memory_breakdown_data`."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("color", "parent", "left", "right", "buffer_type", "model", "context", "compute")
    )


@dataclass(frozen=True)
class Buffer:
    """What one kind of buffer holds, in bytes: `CPU`, `CPU_REPACK`, `CUDA0`, `CUDA_Host`, ..."""

    name: str
    host: bool
    """Whether it lies in main memory."""
    weights_bytes: int
    cache_bytes: int
    compute_bytes: int


_SIGNATURES: Mapping[str, tuple[object, tuple[object, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_model_load_from_file": (ctypes.c_void_p, (ctypes.c_char_p, ModelParams)),
    "llama_model_free": (None, (ctypes.c_void_p,)),
    "llama_model_n_params": (ctypes.c_uint64, (ctypes.c_void_p,)),
    "llama_model_get_vocab": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "llama_vocab_n_tokens": (ctypes.c_int32, (ctypes.c_void_p,)),
    "llama_init_from_model": (ctypes.c_void_p, (ctypes.c_void_p, ContextParams)),
    "llama_free": (None, (ctypes.c_void_p,)),
    "llama_n_batch": (ctypes.c_uint32, (ctypes.c_void_p,)),
    "llama_n_threads": (ctypes.c_int32, (ctypes.c_void_p,)),
    "llama_get_memory": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "llama_memory_clear": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "llama_batch_get_one": (Batch, (ctypes.POINTER(ctypes.c_int32), ctypes.c_int32)),
    "llama_decode": (ctypes.c_int32, (ctypes.c_void_p, Batch)),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), (ctypes.c_void_p, ctypes.c_int32)),
    "llama_synchronize": (None, (ctypes.c_void_p,)),
    "ggml_backend_buft_name": (ctypes.c_char_p, (ctypes.c_void_p,)),
    "ggml_backend_buft_is_host": (ctypes.c_bool, (ctypes.c_void_p,)),
    # `llama_memory_breakdown llama_get_memory_breakdown(const llama_context *)` of llama-ext.h, a C++ name
    "_Z26llama_get_memory_breakdownPK13llama_context": (_Map, (ctypes.c_void_p,)),
}

_DEFAULTS = {
    "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_outputs_max": 0, "type_k": 1, "type_v": 1,
    "flash_attn_type": -1, "yarn_ext_factor": -1.0, "defrag_thold": -1.0, "moe_cache_size": 0, "offload_kqv": True,
    "no_perf": True, "op_offload": True, "swa_full": True, "kv_unified": False, "n_samplers": 0,
}  # fmt: skip
"""What `llama_context_default_params` of this build says. A structure that has moved says something else."""


def library() -> ctypes.CDLL:
    """llama.cpp of the one build that is served, initialised.

    Raises FitcardError where xllamacpp is missing or another build.
    """
    check_version(_installed())
    spec = importlib.util.find_spec("xllamacpp")
    folders = spec.submodule_search_locations if spec else None
    files = sorted(Path(folders[0]).glob("xllamacpp*.so")) if folders else []
    if not files:
        raise FitcardError(f"the package xllamacpp holds no library: pip install --force-reinstall xllamacpp=={WHEEL}")
    loaded = ctypes.CDLL(str(files[0]))
    for name, (returned, taken) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = returned, taken
    check_defaults(loaded.llama_context_default_params())
    loaded.llama_backend_init()
    return loaded


def check_version(installed: str | None) -> None:
    """Raise FitcardError unless the version of xllamacpp that is installed, None for none, is the one that is
    served."""
    if installed is None:
        raise FitcardError(f"models run in llama.cpp through the package xllamacpp: pip install xllamacpp=={WHEEL}")
    if installed.partition("+")[0] != WHEEL:  # builds for GPUs carry the backend after a plus sign
        raise FitcardError(f"xllamacpp {installed} is another build of llama.cpp: pip install xllamacpp=={WHEEL}")


def check_defaults(params: ContextParams) -> None:
    """Raise FitcardError unless a library's own defaults are read as those of the build that is served."""
    wrong = [name for name, value in _DEFAULTS.items() if getattr(params, name) != value]
    if wrong:
        raise FitcardError(
            f"this build of llama.cpp has other structures ({', '.join(wrong)} differ): "
            f"pip install --force-reinstall xllamacpp=={WHEEL}"
        )


def _installed() -> str | None:
    try:
        return importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return None


def memory_breakdown(loaded: ctypes.CDLL, context: int) -> tuple[Buffer, ...]:
    """Bytes of weights, cache and compute buffer of a context, by kind of buffer, in the order of their names.

    The function returns a C++ map by value. It is read as libstdc++ lays it out, so on Linux only. The nodes stay
    allocated, some hundred bytes a call.
    Raises FitcardError elsewhere.
    """
    if platform.system() != "Linux":
        raise FitcardError("llama.cpp's memory is read on Linux only: run this in a container or on a Linux machine")
    tree = loaded._Z26llama_get_memory_breakdownPK13llama_context(context)
    buffers = [
        Buffer(
            name=loaded.ggml_backend_buft_name(node.buffer_type).decode(),
            host=loaded.ggml_backend_buft_is_host(node.buffer_type),
            weights_bytes=node.model,
            cache_bytes=node.context,
            compute_bytes=node.compute,
        )
        for node in _nodes(tree.root)
    ]
    if len(buffers) != tree.count:
        raise AssertionError(f"the memory breakdown has {tree.count} entries and {len(buffers)} were read")
    return tuple(sorted(buffers, key=lambda buffer: buffer.name))


def _nodes(address: int) -> Iterator[_Node]:
    if address:
        node = _Node.from_address(address)
        yield from _nodes(node.left)
        yield node
        yield from _nodes(node.right)
