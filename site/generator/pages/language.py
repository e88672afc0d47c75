"""What the page of a language model says besides: contexts, and how fast it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

from fitcard.advisor.cache import llama_cpp_cache_bytes
from fitcard.advisor.hardware import Hardware
from fitcard.advisor.language_fit import LanguageQuestion, language_question
from fitcard.advisor.language_memory import completed, longest_context_on, need_on
from fitcard.advisor.recommend import Span, picks
from fitcard.advisor.records import rules_of
from fitcard.catalog import Catalog
from fitcard.catalog.gguf_plan import CELLS
from fitcard.catalog.schema.gpu import GB, Gpu
from fitcard.catalog.schema.workload import Workload
from fitcard.site.generator.pages.charts import Chart, line_chart, spread

CONTEXTS = (4096, 16384, 65536)
"""Contexts that speeds are told for."""
CHART_CONTEXTS = tuple(1024 << power for power in range(9))
CHART_LABELS = ("F16", "Q8_0", "Q4_K_M")
SHOWN_GPUS = 14


@dataclass(frozen=True)
class ContextRow:
    """One GPU with its pick."""

    gpu: Gpu
    label: str
    longest: int
    decode: tuple[Span | None, ...]
    """Tokens a second with each of the contexts full; None where it does not fit or is not known."""
    prefill: Span | None
    """Tokens a second of a prompt of 4,096."""


@dataclass(frozen=True)
class LanguageFacts:
    """The facts of a language model."""

    layers: int
    active_parameters: int
    longest_context: int | None
    cache_bytes: int
    """Of 1,024 tokens in F16."""
    architecture: str
    build: str
    contexts: tuple[int, ...]
    rows: tuple[ContextRow, ...]
    sees: bool
    """Whether it has an image encoder."""


def language_facts(catalog: Catalog, key: str) -> LanguageFacts | None:
    """Those of a model; None for an encoder."""
    trace = catalog.traces[key]
    if trace.language is None or trace.language.llama_cpp is None:
        return None
    asked, limit = _asked(catalog, key), trace.language.longest_context
    contexts = tuple(context for context in CONTEXTS if context <= (limit or context))
    runs = [(gpu, pick.best.quantization) for gpu, pick in picks(catalog, key).items() if pick.best]
    shown = [runs[index] for index in spread(range(len(runs)), SHOWN_GPUS)]
    twice, once = (llama_cpp_cache_bytes(trace.language.cache, tokens * CELLS) for tokens in (8, 4))
    return LanguageFacts(
        layers=trace.language.layers,
        active_parameters=trace.active_parameters(),
        longest_context=limit,
        cache_bytes=twice - once,
        architecture=trace.language.llama_cpp.architecture,
        build=trace.language.llama_cpp.build,
        contexts=contexts,
        rows=tuple(_row(asked, catalog.gpus[gpu], label, contexts) for gpu, label in shown),
        sees=any(tensor.component == "vision" for tensor in trace.tensors),
    )


def _asked(catalog: Catalog, key: str) -> LanguageQuestion:
    return language_question(key, catalog.traces[key], rules_of(catalog))


def _row(asked: LanguageQuestion, gpu: Gpu, label: str, contexts: tuple[int, ...]) -> ContextRow:
    answers = [asked.answer(label, Hardware(gpu), Workload(context_tokens=n, prompt_tokens=4096)) for n in contexts]
    spans = [(one.speed, one.prefill) for one in answers]
    decode, prefill = (
        tuple(one and Span(one.per_second, one.low or 0.0, one.high or 0.0) for one in column)
        for column in zip(*spans, strict=True)
    )
    return ContextRow(gpu, label, answers[0].max_context or 0, decode, prefill[0])


def longest_contexts(catalog: Catalog, key: str, label: str, sizes: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """What a quantization needs on an NVIDIA GPU with the usual context, and the longest in each amount of free memory."""
    asked = _asked(catalog, key)
    model = asked.variant(label)
    usual = completed(Workload(), model.longest_context)
    longest = tuple(longest_context_on(model, asked.runtimes, "NVIDIA", False, usual, size * GB) for size in sizes)
    return need_on(model, asked.runtimes, "NVIDIA", False, usual).required_bytes, longest


def context_chart(catalog: Catalog, key: str, marks: tuple[float, ...]) -> Chart | None:
    """Memory needed against context on an NVIDIA GPU."""
    asked = _asked(catalog, key)
    limit = catalog.traces[key].language

    def needed(label: str, context: int) -> float:
        model = asked.variant(label)
        workload = completed(Workload(context_tokens=context), model.longest_context)
        return need_on(model, asked.runtimes, "NVIDIA", False, workload).required_bytes / GB

    most = (limit and limit.longest_context) or CHART_CONTEXTS[-1]
    contexts = [context for context in CHART_CONTEXTS if context <= most]
    return line_chart(
        [(label, [(context, needed(label, context)) for context in contexts]) for label in CHART_LABELS],
        marks,
        x_name="context",
        y_name="GB needed",
        title=lambda name, context, size: f"{name}, {context:,g} tokens: {size:.2f} GB",
    )
