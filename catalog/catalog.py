"""The catalog in memory: everything that is known, checked, with every access noted for whoever records what work depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from fitcard.catalog.errors import Problem
from fitcard.catalog.reader import read_text
from fitcard.catalog.schema.gpu import Gpu, GpuFile
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.quantization import Quantization, Quantizations
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.speed import SpeedFile
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.schema.waivers import Excepted
from fitcard.catalog.storage.hashing import combined
from fitcard.catalog.storage.reads import NONE, Reads, Table, digest_of, note
from fitcard.catalog.summaries import GpuSummary, ModelSummary, PublishedSummary, RunSummary, TraceSummary
from fitcard.catalog.yaml_file import Lines, Location, line_of, read_yaml

SourcedFile = Model | PublishedFile | GpuFile | Quantizations | Runtimes | MatmulFile

T = TypeVar("T")


class Noted(Generic[T]):
    """A field of a catalog that holds one record, whose reading is noted by the field's name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, catalog: None, owner: type) -> Noted[T]: ...
    @overload
    def __get__(self, catalog: Catalog, owner: type) -> T: ...
    def __get__(self, catalog: Catalog | None, owner: type) -> T | Noted[T]:
        if catalog is None:
            raise AttributeError(self.name)  # for dataclasses this means that the field has no default
        record: T = vars(catalog)[self.name]
        note(self.name, lambda: catalog.digest_of(self.name))
        return record

    def __set__(self, catalog: Catalog, record: T) -> None:
        vars(catalog)[self.name] = record


@dataclass(frozen=True, eq=False)
class Catalog:
    """Everything that is known, checked. Mappings are in the order of their ids, quantizations in that of their file.

    A catalog never changes. `dataclasses.replace` gives another one with other records, which may be plain mappings.
    """

    root: Path
    models: Mapping[str, Model]
    gpus: Mapping[str, Gpu]
    traces: Mapping[str, Trace]
    runs: Sequence[Run]
    """Oldest first."""
    quantization_file: Noted[Quantizations] = Noted()
    runtimes: Noted[Runtimes] = Noted()
    matmul: Noted[MatmulFile] = Noted()
    """Nothing where the catalog has no such file."""
    speed: Noted[SpeedFile | None] = Noted()
    """None where nothing was fitted yet; then no speed is predicted."""
    begun_gpus: Noted[Sequence[Problem]] = Noted()
    """What is still to be written of GPUs that `fitcard add` began; they are no GPUs until it is."""
    exceptions: Noted[Sequence[Excepted]] = Noted()
    """Faults that are none."""
    signers: Noted[Mapping[str, Sequence[str]]] = Noted()
    """The SSH keys of those who sign their runs, by name."""
    gpu_files: Mapping[str, GpuFile] = field(default_factory=dict[str, GpuFile])
    """The files that the GPUs come from, by their names without the ending."""
    published: Mapping[str, PublishedFile] = field(default_factory=dict[str, PublishedFile])
    memory: dict[tuple[str, ...], tuple[Any, Reads]] = field(
        init=False, default_factory=dict[tuple[str, ...], tuple[Any, Reads]]
    )
    """Results of memoized functions, which live as long as the catalog."""

    def __post_init__(self) -> None:
        for kind in ("models", "gpus", "traces", "published", "gpu_files"):
            records = getattr(self, kind)
            if not isinstance(records, Table):
                object.__setattr__(self, kind, Table.of(kind, records))
        if not isinstance(self.runs, Runs):
            object.__setattr__(self, "runs", Runs.of(self.runs))

    @property
    def name(self) -> str:
        return str(self.root)

    @property
    def quantizations(self) -> Mapping[str, Quantization]:
        return self.quantization_file.quantizations

    def labels_of(self, component: Component) -> Mapping[str, Quantization]:
        """The quantizations that there are for a component."""
        return self.quantization_file.for_language if component == "language" else self.quantizations

    @property
    def every_label(self) -> Mapping[str, Quantization]:
        """The quantizations of encoders, then those for language models alone."""
        own = self.quantizations
        return dict(own) | {label: one for label, one in self.labels_of("language").items() if label not in own}

    @cached_property
    def model_index(self) -> Mapping[str, ModelSummary]:
        """Every model by its names."""
        return _index(self.models, ModelSummary.of)

    @cached_property
    def trace_index(self) -> Mapping[str, TraceSummary]:
        """Every model by its size."""
        return _index(self.traces, TraceSummary.of)

    @cached_property
    def gpu_index(self) -> Mapping[str, GpuSummary]:
        """Every GPU by its names and its memory."""
        return _index(self.gpus, GpuSummary.of)

    @cached_property
    def published_index(self) -> Mapping[str, PublishedSummary]:
        """What others published of each model, by GPU and quantization."""
        return _index(self.published, PublishedSummary.of)

    @property
    def run_index(self) -> tuple[RunSummary, ...]:
        """Every run in short, oldest first."""
        return self._runs.summaries

    @property
    def newest_day(self) -> str:
        """The day of the newest run, as YYYY-MM-DD; empty where there is none."""
        note("newest_day", lambda: self.digest_of("newest_day"))
        return self._runs.newest_day

    def summaries_of(self, model: str) -> tuple[RunSummary, ...]:
        """The runs of a model in short, oldest first."""
        return self._runs.of_model(model)

    def summaries_on(self, device: str) -> tuple[RunSummary, ...]:
        """The runs on a device in short, oldest first."""
        return self._runs.on_device(device)

    def run(self, key: str) -> Run:
        """The run of a key, which is the hash of its content and so never changes. Raises KeyError where there is none."""
        return self._runs.record(key)

    def runs_of(self, model: str) -> tuple[Run, ...]:
        """The runs of a model, oldest first."""
        return tuple(self._runs.record(run.key) for run in self.summaries_of(model))

    @property
    def _runs(self) -> Runs:
        assert isinstance(self.runs, Runs)
        return self.runs

    @cached_property
    def _digests(self) -> Mapping[str, Callable[[str], str]]:
        """What gives the digest of one record of a kind, or of all where no key is given."""
        tables = (
            *(self.models, self.gpus, self.traces, self.published, self.gpu_files),
            *(self.model_index, self.trace_index, self.gpu_index, self.published_index),
        )
        kinds: dict[str, Callable[[str], str]] = {}
        for table in tables:
            assert isinstance(table, Table)
            kinds[table.kind] = lambda key, table=table: table.digest(key) if key else table.whole()  # type: ignore[misc]
        for name in ("quantization_file", "runtimes", "matmul", "speed", "begun_gpus", "exceptions", "signers"):
            kinds[name] = lambda _, name=name: digest_of(vars(self)[name])  # type: ignore[misc]
        kinds["newest_day"] = lambda _: self._runs.newest_day
        return kinds | {"runs": self._runs.digest_of_model, "devices": self._runs.digest_of_device}

    @cached_property
    def _known_digests(self) -> dict[str, str]:
        return {}

    def digest_of(self, name: str) -> str:
        """The digest of what was noted as `name`; `none` for what no catalog has."""
        if name not in self._known_digests:
            kind, _, key = name.partition("/")
            give = self._digests.get(kind)
            self._known_digests[name] = give(key) if give else NONE
        return self._known_digests[name]

    @cached_property
    def file_of_gpu(self) -> dict[str, str]:
        """The file that each GPU is in, by the GPU's id, as `gpu_files` names it."""
        return {gpu: name for name, file in self.gpu_files.items() for gpu in file.gpus}

    def sourced_files(self) -> Iterator[tuple[str, str, SourcedFile]]:
        """Folder, name without the ending, and content of every hand-written file that names sources."""
        yield from (("models", key, model) for key, model in self.models.items())
        yield from (("published", key, file) for key, file in self.published.items())
        yield from (("gpus", name, file) for name, file in self.gpu_files.items())
        yield "", "quantizations", self.quantization_file
        yield "", "runtimes", self.runtimes
        if self.matmul.rates:
            yield "", "matmul", self.matmul

    def gpu_problem(self, gpu: str, location: Location, message: str) -> Problem:
        """A fault of a GPU, with the line of the value at `location` in its entry."""
        return self.problem("gpus", self.file_of_gpu[gpu], ("gpus", gpu, *location), message)

    def problem(self, folder: str, key: str, location: Location, message: str) -> Problem:
        """A fault in a hand-written file, with the line of the value at `location`; `folder` is empty for those beside the folders."""
        path = self.root / folder / f"{key}.yaml"
        return Problem(path, line_of(self.lines_of(path), location), ".".join(map(str, location)), message)

    def run_problem(self, key: str, field: str, message: str) -> Problem:
        """A fault of a run, with the line of its key: of a file that a program wrote, the lines of values are not kept."""
        run = self.run(key)
        path = self.root / "runs" / run.machine.device / f"{run.model}.yaml"
        lines = enumerate(read_text(path).splitlines(), 1)
        return Problem(path, next((number for number, line in lines if key in line), 1), f"{key}.{field}", message)

    def lines_of(self, path: Path) -> Lines:
        """Where each value of a hand-written file stands. The file is read for it, since only faults ask."""
        if path not in self._lines:
            self._lines[path] = read_yaml(path)[1] if path.is_file() else {}
        return self._lines[path]

    @cached_property
    def _lines(self) -> dict[Path, Lines]:
        return {}


def _index(records: Mapping[str, Any], summary: Callable[[Any], T]) -> Mapping[str, T]:
    """The summaries of a table's records: those that were kept, or made from the records."""
    assert isinstance(records, Table)
    table: Table[Any] = records
    if table.summaries is not None:
        return table.summaries
    kind = {"models": "model", "traces": "trace", "gpus": "gpu", "published": "published"}[table.kind]
    return Table(f"{kind}_index", dict.fromkeys(table.ids()), lambda key: summary(table.record(key)))


class Runs(Sequence[Run]):
    """Runs, oldest first: in short at once, whole records when they are asked for."""

    def __init__(self, summaries: Sequence[RunSummary], read: Callable[[RunSummary], Run]) -> None:
        self._all = tuple(summaries)
        self._read = read

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Runs:
        """Runs that are in memory."""
        by_key = {run.key: run for run in runs}
        return cls([RunSummary.of(run) for run in runs], lambda summary: by_key[summary.key])

    @property
    def summaries(self) -> tuple[RunSummary, ...]:
        """All of them in short."""
        note("runs", lambda: self.digest_of_model(""))
        return self._all

    def of_model(self, model: str) -> tuple[RunSummary, ...]:
        """Those of a model in short."""
        note(f"runs/{model}", lambda: self.digest_of_model(model))
        return self._by_model.get(model, ())

    def on_device(self, device: str) -> tuple[RunSummary, ...]:
        """Those on a device in short."""
        note(f"devices/{device}", lambda: self.digest_of_device(device))
        return self._by_device.get(device, ())

    def record(self, key: str) -> Run:
        """The run of a key."""
        return self._read(self._by_key[key])

    @property
    def newest_day(self) -> str:
        """The day of the newest run; empty where there is none."""
        return self._all[-1].measured_at[:10] if self._all else ""

    def digest_of_model(self, model: str) -> str:
        """The digest of a model's runs, or of all where no model is given."""
        return combined(run.key for run in (self._by_model.get(model, ()) if model else self._all))

    def digest_of_device(self, device: str) -> str:
        """The digest of the runs on a device."""
        return combined(run.key for run in self._by_device.get(device, ()))

    def __getitem__(self, at: Any) -> Any:
        chosen = self.summaries[at]
        return [self._read(run) for run in chosen] if isinstance(at, slice) else self._read(chosen)

    def __len__(self) -> int:
        return len(self.summaries)

    @cached_property
    def _by_model(self) -> dict[str, tuple[RunSummary, ...]]:
        return _grouped(self._all, lambda run: run.model)

    @cached_property
    def _by_device(self) -> dict[str, tuple[RunSummary, ...]]:
        return _grouped(self._all, lambda run: run.device)

    @cached_property
    def _by_key(self) -> dict[str, RunSummary]:
        return {run.key: run for run in self._all}


def _grouped(runs: Sequence[RunSummary], key: Callable[[RunSummary], str]) -> dict[str, tuple[RunSummary, ...]]:
    groups: dict[str, list[RunSummary]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return {name: tuple(group) for name, group in groups.items()}
