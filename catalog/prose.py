"""Facts in prose: written as placeholders, so that no number is typed twice.

`{total_parameters}` and the like are filled in from the trace and the label rules; `{claim.KEY}` from the model's claims;
`{file_gb.LABEL}` or `{file_gb.LABEL.vision}`, `{memory_gb...}` and `{bits...}` from the tensor rule; `{gmacs.MODEL}` and `{pixels.MODEL}`
from another trace.
A number that stands in prose without a placeholder must be one that the data hold; `bare_numbers` finds the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.file_format import variant_bytes
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.quantization import bits_per_weight, held_bytes, predicted_census
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.schema.workload import Variant
from fitcard.catalog.storage.memo import shared

_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)(?:\.([^{}]+))?\}")
_COMPONENTS: dict[str, Component] = {"vision": "vision", "text": "text", "all": "all", "language": "language"}
_NUMBER = re.compile(r"(?<![\w./#-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w/]|[.-]\w)")


@shared
def facts(catalog: Catalog, model_id: str) -> Mapping[str, str]:
    """The plain facts of a model as text, by the names that prose uses."""
    model, trace = catalog.models[model_id], catalog.traces[model_id]
    texts = {"total_parameters": f"{trace.parameters():,}"}
    if trace.language:
        texts["active_parameters"] = f"{trace.active_parameters():,}"
    for phase in trace.phases:
        component = phase.component
        if component != "all":
            texts[f"{component}_parameters"] = f"{trace.parameters(component):,}"
            texts[f"{component}_gmacs"] = f"{phase.multiply_adds() / 1e9:,.0f}"
        if component == "vision":
            texts |= {"image_size": str(phase.image_size), "image_tokens": str(phase.image_tokens)}
            texts |= _widths(trace, "vision")
        if component == "text":
            texts["text_tokens"] = str(phase.text_tokens)
    texts |= {f"claim.{claim.key}": f"{claim.value:g}" for claim in model.claims}
    return texts


def fill(text: str, catalog: Catalog, model_id: str) -> str:
    """`text` with its placeholders filled in. Raises ValueError for one that names nothing."""
    plain, trace = facts(catalog, model_id), catalog.traces[model_id]

    def one(match: re.Match[str]) -> str:
        name, rest = match[1], match[2]
        whole = f"{name}.{rest}" if rest else name
        if whole in plain:
            return plain[whole]
        if name == "gmacs" and rest in catalog.traces:
            return facts(catalog, rest).get("vision_gmacs", "not known")
        if name == "pixels" and rest in catalog.traces:
            return facts(catalog, rest).get("image_size", "not known")
        label, _, component = (rest or "").partition(".")
        if name in ("file_gb", "memory_gb", "bits") and (
            label in catalog.quantizations or label in catalog.labels_of("language")
        ):
            return _variant(catalog, model_id, name, label, component or trace.components()[-1])
        raise ValueError(
            f"no fact is called {{{whole}}} (there are: {', '.join(sorted(plain))}, file_gb.LABEL, memory_gb.LABEL, bits.LABEL)"
        )

    return _PLACEHOLDER.sub(one, text)


def bare_numbers(text: str, catalog: Catalog, model: Model, model_id: str) -> list[str]:
    """Numbers typed into `text` that neither the facts, the claims nor the configuration of the model hold."""
    numbers = set(facts(catalog, model_id).values()) | set(_numbers_in(model.config))
    numbers |= {value.split(",")[0] for value in numbers if "," in value}  # 428 of 428,225,600
    if model.context_tokens:
        numbers.add(str(model.context_tokens))
    numbers |= set(re.findall(r"\d[\d.]*", model.name))
    typed = _NUMBER.findall(_PLACEHOLDER.sub("", text))
    return [
        number
        for number in typed
        if number not in numbers and number.replace(",", "") not in numbers and not _small(number)
    ]


def _small(number: str) -> bool:
    """Counting words, sizes of bytes and blocks, and the like: numbers that describe formats and not this model."""
    return number in {"0", "1", "2", "3", "4", "5", "6", "7", "8", "16", "32", "64", "128", "256"}


def _widths(trace: Trace, component: str) -> dict[str, str]:
    """Row lengths of the attention and the second MLP matrix in the layers of a component."""
    rows = {t.role: t.shape[-1] for t in trace.tensors if t.component == component and t.layers and t.kind == "linear"}
    return {f"{component}_width": str(rows.get("attn_q", 0)), f"{component}_mlp": str(rows.get("ffn_down", 0))}


def _variant(catalog: Catalog, model_id: str, what: str, label: str, component: str) -> str:
    trace = catalog.traces[model_id]
    chosen = _COMPONENTS.get(component)
    labels = catalog.labels_of(chosen or "all")
    if chosen is None or chosen not in trace.components() or label not in labels:
        raise ValueError(f"nothing is known of {label} for {component}")
    quantization = labels[label]
    if what == "bits":
        return f"{bits_per_weight(predicted_census(quantization, trace.tensors_of(chosen))):.2f}"
    tensors = trace.tensors_of(chosen)
    size = (
        held_bytes(quantization, tensors)
        if what == "memory_gb"
        else variant_bytes(catalog, Variant(model_id, chosen, label))
    )
    if size is None:
        raise ValueError(f"the size of a file in {label} is not known without writing it")
    return f"{size / 1e9:.2f}"


def _numbers_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in _numbers_in(item)]  # pyright: ignore
    return [str(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []
