"""The view of a GPU page: what it is, figure by figure with its source, and what runs on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fitcard.advisor.answer import Answer
from fitcard.advisor.evidence import BestSpeed
from fitcard.advisor.memory import available_bytes
from fitcard.advisor.recommend import BATCHES, Pick, Span, picks_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu, NumberType
from fitcard.catalog.schema.matmul import MatmulRate
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.record import UNVERIFIED, Source
from fitcard.catalog.schema.runtimes import Amount, Share
from fitcard.catalog.summaries import ModelSummary
from fitcard.site.generator.pages.jsonld import breadcrumbs, dataset, graph
from fitcard.site.generator.pages.view import PageView

_FIGURES = {
    "chip": ("Chip", ""),
    "compute_capability": ("Compute capability", ""),
    "gfx": ("Target name", ""),
    "units": ("Units", ""),
    "boost_mhz": ("Boost clock", "MHz"),
    "memory_gib": ("Memory", "GiB"),
    "memory_type": ("Memory type", ""),
    "memory_bus_bits": ("Memory bus", "bit"),
    "memory_gbps_per_pin": ("Memory data rate", "Gbit/s per pin"),
    "bandwidth_gb_per_s": ("Memory bandwidth", "GB/s"),
    "board_power_w": ("Board power", "W"),
    "bus": ("Bus", ""),
    "released": ("Released", ""),
    "launch_price_usd": ("Launch price", "US$"),
}
"""Names and units of the figures on the page, by the field of the specification."""
_RATES: tuple[tuple[NumberType, str], ...] = (
    ("fp32", "FP32"),
    ("tf32", "TF32"),
    ("fp16", "FP16, FP32 accumulate"),
    ("fp16_fp16_accumulate", "FP16, FP16 accumulate"),
    ("bf16", "BF16, FP32 accumulate"),
    ("fp8", "FP8, FP32 accumulate"),
    ("int8", "INT8"),
)
_TORCH_DEVICES = {"NVIDIA": "cuda", "AMD": "cuda", "Apple": "mps"}
"""What torch calls the GPUs of a vendor; torch for ROCm says cuda too."""


@dataclass(frozen=True)
class SpecRow:
    """One line of the specification."""

    name: str
    value: str
    sources: tuple[Source, ...]
    verified: bool


@dataclass(frozen=True)
class RateRow:
    """A dense peak rate."""

    name: str
    flops: float
    """Operations a second, a multiply-add counted as two."""
    origin: str
    """How it is known."""


@dataclass(frozen=True)
class ModelPick:
    """What the GPU runs of one model."""

    id: str
    name: str
    best: Answer | None
    fitting: int
    """How many quantizations fit, of `labels`."""
    labels: int
    speed: BestSpeed | None
    text_tokens: int | None
    """How long the texts are that the speed is for; None where it is not about texts."""


@dataclass(frozen=True)
class BatchedRow:
    """The predicted throughput of one model at each batch, and what it counts."""

    name: str
    item: str
    speeds: Sequence[Span | None]


@dataclass(frozen=True)
class PublishedRow:
    """A throughput that others measured on this GPU."""

    id: str
    name: str
    speed: PublishedSpeed
    source: Source


@dataclass(frozen=True, kw_only=True)
class GpuPage(PageView):
    """Everything that the template of a GPU page draws."""

    gpu: Gpu
    available: int
    """Bytes that a program may use."""
    reserve: Amount | Share
    """What is kept free: bytes, or for a unified memory the share that a model may use."""
    picks: list[ModelPick]
    batches: Sequence[int]
    batched: list[BatchedRow]
    published: list[PublishedRow]
    figures: list[SpecRow]
    rates: list[RateRow]
    matmul: list[tuple[MatmulRate, Source]]
    """Rates of plain matrix products that others measured."""
    sources: list[Source]
    device: str | None
    """What `fitcard profile --device` takes here; None where torch cannot run on it."""


def view(catalog: Catalog, key: str) -> GpuPage:
    """The view of one GPU."""
    gpu = catalog.gpus[key]
    runtimes = catalog.runtimes
    picks = [(catalog.model_index[model], model, pick) for model, pick in picks_on(catalog, key).items()]
    picks.sort(key=lambda one: one[0].name.casefold())
    return GpuPage(
        api=f"api/v1/gpus/{key}.json",
        share=f"share/gpus/{key}.png",
        jsonld=_jsonld(gpu),
        gpu=gpu,
        available=available_bytes(catalog.runtimes, gpu),
        reserve=runtimes.unified_share if gpu.spec.unified_memory else runtimes.reserve[gpu.spec.segment],
        picks=[_model_pick(catalog, model, id, pick) for model, id, pick in picks],
        batches=BATCHES,
        batched=[BatchedRow(model.name, _item(pick.nearest), pick.speeds) for model, _, pick in picks],
        published=list(_published(catalog, key)),
        figures=figures(gpu),
        rates=[RateRow(name, rate, _origin(gpu, kind)) for kind, name in _RATES if (rate := gpu.peak_flops(kind))],
        matmul=[(rate, catalog.matmul.sources[rate.source]) for rate in catalog.matmul.rates if rate.gpu == key],
        sources=list(gpu.sources.values()),
        device=_TORCH_DEVICES.get(gpu.vendor),
    )


def _jsonld(gpu: Gpu) -> Markup:
    """The page's trail and its data set."""
    return graph(
        breadcrumbs(("Home", "../../"), ("GPUs", "../"), (gpu.name, None)),
        dataset(
            f"{gpu.name}: which models run",
            f"Which models run on the {gpu.name}, how large a batch fits and how fast.",
            gpu.reviewed or "1970-01-01",
            [(f"../../api/v1/gpus/{gpu.id}.json", "application/json")],
        ),
    )


def _model_pick(catalog: Catalog, model: ModelSummary, id: str, pick: Pick) -> ModelPick:
    best = pick.best
    return ModelPick(
        id=id,
        name=model.name,
        best=best,
        fitting=pick.fitting,
        labels=len(catalog.quantizations),
        speed=pick.throughput if best else None,
        text_tokens=best.workload.text_tokens if best and best.component == "text" else None,
    )


def _item(answer: Answer) -> str:
    """What a throughput counts."""
    tokens = answer.workload.text_tokens if answer.component == "text" else None
    return f"texts of {tokens} tokens" if tokens else COMPONENTS[answer.component].item


def _published(catalog: Catalog, key: str) -> Iterator[PublishedRow]:
    for model, file in catalog.published.items():
        for speed in file.speeds:
            if speed.gpu == key:
                yield PublishedRow(model, catalog.model_index[model].name, speed, file.sources[speed.source])


def figures(gpu: Gpu) -> list[SpecRow]:
    """The stated figures with the sources that state them."""
    rows: list[SpecRow] = []
    for field, (name, unit) in _FIGURES.items():
        value = getattr(gpu.spec, field)
        if value is None:
            continue
        keys = [key for key, fields in gpu.spec.sources.items() if field in fields and key != UNVERIFIED]
        text = f"{value:,g}" if isinstance(value, int | float) else str(value)
        rows.append(SpecRow(name, f"{text} {unit}".strip(), tuple(gpu.sources[key] for key in keys), bool(keys)))
    return rows


def _origin(gpu: Gpu, kind: NumberType) -> str:
    """How a peak rate is known."""
    if getattr(gpu.spec.published_tflops, kind):
        return "from what the maker prints, dense"
    unit = gpu.rates.unit if gpu.rates else "unit"
    return f"{gpu.spec.units} {unit} × {gpu.spec.boost_mhz:,g} MHz × {getattr(gpu.rates, kind):,} per clock"
