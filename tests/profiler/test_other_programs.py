"""What other programs take of the processors while something is timed."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from fitcard.profiler.other_programs import OtherPrograms


class Times(NamedTuple):
    """As /proc/stat has them: the time of guests stands in `user` too."""

    user: float
    idle: float
    iowait: float
    guest: float


def test_what_this_process_works_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 s of two processors: 6 s worked, 4 s of it for this process."""
    clock = [Times(100.0, 50.0, 5.0, 20.0), Times(106.0, 53.0, 6.0, 22.0)]
    own = [SimpleNamespace(user=1.0, system=1.0), SimpleNamespace(user=4.0, system=2.0)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: clock.pop(0))
    monkeypatch.setattr(psutil.Process, "cpu_times", lambda self: own.pop(0))
    assert OtherPrograms().share() == 0.2


def test_a_busy_program_is_seen() -> None:
    """One that counts on one processor; in no time at all nothing is said."""
    others = OtherPrograms()
    assert others.share() is None
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        others = OtherPrograms()
        time.sleep(1.5)
        share = others.share()
    finally:
        busy.kill()
        busy.wait()
    assert share is not None
    assert share >= 0.5 / (psutil.cpu_count() or 1)
