"""Writing machine-made records: atomic, append-only, safe with two writers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.parse import read_runs
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.storage.private import locked_file

_RUN_HEADER = "# Written by `fitcard profile`; runs are added, never edited. JSON, which is also YAML.\n"
_WIDTH = 180


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file in one step: a reader, or a crash at any moment, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def add_run(folder: Path, run: Run) -> Path:
    """Add `run` to its file under `folder` (the catalog's `runs/`) and return that file.

    A run that is there already, by its key, is not added twice. Raises CatalogError, and writes nothing, when the
    file is damaged.
    """
    path = folder / run.machine.device / f"{run.model}.yaml"
    with locked(path.parent):
        for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a writer that was killed; nobody else writes now
            left.unlink()
        runs = read_runs(path) if path.exists() else ()
        if all(run.key != other.key for other in runs):
            write_atomically(path, run_file_text([*runs, run]).encode())
    return path


def check_writable(folder: Path, device: str, model: str) -> None:
    """Raise FitcardError unless a run of `model` on `device` can be added, so that this is known before hours of measuring."""
    path = folder / device / f"{model}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise FitcardError(
            f"no record can be written under {folder}: {error.strerror}; give another --output"
        ) from None
    if path.exists():
        read_runs(path)


def run_file_text(runs: Sequence[Run]) -> str:
    """A run file: one mapping of lists, numbers of one kind on one line."""
    return _RUN_HEADER + json_text({"runs": [run.model_dump(mode="json", exclude_none=True) for run in runs]}) + "\n"


def write_trace(path: Path, trace: Trace) -> None:
    """Write a trace file."""
    write_atomically(path, trace_bytes(trace))


def trace_bytes(trace: Trace) -> bytes:
    """The content of a trace file."""
    return (json_text(trace.model_dump(mode="json", exclude_none=True)) + "\n").encode()


def json_text(value: Any, indent: str = "") -> str:
    """JSON with a line for each entry that holds others, and short or flat ones kept on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) + len(indent) <= _WIDTH:
        return flat
    items: list[Any] = list(value.values()) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in items):
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        names = [json.dumps(name, ensure_ascii=False) for name in value]  # pyright: ignore[reportUnknownVariableType]
        rows = [f"{deeper}{name}: {json_text(item, deeper)}" for name, item in zip(names, items, strict=True)]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + json_text(item, deeper) for item in items) + f"\n{indent}]"


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the only lock on a folder, so that two writers take turns. The kernel drops it when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked_file(folder / ".lock"):
        yield
