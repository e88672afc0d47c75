"""Worker processes: one fresh process a task, started, given the device, waited for and ended."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.host import cpu_cores
from fitcard.profiler.child_process import child_environment, module_command
from fitcard.profiler.out_of_memory import says_out_of_memory
from fitcard.profiler.settings import Settings
from fitcard.profiler.task import Failed, Result, Task, WriteTask, read_result, write_task

CASES_AT_ONCE = 4
"""How many cases of a GPU are under way together at most; only one of them has the GPU. Each has two threads and leaves
as many cores alone: with twelve on sixteen cores, passes that wait for the host took up to twice as long (LOG.md,
2026-11-26)."""


class TaskFailed(Exception):
    """A task without a result. `status` and `reason` are those of the record."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Processes:
    """The processes of one profile: on a processor one at a time, on a GPU several, of which one at a time has the GPU.

    Files are written, libraries imported and models built while the GPU measures; nothing else is on it meanwhile, not
    even another profile's process. On exit, whatever still runs is killed.
    """

    def __init__(self, settings: Settings, cases: int = 1) -> None:
        self.device, self.timeout_s = settings.device, settings.timeout_s
        self.at_once = 1 if self.device.kind == "cpu" else max(1, min(CASES_AT_ONCE, cpu_cores() // 4, cases))
        self.pool = ThreadPoolExecutor(self.at_once)
        self.running: set[subprocess.Popen[bytes]] = set()
        self.writing: dict[Path, Lock] = {}
        """One lock for each variant's file."""
        self.over = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        for process in tuple(self.running):
            process.kill()
        self.pool.shutdown(cancel_futures=True)

    def do(self, task: Task, file: Path) -> Result:
        """Do a task in a fresh process, which reads it from `file`, and give its result.

        Raises TaskFailed when there is none, and FitcardError when the worker refused the user's data.
        """
        try:
            write_task(file, task)
        except OSError as error:
            raise TaskFailed("crashed", f"{task.kind}: {file.parent}: {error.strerror}") from None
        try:
            code, errors = self._run(file, uses_device=not isinstance(task, WriteTask))
        except subprocess.TimeoutExpired:
            raise TaskFailed("timed_out", f"{task.kind} took longer than {self.timeout_s:g} s and was ended") from None
        result = read_result(file)
        if result is None:
            last = errors.strip().splitlines()[-1:] or ["no message"]
            how = f"killed by signal {-code}" if code < 0 else last[0][:300]
            no_memory = code == -9 or says_out_of_memory(errors)
            raise TaskFailed("out_of_memory" if no_memory else "crashed", f"{task.kind}: {how}")
        if isinstance(result, Failed):
            if result.status == "refused":
                raise FitcardError(result.reason)
            raise TaskFailed(result.status, f"{task.kind}: {result.reason[:300]}")
        return result

    def _run(self, file: Path, *, uses_device: bool) -> tuple[int, str]:
        """Run a worker on the task in a file: the exit code, and what went to standard error.

        Raises subprocess.TimeoutExpired when starting or working, each by itself, takes longer than the settings
        allow; waiting
        for the device does not count.
        """
        ready, ready_end = os.pipe()
        with file.with_suffix(".stderr").open("w+") as errors, os.fdopen(ready) as is_ready:
            command = module_command("fitcard.profiler.worker", str(file), str(ready_end))
            process = subprocess.Popen(
                command, env=self._environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
                pass_fds=[ready_end],
            )  # fmt: skip
            self.running.add(process)
            os.close(ready_end)
            try:
                if self.over:  # it was started while the others were killed
                    raise TaskFailed("crashed", "the profile was ended")
                # Its end of the pipe closes when it is ready, or ends.
                if uses_device and not select.select([is_ready], [], [], self.timeout_s)[0]:
                    raise subprocess.TimeoutExpired(command, self.timeout_s)
                with self.device.turn() if uses_device else contextlib.nullcontext():
                    assert process.stdin is not None
                    process.stdin.close()  # go
                    process.wait(self.timeout_s)
            finally:
                process.kill()
                process.wait()
                self.running.discard(process)
            errors.seek(0)
            return process.returncode, errors.read()

    def _environment(self) -> dict[str, str]:
        environment = child_environment()
        if self.at_once > 1:  # or each would have as many threads as there are cores
            environment["OMP_NUM_THREADS"] = "2"
        # Otherwise the second process would not compile but look the result of the first up.
        environment["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
        return environment
