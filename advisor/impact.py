"""What runs changed in the answers, told from one catalog: of a day's runs of a model on a device, what was known
before and is since.

Pages and feeds have no earlier catalog to compare with, and what they tell of a day must stay as it was told. So only
what was measured or read up to that day counts, beside predictions by the constants of today.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fitcard.advisor.choice import Verdict, best_label, refusal, verdict_of
from fitcard.advisor.diff import Change, places
from fitcard.advisor.evidence import BestSpeed, good
from fitcard.advisor.fit import MOST_BATCH, USUAL_BATCH, ModelQuestion, question
from fitcard.advisor.hardware import Hardware, hardware_of
from fitcard.advisor.memory import available_bytes, terms
from fitcard.advisor.recommend import known_on, picks
from fitcard.advisor.run_band import doubted_on
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component


def consequences(catalog: Catalog, model: str, device: str, day: str) -> Iterator[Change]:
    """What the runs of a model on a device on one day changed: verdicts, the best choice, the highest throughput, and
    the GPU's place by it. Of the component that pages are about, at batch 1, eager."""
    if catalog.traces[model].language:  # whether it fits does not depend on runs
        return
    doubted = doubted_on(catalog, model, device)
    runs = [run for run in catalog.runs_of(model) if run.measured_at[:10] <= day and run.key not in doubted]
    mine = [run for run in runs if run.machine.device == device]
    earlier = [run for run in mine if run.measured_at[:10] < day]
    config, published = catalog.model_index[model].config_sha256, catalog.published.get(model)
    asked, hardware = question(catalog, model, only_predicted=True), hardware_of(catalog, device, with_speed=False)
    was, now = (verdicts_by(asked, hardware, some, config) for some in (earlier, mine))
    for label, verdict in now.items():
        if verdict != was[label]:
            yield Change(kind="verdict", model=model, gpu=device, what=label, before=was[label], after=verdict)
    best_was, best_now = (
        best_label(asked.trace, asked.component, asked.rules.quantizations, hardware.gpu, some) for some in (was, now)
    )
    if best_was != best_now:
        before, after = best_was or "none", best_now or "none"
        yield Change(kind="best", model=model, gpu=device, what="best choice", before=before, after=after)
    day_before, that_day = (
        _throughput(asked, hardware, good(some, config), published, label, day)
        for some, label in ((earlier, best_was), (mine, best_now))
    )
    if day_before != that_day:
        said = [_said(each, asked.component) for each in (day_before, that_day)]
        what = "highest throughput known"
        yield Change(kind="throughput", model=model, gpu=device, what=what, before=said[0], after=said[1])
    if device in catalog.gpus and day_before and that_day:
        rest = dict(_of_other_gpus(catalog, asked, model, runs, day))
        rest.pop(device, None)
        first, second = (places({**rest, device: each})[device] for each in (day_before, that_day))
        if first != second:
            what = f"place among {len(rest) + 1} GPUs by throughput"
            yield Change(kind="rank", model=model, gpu=device, what=what, before=float(first), after=float(second))


def verdicts_by(
    asked: ModelQuestion, hardware: Hardware, runs: Sequence[Run], config_sha256: str
) -> dict[str, Verdict]:
    """The verdict of each label on a device at batch 1, as `fit` gives it, when these are all the runs there (oldest
    first)."""
    verdicts = _expected(asked, hardware)
    served: dict[str, list[Run]] = {}
    for run in runs:
        supported = verdicts.get(run.quantization, "unsupported") != "unsupported"
        if (run.component, run.mode) == (asked.component, "eager") and supported:
            served.setdefault(run.quantization, []).append(run)
    for label, mine in served.items():
        seen = next((memory for run in good(mine, config_sha256) if (memory := run.batch_memory(1))), None)
        if mine[-1].status == "unsupported":
            verdicts[label] = "unsupported"
        elif seen:
            verdicts[label] = verdict_of(seen.total_bytes, available_bytes(asked.rules.runtimes, hardware.gpu))
    return verdicts


def _expected(asked: ModelQuestion, hardware: Hardware) -> dict[str, Verdict]:
    """The verdicts where nobody has run anything."""
    gpu, runtimes, phase = hardware.gpu, asked.rules.runtimes, asked.trace.phase(asked.component)
    available = available_bytes(runtimes, gpu)
    verdicts: dict[str, Verdict] = {}
    for label, quantization in asked.rules.quantizations.items():
        if refusal(quantization, gpu, phase):
            verdicts[label] = "unsupported"
        else:
            needed = terms(asked.records(label), runtimes, gpu.vendor, hardware.features).need(1)
            verdicts[label] = verdict_of(needed.required_bytes, available)
    return verdicts


def _throughput(
    asked: ModelQuestion,
    hardware: Hardware,
    runs: Sequence[Run],
    file: PublishedFile | None,
    label: str | None,
    day: str,
) -> BestSpeed | None:
    """The highest throughput that was measured, or else published, or else is predicted for the best choice."""
    fastest = max(
        ((speed, run) for run in runs if run.component == asked.component for speed in run.speed),
        key=lambda one: one[0].per_second,
        default=None,
    )
    if fastest:
        speed, run = fastest
        return BestSpeed(
            speed.per_second, run.quantization, run.mode, speed.batch, "measured", run.key, recorded_by=run.recorded_by
        )
    gpu, runtimes = hardware.gpu, asked.rules.runtimes
    published = [
        BestSpeed(s.per_second, s.quantization, s.mode, s.batch, "published", file.sources[s.source].url)
        for s in (file.comparable if file else ())
        if file and (s.component, s.gpu) == (asked.component, gpu.id) and file.sources[s.source].read <= day
    ]
    best = max(published, key=lambda one: one.per_second, default=None)
    if best or label is None:
        return best
    fitting = terms(asked.records(label), runtimes, gpu.vendor, hardware.features)
    batch = min(USUAL_BATCH, fitting.max_batch(available_bytes(runtimes, gpu), MOST_BATCH))
    # On a device that only runs know, all that could be said came from runs of other models there, whose days nobody
    # asked for.
    expected = asked.predicted(label, hardware, batch) if batch and not hardware.only_runs else None
    if expected is None:
        return None
    return BestSpeed(expected.per_second, label, "eager", batch, "predicted", None, expected.low, expected.high)


def _of_other_gpus(
    catalog: Catalog, asked: ModelQuestion, model: str, runs: Sequence[Run], day: str
) -> Iterator[tuple[str, BestSpeed]]:
    config, published = catalog.model_index[model].config_sha256, catalog.published.get(model)
    seen = known_on(catalog, model)
    for gpu, pick in picks(catalog, model).items():
        throughput = pick.throughput
        if gpu in seen:  # perhaps only since
            there = good([run for run in runs if run.machine.device == gpu], config)
            label = pick.best.quantization if pick.best else None
            throughput = _throughput(asked, Hardware(catalog.gpus[gpu]), there, published, label, day)
        if throughput and pick.best:
            yield gpu, throughput


def _said(one: BestSpeed | None, component: Component) -> str | None:
    if one is None:
        return None
    return f"{one.per_second:.3g} {COMPONENTS[component].unit}, {one.evidence}, {one.quantization} at batch {one.batch}"


def told(changes: Sequence[Change]) -> list[str]:
    """Changes as sentences, of a model on one device."""
    sentences: list[str] = []
    verdicts = [f"{one.what} {one.after} (was {one.before})" for one in changes if one.kind == "verdict"]
    if verdicts:
        sentences.append(f"Verdicts that changed: {', '.join(verdicts)}.")
    for one in changes:
        if one.kind == "best":
            sentences.append(f"The best choice is {one.after}, was {one.before}.")
        if one.kind == "throughput" and one.before:
            sentences.append(f"Known before: {one.before}.")
        if one.kind == "rank":
            sentences.append(f"Its {one.what} is {one.after:g}, was {one.before:g}.")
    return sentences
