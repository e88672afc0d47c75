"""The views of the page of a quantization and of the list of them: what the label means, and what it becomes model by model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from advisor.answers import default_component
from advisor.evidence import good_runs
from catalog import Catalog
from catalog.file_format import variant_bytes
from catalog.gpu import Card
from catalog.quantization import Quantization, bits_per_weight, predicted_census
from catalog.run import Run
from catalog.trace import Component
from generator.model_page import TOWERS, Share, shares
from generator.structured import breadcrumbs, graph

RUNTIMES = {
    "torch": "torch, plain tensors of that type",
    "gguf": "torch layers that keep ggml's blocks packed and unpack them as they run, as ComfyUI-GGUF and diffusers do; encoded by ggml itself",
    "torchao": "torchao's tensor types in torch's own layers",
    "bitsandbytes": "bitsandbytes' layers in torch",
    "onnxruntime": "ONNX Runtime, with the graph that transformers.js users run",
}


@dataclass(frozen=True)
class Became:
    """What the label makes of one model's main component."""

    id: str
    name: str
    component: Component
    census: tuple[Share, ...]
    bits: float
    file_bytes: int | None
    fallback: float
    """Percent of the bytes of its weight matrices that are not of the label's own type."""


@dataclass(frozen=True)
class Seen:
    """One run of the label, beside BF16 of the same model on the same device."""

    run: Run
    against: float | None
    """Throughput over that of BF16 at the same batch; None where there is no such run."""


def view(catalog: Catalog, label: str) -> dict[str, Any]:
    """Everything that the template of a quantization page draws."""
    quantization = catalog.quantizations[label]
    file = catalog.quantization_file
    served, refused = _support(catalog, quantization)
    return {
        "label": label,
        "quantization": quantization,
        "runtime": RUNTIMES[quantization.runtime],
        "became": [became(catalog, key, label) for key in catalog.models],
        "towers": TOWERS,
        "served": served,
        "refused": refused,
        "seen": _seen(catalog, label),
        "sources": [file.sources[key] for key in (*quantization.sources, quantization.requires.source) if key],
        "jsonld": graph(breadcrumbs(("Home", "../../"), ("Quantizations", "../"), (quantization.name, None))),
    }  # fmt: skip


def index(catalog: Catalog) -> dict[str, Any]:
    """All quantizations, with the span of bits that they really take over all models."""
    rows: list[dict[str, Any]] = []
    for label, quantization in catalog.quantizations.items():
        bits = [became(catalog, key, label).bits for key in catalog.models]
        served, _ = _support(catalog, quantization)
        rows.append({
            "label": label, "quantization": quantization, "low": min(bits, default=None), "high": max(bits, default=None),
            "cards": sum(map(len, served.values())), "runs": sum(entry.quantization == label and entry.status == "ok" for entry in catalog.run_index),
        })  # fmt: skip
    return {
        "rows": rows,
        "cards": len(catalog.cards),
        "jsonld": graph(breadcrumbs(("Home", "../"), ("Quantizations", None))),
    }


def became(catalog: Catalog, key: str, label: str) -> Became:
    """What a label makes of a model's main component."""
    quantization, component = catalog.quantizations[label], default_component(catalog, key)
    tensors = catalog.traces[key].tensors_of(component)
    counted = predicted_census(quantization, tensors)
    matrices = predicted_census(quantization, [t for t in tensors if t.kind == "linear" and len(t.shape) > 1])
    total = sum(row.bytes for row in matrices.values())
    wanted = {quantization.weight_type} | {rule.type for rule in quantization.rules}
    other = sum(row.bytes for name, row in matrices.items() if name not in wanted)
    return Became(
        key, catalog.models[key].name, component, shares(counted), bits_per_weight(counted),
        variant_bytes(catalog, key, component, label), round(100 * other / total, 1) if total else 0.0,
    )  # fmt: skip


def _support(catalog: Catalog, quantization: Quantization) -> tuple[dict[str, list[Card]], dict[str, list[Card]]]:
    """The cards whose hardware serves the label by its stated requirements, and those that it does not, by vendor."""
    from advisor.answers import refusal

    served: dict[str, list[Card]] = {}
    refused: dict[str, list[Card]] = {}
    for card in catalog.cards.values():
        group = refused if refusal(quantization, card) else served
        group.setdefault(card.vendor, []).append(card)
    return served, refused


def _seen(catalog: Catalog, label: str) -> list[Seen]:
    """The newest good run of the label for each model, component, device and mode."""
    found: list[Seen] = []
    for key in catalog.models:
        taken: set[tuple[object, ...]] = set()
        runs = good_runs(catalog, key)
        for run in runs:
            variant = (run.component, run.machine.device, run.mode)
            if run.quantization != label or variant in taken or not run.speed:
                continue
            taken.add(variant)
            same = next(
                (r for r in runs if (r.component, r.machine.device, r.mode) == variant and r.quantization == "BF16"),
                None,
            )
            speed = run.best_speed
            other = same.batch_speed(speed.batch) if same and speed else None
            found.append(Seen(run, speed.per_second / other.per_second if speed and other else None))
    return found
