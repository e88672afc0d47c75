"""The view of a model page: every section computed, with what is not known said as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fitcard.advisor import compare, fit
from fitcard.advisor.answer import Answer
from fitcard.advisor.evidence import BestSpeed
from fitcard.advisor.memory import terms_of
from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog
from fitcard.catalog.file_format import variant_bytes
from fitcard.catalog.prose import fill
from fitcard.catalog.schema.gpu import GB, Gpu
from fitcard.catalog.schema.model import Correction, Model
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.quantization import held_bytes
from fitcard.catalog.schema.record import UNVERIFIED, Source
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component, Phase, Trace
from fitcard.catalog.schema.workload import Variant
from fitcard.site.generator.media import badges
from fitcard.site.generator.pages import events
from fitcard.site.generator.pages.charts import Bar, Chart, bars, line_chart, spread
from fitcard.site.generator.pages.device_runs import DeviceRuns, device_runs
from fitcard.site.generator.pages.events import Event
from fitcard.site.generator.pages.gpu_lists import MEMORY_OPTIONS, by_vendor, segment_options, vendor_options
from fitcard.site.generator.pages.jsonld import breadcrumbs, dataset, faq, graph
from fitcard.site.generator.pages.language import LanguageFacts, context_chart, language_facts, longest_contexts
from fitcard.site.generator.pages.questions import Question, questions
from fitcard.site.generator.pages.variants import CensusShare, labels_of, newest_by_device, written_bytes
from fitcard.site.generator.pages.view import PageView
from fitcard.site.generator.pages.vram_tiers import TIERS_GB
from fitcard.site.generator.text import millions

FREE_GB = (2, 4, 6, 8, 12, 16, 24)
"""Amounts of free memory that people have."""
CHART_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CHART_LABELS = ("FP32", "BF16", "Q8_0", "Q4_K_M")
"""The quantizations that people weigh against each other."""
COMPARED_LABELS = ("BF16", "Q4_K_M")
"""In which weights are compared: the first that the models have."""
CHART_MARKS_GB = (0.5, 1, 2, 4, 8, 12, 16, 24, 48, 80)


@dataclass(frozen=True)
class VariantRow:
    """One row of the quantization table."""

    label: str
    name: str
    summary: str
    runtime: str
    census: tuple[CensusShare, ...]
    bits: float
    file_bytes: int | None
    file_measured: bool
    weights_bytes: int
    needed_bytes: int
    """On an NVIDIA GPU at batch 1, runtime included."""
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class VariantTable:
    """The quantizations of one component."""

    component: Component
    rows: list[VariantRow]


@dataclass(frozen=True)
class HardwareRow:
    """What one GPU runs: the best quantization, or the one that comes nearest, and the throughput."""

    gpu: Gpu
    answer: Answer
    speed: BestSpeed | None


@dataclass(frozen=True)
class ThroughputRow:
    """The throughput on one GPU, as a number and as a bar."""

    gpu: Gpu
    speed: BestSpeed
    bar: Bar


@dataclass(frozen=True)
class CapacityRow:
    """What one quantization needs, and the largest batch in each amount of free memory; 0 where not even one item fits."""

    label: str
    needed: int
    largest: tuple[int, ...]


@dataclass(frozen=True)
class Capacity:
    """The largest batches, or the longest contexts, by quantization and free memory in GB."""

    sizes: tuple[int, ...]
    rows: tuple[CapacityRow, ...]


@dataclass(frozen=True)
class OddRows:
    """Row lengths that a format's blocks cannot hold."""

    block: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Another model beside this one."""

    id: str
    name: str
    tier: str
    parameters: str
    cost: float
    """Multiply-adds of one item, in 10^9."""
    imagenet: str
    label: str
    weights_bytes: int
    """In that label."""


@dataclass(frozen=True, kw_only=True)
class ModelPage(PageView):
    """Everything that the template of a model page draws."""

    id: str
    model: Model
    main: Component
    """The component that the page's answers are about."""
    verdict: str
    overview: str
    strengths: list[str]
    weaknesses: list[str]
    corrections: list[tuple[Correction, str]]
    """What other pages say, with what is true."""
    phases: tuple[Phase, ...]
    language: LanguageFacts | None
    """None for an encoder."""
    total_parameters: int
    parameters: dict[Component, int]
    tables: list[VariantTable]
    odd_rows: list[OddRows]
    measured: list[DeviceRuns]
    published: list[tuple[Gpu, PublishedSpeed, Source]]
    hardware: list[HardwareRow]
    fastest: list[ThroughputRow]
    text_tokens: int | None
    """How long the texts are that the hardware table speaks of; None where it is not about texts."""
    comparisons: list[Comparison]
    questions: Sequence[Question]
    capacity: Capacity
    memory_chart: Chart | None
    original: tuple[str, int] | None
    """A plain label, and the size of the whole checkpoint in it."""
    events: list[Event]
    badges: list[tuple[int, int]]
    """Memory in GB, and the width of the badge in pixels."""
    vendors: list[tuple[str, list[Gpu]]]
    vendor_options: list[tuple[str, str]]
    segment_options: list[tuple[str, str]]
    memory_options: tuple[tuple[int, str], ...] = MEMORY_OPTIONS
    unverified: str = UNVERIFIED


def view(catalog: Catalog, key: str) -> ModelPage:
    """The view of one model."""
    model, trace = catalog.models[key], catalog.traces[key]
    components = trace.components()
    main = fit.default_component(catalog, key)
    hardware = [
        HardwareRow(catalog.gpus[gpu], pick.nearest, pick.throughput) for gpu, pick in picks(catalog, key).items()
    ]

    def filled(text: str) -> str:
        return fill(text, catalog, key)

    return ModelPage(
        api=f"api/v1/models/{key}.json",
        feed=f"models/{key}/feed.xml",
        share=f"share/models/{key}.png",
        jsonld=_jsonld(catalog, key),
        id=key,
        model=model,
        main=main,
        verdict=filled(model.verdict),
        overview=filled(model.overview),
        strengths=[filled(text) for text in model.strengths],
        weaknesses=[filled(text) for text in model.weaknesses],
        corrections=[(correction, filled(correction.so)) for correction in model.corrections],
        phases=trace.phases,
        language=language_facts(catalog, key),
        total_parameters=trace.parameters(),
        parameters={component: trace.parameters(component) for component in components},
        tables=[VariantTable(component, variants(catalog, key, component)) for component in components],
        odd_rows=_odd_rows(trace),
        measured=device_runs(catalog, key),
        published=_published(catalog, key),
        hardware=hardware,
        fastest=_fastest(hardware),
        text_tokens=hardware[0].answer.workload.text_tokens if hardware and main == "text" else None,
        comparisons=_comparisons(catalog, key, main),
        questions=questions(catalog, key),
        capacity=capacity(catalog, key, main),
        memory_chart=memory_chart(catalog, key, main),
        original=_original(catalog, key, main),
        events=events.events(catalog, key),
        badges=[(size, badges.width(catalog, key, size)) for size in TIERS_GB],
        vendors=by_vendor(catalog),
        vendor_options=vendor_options(catalog),
        segment_options=segment_options(catalog),
    )


def _original(catalog: Catalog, key: str, main: Component) -> tuple[str, int] | None:
    component, label = ("language", "F16") if main == "language" else ("all", "FP32")
    known = label in catalog.labels_of(main)
    size = variant_bytes(catalog, Variant(key, component, label)) if known else None  # type: ignore[arg-type]
    return (label, size) if size else None


def _jsonld(catalog: Catalog, key: str) -> Markup:
    """The page's trail, its data set and its questions, as they stand on it."""
    model = catalog.models[key]
    up = "../" * (key.count("/") + 2)
    document = f"{up}api/v1/models/{key}.json"
    return graph(
        breadcrumbs(("Home", up), ("Models", f"{up}models/"), (model.name, None)),
        dataset(
            f"{model.name}: memory and speed",
            fill(model.verdict, catalog, key),
            model.reviewed,
            [(document, "application/json")],
        ),
        faq([(one.question, one.answer) for one in questions(catalog, key)]),
    )


def variants(catalog: Catalog, key: str, component: Component) -> list[VariantRow]:
    """One row for each quantization whose bytes the catalog knows."""
    rows: list[VariantRow] = []
    for label, held in labels_of(catalog, key)[component].items():
        quantization = catalog.labels_of(component)[label]
        runs = newest_by_device(catalog, key, component, label)
        measured = written_bytes(runs)
        rows.append(
            VariantRow(
                label=label,
                name=quantization.name,
                summary=quantization.summary,
                runtime=quantization.engine.id,
                census=held.census,
                bits=held.bits,
                file_bytes=measured or held.file_bytes,
                file_measured=measured is not None,
                weights_bytes=held.weights_bytes,
                needed_bytes=held.needed_bytes,
                runs=runs,
            )
        )
    return rows


def _odd_rows(trace: Trace) -> list[OddRows]:
    """Row lengths of this model's matrices that common blocks cannot hold."""
    rows = sorted({tensor.shape[-1] for tensor in trace.tensors if tensor.kind == "linear"})
    odd = [OddRows(block, tuple(row for row in rows if row % block)) for block in (256, 32)]
    return [entry for entry in odd if entry.rows]


def _published(catalog: Catalog, key: str) -> list[tuple[Gpu, PublishedSpeed, Source]]:
    """Throughputs that others measured, with GPU and source."""
    file = catalog.published.get(key)
    return [(catalog.gpus[speed.gpu], speed, file.sources[speed.source]) for speed in file.speeds] if file else []


def capacity(catalog: Catalog, key: str, component: Component) -> Capacity:
    """What fits in how much memory of an NVIDIA GPU, for the labels that run there."""
    rows: list[CapacityRow] = []
    if component == "language":
        rows = [
            CapacityRow(label, *longest_contexts(catalog, key, label, FREE_GB))
            for label in catalog.labels_of(component)
        ]
        return Capacity(FREE_GB, tuple(rows))
    for label, quantization in catalog.quantizations.items():
        if "NVIDIA" not in (quantization.requires.vendors or ("NVIDIA",)):
            continue
        memory = terms_of(catalog, Variant(key, component, label), "NVIDIA")
        largest = tuple(memory.max_batch(size * GB, fit.MOST_BATCH) for size in FREE_GB)
        rows.append(CapacityRow(label, memory.need(1).required_bytes, largest))
    return Capacity(FREE_GB, tuple(rows))


def memory_chart(catalog: Catalog, key: str, component: Component) -> Chart | None:
    """Memory needed against batch, or against context, for the labels that people weigh against each other."""
    if component == "language":
        return context_chart(catalog, key, CHART_MARKS_GB)

    def needed(label: str, batch: int) -> float:
        return terms_of(catalog, Variant(key, component, label), "NVIDIA").need(batch).required_bytes / GB

    labels = [label for label in CHART_LABELS if label in catalog.quantizations]
    return line_chart(
        [(label, [(batch, needed(label, batch)) for batch in CHART_BATCHES]) for label in labels],
        CHART_MARKS_GB,
        x_name="batch",
        y_name="GB needed",
        title=lambda name, batch, size: f"{name}, batch {batch:g}: {size:.2f} GB",
    )


def _fastest(hardware: Sequence[HardwareRow]) -> list[ThroughputRow]:
    """GPUs from the slowest to the fastest: those with a measured or published speed, and others evenly between."""
    timed = [(row.gpu, row.speed) for row in hardware if row.speed and row.answer.max_batch]
    timed.sort(key=lambda one: (one[1].per_second, one[0].id))
    cited = {index for index, (_, speed) in enumerate(timed) if speed.evidence != "predicted"}
    chosen = [timed[index] for index in sorted(cited | set(spread(range(len(timed)), 14)))]
    drawn = bars([(speed.per_second, speed.low, speed.high) for _, speed in chosen])
    return [ThroughputRow(gpu, speed, bar) for (gpu, speed), bar in zip(chosen, drawn, strict=True)]


def _comparisons(catalog: Catalog, key: str, component: Component) -> list[Comparison]:
    near = compare.neighbours(catalog, key, component)
    groups = (
        ("this model", (key,)),
        ("same band", near.same),
        ("one tier above", near.above),
        ("one tier below", near.below),
    )
    return [_comparison(catalog, other, tier, component) for tier, keys in groups for other in keys]


def _comparison(catalog: Catalog, key: str, tier: str, component: Component) -> Comparison:
    model, trace = catalog.model_index[key], catalog.trace_index[key]
    labels = catalog.labels_of(component)
    label = next((label for label in COMPARED_LABELS if label in labels), next(iter(labels)))
    return Comparison(
        id=key,
        name=model.name,
        tier=tier,
        parameters=millions(trace.parameters[component]),
        cost=trace.multiply_adds[component] / 1e9,
        imagenet=model.imagenet or "not known",
        label=label,
        weights_bytes=held_bytes(labels[label], catalog.traces[key].tensors_of(component)),
    )
