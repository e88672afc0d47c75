"""Processes that need torch, without the seconds that each would spend on importing it.

Importing torch, transformers and what transformers imports takes nine seconds of a core, and most tests of the profiler
start several processes that do nothing else for most of their time. While tests run, `Preloaded` stands in for
`subprocess.Popen`. Where that would start `python -m fitcard profile` and the like, a process that has imported all of
it forks instead, and the fork goes on with the module, as a new interpreter does.

The fork is a child of the process that asked for it and no thread of anything runs in it; it has the arguments, the
environment, the folder, the files and the session that it would have had. So it can be waited for, stopped and killed
by itself or with its group, limited and starved, and what it starts in its turn is again a fork. It differs in two
ways: it finds imported what a library reads from the environment while it is imported, and less of its libraries is
resident. Tests for which that matters, and one of each kind besides, start real processes: they use the fixture `cold`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from subprocess import DEVNULL, Popen
from threading import Lock
from typing import Any, ClassVar

COMMANDS = {"profile", "trace", "add"}
"""Commands of `fitcard` that import torch or start processes that do."""
WORKERS = {"fitcard.profiler.worker", "fitcard.profiler.bounded_trace"}
IMPORTED = (
    "fitcard.profiler.runner", "fitcard.profiler.trace", "fitcard.profiler.minimal_config", "fitcard.profiler.checkpoint",
    "fitcard.profiler.backends.torch_dtype", "fitcard.profiler.backends.gguf_packed", "transformers.modeling_utils",
    "transformers.models.bert.modeling_bert", "transformers.models.clip.modeling_clip",
    "transformers.models.siglip.modeling_siglip", "torchao", "bitsandbytes",
)  # fmt: skip
"""None of these starts a thread that a fork would miss, and none reads what a test sets in the environment."""
ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
"""Tests put another program there to have none."""
STARTED_S = 600.0
"""How long a fork may take: the first waits for the imports."""


class Preloaded(Popen[Any]):
    """A process; a fork of one that has imported torch where it would import that first of all."""

    forker: ClassVar[socket.socket | None] = None
    """The line to the process that forks. Each fork that may start others has one of its own."""
    started: ClassVar[Popen[bytes] | None] = None
    lock: ClassVar[Lock] = Lock()

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
        """What Popen calls to start the process, with its own parameters."""
        if preexec_fn is not None or not needs_torch(args):
            super()._execute_child(args, executable, preexec_fn, *rest)  # type: ignore[misc]  # it is private
            return
        _, pass_fds, cwd, env, _, _, _, *pipes = rest[:13]
        given = [end if end != -1 else number for number, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        request = {
            "command": [os.fspath(word) for word in args[2:]], "folder": os.fspath(cwd or Path.cwd()), "environment": dict(os.environ if env is None else env),
            "numbers": [0, 1, 2, *pass_fds], "session": rest[18],
        }  # fmt: skip
        try:
            with self.lock:
                forker = self.line()
                socket.send_fds(forker, [json.dumps(request).encode()], [*given, *pass_fds])
                self.pid = int(forker.recv(32))
                forker.recv(64)
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # it is private
        self._child_created = True

    @classmethod
    def line(cls) -> socket.socket:
        """The line to the process that forks, which is started when it is first needed."""
        if cls.forker is None:
            adopt_orphans()
            cls.forker, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            cls.forker.settimeout(STARTED_S)
            path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
            # The workers' own environment, as far as it is read while something is imported.
            fixed = {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
            with other:
                cls.started = Popen(
                    [sys.executable, "-m", "tests.preloaded", str(other.fileno())], pass_fds=[other.fileno()], cwd=ROOT,
                    env={**os.environ, **fixed}, stdin=DEVNULL, stdout=DEVNULL,
                )  # fmt: skip
        return cls.forker

    @classmethod
    def close(cls) -> None:
        """End the process that forks."""
        if cls.forker is not None:
            cls.forker.close()
        if cls.started is not None:
            cls.started.wait()


def needs_torch(command: Sequence[Any]) -> bool:
    """Whether a command line runs one of our modules that imports torch."""
    words = [os.fspath(word) for word in command] if isinstance(command, list) else []
    if words[:2] != [PYTHON, "-m"]:
        return False
    return words[2] in WORKERS or (words[2] == "fitcard" and not COMMANDS.isdisjoint(words[3:]))


def adopt_orphans() -> None:
    """Become the parent of those below this process whose own has ended: so a fork of a fork is its child. Linux only."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def forks(line: socket.socket) -> list[str]:
    """Fork for each request until the line is closed. It returns in the forks alone, with the command of each."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    while True:
        message, files, _, _ = socket.recv_fds(line, 1 << 20, 16)
        if not message:
            os._exit(0)
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for file in files:
                os.close(file)
            line.send(b"its parent is the asking process now")
            continue
        between = os.getpid()
        begins, begun_end = os.pipe()
        if fork := os.fork():
            os.close(begun_end)
            os.read(begins, 1)
            line.send(str(fork).encode())
            os._exit(0)
        request = json.loads(message)
        if request["session"]:
            os.setsid()
        os.close(begins)
        os.close(begun_end)
        while os.getppid() == between:
            time.sleep(0.0005)
        return begun(request, files, line)


def begun(request: dict[str, Any], files: list[int], line: socket.socket) -> list[str]:
    """Make this fork what was asked for, and give its command."""
    line.close()
    if request["command"][0] not in WORKERS:
        adopt_orphans()
        Preloaded.forker, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            Preloaded.forker.close()
            for file in files:
                os.close(file)
            return forks(other)
        other.close()
        subprocess.Popen = Preloaded  # type: ignore[misc]
    high = [os.dup2(file, 200 + file, inheritable=False) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(high, request["numbers"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command: list[str] = request["command"]
    return command


def main() -> None:
    """Import what takes long, fork for whoever is at the other end of the line, and be what a fork is to be."""
    line = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()
    sys.argv = forks(line)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
