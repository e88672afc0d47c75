"""The view of a model page: every section computed, with what is not known said as such."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from fitcard.advisor import compare, fit
from fitcard.advisor.evidence import BestSpeed, evidence_of, good_runs, utilisation
from fitcard.advisor.hardware import gpus_by_memory
from fitcard.advisor.memory import terms_of
from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog
from fitcard.catalog.file_format import variant_bytes
from fitcard.catalog.prose import fill
from fitcard.catalog.schema import workload
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import GB, Gpu
from fitcard.catalog.schema.quantization import bits_per_weight, census_of, held_bytes
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.schema.workload import Setup
from fitcard.catalog.twins import first_alike, typed_alike
from fitcard.site.generator.media import badges
from fitcard.site.generator.pages import events
from fitcard.site.generator.pages.charts import Bar, Chart, bars, line_chart, spread
from fitcard.site.generator.pages.jsonld import breadcrumbs, dataset, faq, graph
from fitcard.site.generator.pages.variants import Share, labels_of
from fitcard.site.generator.pages.vram_tiers import SIZES
from fitcard.site.generator.text import gb, millions

SIZES_GB = (2, 4, 6, 8, 12, 16, 24)
"""Amounts of free memory that people have."""
CHART_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOWERS: dict[Component, str] = {"vision": "Image tower", "text": "Text tower", "all": "Whole model"}


@dataclass(frozen=True)
class Variant:
    """One row of the quantization table."""

    label: str
    name: str
    summary: str
    runtime: str
    census: tuple[Share, ...]
    bits: float
    file_bytes: int | None
    file_measured: bool
    weights_bytes: int
    needed_bytes: int
    """On an NVIDIA card at batch 1, runtime included."""
    runs: tuple[Run, ...]


def view(catalog: Catalog, key: str) -> dict[str, Any]:
    """Everything that the template of a model page draws."""
    model, trace = catalog.models[key], catalog.traces[key]
    components = trace.components()
    main = fit.default_component(catalog, key)
    hardware = [(catalog.gpus[card], pick.nearest, pick.throughput) for card, pick in picks(catalog, key).items()]

    def filled(text: str) -> str:
        return fill(text, catalog, key)

    return {
        "id": key,
        "units": {component: words.unit for component, words in COMPONENTS.items()},
        "model": model,
        "trace": trace,
        "verdict": filled(model.verdict),
        "overview": filled(model.overview),
        "strengths": [filled(text) for text in model.strengths],
        "weaknesses": [filled(text) for text in model.weaknesses],
        "corrections": [(c, filled(c.so)) for c in model.corrections],
        "main": main,
        "towers": TOWERS,
        "phases": [trace.phase(c) for c in components],
        "parameters": {c: trace.parameters(c) for c in components},
        "tables": [(c, TOWERS[c], variants(catalog, key, c)) for c in components],
        "odd_rows": _odd_rows(trace),
        "measured": _measured(catalog, key),
        "utilisation": partial(utilisation, catalog),
        "published": catalog.published.get(key),
        "hardware": hardware,
        "comparisons": _comparisons(catalog, key, main),
        "questions": questions(catalog, key),
        "cards": catalog.gpus,
        "unverified": UNVERIFIED,
        "vendors": by_vendor(catalog),
        "vendors_key": "",
        "vendor_options": [(vendor, vendor) for vendor, _ in by_vendor(catalog)],
        "kind_options": [(kind, kind) for kind in sorted({card.segment for card in catalog.gpu_index.values()})],
        "memory_options": [(size, f"{size} GiB") for size in (4, 6, 8, 12, 16, 24, 48, 80)],
        "capacity": capacity(catalog, key, main),
        "memory_chart": memory_chart(catalog, key, main),
        "fastest": _fastest([(card, known) for card, answer, known in hardware if known and answer.max_batch]),
        "events": events.events(catalog, key),
        "badges": [(size, badges.width(catalog, key, size)) for size in SIZES],
        "api": f"api/v1/models/{key}.json",
        "feed": f"models/{key}/feed.xml",
        "share": f"share/models/{key}.png",
        "jsonld": _structured(catalog, key),
        "original_bytes": variant_bytes(catalog, workload.Variant(key, "all", "FP32"))
        if "FP32" in catalog.quantizations
        else None,
    }


def by_vendor(catalog: Catalog) -> list[tuple[str, list[Gpu]]]:
    """Cards by vendor and memory, for choosers and lists. Kept, since every model's page has one."""
    cards = [catalog.gpus[key] for key in gpus_by_memory(catalog)]
    vendors = sorted({card.vendor for card in cards})
    return [(vendor, [card for card in cards if card.vendor == vendor]) for vendor in vendors]


@dataclass(frozen=True)
class CapacityRow:
    """What one quantization needs, and the largest batch in each amount of free memory; 0 where not even one item fits."""

    label: str
    needed: int
    largest: tuple[int, ...]


@dataclass(frozen=True)
class Capacity:
    """The largest batches by quantization and free memory in GB."""

    sizes: tuple[int, ...]
    rows: tuple[CapacityRow, ...]


def capacity(catalog: Catalog, key: str, component: Component) -> Capacity:
    """What fits in how much memory of an NVIDIA card, for the labels that run there."""
    rows: list[CapacityRow] = []
    for label, quantization in catalog.quantizations.items():
        if "NVIDIA" not in (quantization.requires.vendors or ("NVIDIA",)):
            continue
        found = terms_of(catalog, workload.Variant(key, component, label), "NVIDIA")
        largest = tuple(found.max_batch(size * GB, fit.MOST_BATCH) for size in SIZES_GB)
        rows.append(CapacityRow(label, found.need(1).required_bytes, largest))
    return Capacity(SIZES_GB, tuple(rows))


def memory_chart(catalog: Catalog, key: str, component: Component) -> Chart | None:
    """Memory needed against batch for the labels that people weigh against each other."""
    labels = [label for label in ("FP32", "BF16", "Q8_0", "Q4_K_M") if label in catalog.quantizations]

    def needed(label: str, batch: int) -> float:
        return terms_of(catalog, workload.Variant(key, component, label), "NVIDIA").need(batch).required_bytes / GB

    series = [(label, [(batch, needed(label, batch)) for batch in CHART_BATCHES]) for label in labels]
    return line_chart(
        series, (0.5, 1, 2, 4, 8, 12, 16, 24, 48, 80), "batch", "GB needed",
        lambda name, batch, size: f"{name}, batch {batch:g}: {size:.2f} GB",
    )  # fmt: skip


def _fastest(found: list[tuple[Gpu, BestSpeed]]) -> list[tuple[Gpu, BestSpeed, Bar]]:
    """Cards from the slowest to the fastest: those on which a speed was measured or published, and others evenly between."""
    found.sort(key=lambda one: (one[1].per_second, one[0].id))
    seen = {index for index, (_, known) in enumerate(found) if known.evidence != "predicted"}
    shown = sorted(seen | set(spread(range(len(found)), 14)))
    chosen = [found[index] for index in shown]
    drawn = bars([(known.per_second, known.low, known.high) for _, known in chosen])
    return [(card, known, bar) for (card, known), bar in zip(chosen, drawn, strict=True)]


def _structured(catalog: Catalog, key: str) -> Markup:
    """The page's trail, its data set and its questions, as they stand on it."""
    model = catalog.models[key]
    up = "../" * (key.count("/") + 2)
    asked = [(one.question, one.answer) for one in questions(catalog, key)]
    return graph(
        breadcrumbs(("Home", up), ("Models", f"{up}models/"), (model.name, None)),
        dataset(
            f"{model.name}: memory and speed", fill(model.verdict, catalog, key), model.reviewed,
            [(f"{up}api/v1/models/{key}.json", "application/json")],
        ),
        faq(asked),
    )  # fmt: skip


def variants(catalog: Catalog, key: str, component: Component) -> list[Variant]:
    """One row for each quantization whose bytes the catalog knows."""
    rows: list[Variant] = []
    for label, held in labels_of(catalog, key)[component].items():
        quantization = catalog.quantizations[label]
        runs = tuple(_newest_by_device(catalog, key, component, label))
        measured = next((run.file_bytes for run in runs if run.file_bytes), None)
        rows.append(Variant(
            label=label, name=quantization.name, summary=quantization.summary, runtime=quantization.runtime,
            census=held.census, bits=held.bits, file_bytes=measured or held.file_bytes, file_measured=measured is not None,
            weights_bytes=held.weights_bytes, needed_bytes=held.needed_bytes, runs=runs,
        ))  # fmt: skip
    return rows


@dataclass(frozen=True)
class Question:
    """A question with its answer, and where the answer comes from."""

    question: str
    answer: str
    evidence: str


def questions(catalog: Catalog, key: str) -> Sequence[Question]:
    """The questions that people ask of a model, answered from the data. Kept, since the page states them twice."""
    model, trace = catalog.models[key], catalog.traces[key]
    found = [_minimum_memory(catalog, key)]
    licence = model.license
    words = {"allowed": "Yes.", "not allowed": "No.", "restricted": "It depends.", "not known": "That is not known."}
    found.append(
        Question(
            f"Can I use {model.name} commercially?",
            f"{words[licence.commercial_use]} The licence is {licence.id}. {licence.conditions}",
            "not verified" if licence.source == UNVERIFIED else model.sources[licence.source].title,
        )
    )
    context = [f"{model.context_tokens} text tokens"] if model.context_tokens else []
    for phase in trace.phases:
        if phase.component == "vision":
            context.append(
                f"one image of {phase.image_size} × {phase.image_size} pixels, which becomes {phase.image_tokens} patches"
            )
    tail = "It is an encoder: there is no conversation, and no memory of earlier inputs."
    answer = f"{' and '.join(context)}. {tail}" if context else f"That is not known. {tail}"
    found.append(
        Question(
            f"What's the context length of {model.name}?",
            answer[0].upper() + answer[1:],
            "the model's configuration and trace",
        )
    )
    found += _four_bit(catalog, key)
    return found


def _minimum_memory(catalog: Catalog, key: str) -> Question:
    question = f"What's the minimum VRAM to run {catalog.models[key].name}?"
    if not any(card.vendor == "NVIDIA" for card in catalog.gpu_index.values()):
        return Question(question, "The catalog holds no card to answer this for.", "predicted")
    component = fit.default_component(catalog, key)
    fitting = [card for card, pick in picks(catalog, key).items() if pick.best and pick.best.verdict == "fits"]
    need_of = {
        label: terms_of(catalog, workload.Variant(key, component, label), "NVIDIA").need(1).required_bytes
        for label, quantization in catalog.quantizations.items()
        if "NVIDIA" in (quantization.requires.vendors or ("NVIDIA",))
    }
    least = min(need_of, key=lambda label: need_of[label])
    default = "BF16" if "BF16" in need_of else least
    smallest = fitting[0] if fitting else None  # cards come by memory
    tower = TOWERS[component].lower()
    text = f"The {tower} needs {gb(need_of[default])} in {default} at batch 1, everything included"
    if least != default:
        text += f"; the least is {gb(need_of[least])}, as {least}"
    text += ". "
    if component != "all" and "all" in catalog.traces[key].components():
        whole = terms_of(catalog, workload.Variant(key, "all", default), "NVIDIA").need(1).required_bytes
        text += f"With every tower loaded, {default} needs {gb(whole)}. "
    if smallest is None:
        text += "No card in the catalog has that much."
    else:
        card = catalog.gpus[smallest]
        text += (
            f"Every card in the catalog down to the smallest, the {card.name} with {card.spec.memory_gib:g} GiB, runs it."
            if len(fitting) == len(catalog.gpus)
            else f"The smallest card in the catalog that runs it is the {card.name} with {card.spec.memory_gib:g} GiB."
        )
    return Question(question, text, "predicted from the trace and the tensor rule")


def _four_bit(catalog: Catalog, key: str) -> list[Question]:
    """Whether the most popular label does what people expect of it here."""
    if "Q4_K_M" not in catalog.quantizations:
        return []
    main = fit.default_component(catalog, key)
    counted = census_of(typed_alike(catalog, key, main, "Q4_K_M"))
    bits, total = bits_per_weight(counted), sum(row.bytes for row in counted.values())
    parts = ", ".join(f"{name} {row.bytes / total:.0%}" for name, row in counted.items())
    size = variant_bytes(catalog, workload.Variant(key, main, "Q4_K_M"))
    honest = "Almost" if bits < 5.6 else "No"
    text = (
        f"{honest}: {bits:.2f} bits for each parameter, {gb(size)} for the {TOWERS[main].lower()}. "
        f"By bytes it is {parts}. The label names a recipe; what a tensor becomes depends on the length of its rows."
    )
    return [
        Question(
            "Is Q4_K_M really four bits here?",
            text,
            "computed with llama.cpp's rule, and counted in the file where a run exists",
        )
    ]


def _newest_by_device(catalog: Catalog, key: str, component: Component, label: str) -> list[Run]:
    devices = dict.fromkeys(entry.device for entry in catalog.summaries_of(key))
    evidence = evidence_of(catalog, key)
    found = [evidence.run(component, label, Setup(device)) for device in devices]
    return [run for run in found if run]


@dataclass(frozen=True)
class Measured:
    """All that was measured of a model on one device: the newest run of each variant, what failed, and runs under a cap."""

    device: str
    runs: tuple[Run, ...]
    failed: tuple[Run, ...]
    capped: tuple[Run, ...]


def _measured(catalog: Catalog, key: str) -> list[Measured]:
    """By device; runs in the order of components and quantizations."""
    labels, components = list(catalog.quantizations), catalog.traces[key].components()
    good: dict[tuple[object, ...], Run] = {}
    for run in good_runs(catalog, key):
        good.setdefault((run.machine.device, run.component, run.quantization, run.mode), run)
    newest: dict[tuple[object, ...], Run] = {}
    capped: dict[tuple[object, ...], Run] = {}
    for run in catalog.runs_of(key):  # oldest first, so that the newest stays
        variant = (run.machine.device, run.component, run.quantization, run.mode)
        if run.memory_limit_bytes is None:
            newest[variant] = run
        else:
            capped[*variant, run.memory_limit_bytes] = run
    failed = [run for run in newest.values() if run.status != "ok"]

    def order(run: Run) -> tuple[int, int, str, int]:
        return components.index(run.component), labels.index(run.quantization), run.mode, run.memory_limit_bytes or 0

    def of(runs: Iterable[Run], device: str) -> tuple[Run, ...]:
        return tuple(sorted((run for run in runs if run.machine.device == device), key=order))

    devices = dict.fromkeys(run.machine.device for run in (*good.values(), *failed, *capped.values()))
    return [Measured(d, of(good.values(), d), of(failed, d), of(capped.values(), d)) for d in devices]


@dataclass(frozen=True)
class OddRows:
    """Row lengths that a format's blocks cannot hold."""

    block: int
    rows: tuple[int, ...]


def _odd_rows(trace: Trace) -> list[OddRows]:
    """Row lengths of this model's matrices that common blocks cannot hold."""
    rows = sorted({t.shape[-1] for t in trace.tensors if t.kind == "linear"})
    odd = [OddRows(block, tuple(row for row in rows if row % block)) for block in (256, 32)]
    return [entry for entry in odd if entry.rows]


@dataclass(frozen=True)
class Comparison:
    """Another model beside this one."""

    id: str
    name: str
    tier: str
    parameters: str
    cost: float
    imagenet: str
    weights_bytes: int


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
    label = "BF16" if "BF16" in catalog.quantizations else next(iter(catalog.quantizations))
    return Comparison(
        id=key, name=model.name, tier=tier, parameters=millions(trace.parameters[component]), cost=trace.multiply_adds[component] / 1e9,
        imagenet=model.imagenet or "not known",
        weights_bytes=_held_bytes(catalog, first_alike(catalog, key), component, label),
    )  # fmt: skip


def _held_bytes(catalog: Catalog, key: str, component: Component, label: str) -> int:
    """Kept, since each model stands beside a dozen others."""
    return held_bytes(catalog.quantizations[label], catalog.traces[key].tensors_of(component))
