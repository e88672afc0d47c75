"""A fork in place of a process is, for whoever started it, that process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import in_a_process, in_this_process

WAITING = [sys.executable, "-m", "fitcard.profiler.bounded_trace", str(os.getpid())]
"""A worker, which waits for its task on standard input."""


def test_a_fork_is_a_process_of_its_own(tmp_path: Path) -> None:
    """A child of this process with the folder, the files and the session that were asked for, in which nothing else runs; it ends
    when it is told to, and by a signal."""
    read, write = os.pipe()
    with subprocess.Popen(
        WAITING, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path, start_new_session=True, pass_fds=[write]
    ) as process:  # fmt: skip
        fork = psutil.Process(process.pid)
        assert "tests.preloaded" in fork.cmdline()
        assert (fork.ppid(), fork.num_threads(), fork.cwd()) == (os.getpid(), 1, str(tmp_path))
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
        assert sorted(int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir()) == [0, 1, 2, write]
        os.close(write)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    assert os.read(read, 1) == b""
    os.close(read)
    assert subprocess.run(WAITING, input="no task", text=True, stderr=subprocess.DEVNULL, check=False).returncode == 1


def test_a_fork_has_its_environment_and_says_what_a_call_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same output and exit code, of a command that asks another fork and of one that is told all by its environment."""
    monkeypatch.setenv("FITCARD_CATALOG", str(tmp_path / "nothing"))
    file = tmp_path / "config.json"
    file.write_text('{"model_type": "nonsense"}')
    for words, said in ((["trace", str(file)], "'nonsense'"), (["trace", "so400m"], str(tmp_path / "nothing"))):
        fork, call = in_a_process(words), in_this_process(words)
        assert (fork.returncode, fork.stdout, fork.stderr) == (call.returncode, call.stdout, call.stderr)
        assert fork.returncode == 1
        assert said in fork.stderr
