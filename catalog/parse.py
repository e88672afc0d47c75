"""One file of a catalog: read, checked, and summed up.

Parsing YAML with line numbers is slow, so what a file of a given content holds is kept as JSON under the digest of its bytes. What
files say of each other is `loader.py`'s part.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from fitcard.catalog.errors import CatalogError, Problem, shown
from fitcard.catalog.parallel import spread
from fitcard.catalog.reader import load_json, read_json, read_text, refuse
from fitcard.catalog.schema.gpu import Gpu, GpuFile
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.quantization import Quantizations
from fitcard.catalog.schema.record import Record, Written, read_record, texts_to_write, validate
from fitcard.catalog.schema.restore import plain_text, restore
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.signers import SignersFile
from fitcard.catalog.schema.speed import SpeedFile
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.waivers import ExceptionsFile
from fitcard.catalog.storage import database
from fitcard.catalog.storage.hashing import file_digest, inside, package_digest
from fitcard.catalog.storage.reads import keep_digest
from fitcard.catalog.summaries import GpuSummary, ModelSummary, PublishedSummary, RunSummary, TraceSummary
from fitcard.catalog.yaml_file import Lines, line_of, read_yaml

MOST_WITH_LINES = 100_000
"""Values in a run file up to which a fault is told with its line: finding it takes a kilobyte of memory a value."""
FILES_PER_PART = 32
"""Files that one process reads at a time when many were never read before."""


class RunFile(Record):
    """A run file's outermost mapping."""

    runs: Written[Run]


class GpuFileSummary(NamedTuple):
    """The GPUs of a file, and the texts that are still to be written: line, place and message of each."""

    gpus: dict[str, GpuSummary]
    begun: tuple[tuple[int, str, str], ...]


class Edited(Exception):
    """A file is not what it was when its digest was taken."""


def read_runs(path: Path) -> tuple[Run, ...]:
    """The runs in one run file, oldest first. Raises CatalogError for a file that is damaged in any way."""
    text = read_text(path)
    try:
        data = load_json(_without_comments(text), path)
    except json.JSONDecodeError as error:
        end = error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg
        what = "ends in the middle of a record" if end else f"is damaged: {error.msg}"
        message = f"{what}; restore it (git checkout -- {shown(path)}), or cut it back to the last whole record"
        raise CatalogError([Problem(path, error.lineno, "", message)]) from None
    try:
        return validate(RunFile, data, path, {}).runs
    except CatalogError:
        # Only now, because it is slow: the same text as YAML, for the lines, unless it is too long for a YAML file.
        lines: Lines = {}
        if text.count(",") <= MOST_WITH_LINES:
            with contextlib.suppress(CatalogError):
                lines = read_yaml(path)[1]
        return validate(RunFile, data, path, lines).runs


def read_checked_runs(path: Path) -> dict[str, dict[str, Any]]:
    """The runs in a file that was read before, by key, as JSON gives them: each is restored when it is asked for."""
    rows: list[dict[str, Any]] = json.loads(_without_comments(read_text(path)))["runs"]
    return {row["key"]: row for row in rows}


def read_checked_trace(path: Path) -> Trace:
    """The trace in a file that was read before."""
    return restore(Trace, json.loads(read_text(path)))


def _without_comments(text: str) -> str:
    return "\n".join("" if line.startswith("#") else line for line in text.split("\n"))


def read_trace(path: Path) -> Trace:
    """The trace in a file. Raises CatalogError for one that is damaged."""
    return validate(Trace, read_json(path, "make it again with `fitcard trace`"), path, {})


def read_gpus(path: Path) -> tuple[GpuFileSummary, GpuFile]:
    """A file of GPUs. Those that were only begun are left out, so that one of them stops neither the others nor another `fitcard add`."""
    data, lines = read_yaml(path)
    texts = list(texts_to_write(data))
    begun = tuple((line_of(lines, at), ".".join(map(str, at)), f"is still to be written: {text}") for at, text in texts)
    for key in {at[1] for at, _ in texts if at[0] == "gpus" and len(at) > 2 and isinstance(at[1], str)}:
        data["gpus"].pop(key)
    file = validate(GpuFile, data, path, lines)
    return GpuFileSummary({key: GpuSummary.of(gpu) for key, gpu in gpus_of(file).items()}, begun), file


def gpus_of(file: GpuFile) -> dict[str, Gpu]:
    """The GPUs of a file, each with the rates of its units and the sources that it cites."""
    gpus: dict[str, Gpu] = {}
    for key, spec in file.gpus.items():
        rates = file.unit_rates.get(spec.unit_rates or "")
        cited = set(spec.sources) | set(rates.sources if rates else ())
        gpus[key] = Gpu.model_construct(  # of parts that were validated with their file
            id=key,
            vendor=file.vendor,
            generation=file.generation,
            spec=spec,
            rates=rates,
            sources={name: source for name, source in file.sources.items() if name in cited},
            reviewed=file.reviewed,
        )
    return gpus


class Kind(NamedTuple):
    """How files of one kind are read. A kind is a folder of the catalog, or the name of a file beside the folders."""

    read: Callable[[Path], tuple[Any, Record | None]]
    """The summary of a file and, unless the file itself is quick to read again, its record. Raises CatalogError."""
    summary: Any
    """The type of the summary."""
    record: type[Record] | None = None
    """The type of the record that is kept."""


def _one(record: type[Record], summary: Any = None) -> Kind:
    def read(path: Path) -> tuple[Any, Record]:
        value, _ = read_record(record, path)
        return summary.of(value) if summary else None, value

    return Kind(read, summary, record)


KINDS: Mapping[str, Kind] = {
    "quantizations.yaml": _one(Quantizations),
    "runtimes.yaml": _one(Runtimes),
    "matmul.yaml": _one(MatmulFile),
    "speed.yaml": _one(SpeedFile),
    "exceptions.yaml": _one(ExceptionsFile),
    "signers.yaml": _one(SignersFile),
    "models": _one(Model, ModelSummary),
    "published": _one(PublishedFile, PublishedSummary),
    "gpus": Kind(read_gpus, GpuFileSummary, GpuFile),
    "traces": Kind(lambda path: (TraceSummary.of(read_trace(path)), None), TraceSummary),
    "runs": Kind(lambda path: ([RunSummary.of(run) for run in read_runs(path)], None), list[RunSummary]),
}


class Files:
    """The files of a catalog. Each content is read and checked once, now or by an earlier command."""

    def __init__(self, root: Path, digests: Mapping[str, str]) -> None:
        """`digests` of the files to read, by path below `root`. Raises Edited where one is no longer what its digest says."""
        self.root, self.digests = root, digests
        self.faults: list[Problem] = []
        """What is wrong with single files."""
        self.summaries: dict[str, Any] = {}
        """By path, of the files that are right."""
        self._records: dict[str, str] = {}
        keys = {name: self._key("summary", name) for name in digests}
        texts = database.get(set(keys.values()))
        missing = [name for name, key in keys.items() if key not in texts]
        parts = [missing[at : at + FILES_PER_PART] for at in range(0, len(missing), FILES_PER_PART)]
        fresh: dict[str, str] = {}
        for part in spread(self._read, parts):
            for name, result in part:
                if isinstance(result, list):
                    self.faults += result
                    continue
                fresh[keys[name]], record = result
                if record:
                    self._records[self._key("record", name)] = record
        if fresh:
            database.put(fresh | self._records)
            texts |= fresh
        for name, key in keys.items():
            if key in texts:
                self.summaries[name] = restore(KINDS[_kind(name)].summary, json.loads(texts[key]))

    def record(self, name: str) -> Any:
        """The record of a file that is right: kept, or read again where it was thrown away meanwhile."""
        kind = KINDS[_kind(name)].record
        assert kind is not None
        key = self._key("record", name)
        text = self._records.get(key) or database.get([key]).get(key)
        if text is None:
            try:
                [(_, result)] = self._read([name])
            except Edited:
                result = [Problem(self.root / name, 1, "", "was edited while it was being used: run the command again")]
            if isinstance(result, list):
                raise CatalogError(result)
            text = self._records[key] = result[1] or ""
        record = restore(kind, json.loads(text))
        keep_digest(record, text)
        return record

    def _key(self, part: str, name: str) -> str:
        return f"{package_digest()} {pydantic.VERSION} {part} {_kind(name)} {self.digests[name]}"

    def _read(self, names: Iterable[str]) -> list[tuple[str, tuple[str, str | None] | list[Problem]]]:
        """Of each file its summary and its record as JSON, or what is wrong with it."""
        results: list[tuple[str, tuple[str, str | None] | list[Problem]]] = []
        for name in names:
            path = self.root / name
            try:
                refuse_links_out(path, self.root)
                summary, record = KINDS[_kind(name)].read(path)
                results.append(
                    (name, (plain_text(summary), record.model_dump_json(exclude_unset=True) if record else None))
                )
            except CatalogError as error:
                results.append((name, error.problems))
            if file_digest(path, self.root) != self.digests[name]:
                raise Edited
        return results


def refuse_links_out(path: Path, root: Path) -> None:
    """Raise CatalogError for a file or folder that lies elsewhere: it is never read, and what is in it never shown."""
    if not inside(path, root):
        refuse(path, 1, "is a link to a place outside the catalog: put the file itself there")


def _kind(name: str) -> str:
    return name.partition("/")[0]
