"""Loading the whole catalog. Validation is loading: there is no second validator that could drift from this one.

Each file is read and checked once, and kept in the cache under the digest of its bytes and of the code that checks it, so that one
edit costs the reading of one file. What files say of each other is checked every time, on the entries that the cache keeps
beside the records; the records themselves are taken from it when somebody asks for them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pydantic

from fitcard.catalog.errors import CatalogError, Problem, shown
from fitcard.catalog.parallel import spread
from fitcard.catalog.schema.gpu import Gpu, GpuFile
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.quantization import Quantization, Quantizations
from fitcard.catalog.schema.record import Many, Record, read_record, texts_to_write, validate
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.speed import SpeedFile
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.waivers import Excepted, ExceptionsFile
from fitcard.catalog.storage import cache, hashing
from fitcard.catalog.storage.index import (
    GpuSummary,
    ModelSummary,
    PublishedSummary,
    RunFileSummary,
    RunSummary,
    TraceSummary,
)
from fitcard.catalog.yaml_file import Lines, Location, line_of, read_text, read_yaml

HERE = Path(__file__).resolve().parent
"""The catalog that comes with the package."""

TRIES = 5
"""How often loading begins again because a file was edited meanwhile."""
SPREAD_FROM = 60
"""Files that were never seen before, from which reading them is worth a process for each core."""

AT_HAND = 128
"""Traces, and files of runs, that stay in memory once they were read: they are the large ones."""

SourcedFile = Model | PublishedFile | GpuFile | Quantizations | Runtimes | MatmulFile

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Catalog:
    """Everything that is known, checked. Mappings are in the order of their ids, quantizations in that of their file.

    A catalog never changes and is equal only to itself, so what follows from one can be cached by it.
    """

    root: Path
    models: Mapping[str, Model]
    gpus: Mapping[str, Gpu]
    quantization_file: Quantizations
    runtimes: Runtimes
    matmul: MatmulFile
    """Nothing where the catalog has no such file."""
    speed: SpeedFile | None
    """None where nothing was fitted yet; then no speed is predicted."""
    traces: Mapping[str, Trace]
    runs: Sequence[Run]
    """Oldest first."""
    gpu_files: Mapping[str, GpuFile] = field(default_factory=dict[str, GpuFile])
    """The files that the cards come from, by their names without the ending."""
    begun_gpus: Sequence[Problem] = ()
    """What is still to be written of cards that `fitcard add` began; they are no cards until it is."""
    exceptions: Sequence[Excepted] = ()
    """Faults that are none."""
    published: Mapping[str, PublishedFile] = field(default_factory=dict[str, PublishedFile])
    lines: Mapping[Path, Lines] = field(default_factory=dict[Path, Lines])
    """Where each value of each hand-written file stands, for error messages."""
    digests: dict[str, str] = field(init=False, default_factory=dict[str, str])
    """Of the bytes that were read, by path below the root; those of single cards are in `card_index`. Empty for a catalog that
    was changed in memory."""

    @property
    def quantizations(self) -> Mapping[str, Quantization]:
        return self.quantization_file.quantizations

    @cached_property
    def model_index(self) -> Mapping[str, ModelSummary]:
        """Every model by its names."""
        return _index(self.models, ModelSummary)

    @cached_property
    def trace_index(self) -> Mapping[str, TraceSummary]:
        """Every model by its size."""
        return _index(self.traces, TraceSummary)

    @cached_property
    def gpu_index(self) -> Mapping[str, GpuSummary]:
        """Every card by its names and its memory."""
        return _index(self.gpus, GpuSummary)

    @cached_property
    def published_index(self) -> Mapping[str, PublishedSummary]:
        """What others published of each model, by card and quantization."""
        return _index(self.published, PublishedSummary)

    @cached_property
    def run_index(self) -> tuple[RunSummary, ...]:
        """Every run in short, oldest first."""
        if isinstance(self.runs, cache.LazySequence):
            return tuple(self.runs.entries)
        return tuple(RunSummary.of(run) for run in self.runs)

    @cached_property
    def _places_by_model(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, entry in enumerate(self.run_index):
            found.setdefault(entry.model, []).append(at)
        return found

    @cached_property
    def _places_by_key(self) -> dict[str, int]:
        return {entry.key: at for at, entry in enumerate(self.run_index)}

    @cached_property
    def file_of_gpu(self) -> dict[str, str]:
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

    def gpu_problem(self, card: str, location: Location, message: str) -> Problem:
        """A fault of a card, with the line of the value at `location` in its entry."""
        return self.problem("gpus", self.file_of_gpu[card], ("gpus", card, *location), message)

    def problem(self, folder: str, key: str, location: Location, message: str) -> Problem:
        """A fault in a hand-written file, with the line of the value at `location`; `folder` is empty for those beside the folders."""
        path = self.root / folder / f"{key}.yaml"
        return Problem(path, line_of(self.lines.get(path, {}), location), ".".join(map(str, location)), message)

    def entries_of(self, model: str) -> tuple[RunSummary, ...]:
        """The runs of a model in short, oldest first."""
        return tuple(self.run_index[at] for at in self._places_by_model.get(model, ()))

    def run(self, key: str) -> Run:
        """The run of a key. Raises KeyError where there is none."""
        return self.runs[self._places_by_key[key]]

    def runs_of(self, model: str) -> tuple[Run, ...]:
        """The runs of a model, oldest first."""
        return _runs_of(self, model)


@lru_cache(maxsize=2)
def _runs_of(catalog: Catalog, model: str) -> tuple[Run, ...]:
    """Kept while a model is looked at, since much asks for its runs, and each has to be unpacked."""
    return tuple(catalog.runs[at] for at in catalog._places_by_model.get(model, ()))  # pyright: ignore[reportPrivateUsage]


def _index(records: Mapping[str, Any], kind: Any) -> Mapping[str, Any]:
    """The entries of records: those that were kept with them, or made from them."""
    if isinstance(records, cache.LazyMapping):
        return records.entries  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - of records of any kind
    return {key: kind.of(record) for key, record in records.items()}


def load(root: Path | None = None, *, traces_needed: bool = True, digests: Mapping[str, str] | None = None) -> Catalog:
    """Read and check the catalog under `root` (the one that comes with the package by default).

    `traces_needed=False` leaves the traces out, for making them. `digests` are those of its files where they are known already.
    Raises CatalogError with one line for each fault, of all files at once.
    """
    root = HERE if root is None else root
    if not root.is_dir():
        raise CatalogError(
            [Problem(root, 1, "", "is not a folder: --catalog takes the folder that holds quantizations.yaml")]
        )
    for _ in range(TRIES):
        try:
            return _load(root, digests or hashing.catalog_digests(root), traces_needed)
        except _Edited:
            digests = None
    raise CatalogError([Problem(root, 1, "", "is being edited all the time: wait, and run the command again")])


class _Edited(Exception):
    """A file is not what it was when its digest was taken."""


class _Parsed(NamedTuple):
    """A file that was read and checked, packed for the cache."""

    entry: bytes
    record: bytes
    lines: bytes


class _Shelf:
    """The files of a catalog, each content read and checked at most once, here or by an earlier command."""

    def __init__(self, root: Path, digests: Mapping[str, str]) -> None:
        self.root, self.digests = root, digests
        self.code = f"{hashing.code_digest(HERE)}-{pydantic.VERSION}"
        self.fresh: dict[str, _Parsed] = {}
        self.faults: list[Problem] = []
        kept = cache.Bundles[Any](f"{self.code} entries", digests, self._entry_keys)
        alike: dict[str, list[str]] = {}
        for name in kept.missing:
            alike.setdefault(self._key(name, "entry"), []).append(name)
        missing = [same[0] for same in alike.values()]
        size = max(1, len(missing) // 64) if len(missing) >= SPREAD_FROM else max(1, len(missing))
        parts = [missing[at : at + size] for at in range(0, len(missing), size)]
        for name, found in (pair for pairs in spread(self._read, parts) for pair in pairs):
            same = alike[self._key(name, "entry")]
            if isinstance(found, _Parsed):
                self.fresh |= dict.fromkeys(same, found)
            else:  # the same faults in each file, but with its own name
                self.faults += found
                self.faults += (fault for _, more in self._read(same[1:]) if isinstance(more, list) for fault in more)
        rows = {
            self._key(name, part): getattr(parsed, part)
            for name, parsed in self.fresh.items()
            for part in ("record", "lines")
        }
        kept.keep({name: pickle.loads(parsed.entry) for name, parsed in self.fresh.items()})
        self.entries: Mapping[str, Any] = kept.found
        if rows and cache.write(
            rows, (self._key(name, part) for name in digests if name not in self.fresh for part in _Parsed._fields)
        ):
            self.fresh.clear()

    def record(self, name: str) -> Any:
        """The record of a file that is known to be good."""
        return self._part(name, "record")

    def lines(self, path: Path) -> Lines:
        """The lines of a hand-written file."""
        found: Lines = self._part(path.relative_to(self.root).as_posix(), "lines")
        return found

    def _part(self, name: str, part: str) -> Any:
        key = self._key(name, part)
        if name in self.fresh:
            return pickle.loads(getattr(self.fresh[name], part))
        if (content := cache.read([key]).get(key)) is not None:
            return pickle.loads(content)
        # It was dropped or damaged since its entry was read, so the file is read again.
        try:
            [(_, found)] = self._read([name])
        except _Edited:
            found = [Problem(self.root / name, 1, "", "was edited while it was being used: run the command again")]
        if not isinstance(found, _Parsed):
            raise CatalogError(found)
        self.fresh[name] = found
        return pickle.loads(getattr(found, part))

    def _entry_keys(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self._key(name, "entry") for name in names}

    def _key(self, name: str, part: str) -> str:
        return f"{self.code} {name.partition('/')[0]} {part} {self.digests[name]}"

    def _read(self, names: Sequence[str]) -> list[tuple[str, _Parsed | list[Problem]]]:
        found: list[tuple[str, _Parsed | list[Problem]]] = []
        for name in names:
            path = self.root / name
            try:
                entry, record, lines = _READERS[name.partition("/")[0]](path)
                found.append((name, _Parsed(*(pickle.dumps(part, protocol=5) for part in (entry, record, lines)))))
            except CatalogError as error:
                found.append((name, error.problems))
            if hashing.file_digest(path) != self.digests[name]:
                raise _Edited
        return found


class _LinesOf(Mapping[Path, Lines]):
    """The lines of each hand-written file, read when they are asked for."""

    def __init__(self, shelf: _Shelf) -> None:
        self._shelf = shelf
        self._read: dict[Path, Lines] = {}

    def __getitem__(self, path: Path) -> Lines:
        if path not in self._read:
            root = self._shelf.root
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
            if not self._has(name):
                raise KeyError(path)
            self._read[path] = self._shelf.lines(path)
        return self._read[path]

    def __iter__(self) -> Iterator[Path]:
        return (self._shelf.root / name for name in self._shelf.digests if self._has(name))

    def __len__(self) -> int:
        return sum(map(self._has, self._shelf.digests))

    def _has(self, name: str) -> bool:
        return name in self._shelf.digests and name.partition("/")[0] not in ("traces", "runs")


def _read_one(kind: type[Record], entry: Any, path: Path) -> tuple[Any, Record, Lines]:
    record, lines = read_record(kind, path)
    return entry.of(record) if entry else None, record, lines


class _GpuFile(NamedTuple):
    """The cards of a file, each with the sources that it cites, and the file as it stands."""

    cards: dict[str, Gpu]
    file: GpuFile


class _GpuFileSummary(NamedTuple):
    """What is known of a file of cards without reading it: its cards, and the texts that are still to be written."""

    cards: dict[str, GpuSummary]
    begun: tuple[tuple[int, str, str], ...]
    """Line, place and message of each."""


def _read_gpus(path: Path) -> tuple[_GpuFileSummary, _GpuFile, Lines]:
    """A file of cards. Those that were only begun are left out, so that one of them stops neither the other cards nor another `fitcard add`."""
    data, lines = read_yaml(path)
    texts = list(texts_to_write(data))
    begun = tuple((line_of(lines, at), ".".join(map(str, at)), f"is still to be written: {text}") for at, text in texts)
    for key in {at[1] for at, _ in texts if at[0] == "gpus" and len(at) > 2 and isinstance(at[1], str)}:
        data["gpus"].pop(key)
    file = validate(GpuFile, data, path, lines)
    cards: dict[str, Gpu] = {}
    for key, gpu in file.gpus.items():
        rates = file.unit_rates.get(gpu.unit_rates or "")
        cited = set(gpu.sources) | set(rates.sources if rates else ())
        cards[key] = Gpu(
            id=key, vendor=file.vendor, generation=file.generation, spec=gpu, rates=rates,
            sources={name: source for name, source in file.sources.items() if name in cited}, reviewed=file.reviewed,
        )  # fmt: skip
    entries = {key: GpuSummary.of(card) for key, card in cards.items()}
    return _GpuFileSummary(entries, begun), _GpuFile(cards, file), lines


def _read_trace(path: Path) -> tuple[TraceSummary, Trace, Lines]:
    trace = read_trace(path)
    return TraceSummary.of(trace), trace, {}


def _read_run_file(path: Path) -> tuple[RunFileSummary, tuple[Run, ...], Lines]:
    runs = read_runs(path)
    return RunFileSummary.of(runs), runs, {}


_READERS: Mapping[str, Any] = {
    "quantizations.yaml": partial(_read_one, Quantizations, None),
    "runtimes.yaml": partial(_read_one, Runtimes, None),
    "matmul.yaml": partial(_read_one, MatmulFile, None),
    "speed.yaml": partial(_read_one, SpeedFile, None),
    "exceptions.yaml": partial(_read_one, ExceptionsFile, None),
    "models": partial(_read_one, Model, ModelSummary),
    "published": partial(_read_one, PublishedFile, PublishedSummary),
    "traces": _read_trace,
    "gpus": _read_gpus,
    "runs": _read_run_file,
}
"""What a file of each kind is read by: its entry, its record, and the lines of its values."""


def _load(root: Path, digests: Mapping[str, str], traces_needed: bool) -> Catalog:
    """Read and check everything. Raises _Edited when a file changed since its digest was taken."""
    wrong = [name for name in digests if "/" in name and not _well_placed(name)]
    faults = [_misplaced(root, name) for name in wrong]
    wanted = [folder for folder in hashing.PLACES if traces_needed or folder != "traces"]
    placed = {folder: hashing.in_folder(digests, folder) for folder in wanted}
    for name in wrong:
        if name in placed.get(folder := name.partition("/")[0], ()):
            placed[folder].remove(name)
    single = [
        "quantizations.yaml",
        "runtimes.yaml",
        *(name for name in ("matmul.yaml", "speed.yaml", "exceptions.yaml") if name in digests),
    ]
    known = {
        name: digests.get(name, hashing.UNREADABLE)
        for name in (*single, *(n for names in placed.values() for n in names))
    }
    shelf = _Shelf(root, known)
    faults += shelf.faults
    entries = {
        folder: {name: shelf.entries[name] for name in names if name in shelf.entries}
        for folder, names in placed.items()
    }

    def record(name: str) -> Any:
        return shelf.record(name) if name in shelf.entries else None

    def by_id(folder: str) -> dict[str, Any]:
        return {hashing.id_of(name): entry for name, entry in entries.get(folder, {}).items()}

    runtimes: Runtimes | None = record("runtimes.yaml")
    quantizations: Quantizations | None = record("quantizations.yaml")
    excepted: ExceptionsFile | None = record("exceptions.yaml")
    where: dict[str, str] = {}
    begun: list[Problem] = []
    for name, entry in entries["gpus"].items():
        faults += _gpu_faults(root / name, entry.cards, where, runtimes, shelf)
        where |= {key: name for key in entry.cards if key not in where}
        begun += [Problem(root / name, line, at, message) for line, at, message in entry.begun]
    for name, file in entries["runs"].items():
        faults += _moved_runs(root, name, file)
    if faults or quantizations is None or runtimes is None:
        raise CatalogError(faults)
    gpu_index = {key: entries["gpus"][name].cards[key] for key, name in sorted(where.items())}
    files_of_cards = cache.LazyMapping(entries["gpus"], shelf.record)
    files_of_runs = cache.LazyMapping(entries["runs"], shelf.record, AT_HAND)
    ordered = [entry for file in entries["runs"].values() for entry in file.runs]
    # By time, then by key; two sorts by one text take a third of the time of one by both.
    ordered.sort(key=attrgetter("key"))
    ordered.sort(key=attrgetter("measured_at"))

    def run_of(entry: RunSummary) -> Run:
        name = _file_of(entry)
        run: Run = files_of_runs[name][entries["runs"][name].runs.index(entry)]
        return run

    # Fine-tunes of one architecture have one and the same trace.
    same = {known[name]: name for name in entries.get("traces", {})}
    contents = cache.LazyMapping(same, lambda content: shelf.record(same[content]), AT_HAND)
    traces = cache.LazyMapping(by_id("traces"), lambda key: contents[known[f"traces/{key}.json"]], most=1)
    catalog = Catalog(
        root=root, models=cache.LazyMapping(by_id("models"), lambda key: shelf.record(f"models/{key}.yaml")), quantization_file=quantizations, runtimes=runtimes,
        gpus=cache.LazyMapping(gpu_index, lambda key: files_of_cards[where[key]].cards[key]),
        gpu_files=cache.LazyMapping(
            {Path(name).stem: None for name in entries["gpus"]}, lambda stem: files_of_cards[f"gpus/{stem}.yaml"].file
        ),
        begun_gpus=tuple(begun), exceptions=excepted.exceptions if excepted else (),
        matmul=record("matmul.yaml") or MatmulFile(reviewed="1970-01-01", sources={}, rates=()), speed=record("speed.yaml"), traces=traces,
        runs=cache.LazySequence(ordered, run_of), published=cache.LazyMapping(by_id("published"), lambda key: shelf.record(f"published/{key}.yaml")),
        lines=_LinesOf(shelf),
    )  # fmt: skip
    catalog.digests.update(known)
    # Only now: names that a faulty file would have given would seem to be missing.
    faults = [
        *_references(catalog),
        *_unknown(catalog, entries["runs"]),
        *(_untraced(catalog) if traces_needed else ()),
    ]
    if faults:
        raise CatalogError(faults)
    return catalog


def _gpu_faults(
    path: Path, cards: Mapping[str, GpuSummary], where: Mapping[str, str], runtimes: Runtimes | None, shelf: _Shelf
) -> Iterator[Problem]:
    """Cards that another file has too, and those that no runtime knows."""
    for key, card in cards.items():
        at = f"gpus.{key}"
        if key in where:
            other = Path(where[key]).name
            yield Problem(path, line_of(shelf.lines(path), ("gpus", key)), at, f"is also in {other}: an id names one card, rename one")  # fmt: skip
            continue
        if runtimes and card.vendor not in runtimes.context:
            known = ", ".join(runtimes.context)
            yield Problem(path, 1, "vendor", f"runtimes.yaml knows no runtime of {card.vendor} (it knows: {known})")
        if runtimes and card.segment not in runtimes.reserve:
            line = line_of(shelf.lines(path), ("gpus", key))
            yield Problem(path, line, f"{at}.segment", f"runtimes.yaml has no reserve for {card.segment}")


def _moved_runs(root: Path, name: str, file: RunFileSummary) -> list[Problem]:
    """The runs of a file that belong into another."""
    _, device, model = name.removesuffix(".yaml").split("/", 2)
    if (file.device, file.model) == (device, model):
        return []
    return [
        Problem(root / name, 1, f"runs.{index}", f"is a run of {run.model} on {run.device}: move it to {_file_of(run)}")
        for index, run in enumerate(file.runs)
        if run.device != device or run.model != model
    ]


def _file_of(run: RunSummary) -> str:
    """The path of the file that a run is in, below the catalog."""
    return f"runs/{run.device}/{run.model}.yaml"


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


def _well_placed(name: str) -> bool:
    folder, *inside = name.split("/")
    depth, ending = hashing.PLACES[folder]
    return len(inside) == depth and name.endswith(ending) and inside[-1] != ending


def _misplaced(root: Path, name: str) -> Problem:
    """A file that would never be read: at another depth, or with another ending."""
    folder = name.partition("/")[0]
    depth, ending = hashing.PLACES[folder]
    parts = "/".join(["..."] * (depth - 1) + [f"name{ending}"])
    return Problem(root / name, 1, "", f"would not be read: files here are {folder}/{parts}")


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
    for key, model in catalog.model_index.items():
        if model.timm and towers.setdefault(model.timm, key) != key:
            yield catalog.problem("models", key, ("timm",), f"is also that of {towers[model.timm]}: keep one")
        if model.successor and model.successor not in catalog.models:
            yield catalog.problem("models", key, ("successor",), f"no model {model.successor} in the catalog")
    for key in catalog.traces:
        if key not in catalog.models:
            path = catalog.root / "traces" / f"{key}.json"
            yield Problem(path, 1, "", "belongs to no model: delete it, or add the model")
    for key, file in catalog.published_index.items():
        if key not in catalog.models:
            yield catalog.problem("published", key, (), "belongs to no model: delete it, or add the model")
        for index, (gpu, quantization) in enumerate(file.speeds):
            if gpu not in catalog.gpus:
                yield catalog.problem("published", key, ("speeds", index, "gpu"), f"no card {gpu!r} in the catalog")
            if quantization not in catalog.quantizations:
                yield catalog.problem(
                    "published", key, ("speeds", index, "quantization"), f"no quantization {quantization!r}"
                )
    for index, rate in enumerate(catalog.matmul.rates):
        if rate.gpu not in catalog.gpus:
            path = catalog.root / "matmul.yaml"
            line = line_of(catalog.lines.get(path, {}), ("rates", index, "gpu"))
            yield Problem(path, line, f"rates.{index}.gpu", f"no card {rate.gpu!r} in the catalog")


def _unknown(catalog: Catalog, run_files: Mapping[str, RunFileSummary]) -> Iterator[Problem]:
    """Runs of models and of quantizations that are not in the catalog, where no file has runs of another model."""
    models, labels = set(catalog.models), set(catalog.quantizations)
    for name, file in run_files.items():
        if file.model not in models or not labels.issuperset(file.quantizations):
            for run in file.runs:
                if run.model not in models:
                    yield Problem(catalog.root / name, 1, run.key, f"no model {run.model} in the catalog")
                if run.quantization not in labels:
                    what = f"no quantization {run.quantization!r} in the catalog"
                    yield Problem(catalog.root / name, 1, run.key, what)


def _untraced(catalog: Catalog) -> Iterator[Problem]:
    """Models whose configuration has not been traced."""
    for key, model in catalog.model_index.items():
        if key not in catalog.traces:
            yield catalog.problem("models", key, (), f"has no trace: run `fitcard trace {key}`")
        elif catalog.trace_index[key].config_sha256 != model.config_sha256:
            yield catalog.problem(
                "models", key, ("config",), f"is not the one that was traced: run `fitcard trace {key}`"
            )
