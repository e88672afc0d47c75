"""Ctrl-C and SIGTERM, at any moment of any command that writes: no traceback, no half-written file, no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.nightly import NIGHTLY

COMMANDS = {
    "build": ["build", "--output", "{out}/site"],
    "trace": ["trace", "google/siglip-so400m-patch14-384"],
    "profile": ["profile", "google/siglip-so400m-patch14-384", "--component", "text", "--quant", "FP32", "--batch", "1", "--output", "{out}/runs"],
    "import": ["import", "tests/cases/llama-bench/{case}", "--title", "t", "--publisher", "p", "--licence", "MIT", "--url", "https://example.org/x.json"],
    "check": ["check"],
    "calibrate": ["calibrate"],
}  # fmt: skip


def caught(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0, 5.0] if NIGHTLY else [0.0, 2.0])
def test_it_ends_at_any_moment(
    command: str, number: signal.Signals, code: int, seconds: float, copied_sample: Path, tmp_path: Path
) -> None:
    """Ctrl-C reaches the whole group, SIGTERM the process alone; so many seconds after Python has begun with our code."""
    case = sorted((ROOT / "tests/cases/llama-bench").iterdir())[0].name
    words = [word.format(out=tmp_path, case=case) for word in COMMANDS[command]]
    before = {path: path.read_bytes() for path in copied_sample.rglob("*") if path.is_file()}
    process = subprocess.Popen(
        [sys.executable, "-m", "fitcard", "--catalog", str(copied_sample), *words], cwd=ROOT, start_new_session=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None and not caught(process.pid, signal.SIGTERM):
        time.sleep(0.002)
    time.sleep(seconds)
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    done = process.poll() is not None
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number) if not done else None
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    # Once all is said, Python puts the handlers of signals away before it ends.
    assert process.returncode in ((0, 1) if done else (code, 0, -number) if out else (code,)), err
    assert psutil.wait_procs(children, 5)[1] == []
    assert not list(tmp_path.rglob("*.tmp"))
    assert not (tmp_path / ".site.fresh").exists()
    workspaces = tmp_path / "cache/fitcard/workspaces"
    assert not [folder for folder in workspaces.glob("*") if folder.is_dir()]
    if command in ("build", "check", "profile"):
        assert {path: path.read_bytes() for path in copied_sample.rglob("*") if path.is_file()} == before
