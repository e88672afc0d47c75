"""What changed between two catalogs: the facts, and what follows from them. For `fitcard diff`, and for a changelog and
a feed.

Facts are models, GPUs, labels, runs, published figures and the constants of the sums. What follows are verdicts, the
best choice for a GPU, throughputs and their order. Only what both catalogs hold is compared for the second: a new model
changes no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from fitcard.advisor.evidence import BestSpeed
from fitcard.advisor.fit import default_component
from fitcard.advisor.recommend import picks, throughputs, verdicts
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.schema.record import Record
from fitcard.catalog.schema.run import Run

FactKind = Literal["model", "card", "quantization", "run", "published", "constant"]
ConsequenceKind = Literal["verdict", "best", "throughput", "prediction", "rank"]
Value = str | float | None

MOVED_BY = 0.05
"""A prediction that moves by no more than this share is not worth telling."""
_PROVENANCE = {"source", "sources", "reviewed", "reviewed_by", "config_source", "released_source"}
"""Where a fact was read is no fact of the thing."""


class Change(Record):
    """One thing that is not as it was."""

    kind: FactKind | ConsequenceKind
    model: str | None = None
    gpu: str | None = None
    what: str
    """The field of a fact, or the variant."""
    before: Value = None
    """None where it was not there."""
    after: Value = None
    """None where it is no longer there."""

    @property
    def subject(self) -> str:
        """What it is a change of, by ids."""
        return " on ".join(name for name in (self.model, self.gpu) if name) or self.what.partition(".")[0]


def changes(
    before: Catalog, after: Catalog, tick: Callable[[int, int], None] = lambda done, of: None
) -> tuple[Change, ...]:
    """Every change, facts first. `tick` is told how many of how many models are compared."""
    every = [*_facts(before, after)]
    shared = [model for model in after.models if model in before.models]
    everywhere, some = _reach(before, after)
    for number, model in enumerate(shared, 1):
        gpus = list(everywhere) if _concerned(before, after, model) else some
        every += _consequences(before, after, model, gpus)
        tick(number, len(shared))
    return tuple(every)


# What changed in the facts.


def _facts(before: Catalog, after: Catalog) -> Iterator[Change]:
    for key in _both(before.models, after.models):
        yield from _record("model", before.models.get(key), after.models.get(key), model=key)
    for key in _both(before.gpus, after.gpus):
        yield from _record("card", _figures(before.gpus.get(key)), _figures(after.gpus.get(key)), gpu=key)
    for key in _both(before.quantizations, after.quantizations):
        old, new = before.quantizations.get(key), after.quantizations.get(key)
        yield from _record("quantization", old, new, path=key)
    old_runs, new_runs = (dict.fromkeys(entry.key for entry in catalog.run_index) for catalog in (before, after))
    for key in dict.fromkeys((*old_runs, *new_runs)):  # oldest first; a run is never edited
        if key not in old_runs or key not in new_runs:
            yield _run(before.run(key) if key in old_runs else None, after.run(key) if key in new_runs else None)
    for key in _both(before.published, after.published):
        yield from _published(key, _cited(before, key), _cited(after, key))
    yield from _record("constant", before.runtimes, after.runtimes, path="runtimes")
    old_rates, new_rates = ({repr(rate): rate for rate in catalog.matmul.rates} for catalog in (before, after))
    for key in old_rates.keys() ^ new_rates.keys():
        old_rate, new_rate = old_rates.get(key), new_rates.get(key)
        gpu = (old_rate or new_rates[key]).gpu
        yield Change(kind="constant", gpu=gpu, what="matrix products", before=_value(old_rate), after=_value(new_rate))
    if before.speed != after.speed:
        yield Change(kind="constant", what="speed model", before=_fitted(before), after=_fitted(after))


def _both(before: Iterable[str], after: Iterable[str]) -> list[str]:
    return sorted({*before, *after})


def _figures(gpu: Gpu | None) -> dict[str, Any] | None:
    """A GPU as one mapping of figures, whether they are its own or its generation's."""
    if gpu is None:
        return None
    rates = gpu.rates.model_dump(exclude_none=True) if gpu.rates else {}
    return {"vendor": gpu.vendor, **gpu.spec.model_dump(exclude_none=True), "unit_rates": rates}


def _record(
    kind: FactKind,
    before: Record | Mapping[str, Any] | None,
    after: Record | Mapping[str, Any] | None,
    *,
    model: str | None = None,
    gpu: str | None = None,
    path: str = "",
) -> Iterator[Change]:
    """A whole record that is new or removed, or the fields of one that changed; `path` begins their names."""
    if before == after:
        return
    old, new = (
        record.model_dump(exclude_none=True) if isinstance(record, Record) else record for record in (before, after)
    )
    if old is None or new is None:
        names = [None if fields is None else str(fields.get("name", path)) for fields in (old, new)]
        yield Change(kind=kind, model=model, gpu=gpu, what=path or kind, before=names[0], after=names[1])
        return
    for name, was, now in _differing(old, new, path):
        yield Change(kind=kind, model=model, gpu=gpu, what=name, before=was, after=now)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[tuple[str, Value, Value]]:
    """Dotted names of the values that differ, with both; of lists the entries that are in one alone."""
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was == now or name in _PROVENANCE:
            continue
        where = f"{path}.{name}" if path else name
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _differing(cast("Mapping[str, Any]", was), cast("Mapping[str, Any]", now), where)
        elif isinstance(was, list | tuple) and isinstance(now, list | tuple):
            old, new = cast("list[Any]", was), cast("list[Any]", now)
            yield from ((where, _value(item), None) for item in old if item not in new)
            yield from ((where, None, _value(item)) for item in new if item not in old)
        else:
            yield where, _value(cast("object", was)), _value(cast("object", now))


def _value(value: object) -> Value:
    """A value as a number or a short text."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    text = " ".join(_words(value).split())
    return text if len(text) <= 120 else text[:119] + "…"


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Record):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return ", ".join(f"{name} {_words(each)}" for name, each in fields.items() if name not in _PROVENANCE)
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, cast("list[object]", value)))
    return str(value)


def _run(before: Run | None, after: Run | None) -> Change:
    run = after or before
    assert run is not None
    fastest = max(run.speed, key=lambda speed: speed.per_second, default=None)
    unit = COMPONENTS[run.component].unit
    said = f"{fastest.per_second:.4g} {unit} at batch {fastest.batch}" if fastest else run.status.replace("_", " ")
    what = f"{run.quantization}, {run.component}, {run.mode}, {run.measured_at[:10]}"
    return Change(
        kind="run",
        model=run.model,
        gpu=run.machine.device,
        what=what,
        before=said if before else None,
        after=said if after else None,
    )


Measurement = tuple[str, ...]


def _cited(catalog: Catalog, model: str) -> dict[Measurement, PublishedSpeed]:
    """The published figures of a model, by everything but the figure: one of them is what it was as long as that is
    equal."""
    file = catalog.published.get(model)
    if file is None:
        return {}
    return {
        (file.sources[speed.source].url, *map(str, speed.model_dump(exclude={"per_second", "source"}).values())): speed
        for speed in file.speeds
    }


def _published(
    model: str, before: Mapping[Measurement, PublishedSpeed], after: Mapping[Measurement, PublishedSpeed]
) -> Iterator[Change]:
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        speed = new or before[key]
        figures = [each.per_second if each else None for each in (old, new)]
        if figures[0] != figures[1]:
            what = f"{speed.quantization}, {speed.component}, {speed.mode}, batch {speed.batch}"
            yield Change(kind="published", model=model, gpu=speed.gpu, what=what, before=figures[0], after=figures[1])


def _fitted(catalog: Catalog) -> str | None:
    if catalog.speed is None:
        return None
    on = ", ".join(f"{count} {kind}" for kind, count in catalog.speed.fitted_on.items())
    return f"fitted {catalog.speed.fitted} on {on}"


# What follows from them.


def _reach(before: Catalog, after: Catalog) -> tuple[list[str], list[str]]:
    """The GPUs of both catalogs, and those of them on which every model must be compared."""
    gpus = [gpu for gpu in after.gpus if gpu in before.gpus]
    same = (before.quantization_file, before.runtimes, before.speed) == (
        after.quantization_file,
        after.runtimes,
        after.speed,
    )
    rated = {repr(rate): rate.gpu for catalog in (before, after) for rate in catalog.matmul.rates}
    old, new = ({repr(rate) for rate in catalog.matmul.rates} for catalog in (before, after))
    other = {rated[rate] for rate in old ^ new}
    changed = [gpu for gpu in gpus if gpu in other or before.gpus[gpu] != after.gpus[gpu]]
    return gpus, changed if same else gpus


def _concerned(before: Catalog, after: Catalog, model: str) -> bool:
    """Whether anything of a model itself changed that its answers rest on."""
    return (
        before.models[model].config_sha256 != after.models[model].config_sha256
        or [run.key for run in before.runs_of(model)] != [run.key for run in after.runs_of(model)]
        or before.published.get(model) != after.published.get(model)
        or before.traces[model] != after.traces[model]
    )


def _consequences(before: Catalog, after: Catalog, model: str, gpus: list[str]) -> Iterator[Change]:
    if not gpus:
        return
    old, new = picks(before, model), picks(after, model)
    unit = COMPONENTS[default_component(after, model)].unit
    was, now = throughputs(old, gpus), throughputs(new, gpus)
    every = [verdicts(catalog, model, gpus) for catalog in (before, after)]
    for gpu in gpus:
        earlier = {label: verdict for label, verdict, _ in every[0][gpu]}
        for label, verdict, _ in every[1][gpu]:
            if earlier.get(label, verdict) != verdict:
                yield Change(kind="verdict", model=model, gpu=gpu, what=label, before=earlier[label], after=verdict)
        labels = [pick.best.quantization if pick.best else "none" for pick in (old[gpu], new[gpu])]
        if labels[0] != labels[1]:
            yield Change(kind="best", model=model, gpu=gpu, what="best choice", before=labels[0], after=labels[1])
        yield from _throughput(model, gpu, was[gpu], now[gpu], unit)
    moved = [gpu for gpu in gpus if _rate(was[gpu]) != _rate(now[gpu])]
    if moved:
        rest = throughputs(new, [gpu for gpu in new if gpu in old and gpu not in now])
        placed = [places({**rest, **some}) for some in (was, now)]
        for gpu in moved:
            first, second = (ranks.get(gpu) for ranks in placed)
            if first and second and first != second:
                what = f"place among {len(placed[1])} GPUs by throughput"
                yield Change(kind="rank", model=model, gpu=gpu, what=what, before=float(first), after=float(second))


def _rate(one: BestSpeed | None) -> float | None:
    return one.per_second if one else None


def _throughput(model: str, gpu: str, was: BestSpeed | None, now: BestSpeed | None, unit: str) -> Iterator[Change]:
    """What is known of the speed of the best choice: a prediction that moved, or something else than a prediction."""
    if was == now:
        return
    if was and now and was.evidence == now.evidence == "predicted" and was.quantization == now.quantization:
        if abs(now.per_second / was.per_second - 1) > MOVED_BY:
            what = f"{now.quantization}, {now.mode}, batch {now.batch}"
            yield Change(
                kind="prediction", model=model, gpu=gpu, what=what, before=was.per_second, after=now.per_second
            )
        return
    said = [
        f"{each.per_second:.4g} {unit}, {each.quantization}, {each.mode}, batch {each.batch}, {each.evidence}"
        if each
        else None
        for each in (was, now)
    ]
    yield Change(
        kind="throughput", model=model, gpu=gpu, what="highest throughput known", before=said[0], after=said[1]
    )


def places(throughputs: Mapping[str, BestSpeed | None]) -> dict[str, int]:
    """The place of each GPU, the fastest first; equal speeds share one."""
    rates = sorted((one.per_second for one in throughputs.values() if one), reverse=True)
    first = {rate: place for place, rate in reversed(list(enumerate(rates, 1)))}
    return {gpu: first[one.per_second] for gpu, one in throughputs.items() if one}
