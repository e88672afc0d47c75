"""llama-bench: the JSON that `llama-bench -o json` writes, an entry a test; `-o jsonl` is the same, an entry a line.

A text encoder that llama.cpp serves takes a prompt of n tokens in one pass: that is one text. Tests that generate are of
language models. Fields: ggml-org/llama.cpp, tools/llama-bench/README.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.importers.row import (
    UNKNOWN_MODEL,
    File,
    ImportedSpeed,
    Row,
    Unmapped,
    json_of,
    mapping,
    not_a_number,
    positive,
    read_json,
    whole,
)

TITLE = "llama-bench JSON"
COMMENT = "llama.cpp runs its own implementation of the same encoder."

_LABELS = {
    "all F32": "FP32", "F16": "FP16", "BF16": "BF16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K - Medium": "Q5_K_M",
    "Q4_K - Medium": "Q4_K_M", "Q4_0": "Q4_0", "Q3_K - Medium": "Q3_K_M", "Q2_K - Medium": "Q2_K",
}  # fmt: skip
"""The end of `model_type`, as llama.cpp words it (llama_model_ftype_name in src/llama-model-loader.cpp)."""
_FLASH_ATTENTION = dict.fromkeys(("true", "1", "on"), "flash attention") | dict.fromkeys(
    ("-1", "auto"), "flash attention auto"
)
_OWN_FIELD = re.compile(r'"(avg_ts|model_filename)"\s*:')
_START = 10_000
"""Characters in which the first entry lies; reading a long file twice would take seconds."""
_SUFFIX = re.compile(r"(-\d{5}-of-\d{5})?\.gguf\Z", re.I)
_DEVICE = re.compile(r"(?:CUDA|ROCm|HIP|MUSA|Vulkan|SYCL|Metal|MTL|OpenCL|GPUOpenCL|CANN)(\d*)", re.I)
"""How a backend of llama.cpp numbers its GPUs: CUDA0, Vulkan1, MTL0; others are processors or other machines (RPC)."""
_QUANTIZED = re.compile(r"[-._](i?q\d\w*|bf16|f16|fp16|f32|fp32)\Z", re.I)


def fits(text: str) -> bool:
    """Whether a text looks like this format."""
    return text.lstrip()[:1] in ("[", "{") and _OWN_FIELD.search(text, 0, _START) is not None


def read(catalog: Catalog, file: File) -> Iterator[Row]:
    """Every test. Raises FitcardError where the file is damaged."""
    entries = _entries(file.text)
    if not entries:
        read_json(file.path, file.text)
    models = _text_encoders(catalog)
    named = {models.get(_bare_name(_file_name(entry))) for entry in entries} - {None}
    layers = {model: _layers(catalog, model) for model in named if model}
    for number, entry in enumerate(entries, 1):
        name = _file_name(entry)
        prompt, generated = whole(entry.get("n_prompt")), whole(entry.get("n_gen"))
        test = "+".join(f"{kind}{n}" for kind, n in (("pp", prompt), ("tg", generated)) if n)
        where = f"entry {number}, {name or 'a model without a name'}, {test or 'no test'}"
        model, gpu = models.get(_bare_name(name)), _gpu(entry)
        if model is None:
            yield Unmapped(where, UNKNOWN_MODEL)
        elif reason := _not_one_text(entry, prompt, generated) or _not_all_layers(entry, layers[model]):
            yield Unmapped(where, reason)
        elif isinstance(gpu, NotOneGpu):
            yield Unmapped(where, gpu.reason)
        elif (tokens_per_second := positive(entry.get("avg_ts"))) is None:
            yield Unmapped(where, not_a_number("avg_ts", entry.get("avg_ts")))
        elif (label := _label(str(entry.get("model_type")))) is None:
            yield Unmapped(where, f"no label stands for its tensor types ({entry.get('model_type')})")
        else:
            assert prompt is not None
            yield ImportedSpeed(
                where=where, model=model, gpu=gpu, component="text", quantization=label,
                mode="eager", batch=1, text_tokens=prompt, per_second=float(f"{tokens_per_second / prompt:.6g}"),
                runtime="llama.cpp", settings=_settings(entry), parameters=positive(entry.get("model_n_params")),
            )  # fmt: skip


def _entries(text: str) -> list[Mapping[str, Any]]:
    """The entries of the JSON list, or of the lines; empty where the text is neither."""
    data = json_of(text)
    lines = [json_of(line) for line in text.splitlines() if line.strip()] if not isinstance(data, list) else data  # pyright: ignore[reportUnknownVariableType]
    entries = [mapping(entry) for entry in cast("list[object]", lines)]
    return entries if all(entries) else []


def _file_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("model_filename", "")).replace("\\", "/").rsplit("/", 1)[-1]


def _bare_name(name: str) -> str:
    """A file's name without its ending and tensor type, in lower case."""
    return _QUANTIZED.sub("", _SUFFIX.sub("", name)).lower()


def _text_encoders(catalog: Catalog) -> dict[str, str]:
    """The models that only read texts, by the names that a file of one bears but for its tensor type: `bge-m3`, and
    `baai_bge-m3` where the organisation's name is put in front."""
    keys = [key for key, trace in catalog.trace_index.items() if trace.components == ("text",)]
    names = Counter(key.split("/")[-1].lower() for key in keys)
    alone = {name: key for key in keys if names[name := key.split("/")[-1].lower()] == 1}
    return alone | {key.replace("/", "_").lower(): key for key in keys}


def _layers(catalog: Catalog, model: str) -> int:
    return max((tensor.layers or 0 for tensor in catalog.traces[model].tensors), default=0)


def _not_one_text(entry: Mapping[str, Any], prompt: int | None, generated: int | None) -> str | None:
    if generated or not prompt:
        return "generates text, which an encoder does not"
    if whole(entry.get("n_depth")):
        return "continues a text that was read before, which an encoder does not"
    return None


def _not_all_layers(entry: Mapping[str, Any], layers: int) -> str | None:
    """Why not all layers ran on a GPU; a negative `n_gpu_layers` (-1, auto) means all of them."""
    on_gpu = _number(entry.get("n_gpu_layers"))
    if not entry.get("gpu_info") or on_gpu == 0 or entry.get("devices") == "none":
        return "was measured on a processor; published figures are of cards"
    if 0 < on_gpu < layers:
        return f"ran {on_gpu} of {layers} layers on the card and the rest on the processor"
    return None


@dataclass(frozen=True)
class NotOneGpu:
    """Why a test has no one GPU that it ran on."""

    reason: str


def _gpu(entry: Mapping[str, Any]) -> str | NotOneGpu | None:
    """The name of the GPU that it ran on; None where the file names none.

    `gpu_info` names every GPU of the machine. `devices` says which were used, `tensor_split` which share each got, and
    without splitting `main_gpu` is the one.
    """
    there = re.split(r",\s*(?![^()]*\))", str(entry.get("gpu_info") or ""))
    devices = str(entry.get("devices") or "auto")
    used = list(range(len(there)))
    if devices != "auto":
        numbered = [_DEVICE.fullmatch(device.strip()) for device in re.split("[/,]", devices)]
        if not all(numbered):
            return NotOneGpu(f"ran on devices that are not known to be GPUs of the machine ({devices})")
        used = [int(device[1] or 0) for device in numbered if device]
    shares = [float(share) for share in re.findall(r"\d+(?:\.\d+)?", str(entry.get("tensor_split") or ""))]
    if entry.get("split_mode") == "none":
        main = _number(entry.get("main_gpu"))
        used = used[main : main + 1]
    elif any(shares):
        used = [device for device, share in zip(used, shares, strict=False) if share]
    if len(used) > 1:
        return NotOneGpu("ran on several cards")
    if not used or used[0] >= len(there):
        if len(set(there)) > 1:
            return NotOneGpu(f"does not say on which one of the cards it ran ({devices})")
        used = [0]
    return there[used[0]] or None


def _number(value: object) -> int:
    """A whole number or its text, negative too; 0 for anything else."""
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0


def _label(model_type: str) -> str | None:
    return next((label for words, label in _LABELS.items() if model_type.endswith(f" {words}")), None)


def _settings(entry: Mapping[str, Any]) -> str:
    build = f"build {entry.get('build_number', '?')} ({entry.get('build_commit', '?')})"
    attention = _FLASH_ATTENTION.get(str(entry.get("flash_attn")).lower(), "no flash attention")
    backend = entry.get("backends", "backend not stated")
    return f"{build}, {backend}, {attention}, physical batch {entry.get('n_ubatch', '?')}"
