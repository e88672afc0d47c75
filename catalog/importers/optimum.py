"""optimum-benchmark: benchmark_report.json (what was measured) with benchmark_config.json beside it (of what), or both in benchmark.json.

A report has an entry for each thing that was done (load_model, forward, prefill, ...), with memory, latency, throughput and
energy. Only the throughput of a plain forward pass is a speed here. Fields: huggingface/optimum-benchmark at b263af468a9e.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import CatalogError, FitcardError, shown
from fitcard.catalog.importers.row import (
    UNKNOWN_MODEL,
    File,
    ImportedSpeed,
    Row,
    Unmapped,
    bare_timm_name,
    json_of,
    mapping,
    models_of_timm,
    not_a_number,
    positive,
    read_json,
    whole,
)
from fitcard.catalog.reader import read_text
from fitcard.catalog.schema.trace import Component

TITLE = "optimum-benchmark JSON"
COMMENT = ""

_FIGURES = ("memory", "latency", "throughput", "energy", "efficiency")
_LABELS = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16"}
_PLAIN_TASKS = ("feature-extraction", "image-classification")
"""Tasks whose model is the catalog's; an image classifier has one small layer more. Others have heads of their own."""
_ZERO_SHOT = "zero-shot-image-classification"
"""A task whose model is the catalog's where it has two components: transformers maps it to CLIPModel, SiglipModel or
Siglip2Model themselves (MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES in models/auto/modeling_auto.py at v5.0.0)."""
_OTHERWISE = (
    ("quantization_scheme", "is quantized in a way that no label here is known to stand for"),
    ("quantization_config", "is quantized in a way that no label here is known to stand for"),
    ("peft_type", "has adapters, which the catalog's model has not"), ("deepspeed_inference", "was run by DeepSpeed"),
    ("device_map", "may have been spread over several devices (device_map)"),
    ("tp_plan", "may have been spread over several devices (tp_plan)"),
)  # fmt: skip
"""Settings with which it is not the plain model, where they are set."""


def fits(text: str) -> bool:
    """Whether a text looks like this format."""
    if not text.lstrip().startswith("{"):  # a long list takes seconds to read
        return False
    data = mapping(json_of(text))
    if {"backend", "scenario"} <= set(data) or {"config", "report"} <= set(data):
        return True
    return bool(data) and all(set(_FIGURES[:3]) <= set(mapping(target)) for target in data.values())


def read(catalog: Catalog, file: File) -> Iterator[Row]:
    """Every figure of the report. Raises FitcardError where the other half is missing or either is damaged."""
    config, report = _both(file)
    backend, model = mapping(config["backend"]), _model(catalog, mapping(config["backend"]))
    for target, found in report.items():
        measured = [name for name in _FIGURES if mapping(found).get(name) is not None]
        for name in measured:
            where = f"{target}.{name}"
            if model is None:
                yield Unmapped(where, f"{UNKNOWN_MODEL} ({backend.get('model')})")
            elif target == "forward" and name == "throughput":
                yield _speed(catalog, model, config, mapping(found[name]), where)
            elif target == "forward" and name == "latency" and "throughput" in measured:
                yield Unmapped(where, "is the same measurement as forward.throughput")
            elif name in ("latency", "throughput"):
                yield Unmapped(where, f"is no plain forward pass ({target})")
            else:
                yield Unmapped(where, f"others' {name} is not recorded here, only their speeds")


def _both(file: File) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The configuration and the report, from the file and the one beside it."""
    data = mapping(read_json(file.path, file.text))
    if {"config", "report"} <= set(data):
        config, report = mapping(data["config"]), mapping(data["report"])
    else:
        is_config = "backend" in data
        other = file.path.with_name("benchmark_report.json" if is_config else "benchmark_config.json")
        try:
            rest = mapping(read_json(other, read_text(other)))
        except CatalogError as error:
            raise FitcardError(
                f"{shown(file.path)} is one half, and the other cannot be read: {error}; benchmark_report.json says what was "
                "measured and benchmark_config.json of what, so put both into one folder, or import benchmark.json"
            ) from None
        config, report = (data, rest) if is_config else (rest, data)
    if not (mapping(config.get("backend")) and mapping(config.get("scenario"))):
        raise FitcardError(f"{shown(file.path)}: its configuration has no `backend` and `scenario`")
    if not report:
        raise FitcardError(f"{shown(file.path)}: its report is empty")
    return config, report


def _model(catalog: Catalog, backend: Mapping[str, Any]) -> str | None:
    name = str(backend.get("model"))
    if backend.get("library") == "timm":
        return models_of_timm(catalog).get(bare_timm_name(name))
    return name if name in catalog.models else None


def _speed(
    catalog: Catalog, model: str, config: Mapping[str, Any], throughput: Mapping[str, Any], where: str
) -> ImportedSpeed | Unmapped:
    backend, shapes = mapping(config["backend"]), mapping(mapping(config["scenario"]).get("input_shapes"))
    environment = mapping(config.get("environment"))
    per_second, batch = positive(throughput.get("value")), whole(shapes.get("batch_size"))
    component = _component(catalog, model, shapes)
    phase = catalog.traces[model].phase(component)
    label = _label(backend, str(environment.get("transformers_version")))
    gpu = _gpu(backend, environment)
    plain = (*_PLAIN_TASKS, _ZERO_SHOT) if len(catalog.traces[model].components()) > 1 else _PLAIN_TASKS
    if reason := _not_plain(backend, environment, plain):
        return Unmapped(where, reason)
    if per_second is None or batch is None or throughput.get("unit") != "samples/s":
        return Unmapped(where, not_a_number("throughput in samples/s, or batch_size,", throughput.get("value")))
    if label is None:
        return Unmapped(where, f"its number type is not stated (torch_dtype {backend.get('torch_dtype')})")
    if gpu is None:
        return Unmapped(where, f"does not say on which one of the cards it ran ({backend.get('device_ids')})")
    return ImportedSpeed(
        where=where, model=model, gpu=gpu, component=component, quantization=label,
        mode="compiled" if backend.get("torch_compile") else "eager", batch=batch,
        image_size=whole(shapes.get("height")) or phase.image_size,
        text_tokens=whole(shapes.get("sequence_length")) if phase.text_tokens else None,
        per_second=float(f"{per_second:.6g}"), autocast=bool(backend.get("autocast_enabled")), settings=_settings(backend, environment),
    )  # fmt: skip


def _component(catalog: Catalog, model: str, shapes: Mapping[str, Any]) -> Component:
    """What the inputs that it makes reach: of a model with two towers both, since texts are made wherever a length is given."""
    there = catalog.traces[model].components()
    if len(there) == 1:
        return there[0]
    return "all" if shapes.get("sequence_length") is not None else "vision"


def _not_plain(backend: Mapping[str, Any], environment: Mapping[str, Any], tasks: Sequence[str]) -> str | None:
    """Why it is not the catalog's model, run by torch on a card; None where it is. `tasks` are those of the plain model."""
    if backend.get("name") != "pytorch":
        return f"was run by {backend.get('name')}, and the labels of plain weights stand for torch here"
    if backend.get("device") != "cuda":
        return f"was measured on a processor ({str(environment.get('cpu')).strip()}); published figures are of cards"
    if backend.get("task") not in tasks:
        return f"has the head of {backend.get('task')}, which the catalog's model has not"
    if (
        backend.get("allow_tf32")
        and not backend.get("autocast_enabled")
        and backend.get("torch_dtype") in (None, "float32")
    ):
        return "was multiplied in TF32, which no label stands for"
    return next((reason for name, reason in _OTHERWISE if backend.get(name)), None)


def _label(backend: Mapping[str, Any], transformers: str) -> str | None:
    """The label of its arithmetic; without a type transformers 4 loads in 32 bit, and 5 in the checkpoint's own type."""
    kind = backend.get("torch_dtype")
    if kind is None and transformers.startswith("4."):
        kind = "float32"
    if backend.get("autocast_enabled"):
        return _LABELS.get(str(backend.get("autocast_dtype"))) if kind == "float32" else None
    return _LABELS.get(str(kind))


def _gpu(backend: Mapping[str, Any], environment: Mapping[str, Any]) -> str | None:
    """The one card that it ran on: `environment.gpu` names every card of the machine, whether it was used or not."""
    cards = environment.get("gpu")
    if not isinstance(cards, list):
        return None
    names = [str(card) for card in cards]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    wanted = backend.get("device_ids")
    if wanted is None:
        return names[0] if len(names) == 1 else None
    found = re.fullmatch(r"\d+", str(wanted))
    return names[int(str(wanted))] if found and int(str(wanted)) < len(names) else None


def _settings(backend: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    weights = _LABELS.get(str(backend.get("torch_dtype")), "FP32")
    words = [
        f"autocast to {_LABELS.get(str(backend.get('autocast_dtype')))} over FP32 weights"
        if backend.get("autocast_enabled")
        else f"{weights} weights"
    ]
    words += [f"{backend['attn_implementation']} attention"] if backend.get("attn_implementation") else []
    words += ["BetterTransformer"] if backend.get("to_bettertransformer") else []
    words += [f"torch {backend.get('version')}", f"transformers {environment.get('transformers_version')}"]
    return ", ".join(words)
