"""The view of a GPU page: what it is, figure by figure with its source, and what runs on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fitcard.advisor.fit import Answer
from fitcard.advisor.memory import available_bytes
from fitcard.advisor.recommend import BATCHES, picks_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.record import UNVERIFIED, Source
from fitcard.site.generator.pages.jsonld import breadcrumbs, dataset, graph

_NAMES = {
    "chip": ("Chip", ""), "compute_capability": ("Compute capability", ""), "gfx": ("Target name", ""), "units": ("Units", ""),
    "boost_mhz": ("Boost clock", "MHz"), "memory_gib": ("Memory", "GiB"), "memory_type": ("Memory type", ""),
    "memory_bus_bits": ("Memory bus", "bit"), "memory_gbps_per_pin": ("Memory data rate", "Gbit/s per pin"),
    "bandwidth_gb_per_s": ("Memory bandwidth", "GB/s"), "board_power_w": ("Board power", "W"), "bus": ("Bus", ""),
    "released": ("Released", ""), "launch_price_usd": ("Launch price", "US$"),
}  # fmt: skip
_RATES: tuple[tuple[NumberType, str], ...] = (
    ("fp32", "FP32"), ("tf32", "TF32"), ("fp16", "FP16, FP32 accumulate"), ("fp16_fp16_accumulate", "FP16, FP16 accumulate"),
    ("bf16", "BF16, FP32 accumulate"), ("fp8", "FP8, FP32 accumulate"), ("int8", "INT8"),
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One line of the specification."""

    name: str
    value: str
    sources: tuple[Source, ...]
    verified: bool


def view(catalog: Catalog, key: str) -> dict[str, Any]:
    """Everything that the template of a GPU page draws."""
    card = catalog.gpus[key]
    cited = set(card.spec.sources) | set(card.rates.sources if card.rates else ())
    named = [(catalog.model_index[model], model, pick) for model, pick in picks_on(catalog, key).items()]
    named.sort(key=lambda one: one[0].name.casefold())
    labels = len(catalog.quantizations)
    best = [(model, id, p.best, p.fitting, labels, p.throughput if p.best else None) for model, id, p in named]
    return {
        "units": {component: words.unit for component, words in COMPONENTS.items()},
        "jsonld": _structured(card, key),
        "api": f"api/v1/gpus/{key}.json",
        "share": f"share/gpus/{key}.png",
        "batches": BATCHES,
        "batched": [(model, pick.speeds, _item(pick.nearest)) for model, _, pick in named],
        "card": card,
        "available": available_bytes(catalog.runtimes, card),
        "reserve": catalog.runtimes.unified_share if card.spec.unified_memory else catalog.runtimes.reserve[card.spec.segment],
        "figures": figures(card),
        "sources": [source for name, source in card.sources.items() if name in cited],
        "rates": [(name, rate, _rate_source(card, kind)) for kind, name in _RATES if (rate := card.peak_flops(kind))],
        "device": {"NVIDIA": "cuda", "AMD": "cuda", "Apple": "mps"}.get(card.vendor),
        "best": best,
        "matmul": [(rate, catalog.matmul.sources[rate.source]) for rate in catalog.matmul.rates if rate.gpu == key],
        "published": [
            (catalog.model_index[model], model, speed, file.sources[speed.source])
            for model, file in catalog.published.items() for speed in file.speeds if speed.gpu == key
        ],
    }  # fmt: skip


def _item(answer: Answer) -> str:
    """What a throughput counts."""
    tokens = answer.workload.text_tokens if answer.component == "text" else None
    return (
        f"texts of {tokens} tokens"
        if tokens
        else {"vision": "images", "text": "texts", "all": "pairs"}[answer.component]
    )


def _structured(card: Gpu, key: str) -> Markup:
    """The page's trail and its data set."""
    return graph(
        breadcrumbs(("Home", "../../"), ("GPUs", "../"), (card.name, None)),
        dataset(
            f"{card.name}: which models run", f"Which models run on the {card.name}, how large a batch fits and how fast.",
            card.reviewed or "1970-01-01", [(f"../../api/v1/gpus/{key}.json", "application/json")],
        ),
    )  # fmt: skip


def figures(card: Gpu) -> list[Figure]:
    """The stated figures with the sources that state them."""
    found: list[Figure] = []
    for field, (name, unit) in _NAMES.items():
        value = getattr(card.spec, field)
        if value is None:
            continue
        keys = [key for key, fields in card.spec.sources.items() if field in fields and key != UNVERIFIED]
        text = f"{value:,g}" if isinstance(value, int | float) else str(value)
        found.append(Figure(name, f"{text} {unit}".strip(), tuple(card.sources[key] for key in keys), bool(keys)))
    return found


def _rate_source(card: Gpu, kind: NumberType) -> str:
    if getattr(card.spec.published_tflops, kind):
        return "from what the maker prints, dense"
    unit = card.rates.unit if card.rates else "unit"
    return f"{card.spec.units} {unit} × {card.spec.boost_mhz:,g} MHz × {getattr(card.rates, kind):,} per clock"
