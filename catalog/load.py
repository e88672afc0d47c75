"""Loading the whole catalog. Validation is loading: there is no second validator that could drift from this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from catalog.errors import CatalogError, Problem
from catalog.gpu import Card, GpuFile
from catalog.model import Model
from catalog.published import PublishedFile
from catalog.quantization import Quantization, Quantizations
from catalog.record import Many, Record, read_record, validate
from catalog.run import Run
from catalog.runtimes import Runtimes
from catalog.trace import Trace
from catalog.yaml_file import read_text, read_yaml

HERE = Path(__file__).parent
"""The catalog that comes with the package."""

T = TypeVar("T")
K = TypeVar("K", bound=Record)


@dataclass(frozen=True, eq=False)
class Catalog:
    """Everything that is known, checked. Mappings are in the order of their ids, quantizations in that of their file.

    A catalog never changes and is equal only to itself, so what follows from one can be cached by it.
    """

    root: Path
    models: Mapping[str, Model]
    cards: Mapping[str, Card]
    quantization_file: Quantizations
    runtimes: Runtimes
    traces: Mapping[str, Trace]
    runs: Many[Run]
    published: Mapping[str, PublishedFile] = field(default_factory=dict[str, PublishedFile])

    @property
    def quantizations(self) -> Mapping[str, Quantization]:
        return self.quantization_file.quantizations

    @cached_property
    def _runs_by_model(self) -> dict[str, tuple[Run, ...]]:
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.model, []).append(run)
        return {model: tuple(runs) for model, runs in found.items()}

    def runs_of(self, model: str) -> tuple[Run, ...]:
        """The runs of a model, oldest first."""
        return self._runs_by_model.get(model, ())


def load(root: Path | None = None, *, traces_needed: bool = True) -> Catalog:
    """Read and check the catalog under `root` (the one that comes with the package by default).

    `traces_needed=False` accepts models without a trace of their configuration, for making those traces. Raises CatalogError with one line for each fault, of all files at once.
    """
    root = HERE if root is None else root
    if not root.is_dir():
        raise CatalogError(
            [Problem(root, 1, "", "is not a folder: --catalog takes the folder that holds quantizations.yaml")]
        )
    faults: list[Problem] = []

    def tried(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except CatalogError as error:
            faults.extend(error.problems)
            return None

    quantizations = tried(partial(read_record, Quantizations, root / "quantizations.yaml"))
    runtimes = tried(partial(read_record, Runtimes, root / "runtimes.yaml"))
    models = _by_id(root / "models", Model, tried)
    published = _by_id(root / "published", PublishedFile, tried)
    traces: dict[str, Trace] = {}
    for path in sorted((root / "traces").rglob("*.json")):
        trace = tried(partial(_read_trace, path))
        if trace:
            traces[_id(root / "traces", path)] = trace
    cards: dict[str, Card] = {}
    where: dict[str, Path] = {}
    for path in sorted((root / "gpus").glob("*.yaml")):
        file = tried(partial(read_record, GpuFile, path))
        for key, gpu in file.gpus.items() if file else ():
            if key in cards:
                faults.append(
                    Problem(path, 1, f"gpus.{key}", f"is also in {where[key].name}: an id names one card, rename one")
                )
                continue
            assert file is not None
            rates = file.unit_rates.get(gpu.unit_rates or "")
            where[key] = path
            cards[key] = Card(
                id=key, vendor=file.vendor, generation=file.generation, spec=gpu, rates=rates,
                sources=file.sources, reviewed=file.reviewed,
            )  # fmt: skip
    runs: list[Run] = []
    for path in sorted((root / "runs").glob("*/*/*.yaml")):
        found = tried(partial(read_runs, path))
        for index, run in enumerate(found or ()):
            expected = root / "runs" / run.machine.device / f"{run.model}.yaml"
            if path != expected:
                message = f"is a run of {run.model} on {run.machine.device}: move it to {expected.relative_to(root)}"
                faults.append(Problem(path, 1, f"runs.{index}", message))
            runs.append(run)
    if not faults:  # else names that a faulty file would have given seem to be missing
        faults += _references(root, models, traces, published, cards, runs, quantizations)
        faults += _untraced(root, models, traces) if traces_needed else []
    if faults or quantizations is None or runtimes is None:
        raise CatalogError(faults)
    return Catalog(
        root=root, models=models, cards=dict(sorted(cards.items())), quantization_file=quantizations, runtimes=runtimes,
        traces=traces, published=published, runs=tuple(sorted(runs, key=lambda run: (run.measured_at, run.key))),
    )  # fmt: skip


def read_runs(path: Path) -> tuple[Run, ...]:
    """The runs in one run file, oldest first. Raises CatalogError for a file that is damaged in any way."""
    text = read_text(path)
    try:
        data = json.loads("\n".join("" if line.startswith("#") else line for line in text.splitlines()))
    except json.JSONDecodeError as error:
        end = error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg
        what = "ends in the middle of a record" if end else f"is damaged: {error.msg}"
        message = f"{what}; restore it (git checkout -- {path.name}) or delete the file and run again"
        raise CatalogError([Problem(path, error.lineno, "", message)]) from None
    try:
        return validate(RunFile, data, path, {}).runs
    except CatalogError:
        # Only now, because it is slow: the same text as YAML, for the lines.
        return validate(RunFile, data, path, read_yaml(path)[1]).runs


class RunFile(Record):
    """A run file's outermost mapping."""

    runs: Many[Run]


def _by_id(folder: Path, kind: type[K], tried: Callable[[Callable[[], K]], K | None]) -> dict[str, K]:
    found: dict[str, K] = {}
    for path in sorted(folder.glob("*/*.yaml")):
        record = tried(partial(read_record, kind, path))
        if record is not None:
            found[_id(folder, path)] = record
    return found


def _id(folder: Path, path: Path) -> str:
    return (
        path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix != ".yaml"
        else path.relative_to(folder).as_posix()[:-5]
    )


def _read_trace(path: Path) -> Trace:
    text = read_text(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise CatalogError(
            [Problem(path, error.lineno, "", f"is damaged: {error.msg}; make it again with `fitcard trace`")]
        ) from None
    return validate(Trace, data, path, {})


def _references(
    root: Path,
    models: Mapping[str, Model],
    traces: Mapping[str, Trace],
    published: Mapping[str, PublishedFile],
    cards: Mapping[str, Card],
    runs: list[Run],
    quantizations: Quantizations | None,
) -> list[Problem]:
    """Faults between files: names that nothing answers to, and traces of another configuration."""
    faults: list[Problem] = []
    known = set(quantizations.quantizations) if quantizations else None
    for key, model in models.items():
        path = root / "models" / f"{key}.yaml"
        if model.successor and model.successor not in models:
            faults.append(Problem(path, 1, "successor", f"no model {model.successor} in the catalog"))
    for key in traces:
        if key not in models:
            faults.append(
                Problem(root / "traces" / f"{key}.json", 1, "", "belongs to no model: delete it, or add the model")
            )
    for key, file in published.items():
        path = root / "published" / f"{key}.yaml"
        if key not in models:
            faults.append(Problem(path, 1, "", "belongs to no model: delete it, or add the model"))
        for index, speed in enumerate(file.speeds):
            if speed.gpu not in cards:
                faults.append(Problem(path, 1, f"speeds.{index}.gpu", f"no card {speed.gpu!r} in the catalog"))
            if known is not None and speed.quantization not in known:
                faults.append(
                    Problem(path, 1, f"speeds.{index}.quantization", f"no quantization {speed.quantization!r}")
                )
    for run in runs:
        path = root / "runs" / run.machine.device / f"{run.model}.yaml"
        if run.model not in models:
            faults.append(Problem(path, 1, "", f"no model {run.model} in the catalog"))
        if known is not None and run.quantization not in known:
            faults.append(Problem(path, 1, run.key, f"no quantization {run.quantization!r} in the catalog"))
    return faults


def _untraced(root: Path, models: Mapping[str, Model], traces: Mapping[str, Trace]) -> list[Problem]:
    """Models whose configuration has not been traced."""
    faults: list[Problem] = []
    for key, model in models.items():
        path = root / "models" / f"{key}.yaml"
        if key not in traces:
            faults.append(Problem(path, 1, "", f"has no trace: run `fitcard trace {key}`"))
        elif traces[key].config_sha256 != model.config_sha256:
            faults.append(Problem(path, 1, "config", f"is not the one that was traced: run `fitcard trace {key}`"))
    return faults
