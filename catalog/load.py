"""Loading the whole catalog. Validation is loading: there is no second validator that could drift from this one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from catalog import cache
from catalog.errors import CatalogError, Problem, shown
from catalog.exceptions import Excepted, ExceptionsFile
from catalog.gpu import Card, GpuFile
from catalog.matmul import MatmulFile
from catalog.model import Model
from catalog.published import PublishedFile
from catalog.quantization import Quantization, Quantizations
from catalog.record import Many, Record, read_record, texts_to_write, validate
from catalog.run import Mode, Run, Status
from catalog.runtimes import Runtimes
from catalog.speed import SpeedFile
from catalog.trace import Component, Trace
from catalog.yaml_file import Lines, Location, line_of, read_text, read_yaml

HERE = Path(__file__).parent
"""The catalog that comes with the package."""

NO_RATES = MatmulFile(reviewed="1970-01-01", sources={}, rates=())

SourcedFile = Model | PublishedFile | GpuFile | Quantizations | Runtimes | MatmulFile

T = TypeVar("T")
K = TypeVar("K", bound=Record)


class RunEntry(NamedTuple):
    """What lists say of a run, without its measurements."""

    key: str
    model: str
    device: str
    component: Component
    quantization: str
    mode: Mode
    status: Status
    measured_at: str


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
    matmul: MatmulFile
    """Nothing where the catalog has no such file."""
    speed: SpeedFile | None
    """None where nothing was fitted yet; then no speed is predicted."""
    traces: Mapping[str, Trace]
    runs: Sequence[Run]
    gpu_files: Mapping[str, GpuFile] = field(default_factory=dict[str, GpuFile])
    """The files that the cards come from, by their names without the ending."""
    begun_cards: Sequence[Problem] = ()
    """What is still to be written of cards that `fitcard add` began; they are no cards until it is."""
    exceptions: Sequence[Excepted] = ()
    """Faults that are none."""
    published: Mapping[str, PublishedFile] = field(default_factory=dict[str, PublishedFile])
    lines: Mapping[Path, Lines] = field(default_factory=dict[Path, Lines])
    """Where each value of each hand-written file stands, for error messages."""

    @property
    def quantizations(self) -> Mapping[str, Quantization]:
        return self.quantization_file.quantizations

    @cached_property
    def _runs_by_model(self) -> dict[str, tuple[Run, ...]]:
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.model, []).append(run)
        return {model: tuple(runs) for model, runs in found.items()}

    @cached_property
    def file_of_card(self) -> dict[str, str]:
        """The file that each card is in, by the card's id, as `gpu_files` names it."""
        return {card: name for name, file in self.gpu_files.items() for card in file.gpus}

    def sourced_files(self) -> Iterator[tuple[str, str, SourcedFile]]:
        """Folder, name without the ending, and content of every hand-written file that names sources."""
        yield from (("models", key, model) for key, model in self.models.items())
        yield from (("published", key, file) for key, file in self.published.items())
        yield from (("gpus", name, file) for name, file in self.gpu_files.items())
        yield "", "quantizations", self.quantization_file
        yield "", "runtimes", self.runtimes
        if self.matmul.rates:
            yield "", "matmul", self.matmul

    @cached_property
    def run_index(self) -> tuple[RunEntry, ...]:
        """Every run in short, oldest first."""
        return tuple(
            RunEntry(
                run.key, run.model, run.machine.device, run.component, run.quantization, run.mode, run.status, run.measured_at
            )
            for run in self.runs
        )  # fmt: skip

    def problem(self, folder: str, key: str, location: Location, message: str) -> Problem:
        """A fault in a hand-written file, with the line of the value at `location`; `folder` is empty for those beside the folders."""
        path = self.root / folder / f"{key}.yaml"
        return Problem(path, line_of(self.lines.get(path, {}), location), ".".join(map(str, location)), message)

    def card_problem(self, card: str, location: Location, message: str) -> Problem:
        """A fault of a card, with the line of the value at `location` in its entry."""
        return self.problem("gpus", self.file_of_card[card], ("gpus", card, *location), message)

    def runs_of(self, model: str) -> tuple[Run, ...]:
        """The runs of a model, oldest first."""
        return self._runs_by_model.get(model, ())


def load(root: Path | None = None, *, traces_needed: bool = True, keep: bool = True) -> Catalog:
    """Read and check the catalog under `root` (the one that comes with the package by default).

    `traces_needed=False` leaves the traces out, for making them; `keep=False` is for a folder that is soon gone. What was checked before, byte by byte the same, is taken from
    the cache. Raises CatalogError with one line for each fault, of all files at once.
    """
    root = HERE if root is None else root
    if not root.is_dir():
        raise CatalogError(
            [Problem(root, 1, "", "is not a folder: --catalog takes the folder that holds quantizations.yaml")]
        )
    if not (traces_needed and keep):
        return _load(root, traces_needed=traces_needed)
    try:
        key = cache.fingerprint(root, list(_PLACES))
    except OSError:  # whatever cannot be read is said, with its name, by those who read it
        return _load(root)
    if kept := cache.read(key):
        return _from_cache(root, kept)
    catalog = _load(root)
    if cache.fingerprint(root, list(_PLACES)) == key:  # nothing was edited meanwhile
        _keep(key, catalog)
    return catalog


_CORE = (
    "models", "cards", "gpu_files", "begun_cards", "quantization_file", "runtimes", "matmul", "speed", "exceptions",
)  # fmt: skip


def _keep(key: str, catalog: Catalog) -> None:
    parts: dict[str, Any] = {"core": {name: getattr(catalog, name) for name in _CORE}}
    parts |= {"runs": catalog.runs, "lines": catalog.lines}
    parts |= {"keys": {name: list(getattr(catalog, name)) for name in ("traces", "published", "lines")}}
    parts |= {f"traces/{model}": trace for model, trace in catalog.traces.items()}
    parts |= {f"published/{model}": file for model, file in catalog.published.items()}
    cache.write(key, parts)


def _from_cache(root: Path, kept: cache.Kept) -> Catalog:
    """The kept catalog. A part that turns out to be damaged is read from its files instead."""

    def part(name: str, anew: Callable[[Catalog], T]) -> T:
        try:
            found: T = kept.part(name)
        except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError):
            return anew(_load(root))
        return found

    try:
        core, keys = kept.part("core"), kept.part("keys")
    except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError):
        return _load(root)
    return Catalog(
        root=root, **core,
        traces=cache.LazyMapping(keys["traces"], lambda model: part(f"traces/{model}", lambda c: c.traces[model])),
        published=cache.LazyMapping(keys["published"], lambda model: part(f"published/{model}", lambda c: c.published[model])),
        runs=cache.LazySequence(lambda: part("runs", lambda c: c.runs)),
        lines=cache.LazyMapping(keys["lines"], lambda path: part("lines", lambda c: c.lines)[path]),
    )  # fmt: skip


def _load(root: Path, *, traces_needed: bool = True) -> Catalog:
    """Read and check everything."""
    faults: list[Problem] = _misplaced(root)
    lines: dict[Path, Lines] = {}

    def tried(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except CatalogError as error:
            faults.extend(error.problems)
            return None

    def record(kind: type[K], path: Path) -> K | None:
        found = tried(partial(read_record, kind, path))
        if found is None:
            return None
        lines[path] = found[1]
        return found[0]

    def by_id(folder: str, kind: type[K]) -> dict[str, K]:
        read = {_id(root / folder, path): record(kind, path) for path in sorted((root / folder).glob("*/*.yaml"))}
        return {key: found for key, found in read.items() if found is not None}

    quantizations = record(Quantizations, root / "quantizations.yaml")
    runtimes = record(Runtimes, root / "runtimes.yaml")
    matmul = record(MatmulFile, root / "matmul.yaml") if (root / "matmul.yaml").exists() else NO_RATES
    speed = record(SpeedFile, root / "speed.yaml") if (root / "speed.yaml").exists() else None
    excepted = record(ExceptionsFile, root / "exceptions.yaml") if (root / "exceptions.yaml").exists() else None
    models, published = by_id("models", Model), by_id("published", PublishedFile)
    read_traces = {
        _id(root / "traces", path): tried(partial(read_trace, path))
        for path in (sorted((root / "traces").glob("*/*.json")) if traces_needed else ())
    }
    traces = {key: trace for key, trace in read_traces.items() if trace is not None}
    cards: dict[str, Card] = {}
    where: dict[str, Path] = {}
    gpu_files: dict[str, GpuFile] = {}
    begun_cards: list[Problem] = []
    for path in sorted((root / "gpus").glob("*.yaml")):
        found = tried(partial(read_gpus, path))
        if found is None:
            continue
        file, lines[path], begun = found
        gpu_files[path.stem] = file
        begun_cards += begun
        for key, gpu in file.gpus.items():
            line = line_of(lines[path], ("gpus", key))
            if key in cards:
                faults.append(
                    Problem(
                        path, line, f"gpus.{key}", f"is also in {where[key].name}: an id names one card, rename one"
                    )
                )
                continue
            if runtimes and file.vendor not in runtimes.context:
                known = ", ".join(runtimes.context)
                faults.append(
                    Problem(path, 1, "vendor", f"runtimes.yaml knows no runtime of {file.vendor} (it knows: {known})")
                )
            if runtimes and gpu.segment not in runtimes.reserve:
                faults.append(
                    Problem(path, line, f"gpus.{key}.segment", f"runtimes.yaml has no reserve for {gpu.segment}")
                )
            where[key] = path
            cards[key] = Card(
                id=key, vendor=file.vendor, generation=file.generation, spec=gpu, rates=file.unit_rates.get(gpu.unit_rates or ""),
                sources=file.sources, reviewed=file.reviewed,
            )  # fmt: skip
    runs: list[Run] = []
    for path in sorted((root / "runs").glob("*/*/*.yaml")):
        for index, run in enumerate(tried(partial(read_runs, path)) or ()):
            expected = root / "runs" / run.machine.device / f"{run.model}.yaml"
            if path != expected:
                message = f"is a run of {run.model} on {run.machine.device}: move it to {expected.relative_to(root)}"
                faults.append(Problem(path, 1, f"runs.{index}", message))
            runs.append(run)
    if faults or quantizations is None or runtimes is None or matmul is None:
        raise CatalogError(faults)
    catalog = Catalog(
        root=root, models=models, cards=dict(sorted(cards.items())), quantization_file=quantizations, runtimes=runtimes,
        matmul=matmul, speed=speed, traces=traces, published=published, gpu_files=gpu_files, begun_cards=tuple(begun_cards),
        exceptions=excepted.exceptions if excepted else (), runs=tuple(sorted(runs, key=lambda run: (run.measured_at, run.key))), lines=lines,
    )  # fmt: skip
    # Only now: names that a faulty file would have given would seem to be missing.
    faults = [*_references(catalog), *(_untraced(catalog) if traces_needed else ())]
    if faults:
        raise CatalogError(faults)
    return catalog


def read_gpus(path: Path) -> tuple[GpuFile, Lines, list[Problem]]:
    """The cards in one file, the lines of its values, and what is still to be written of cards that were only begun.

    Those are left out, so that one of them stops neither the other cards nor another `fitcard add`.
    """
    data, lines = read_yaml(path)
    texts = list(texts_to_write(data))
    begun = [
        Problem(path, line_of(lines, at), ".".join(map(str, at)), f"is still to be written: {text}")
        for at, text in texts
    ]
    for card in {at[1] for at, _ in texts if at[0] == "gpus" and len(at) > 2 and isinstance(at[1], str)}:
        data["gpus"].pop(card)
    return validate(GpuFile, data, path, lines), lines, begun


def read_runs(path: Path) -> tuple[Run, ...]:
    """The runs in one run file, oldest first. Raises CatalogError for a file that is damaged in any way."""
    text = read_text(path)
    try:
        data = json.loads("\n".join("" if line.startswith("#") else line for line in text.splitlines()))
    except json.JSONDecodeError as error:
        end = error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg
        what = "ends in the middle of a record" if end else f"is damaged: {error.msg}"
        message = f"{what}; restore it (git checkout -- {shown(path)}), or cut it back to the last whole record"
        raise CatalogError([Problem(path, error.lineno, "", message)]) from None
    try:
        return validate(RunFile, data, path, {}).runs
    except CatalogError:
        # Only now, because it is slow: the same text as YAML, for the lines.
        return validate(RunFile, data, path, read_yaml(path)[1]).runs


class RunFile(Record):
    """A run file's outermost mapping."""

    runs: Many[Run]


def _id(folder: Path, path: Path) -> str:
    """`org/name` of the file `folder/org/name.suffix`; names may hold dots."""
    return str(path.relative_to(folder).as_posix())[: -len(path.suffix)]


_PLACES = {
    "models": (2, ".yaml"),
    "published": (2, ".yaml"),
    "traces": (2, ".json"),
    "runs": (3, ".yaml"),
    "gpus": (1, ".yaml"),
}


def _misplaced(root: Path) -> list[Problem]:
    """Files that would never be read: at another depth, or with another ending."""
    faults: list[Problem] = []
    for folder, (depth, ending) in _PLACES.items():
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root / folder)
            if (
                path.is_file()
                and not path.name.startswith(".")
                and (len(inside.parts) != depth or path.suffix != ending)
            ):
                parts = "/".join(["..."] * (depth - 1) + [f"name{ending}"])
                faults.append(Problem(path, 1, "", f"would not be read: files here are {folder}/{parts}"))
    return faults


def read_trace(path: Path) -> Trace:
    """The trace in a file. Raises CatalogError for one that is damaged."""
    text = read_text(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise CatalogError(
            [Problem(path, error.lineno, "", f"is damaged: {error.msg}; make it again with `fitcard trace`")]
        ) from None
    return validate(Trace, data, path, {})


def _references(catalog: Catalog) -> Iterator[Problem]:
    """Faults between files: names that nothing answers to, and one that two answer to."""
    towers: dict[str, str] = {}
    for key, model in catalog.models.items():
        if model.timm and towers.setdefault(model.timm, key) != key:
            yield catalog.problem("models", key, ("timm",), f"is also that of {towers[model.timm]}: keep one")
        if model.successor and model.successor not in catalog.models:
            yield catalog.problem("models", key, ("successor",), f"no model {model.successor} in the catalog")
    for key in catalog.traces:
        if key not in catalog.models:
            path = catalog.root / "traces" / f"{key}.json"
            yield Problem(path, 1, "", "belongs to no model: delete it, or add the model")
    for key, file in catalog.published.items():
        if key not in catalog.models:
            yield catalog.problem("published", key, (), "belongs to no model: delete it, or add the model")
        for index, speed in enumerate(file.speeds):
            if speed.gpu not in catalog.cards:
                yield catalog.problem(
                    "published", key, ("speeds", index, "gpu"), f"no card {speed.gpu!r} in the catalog"
                )
            if speed.quantization not in catalog.quantizations:
                yield catalog.problem(
                    "published", key, ("speeds", index, "quantization"), f"no quantization {speed.quantization!r}"
                )
    for index, rate in enumerate(catalog.matmul.rates):
        if rate.gpu not in catalog.cards:
            path = catalog.root / "matmul.yaml"
            line = line_of(catalog.lines.get(path, {}), ("rates", index, "gpu"))
            yield Problem(path, line, f"rates.{index}.gpu", f"no card {rate.gpu!r} in the catalog")
    for run in catalog.runs:
        path = catalog.root / "runs" / run.machine.device / f"{run.model}.yaml"
        if run.model not in catalog.models:
            yield Problem(path, 1, run.key, f"no model {run.model} in the catalog")
        if run.quantization not in catalog.quantizations:
            yield Problem(path, 1, run.key, f"no quantization {run.quantization!r} in the catalog")


def _untraced(catalog: Catalog) -> Iterator[Problem]:
    """Models whose configuration has not been traced."""
    for key, model in catalog.models.items():
        if key not in catalog.traces:
            yield catalog.problem("models", key, (), f"has no trace: run `fitcard trace {key}`")
        elif catalog.traces[key].config_sha256 != model.config_sha256:
            yield catalog.problem(
                "models", key, ("config",), f"is not the one that was traced: run `fitcard trace {key}`"
            )
