"""The views of the page of a quantization and of the list of them: what the label means, and what it becomes model by model."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from fitcard.advisor.choice import refusal
from fitcard.advisor.evidence import good_runs, labels_run
from fitcard.advisor.fit import default_component
from fitcard.advisor.kept import Fact, of_cards, of_rules, of_traces
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import code_digest, combined
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
        "became_key": _became_key(catalog, label),
        "towers": TOWERS,
        "units": {component: words.unit for component, words in COMPONENTS.items()},
        "cards_key": combined(("cards of", label, of_rules(catalog), of_cards(catalog))) if catalog.digests else None,
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
        for told in _without_runs(catalog)
    ]
    return {
        "rows": rows,
        "cards": len(catalog.gpus),
        "jsonld": graph(breadcrumbs(("Home", "../"), ("Quantizations", None))),
    }


def _without_runs(catalog: Catalog) -> list[dict[str, Any]]:
    """What the list of quantizations says of each whatever was run."""
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return _spans(catalog)
    code = code_digest(Path(__file__).parents[1])
    key = combined(("list of labels", code, of_rules(catalog), of_traces(catalog), of_cards(catalog)))
    return list[dict[str, Any]](json.loads(cache.kept(key, lambda: json.dumps(_spans(catalog)).encode())))


def _spans(catalog: Catalog) -> list[dict[str, Any]]:
    """The same, worked out."""
    models = {first_alike(catalog, key) for key in catalog.model_index}
    found: list[dict[str, Any]] = []
    for label, quantization in catalog.quantizations.items():
        bits = [held_of(catalog, key, default_component(catalog, key), label).bits for key in models]
        cards = sum(map(len, _support(catalog, quantization)[0].values()))
        found.append({"label": label, "low": min(bits, default=None), "high": max(bits, default=None), "cards": cards})
    return found


def _became_key(catalog: Catalog, label: str) -> str | None:
    """Names all that `_became` looks at; None for a catalog that was changed in memory."""
    if not catalog.digests:
        return None
    names = (f"{key} {model.name}" for key, model in catalog.model_index.items())
    return combined(("became", label, of_rules(catalog), of_traces(catalog), *names))


def _became(catalog: Catalog, label: str) -> list[Became]:
    """What a label makes of the main component of each model, by name."""
    found: list[Became] = []
    for key, model in catalog.model_index.items():
        component = default_component(catalog, key)
        h = held_of(catalog, key, component, label)
        found.append(Became(key, model.name, component, h.census, h.bits, h.file_bytes, h.fallback))
    return sorted(found, key=lambda one: one.name.casefold())


def _seen(catalog: Catalog, label: str) -> list[Seen]:
    """The newest good run of each model in a label for each component, device and mode. Kept by label, since a new run is of one or two."""
    runs = {model: labels[label] for model, labels in labels_run(catalog).items() if label in labels}
    if not catalog.digests:  # changed in memory, so nothing that is kept is about it
        return [seen for model in runs for seen in _seen_in(catalog, model).get(label, ())]
    digests = {model: combined((runs[model], catalog.model_index[model].config_sha256)) for model in runs}
    what = f"seen {label} {code_digest(Path(__file__).parents[1])} {of_rules(catalog)}"
    kept = cache.Bundles[list[Seen]](
        what, digests, lambda some: {model: combined((what, digests[model])) for model in some}
    )
    kept.keep({model: _seen_in(catalog, model).get(label, []) for model in kept.missing})
    return [seen for model in runs for seen in kept.found[model]]


@lru_cache(maxsize=4096)
def _seen_in(catalog: Catalog, model: str) -> dict[str, list[Seen]]:
    """Those of one model. Kept while the pages of all labels are made."""
    return SEEN.of(catalog, model)


def _support(catalog: Catalog, quantization: Quantization) -> tuple[dict[str, list[Gpu]], dict[str, list[Gpu]]]:
    """The cards whose hardware serves the label by its stated requirements, and those that it does not, by vendor."""
    served: dict[str, list[Gpu]] = {}
    refused: dict[str, list[Gpu]] = {}
    for card in catalog.gpus.values():
        group = refused if refusal(quantization, card) else served
        group.setdefault(card.vendor, []).append(card)
    return served, refused


def _seen_of(catalog: Catalog, key: str) -> dict[str, list[Seen]]:
    """The newest good run of a model for each label, component, device and mode, by label."""
    found: dict[str, list[Seen]] = {}
    taken: set[tuple[object, ...]] = set()
    runs = good_runs(catalog, key)
    for run in runs:
        variant = (run.component, run.machine.device, run.mode)
        speed = run.best_speed
        if (run.quantization, variant) in taken or not speed:
            continue
        taken.add((run.quantization, variant))
        same = next(
            (r for r in runs if (r.component, r.machine.device, r.mode) == variant and r.quantization == "BF16"), None
        )
        other = same.batch_speed(speed.batch) if same else None
        found.setdefault(run.quantization, []).append(Seen(
            run.key, key, run.component, run.mode, run.machine.device_name, speed.per_second, speed.batch,
            run.fidelity is not None, run.fidelity.cosine_mean if run.fidelity else None,
            speed.per_second / other.per_second if other else None,
        ))  # fmt: skip
    return found


SEEN = Fact(_seen_of, runs=True)
"""The runs of a model that quantization pages show."""
