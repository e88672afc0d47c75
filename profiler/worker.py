"""One task in a process of its own: `python -m fitcard.profiler.worker FILE READY PARENT`.

It reads the task from FILE and writes the result beside it. A fresh process means that nothing of another case is in
memory,
and that a crash is one record, not the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.backends import backend
from fitcard.profiler.checkpoint import Checkpoint
from fitcard.profiler.child_process import die_with_parent
from fitcard.profiler.measure import embed, measure
from fitcard.profiler.out_of_memory import out_of_memory
from fitcard.profiler.task import EmbedTask, Failed, Result, Task, WriteTask, Written, read_task, write_result
from fitcard.profiler.weights import random_values


def main() -> None:
    """Do the task in the file that the command line names."""
    file, ready_fd, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    torch.backends.cudnn.allow_tf32 = False  # FP32 means FP32, in convolutions too
    write_result(file, result_of(read_task(file), ready_fd))


def result_of(task: Task, ready_fd: int) -> Result:
    """Do a task. Running out of memory and data that is refused are results; any other error is a crash."""
    try:
        if isinstance(task, WriteTask):
            return write_artifact(task)
        return embed(task, ready_fd) if isinstance(task, EmbedTask) else measure(task, ready_fd)
    except FitcardError as error:
        return Failed(status="refused", reason=str(error))
    except Exception as error:
        if (reason := out_of_memory(error)) is None:
            raise
        return Failed(status="out_of_memory", reason=reason)


def write_artifact(task: WriteTask) -> Written:
    """Quantize the real tensors, write the file, and count what is in it."""
    checkpoint = Checkpoint(task.checkpoint, task.spec) if task.checkpoint else None
    values = checkpoint.values if checkpoint else random_values(task.seed or 0)
    module = backend(task.spec.quantization)
    try:
        module.write(task.artifact, task.spec, values)
        return Written(
            census=tuple(module.read_census(task.artifact)),
            file_bytes=task.artifact.stat().st_size,
            nonfinite=checkpoint.nonfinite if checkpoint else 0,
        )
    except BaseException:
        task.artifact.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    main()
