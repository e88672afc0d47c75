"""What every process that fitcard starts to do one thing has in common. Imports nothing heavy."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import fitcard


def module_command(module: str, *words: str) -> list[str]:
    """The command line of `python -m MODULE WORDS... PARENT`, where PARENT is this process, for `die_with_parent`."""
    return [sys.executable, "-m", module, *words, str(os.getpid())]


def child_environment() -> dict[str, str]:
    """The environment of a child: it imports this very package, and never asks the hub for anything."""
    root = Path(str(fitcard.__file__)).parents[1]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when the one that started it is gone, even by kill -9. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of linux/prctl.h
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone")
