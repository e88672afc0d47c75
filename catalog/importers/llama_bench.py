"""llama-bench: the JSON that `llama-bench -o json` writes, an entry a test; `-o jsonl` is the same, an entry a line.

A text encoder that llama.cpp serves takes a prompt of n tokens in one pass: that is one text. Tests that generate are of
language models. Fields: ggml-org/llama.cpp, tools/llama-bench/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
_SUFFIX = re.compile(r"(-\d{5}-of-\d{5})?\.gguf\Z", re.I)
_QUANTIZED = re.compile(r"[-._](i?q\d\w*|bf16|f16|fp16|f32|fp32)\Z", re.I)


def fits(text: str) -> bool:
    """Whether a text looks like this format."""
    return bool(entries := _entries(text)) and all("avg_ts" in entry or "model_filename" in entry for entry in entries)


def read(catalog: Catalog, file: File) -> Iterator[Row]:
    """Every test. Raises FitcardError where the file is damaged."""
    entries = _entries(file.text)
    if not entries:
        read_json(file.path, file.text)
    for number, entry in enumerate(entries, 1):
        name = str(entry.get("model_filename", "")).replace("\\", "/").rsplit("/", 1)[-1]
        prompt, generated = whole(entry.get("n_prompt")), whole(entry.get("n_gen"))
        test = "+".join(f"{kind}{n}" for kind, n in (("pp", prompt), ("tg", generated)) if n)
        where = f"entry {number}, {name or 'a model without a name'}, {test or 'no test'}"
        model = _model(catalog, name)
        if model is None:
            yield Unmapped(where, UNKNOWN_MODEL)
        elif reason := _not_one_text(entry, prompt, generated) or _not_on_one_card(catalog, model, entry):
            yield Unmapped(where, reason)
        elif (tokens_per_second := positive(entry.get("avg_ts"))) is None:
            yield Unmapped(where, not_a_number("avg_ts", entry.get("avg_ts")))
        elif (label := _label(str(entry.get("model_type")))) is None:
            yield Unmapped(where, f"no label stands for its tensor types ({entry.get('model_type')})")
        else:
            assert prompt is not None
            yield ImportedSpeed(
                where=where, model=model, gpu=str(entry.get("gpu_info") or "") or None, component="text", quantization=label,
                mode="eager", batch=1, text_tokens=prompt, per_second=float(f"{tokens_per_second / prompt:.6g}"),
                runtime="llama.cpp", settings=_settings(entry), parameters=positive(entry.get("model_n_params")),
            )  # fmt: skip


def _entries(text: str) -> list[Mapping[str, Any]]:
    """The entries of the JSON list, or of the lines; empty where the text is neither."""
    data = json_of(text)
    lines = [json_of(line) for line in text.splitlines() if line.strip()] if not isinstance(data, list) else data  # pyright: ignore[reportUnknownVariableType]
    entries = [mapping(entry) for entry in cast("list[object]", lines)]
    return entries if all(entries) else []


def _model(catalog: Catalog, name: str) -> str | None:
    """The one model of the catalog that reads texts and whose name the file bears, but for its tensor type."""
    bare = _QUANTIZED.sub("", _SUFFIX.sub("", name)).lower()
    fitting = [
        key for key, trace in catalog.traces.items()
        if key.split("/")[-1].lower() == bare and trace.components() == ("text",)
    ]  # fmt: skip
    return fitting[0] if len(fitting) == 1 else None


def _not_one_text(entry: Mapping[str, Any], prompt: int | None, generated: int | None) -> str | None:
    if generated or not prompt:
        return "generates text, which an encoder does not"
    if whole(entry.get("n_depth")):
        return "continues a text that was read before, which an encoder does not"
    return None


def _not_on_one_card(catalog: Catalog, model: str, entry: Mapping[str, Any]) -> str | None:
    layers = max((tensor.layers or 0 for tensor in catalog.traces[model].tensors), default=0)
    on_card = whole(entry.get("n_gpu_layers")) or 0
    if not entry.get("gpu_info") or on_card == 0:
        return "was measured on a processor; published figures are of cards"
    if on_card < layers:
        return f"ran {on_card} of {layers} layers on the card and the rest on the processor"
    if "," in str(entry["gpu_info"]) and entry.get("split_mode") != "none":
        return "ran on several cards"
    return None


def _label(model_type: str) -> str | None:
    return next((label for words, label in _LABELS.items() if model_type.endswith(f" {words}")), None)


def _settings(entry: Mapping[str, Any]) -> str:
    build = f"build {entry.get('build_number', '?')} ({entry.get('build_commit', '?')})"
    attention = "flash attention" if entry.get("flash_attn") in (True, 1, "1") else "no flash attention"
    backend = entry.get("backends", "backend not stated")
    return f"{build}, {backend}, {attention}, physical batch {entry.get('n_ubatch', '?')}"
