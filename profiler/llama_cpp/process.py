"""Questions to llama.cpp, each put to a worker process: what ends that process ends one answer and nothing else."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal

from fitcard.profiler.child_process import child_environment, module_command

ANSWER_S = 60.0
"""How long llama.cpp may take for an answer before it counts as hung: a hundred times what a question about memory
takes."""


@dataclass(frozen=True)
class Failure:
    """Why there is no answer."""

    kind: Literal["refused", "crashed", "killed", "hung"]
    """`refused`: llama.cpp said no; `crashed`: it ended the process; `killed`: the system did, as for want of
    memory."""
    reason: str
    """In llama.cpp's own words where it said something."""


def answers(task: Mapping[str, Any], timeout_s: float = ANSWER_S) -> Iterator[dict[str, Any] | Failure]:
    """The answers of one worker process to a task, as they come. After a failure there is no other."""
    command = module_command("fitcard.profiler.llama_cpp.worker")
    environment = {**child_environment(), "GGML_NO_BACKTRACE": "1"}  # which would start a debugger on the way out
    with tempfile.TemporaryFile() as said:
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment
        )  # fmt: skip
        assert worker.stdin and worker.stdout
        try:
            worker.stdin.write(json.dumps(task).encode())
            worker.stdin.close()
        except BrokenPipeError:
            pass  # it is gone already; its exit status says why
        try:
            for line in _lines(worker.stdout, timeout_s):
                if line is None:
                    yield Failure("hung", f"no answer within {timeout_s:g} s")
                    return
                answer = json.loads(line)
                if "refused" in answer:
                    yield Failure("refused", _with_words(answer["refused"], said))
                    return
                yield answer
            code = worker.wait()
            if code:
                yield _failure(code, said)
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()


def _lines(pipe: IO[bytes], timeout_s: float) -> Iterator[bytes | None]:
    """Whole lines of a pipe until it is closed; None when nothing came in time."""
    buffered = b""
    while True:
        if not select.select([pipe], [], [], timeout_s)[0]:
            yield None
            return
        read = os.read(pipe.fileno(), 1 << 16)
        if not read:
            return
        *whole, buffered = (buffered + read).split(b"\n")
        yield from whole


def _failure(code: int, said: IO[bytes]) -> Failure:
    if code == -signal.SIGKILL:
        return Failure("killed", _with_words("the system ended the process, most often for want of memory", said))
    name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return Failure("crashed", _with_words(f"llama.cpp ended the process ({name})", said))


_TELLING = tuple(map(re.compile, (r"GGML_ASSERT|error", r"failed|requires|unsupported|does not|must")))
"""What llama.cpp's lines say that tell a reason, the more telling before the general ones that follow from them."""


def _with_words(reason: str, said: IO[bytes]) -> str:
    """A reason with the most telling line of a worker's standard error, the last of its sort."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    for pattern in _TELLING:
        if telling := [line for line in lines if pattern.search(line)]:
            return f"{reason}: {telling[-1]}"
    return reason
