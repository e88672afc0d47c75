"""Tracing a configuration that nobody has checked: in a process of its own, with a limit on its memory and its time.

The two processes talk in lines of JSON: one `TraceRequest` in, then `TraceAnswer`s out, the last of which holds the
trace or says
why there is none. Nothing heavy is imported here, so that the process that only asks stays quick.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Callable
from threading import Timer
from typing import Any

from pydantic import BaseModel, ConfigDict

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.trace import Trace
from fitcard.profiler.child_process import child_environment, die_with_parent, module_command
from fitcard.profiler.safe_config import safe_config

MEMORY_BYTES = 16 << 30
"""The most private memory of the process. The largest model of the catalog, of 1.9 billion parameters, takes 2 GB."""
TIME_S = 300.0
"""The most time for it. The largest model of the catalog takes 20 s on two cores."""


class TraceRequest(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    config: dict[str, Any]
    minimal: bool
    """Whether to leave out first what transformers would assume anyway."""
    pixels: int | None = None
    """Along each side of an image; None for the size that the model is made for."""
    tokens: int | None = None
    """Of a text; None for the most that the model takes."""


class TraceAnswer(BaseModel):
    """What has begun, or how it ended: a trace, a reason why there is none, or a package that is missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    progress: str | None = None
    config: dict[str, Any] | None = None
    """The configuration that was traced."""
    trace: Trace | None = None
    refused: str | None = None
    missing_package: str | None = None


def trace_bounded(
    config: dict[str, Any],
    progress: Callable[[str], None] = lambda _: None,
    *,
    minimal: bool = False,
    pixels: int | None = None,
    tokens: int | None = None,
) -> tuple[dict[str, Any], Trace]:
    """The trace of a configuration, with that configuration, in which `minimal` leaves out what transformers assumes
    anyway.

    Raises FitcardError when the configuration is refused, cannot be built or run, or takes more memory or time than
    the limits.
    """
    safe_config(config)
    command = module_command("fitcard.profiler.bounded_trace")
    answer = TraceAnswer()
    with subprocess.Popen(
        command, env=child_environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        timer = Timer(TIME_S, process.kill)
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                request = TraceRequest(config=config, minimal=minimal, pixels=pixels, tokens=tokens)
                process.stdin.write(request.model_dump_json())
                process.stdin.close()
            for line in process.stdout:
                if not line.endswith("\n"):  # it was killed while it answered
                    break
                answer = TraceAnswer.model_validate_json(line)
                if answer.progress:
                    progress(answer.progress)
        finally:
            over = not timer.is_alive()
            timer.cancel()
            process.kill()
    if answer.missing_package:
        raise ModuleNotFoundError(f"No module named {answer.missing_package!r}", name=answer.missing_package)
    if answer.config is None or answer.trace is None:
        took_too_long = f"tracing took longer than {TIME_S:g} s and was ended"
        crashed = f"the process that traced it ended with code {process.returncode}"
        raise FitcardError(
            answer.refused or f"cannot trace model_type {config['model_type']!r}: {took_too_long if over else crashed}"
        )
    return answer.config, answer.trace


def main() -> None:
    """Trace the configuration that standard input asks for, and answer on standard output."""
    die_with_parent(int(sys.argv[1]))
    request = TraceRequest.model_validate_json(sys.stdin.read())
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer

    def answer(one: TraceAnswer) -> None:
        answers.write(one.model_dump_json(exclude_none=True) + "\n")
        answers.flush()

    with contextlib.suppress(ValueError, OSError):  # where the system has no such limit, time alone is limited
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    answer(_answer(request, lambda what: answer(TraceAnswer(progress=what))))


def _answer(request: TraceRequest, progress: Callable[[str], None]) -> TraceAnswer:
    try:
        from fitcard.profiler.minimal_config import minimal_config
        from fitcard.profiler.trace import trace
    except ModuleNotFoundError as error:
        return TraceAnswer(missing_package=error.name or str(error))
    try:
        config = minimal_config(request.config) if request.minimal else request.config
        return TraceAnswer(config=config, trace=trace(config, progress, pixels=request.pixels, tokens=request.tokens))
    except FitcardError as error:
        return TraceAnswer(refused=str(error))
    except BaseException as error:  # nothing that a configuration causes is a traceback
        reason = (str(error).strip().splitlines() or [""])[0]
        kind = request.config["model_type"]
        return TraceAnswer(refused=f"cannot trace model_type {kind!r}: {type(error).__name__}: {reason}")


if __name__ == "__main__":
    main()
