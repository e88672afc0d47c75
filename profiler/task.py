"""What the runner asks a worker to do, and what the worker answers: the one place where both are written and read.

A task lies in a file `NAME.json`, its result beside it in `NAME.result`. A worker that leaves no result has crashed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from fitcard.catalog.schema.run import Memory, Mode, Power
from fitcard.catalog.storage.writer import write_atomically
from fitcard.profiler.variant import VariantSpec

Embeddings = list[list[float]]
"""One row per input."""


class _Message(BaseModel):
    """A task or a result. Embeddings may hold infinities and NaN, which their JSON keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class WriteTask(_Message):
    """Quantize the tensors and write the variant's file."""

    kind: Literal["artifact"] = "artifact"
    spec: VariantSpec
    artifact: Path
    checkpoint: Path | None
    """The folder with the weights; None for random ones."""
    seed: int | None
    """The seed of random weights."""


class EmbedTask(_Message):
    """Give the embeddings of the fixed inputs."""

    kind: Literal["embed"] = "embed"
    spec: VariantSpec
    artifact: Path
    mode: Mode
    batches: tuple[int, ...]
    """No more inputs are run at once than the largest of these."""


class MeasureTask(_Message):
    """Measure memory, speed or both at each batch."""

    kind: Literal["memory", "speed", "both"]
    spec: VariantSpec
    artifact: Path
    mode: Mode
    batches: tuple[int, ...]
    seconds: float
    """The most time for the samples of one batch."""
    embed: bool
    """Whether to give the embeddings of the fixed inputs as well, once speed is measured."""
    memory_limit_bytes: int | None


Task = Annotated[WriteTask | EmbedTask | MeasureTask, Field(discriminator="kind")]


class Written(_Message):
    """The variant's file is written."""

    kind: Literal["written"] = "written"
    census: tuple[tuple[str, int, int], ...]
    """Type, elements and bytes of each tensor, as the file says."""
    file_bytes: int
    nonfinite: int = 0
    """How many numbers of the checkpoint were infinite or not a number."""


class BatchSpeed(_Message):
    """The samples of one batch in one process."""

    batch: int
    samples_s: tuple[float, ...]
    settled: bool
    power: Power | None = None
    others_busy: float | None = None


class MeasuredMemory(_Message):
    """Memory at each batch that fits."""

    rows: tuple[Memory, ...]
    weights_bytes: int
    out_of_memory_batch: int | None
    first_run_s: float


class MeasuredSpeed(_Message):
    """Speed at each batch."""

    rows: tuple[BatchSpeed, ...]
    load_s: float
    first_run_s: float
    threads: int
    embeddings: Embeddings | None = None


class Measured(_Message):
    """What a MeasureTask asked for; the other part is None."""

    kind: Literal["measured"] = "measured"
    memory: MeasuredMemory | None = None
    speed: MeasuredSpeed | None = None


class Embedded(_Message):
    """The embeddings of the fixed inputs by the reference."""

    kind: Literal["embedded"] = "embedded"
    together: Embeddings
    alone: Embeddings
    """The first few again, run one by one."""


class Failed(_Message):
    """There is no result, for a reason that the worker could state."""

    kind: Literal["failed"] = "failed"
    status: Literal["out_of_memory", "refused"]
    """`refused`: bad data, which is the user's to mend."""
    reason: str


Result = Annotated[Written | Embedded | Measured | Failed, Field(discriminator="kind")]

_TASK: TypeAdapter[Task] = TypeAdapter(Task)
_RESULT: TypeAdapter[Result] = TypeAdapter(Result)


def result_path(file: Path) -> Path:
    """Where the result of the task in `file` lies."""
    return file.with_suffix(".result")


def write_task(file: Path, task: Task) -> None:
    """Write a task for a worker, without the result of an earlier one beside it. Raises OSError."""
    result_path(file).unlink(missing_ok=True)
    file.write_bytes(task.model_dump_json().encode())


def read_task(file: Path) -> Task:
    """The task in a file."""
    return _TASK.validate_json(file.read_bytes())


def write_result(file: Path, result: Result) -> None:
    """Write the result of the task in `file`, whole or not at all."""
    write_atomically(result_path(file), result.model_dump_json().encode())


def read_result(file: Path) -> Result | None:
    """The result of the task in `file`; None where the worker left none."""
    try:
        content = result_path(file).read_bytes()
    except FileNotFoundError:
        return None
    return _RESULT.validate_json(content)
