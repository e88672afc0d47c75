"""What changed, from the data alone: runs by day, figures by the day they were read, reviews by their date.

No clock and no log of commits take part, so that the same catalog always tells the same history. An event keeps its key as
long as the data behind it exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal, TypeVar
from urllib.parse import quote

from fitcard.advisor.fit import default_component
from fitcard.advisor.impact import consequences, told
from fitcard.advisor.run_band import doubted_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.record import Source
from fitcard.catalog.schema.run import Run
from fitcard.catalog.storage.memo import memo, warm
from fitcard.catalog.summaries import GpuSummary
from fitcard.site.generator.text import rate

T = TypeVar("T")
EventKind = Literal["runs", "published", "model", "cards"]
NEWEST = 100
"""Events in a feed and on the page of what changed; a reader who comes once a month misses nothing."""


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    date: str
    """The day, as YYYY-MM-DD."""
    kind: EventKind
    title: str
    text: str
    path: str
    """Of the page that shows it, from the root of the site."""
    key: str
    """Names the event for ever."""
    updated: str
    """RFC 3339: when the newest of what it tells of was measured; midnight (UTC) where only the day is known."""


def events(catalog: Catalog, model: str) -> list[Event]:
    """What happened to a model, newest first."""
    return _newest_first((event.updated, event.key, event) for event in _of_model(catalog, model))


def newest(catalog: Catalog, most: int = NEWEST) -> tuple[list[Event], int]:
    """The newest events of all models and GPUs, newest first, and how many older ones there are."""
    warm(_of_model, catalog, catalog.models)
    every = [*_gpus(catalog), *(event for model in catalog.models for event in _of_model(catalog, model))]
    ordered = _newest_first((event.updated, event.key, event) for event in every)
    return ordered[:most], max(0, len(ordered) - most)


def _newest_first(dated: Iterable[tuple[str, str, T]]) -> list[T]:
    """What has a time and a key: the newest first, by key where the time is the same."""
    by_key = sorted(dated, key=itemgetter(1))
    return [one for *_, one in sorted(by_key, key=itemgetter(0), reverse=True)]


@memo
def _of_model(catalog: Catalog, model: str) -> tuple[Event, ...]:
    """What happened to one model."""
    return (*_runs(catalog, model), *_published(catalog, model), _reviewed(catalog, model))


def _runs(catalog: Catalog, model: str) -> Iterator[Event]:
    """An event for each day and device."""

    def place(run: Run) -> tuple[str, str]:
        return run.measured_at[:10], run.machine.device

    for (day, device), group in groupby(sorted(catalog.runs_of(model), key=place), key=place):
        runs = list(group)
        yield Event(
            date=day,
            kind="runs",
            title=f"{_many(len(runs), 'run')} of {catalog.models[model].name} on {runs[0].machine.device_name}",
            text=" ".join(_told(catalog, model, runs)),
            path=quote(f"models/{model}/"),
            key=f"runs/{day}/{device}/{model}",
            updated=max(run.measured_at for run in runs),
        )


def _told(catalog: Catalog, model: str, runs: Sequence[Run]) -> Iterator[str]:
    """What there is to say of the runs of a model on one device on one day, in sentences."""
    good = [run for run in runs if run.status == "ok"]
    labels = [label for label in catalog.quantizations if any(run.quantization == label for run in good)]
    if labels:
        yield f"Quantizations: {', '.join(labels)}."
    main = default_component(catalog, model)
    device, day = runs[0].machine.device, runs[0].measured_at[:10]
    doubted = doubted_on(catalog, model, device)
    believed = [run for run in good if run.component == main and run.key not in doubted]
    speeds = [(speed, run) for run in believed for speed in run.speed]
    if speeds:
        speed, run = max(speeds, key=lambda one: one[0].per_second)
        throughput = f"{rate(speed.per_second)} {COMPONENTS[main].unit}"
        yield f"Highest throughput: {throughput}, {run.quantization} at batch {speed.batch}."
    if outside := sum(run.key in doubted for run in good):
        yield f"Outside the expected band: {_many(outside, 'run')}, which no figure rests on."
    yield from told([*consequences(catalog, model, device, day)])
    if failed := len(runs) - len(good):
        yield f"{failed} ended without a measurement, and say why."


def _published(catalog: Catalog, model: str) -> Iterator[Event]:
    """An event for each day on which figures of others were read."""
    file = catalog.published.get(model)
    if file is None:
        return
    for day in sorted({source.read for source in file.sources.values()}):
        speeds = [speed for speed in file.speeds if file.sources[speed.source].read == day]
        if not speeds:
            continue
        publishers = ", ".join(dict.fromkeys(file.sources[speed.source].publisher for speed in speeds))
        gpus = ", ".join(dict.fromkeys(catalog.gpu_index[speed.gpu].name for speed in speeds))
        yield Event(
            date=day,
            kind="published",
            title=f"{_many(len(speeds), 'published throughput')} of {catalog.models[model].name}",
            text=f"Measured by others: {publishers}. On {gpus}.",
            path=quote(f"models/{model}/"),
            key=f"published/{day}/{model}",
            updated=_midnight(day),
        )


def _reviewed(catalog: Catalog, key: str) -> Event:
    model = catalog.models[key]
    return Event(
        date=model.reviewed,
        kind="model",
        title=f"{model.name} reviewed",
        text=f"{model.reviewed_by} read its facts against {_many(len(model.sources), 'source')}.",
        path=quote(f"models/{key}/"),
        key=f"model/{model.reviewed}/{key}",
        updated=_midnight(model.reviewed),
    )


def _gpus(catalog: Catalog) -> Iterator[Event]:
    """By generation, since that is how they are reviewed; a line for each of hundreds would drown the rest."""

    def place(gpu: GpuSummary) -> tuple[str, str, str]:
        return gpu.reviewed or "", gpu.vendor, gpu.generation

    for (day, vendor, generation), group in groupby(sorted(catalog.gpu_index.values(), key=place), key=place):
        names = [gpu.spec_name for gpu in group]
        family = generation if generation.startswith(vendor) else f"{vendor} {generation}"
        yield Event(
            date=day,
            kind="cards",
            title=f"{_many(len(names), 'GPU')} of {family} reviewed",
            text=f"{', '.join(names)}.",
            path="gpus/",
            key=f"cards/{day}/{_slug(vendor)}/{_slug(generation)}",
            updated=_midnight(day),
        )


def last_changed(catalog: Catalog, path: str) -> str:
    """The newest day on which something that the page at `path` shows changed, by what the data say of themselves."""
    folder, _, key = path.rstrip("/").partition("/")
    if folder == "runs" and key:
        return catalog.run(key).measured_at[:10]
    days = [catalog.quantization_file.reviewed, catalog.runtimes.reviewed, catalog.matmul.reviewed]
    days += [catalog.speed.fitted] if catalog.speed else []
    models = [key] if folder == "models" and key else [] if folder == "gpus" and key else list(catalog.models)
    for model in models:
        file = catalog.published.get(model)
        days += [catalog.models[model].reviewed, *(run.measured_at[:10] for run in catalog.summaries_of(model))]
        days += [file.reviewed, *_reads(file.sources.values())] if file else []
    gpus = [key] if folder == "gpus" and key else [] if folder == "models" and key else list(catalog.gpus)
    for gpu in gpus:
        days += [catalog.gpu_index[gpu].reviewed or "", *(run.measured_at[:10] for run in catalog.summaries_on(gpu))]
    return max(days)


def _reads(sources: Iterable[Source]) -> list[str]:
    return [source.read for source in sources]


def _midnight(day: str) -> str:
    return f"{day}T00:00:00Z"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
