"""The views of the page of a quantization and of the list of them: what the label means, and what it becomes model by model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from fitcard.advisor.choice import refusal
from fitcard.advisor.evidence import counts
from fitcard.advisor.fit import default_component
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.storage.memo import memo
from fitcard.catalog.summaries import RunSummary
from fitcard.catalog.twins import first_alike
from fitcard.site.generator.pages.jsonld import breadcrumbs, graph
from fitcard.site.generator.pages.model_page import TOWERS
from fitcard.site.generator.pages.variants import Share, held_of


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


class Seen(NamedTuple):
    """One run of the label, beside BF16 of the same model on the same device."""

    key: str
    model: str
    component: Component
    mode: Mode
    device_name: str
    per_second: float
    batch: int
    compared: bool
    """Whether its embeddings were compared with those in FP32."""
    cosine_mean: float | None
    """Of them; None where none was compared or none is finite."""
    against: float | None
    """Throughput over that of BF16 at the same batch; None where there is no such run."""


def view(catalog: Catalog, label: str) -> dict[str, Any]:
    """Everything that the template of a quantization page draws."""
    quantization = catalog.quantizations[label]
    file = catalog.quantization_file
    return {
        "label": label,
        "quantization": quantization,
        "runtime": quantization.engine.words,
        "became": partial(_became, catalog, label) if catalog.models else None,
        "became_key": None,
        "towers": TOWERS,
        "units": {component: words.unit for component, words in COMPONENTS.items()},
        "cards_key": None,
        "cards": len(catalog.gpus),
        "support": partial(_support, catalog, quantization),
        "seen": _seen(catalog, label),
        "sources": [file.sources[key] for key in (*quantization.sources, quantization.requires.source) if key],
        "jsonld": graph(breadcrumbs(("Home", "../../"), ("Quantizations", "../"), (quantization.name, None))),
    }  # fmt: skip


def index(catalog: Catalog) -> dict[str, Any]:
    """All quantizations, with the span of bits that they really take over all models."""
    ran = Counter(entry.quantization for entry in catalog.run_index if entry.status == "ok")
    rows = [
        {**told, "quantization": catalog.quantizations[told["label"]], "runs": ran[told["label"]]}
        for told in _spans(catalog)
    ]
    return {
        "rows": rows,
        "cards": len(catalog.gpus),
        "jsonld": graph(breadcrumbs(("Home", "../"), ("Quantizations", None))),
    }


@memo
def _spans(catalog: Catalog) -> list[dict[str, Any]]:
    """What the list of quantizations says of each whatever was run."""
    models = {first_alike(catalog, key) for key in catalog.model_index}
    found: list[dict[str, Any]] = []
    for label, quantization in catalog.quantizations.items():
        bits = [held_of(catalog, key, default_component(catalog, key), label).bits for key in models]
        cards = sum(map(len, _support(catalog, quantization)[0].values()))
        found.append({"label": label, "low": min(bits, default=None), "high": max(bits, default=None), "cards": cards})
    return found


@memo
def _became(catalog: Catalog, label: str) -> list[Became]:
    """What a label makes of the main component of each model, by name."""
    found: list[Became] = []
    for key, model in catalog.model_index.items():
        component = default_component(catalog, key)
        h = held_of(catalog, key, component, label)
        found.append(Became(key, model.name, component, h.census, h.bits, h.file_bytes, h.fallback))
    return sorted(found, key=lambda one: one.name.casefold())


def _seen(catalog: Catalog, label: str) -> list[Seen]:
    """The newest good run of each model in a label for each component, device and mode."""
    runs = [run for run in catalog.run_index if run.quantization in (label, "BF16") and counts(catalog, run)]
    newest: dict[tuple[str, ...], RunSummary] = {}
    for run in reversed(runs):
        newest.setdefault((run.model, run.component, run.device, run.mode, run.quantization), run)
    place = {model: at for at, model in enumerate(catalog.models)}
    seen: list[Seen] = []
    for (*variant, quantization), run in newest.items():
        best = run.best
        if quantization != label or best is None or best.per_second is None:
            continue
        other = newest.get((*variant, "BF16"))
        against = next((b.per_second for b in other.batches if b.batch == best.batch), None) if other else None
        seen.append(Seen(
            run.key, run.model, run.component, run.mode, run.device_name, best.per_second, best.batch, run.compared, run.cosine_mean,
            best.per_second / against if against else None,
        ))  # fmt: skip
    return sorted(seen, key=lambda one: place[one.model])


def _support(catalog: Catalog, quantization: Quantization) -> tuple[dict[str, list[Gpu]], dict[str, list[Gpu]]]:
    """The cards whose hardware serves the label by its stated requirements, and those that it does not, by vendor."""
    served: dict[str, list[Gpu]] = {}
    refused: dict[str, list[Gpu]] = {}
    for card in catalog.gpus.values():
        group = refused if refusal(quantization, card) else served
        group.setdefault(card.vendor, []).append(card)
    return served, refused
