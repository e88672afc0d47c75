"""What each GPU runs of each model: the quantization to pick, what it needs there, and how fast it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from fitcard.advisor import language_fit
from fitcard.advisor.answer import Answer
from fitcard.advisor.choice import Verdict, best_label, refusal, verdict_of
from fitcard.advisor.evidence import BestSpeed, evidence_of
from fitcard.advisor.fit import ModelQuestion, question
from fitcard.advisor.hardware import Hardware, gpus_by_memory
from fitcard.advisor.language_fit import LanguageQuestion, language_question
from fitcard.advisor.memory import available_bytes, terms
from fitcard.advisor.records import Rules, VariantRecords, rules_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import main_component
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.schema.workload import Workload
from fitcard.catalog.storage.memo import shared

BATCHES = (1, 8, 64)
"""One item at a time, a few, and where throughput has mostly levelled off."""


class Span(NamedTuple):
    """A predicted throughput in items per second, with its 80 % interval."""

    per_second: float
    low: float
    high: float


class Pick(NamedTuple):
    """What a GPU runs of a model at batch 1."""

    best: Answer | None
    """The best quantization."""
    nearest: Answer
    """The best, or where nothing fits the answer that comes nearest to it."""
    throughput: BestSpeed | None
    """Of `nearest`."""
    fitting: int
    """How many quantizations fit, at least tightly."""
    least_bytes: int | None
    """What the smallest quantization that the GPU could serve needs, where none fits."""
    speeds: tuple[Span | None, ...]
    """Of `best` at each of `BATCHES`, on the page of a GPU; None where it does not fit or is not known."""


@shared
def picks(catalog: Catalog, model: str) -> dict[str, Pick]:
    """The pick of a model for each GPU of the catalog, by memory: the same as `best` of all of
    its answers there, without an answer in full for what is not picked."""
    keys = gpus_by_memory(catalog)
    seen, rules = known_on(catalog, model), rules_of(catalog)
    trace = catalog.traces[model]
    others = {key: unseen_pick(trace, catalog.gpus[key], rules) for key in keys if key not in seen}
    own: dict[str, Pick] = {}
    if trace.language:
        asked = language_question(model, trace, rules, evidence_of(catalog, model))
        own = {key: _language_pick(asked, catalog.gpus[key], rules) for key in seen}
    elif here := [catalog.gpus[key] for key in keys if key in seen]:
        own = picks_of(question(catalog, model, rules=rules), here)
    return {key: own[key] if key in own else named(others[key], model) for key in keys}


@shared
def picks_on(catalog: Catalog, gpu: str) -> dict[str, Pick]:
    """The pick of every model on one GPU, with its speeds at each of `BATCHES`. Models with one trace share it where nothing is known of either there."""
    here, rules = catalog.gpus[gpu], rules_of(catalog)
    # Asked of the GPU, so that a run of one of these models elsewhere changes nothing here.
    seen = {run.model for run in catalog.summaries_on(gpu)}
    seen |= {model for model, file in catalog.published_index.items() if any(gpu == on for on, _ in file.speeds)}
    unseen: dict[Trace, Pick] = {}
    by_model: dict[str, Pick] = {}
    for model in catalog.model_index:
        trace = catalog.traces[model]
        if model in seen and trace.language:
            about = language_question(model, trace, rules, evidence_of(catalog, model))
            by_model[model] = _language_pick(about, here, rules)
            continue
        if model in seen:
            asked = question(catalog, model, rules=rules)
            by_model[model] = _with_speeds(asked, picks_of(asked, [here])[gpu], here)
            continue
        if trace not in unseen:
            pick = unseen_pick(trace, here, rules)
            unseen[trace] = pick if trace.language else _with_speeds(_of_trace(trace, rules), pick, here)
        by_model[model] = named(unseen[trace], model)
    return by_model


def known_on(catalog: Catalog, model: str) -> frozenset[str]:
    """The GPUs on which somebody ran a model or published figures of it."""
    gpus = {entry.device for entry in catalog.summaries_of(model)}
    if published := catalog.published_index.get(model):
        gpus.update(gpu for gpu, _ in published.speeds)
    return frozenset(gpu for gpu in gpus if gpu in catalog.gpus)


@lru_cache(maxsize=1 << 14)
def unseen_pick(trace: Trace, gpu: Gpu, rules: Rules) -> Pick:
    """The pick on a GPU on which nothing is known of a model, whatever it is called: its name is left empty. Kept, since
    the pages of model and GPU both ask for it."""
    if trace.language:
        return _language_pick(language_question("", trace, rules), gpu, rules)
    return picks_of(_of_trace(trace, rules), [gpu])[gpu.id]


def _language_pick(asked: LanguageQuestion, gpu: Gpu, rules: Rules) -> Pick:
    """The pick of a language model, whose items are sequences that are written at once."""
    rows = asked.verdicts(gpu, Workload())
    first = language_fit.best_label({label: verdict for label, (verdict, _) in rows.items()}, rules.language)
    label = first or min(rows, key=lambda label: rows[label][1])
    nearest = asked.answer(label, Hardware(gpu), Workload())
    spoken = nearest.speed if first else None
    speeds = [asked.rate(label, gpu, batch) if first and batch <= nearest.max_batch else None for batch in BATCHES]
    return Pick(
        best=nearest if first else None,
        nearest=nearest,
        throughput=spoken
        and BestSpeed(spoken.per_second, label, "eager", 1, spoken.evidence, spoken.record, spoken.low, spoken.high),
        fitting=sum(verdict in ("fits", "tight") for verdict, _ in rows.values()),
        least_bytes=None if first else min((size for verdict, size in rows.values() if verdict == "no"), default=None),
        speeds=tuple(one and Span(*one) for one in speeds),
    )


def _of_trace(trace: Trace, rules: Rules) -> ModelQuestion:
    return ModelQuestion("", trace, main_component(trace.components()), None, rules)


def named(pick: Pick, model: str) -> Pick:
    """A pick of another model with the same trace, as that of `model`."""
    nearest = Answer._make((model, *pick.nearest[1:]))  # `_replace` takes four times as long, and every GPU asks
    return Pick(nearest if pick.best else None, nearest, *pick[2:])


def picks_of(asked: ModelQuestion, gpus: Iterable[Gpu]) -> dict[str, Pick]:
    """The picks on GPUs of the catalog, from the records alone, without speeds at batches."""
    by_gpu: dict[str, Pick] = {}
    for gpu, rows in _rows(asked, gpus):
        hardware = Hardware(gpu)
        verdicts = {label: verdict for label, verdict, _ in rows}
        first = best_label(asked.trace, asked.component, asked.rules.quantizations, gpu, verdicts)
        label = first or min(rows, key=lambda row: row[2])[0]
        nearest = asked.answer(label, hardware, Workload(), with_speed=False)
        throughput = asked.throughput(nearest, hardware)
        by_gpu[gpu.id] = Pick(
            best=nearest if first else None,
            nearest=nearest,
            throughput=throughput,
            fitting=sum(verdict in ("fits", "tight") for _, verdict, _ in rows),
            least_bytes=None if first else min((size for _, verdict, size in rows if verdict == "no"), default=None),
            speeds=(),
        )
    return by_gpu


def _with_speeds(asked: ModelQuestion, pick: Pick, gpu: Gpu) -> Pick:
    """The same with its speeds at each of `BATCHES`."""
    best, hardware = pick.best, Hardware(gpu)
    return pick._replace(
        speeds=tuple(_span(asked, best, hardware, batch, pick.throughput) if best else None for batch in BATCHES)
    )


def _span(
    asked: ModelQuestion, answer: Answer, hardware: Hardware, batch: int, throughput: BestSpeed | None
) -> Span | None:
    if batch > answer.max_batch:
        return None
    if throughput and throughput.batch == batch and throughput.low is not None and throughput.high is not None:
        return Span(throughput.per_second, throughput.low, throughput.high)  # a prediction, and for this batch
    expected = asked.predicted(answer.quantization, hardware, batch)
    return Span(expected.per_second, expected.low, expected.high) if expected else None


Row = tuple[str, Verdict, int]
"""Quantization, verdict, and bytes required at batch 1."""


def verdicts(catalog: Catalog, model: str, gpus: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Every quantization of a model on each GPU at batch 1, in short: what `fit` answers, without the rest of it."""
    trace, rules = catalog.traces[model], rules_of(catalog)
    if trace.language:
        about = language_question(model, trace, rules)
        each = {gpu: about.verdicts(catalog.gpus[gpu], Workload()) for gpu in gpus}
        return {gpu: tuple((label, *row) for label, row in rows.items()) for gpu, rows in each.items()}
    asked = question(catalog, model)
    return {gpu.id: rows for gpu, rows in _rows(asked, [catalog.gpus[key] for key in gpus])}


def _rows(asked: ModelQuestion, gpus: Iterable[Gpu]) -> Iterable[tuple[Gpu, tuple[Row, ...]]]:
    ran_on = {setup.device for _, _, setup in asked.evidence.newest} if asked.evidence else set[str]()
    needs: dict[str, Sequence[tuple[str, int]]] = {}
    refused: dict[tuple[str, str | None], frozenset[str]] = {}
    for gpu in gpus:
        # What was seen there comes before what is predicted; and what a processor serves depends on the model too.
        if gpu.id in ran_on or gpu.vendor == "CPU":
            yield gpu, tuple(_in_full(asked, gpu))
            continue
        if gpu.vendor not in needs:
            needs[gpu.vendor] = _needs(asked.trace, asked.component, asked.rules, gpu.vendor)
        kind = gpu.vendor, gpu.spec.compute_capability
        if kind not in refused:
            refused[kind] = _refused(asked.rules, gpu)
        yield gpu, _predicted(asked.rules, gpu, needs[gpu.vendor], refused[kind])


def _in_full(asked: ModelQuestion, gpu: Gpu) -> Iterable[Row]:
    for label in asked.rules.quantizations:
        answer = asked.answer(label, Hardware(gpu), Workload(), with_speed=False)
        yield label, answer.verdict, answer.memory.required_bytes


@lru_cache(maxsize=1 << 11)
def _needs(trace: Trace, component: Component, rules: Rules, vendor: str) -> tuple[tuple[str, int], ...]:
    """What each quantization needs at batch 1. Kept, since every GPU of a vendor asks for it again."""
    return tuple(
        (label, terms(VariantRecords(trace, component, quantization), rules.runtimes, vendor).least_bytes)
        for label, quantization in rules.quantizations.items()
    )


def _refused(rules: Rules, gpu: Gpu) -> frozenset[str]:
    """The labels that GPUs of this vendor and compute capability cannot serve."""
    return frozenset(label for label, one in rules.quantizations.items() if refusal(one, gpu))


def _predicted(rules: Rules, gpu: Gpu, needs: Iterable[tuple[str, int]], refused: frozenset[str]) -> tuple[Row, ...]:
    """Quantization, verdict and bytes for a GPU on which nothing was run."""
    available = available_bytes(rules.runtimes, gpu)
    return tuple(
        (label, "unsupported" if label in refused else verdict_of(required, available), required)
        for label, required in needs
    )


def throughputs(picked: Mapping[str, Pick], gpus: Iterable[str]) -> dict[str, BestSpeed | None]:
    """The throughput of the best choice on each GPU; None where nothing fits or it is not known."""
    return {gpu: picked[gpu].throughput if picked[gpu].best else None for gpu in gpus}
