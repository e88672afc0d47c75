"""What runs changed in the answers, told from one catalog: of a day's runs of a model on a device, what was known before and is since.

Pages and feeds have no earlier catalog to compare with, and what they tell of a day must stay as it was told. So only what was
measured or read up to that day counts, beside predictions by the constants of today.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from fitcard.advisor.diff import Change, places
from fitcard.advisor.evidence import Known, good
from fitcard.advisor.fit import (
    MOST_BATCH,
    UNITS,
    USUAL_BATCH,
    Verdict,
    best_label,
    default_component,
    features_of,
    gpu_of,
    refusal,
    verdict_of,
)
from fitcard.advisor.memory import available_bytes, terms
from fitcard.advisor.predict import predict
from fitcard.advisor.recommend import known_on, picks
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component


def consequences(catalog: Catalog, model: str, device: str, day: str) -> Iterator[Change]:
    """What the runs of a model on a device on one day changed: verdicts, the best choice, the highest throughput, and the card's
    place by it. Of the component that pages are about, at batch 1, eager."""
    runs = [run for run in catalog.runs_of(model) if run.measured_at[:10] <= day]
    mine = [run for run in runs if run.machine.device == device]
    earlier = [run for run in mine if run.measured_at[:10] < day]
    component, card = default_component(catalog, model), gpu_of(catalog, device)
    days = (max((run.measured_at[:10] for run in earlier), default=""), day)
    (was, best_was), (now, best_now) = (_choice(catalog, model, device, known_until) for known_until in days)
    for label, verdict in now.items():
        if verdict != was[label]:
            yield Change(kind="verdict", model=model, gpu=device, what=label, before=was[label], after=verdict)
    if best_was != best_now:
        before, after = best_was or "none", best_now or "none"
        yield Change(kind="best", model=model, gpu=device, what="best choice", before=before, after=after)
    known = [
        _known(catalog, model, component, card, runs_then, label, day)
        for runs_then, label in ((earlier, best_was), (mine, best_now))
    ]
    if known[0] != known[1]:
        said = [_said(each, component) for each in known]
        what = "highest throughput known"
        yield Change(kind="throughput", model=model, gpu=device, what=what, before=said[0], after=said[1])
    if device in catalog.gpus and known[0] and known[1]:
        rest = dict(_of_other_cards(catalog, model, component, device, runs, day))
        first, second = (places({**rest, device: each})[device] for each in known)
        if first != second:
            what = f"place among {len(rest) + 1} cards by throughput"
            yield Change(kind="rank", model=model, gpu=device, what=what, before=float(first), after=float(second))


@lru_cache(maxsize=1024)
def _choice(catalog: Catalog, model: str, device: str, day: str) -> tuple[Mapping[str, Verdict], str | None]:
    """The verdicts of a model on a device, and the best choice there, as the runs up to a day have it. Kept, since what was known before
    one day's runs is what was known after the last ones."""
    component, card = default_component(catalog, model), gpu_of(catalog, device)
    runs = [run for run in catalog.runs_of(model) if run.machine.device == device and run.measured_at[:10] <= day]
    verdicts = verdicts_by(catalog, model, component, card, runs)
    return verdicts, _best(catalog, model, device, tuple(verdicts.items()))


@lru_cache(maxsize=1024)
def _best(catalog: Catalog, model: str, device: str, verdicts: tuple[tuple[str, Verdict], ...]) -> str | None:
    """The best choice of a model on a device. Kept, since most runs change no verdict."""
    return best_label(catalog, model, default_component(catalog, model), gpu_of(catalog, device), dict(verdicts))


def verdicts_by(
    catalog: Catalog, model: str, component: Component, card: Gpu, runs: Sequence[Run]
) -> dict[str, Verdict]:
    """The verdict of each label on a card at batch 1, as `fit` gives it, when these are all the runs there (oldest first)."""
    found = dict(_expected(catalog, model, component, card.id))
    served: dict[str, list[Run]] = {}
    for run in runs:
        if (run.component, run.mode) == (component, "eager") and found.get(
            run.quantization, "unsupported"
        ) != "unsupported":
            served.setdefault(run.quantization, []).append(run)
    for label, mine in served.items():
        seen = next((memory for run in good(catalog, model, mine) if (memory := run.batch_memory(1))), None)
        if mine[-1].status == "unsupported":
            found[label] = "unsupported"
        elif seen:
            found[label] = verdict_of(seen.total_bytes, available_bytes(catalog, card))
    return found


@lru_cache(maxsize=1024)
def _expected(catalog: Catalog, model: str, component: Component, device: str) -> dict[str, Verdict]:
    """The verdicts where nobody has run anything."""
    card, phase = gpu_of(catalog, device), catalog.traces[model].phase(component)
    available, features = available_bytes(catalog, card), features_of(catalog, device)
    return {
        label: "unsupported"
        if refusal(quantization, card, phase)
        else verdict_of(
            terms(catalog, model, component, label, card.vendor, features).need(1).required_bytes, available
        )
        for label, quantization in catalog.quantizations.items()
    }


def _known(
    catalog: Catalog, model: str, component: Component, card: Gpu, runs: Sequence[Run], label: str | None, day: str
) -> Known | None:
    """The highest throughput that was measured, or else published, or else is predicted for the best choice."""
    fastest = max(
        ((speed, run) for run in good(catalog, model, runs) if run.component == component for speed in run.speed),
        key=lambda one: one[0].per_second, default=None,
    )  # fmt: skip
    if fastest:
        speed, run = fastest
        return Known(speed.per_second, run.quantization, run.mode, speed.batch, "measured", run.key)
    file = catalog.published.get(model)
    published = [
        Known(s.per_second, s.quantization, s.mode, s.batch, "published", file.sources[s.source].url)
        for s in (file.comparable if file else ())
        if file and (s.component, s.gpu) == (component, card.id) and file.sources[s.source].read <= day
    ]  # fmt: skip
    found = max(published, key=lambda known: known.per_second, default=None)
    if found or label is None:
        return found
    fitting = terms(catalog, model, component, label, card.vendor, features_of(catalog, card.id))
    batch = min(USUAL_BATCH, fitting.max_batch(available_bytes(catalog, card), MOST_BATCH))
    # On a device that only runs know, all that could be said came from runs of other models there, whose days nobody asked for.
    if not batch or card.id not in catalog.gpus:
        return None
    expected = predict(catalog, model, component, label, card, "eager", batch, only_card=False)
    if expected is None:
        return None
    return Known(expected.per_second, label, "eager", batch, "predicted", None, expected.low, expected.high)


def _of_other_cards(
    catalog: Catalog, model: str, component: Component, device: str, runs: Sequence[Run], day: str
) -> Iterator[tuple[str, Known]]:
    for other, pick in picks(catalog, model).items():
        known = pick.known
        if other in known_on(catalog, model):  # perhaps only since
            there = [run for run in runs if run.machine.device == other]
            label = pick.best.quantization if pick.best else None
            known = _known(catalog, model, component, catalog.gpus[other], there, label, day)
        if other != device and known and pick.best:
            yield other, known


def _said(known: Known | None, component: Component) -> str | None:
    if known is None:
        return None
    return f"{known.per_second:.3g} {UNITS[component]}, {known.evidence}, {known.quantization} at batch {known.batch}"


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
