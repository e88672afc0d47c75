"""llama.cpp in a process of its own: `python -m fitcard.profiler.llama_cpp.worker PARENT`.

A task comes as JSON on standard input. Each answer goes out as one line of JSON as soon as it is there, so that what
was answered before a crash is kept. llama.cpp ends the process on some inputs; it may do so here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.child_process import die_with_parent
from fitcard.profiler.llama_cpp import bindings, generation
from fitcard.profiler.llama_cpp.model import load_model, new_context
from fitcard.profiler.llama_cpp.settings import LlamaSetting

Answers = Iterator[Mapping[str, Any]]


def main() -> None:
    """Do the task that standard input asks for."""
    die_with_parent(int(sys.argv[1]))
    task = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints goes to standard error
    for answer in _answers(task):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # llama.cpp's own clearing up at exit has crashed before; all is written


def _answers(task: Mapping[str, Any]) -> Answers:
    try:
        yield from TASKS[task["task"]](task)
    except FitcardError as error:
        yield {"refused": str(error)}


def memory(task: Mapping[str, Any]) -> Answers:
    """Buffers of the file's model in each setting, without reading a weight."""
    loaded = bindings.library()
    model = load_model(loaded, task["file"], no_alloc=True)
    for fields in task["settings"]:
        context = new_context(loaded, model, LlamaSetting(**fields))
        yield {"buffers": [dataclasses.asdict(buffer) for buffer in bindings.memory_breakdown(loaded, context)]}
        loaded.llama_free(context)


TASKS: Mapping[str, Callable[[Mapping[str, Any]], Answers]] = {
    "memory": memory,
    "run": generation.run,
    "logits": generation.logits,
}

if __name__ == "__main__":
    main()
