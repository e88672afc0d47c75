"""Work is dealt so that all cores end at about the same time, and what belongs together is done by one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fitcard.catalog.parallel import cores, dealt
from tests.conftest import ROOT


@pytest.mark.parametrize("lengths", ([], [1], [3, 3, 3, 3], [1] * 100, [500, 1, 1, 1], [40, 30, 20, 10, 5, 5, 5]))
@pytest.mark.parametrize("count", (1, 4, 32))
@pytest.mark.parametrize("whole", (1, 8))
def test_groups_are_dealt_whole_and_evenly(lengths: list[int], count: int, whole: int) -> None:
    groups = [[(number, at) for at in range(length)] for number, length in enumerate(lengths)]
    parts = dealt(groups, count, whole=whole)
    assert len(parts) <= count
    assert all(parts)
    assert sorted(item for part in parts for item in part) == sorted(item for group in groups for item in group)
    most = max(whole, sum(lengths) // min(count, 4 * cores()))  # a group that is longer may be cut
    for number, length in enumerate(lengths):
        homes = [part for part in parts if any(item[0] == number for item in part)]
        assert len(homes) <= -(-length // most)
    assert max(map(len, parts), default=0) <= 2 * max(most, -(-sum(lengths) // max(1, count)))


BEGUN = """
import os, pathlib, time
from catalog import cores
from catalog.cores import begun

cores.cores = lambda: 2

def work(name, seconds):
    time.sleep(seconds)
    pathlib.Path(name).write_text(str(os.getpid()))
    raise ValueError(name)

with begun(lambda: work("asked", 0.2), needed=True) as ended:
    assert not os.path.exists("asked")
    ended()
    assert int(pathlib.Path("asked").read_text()) != os.getpid()
with begun(lambda: work("at the end", 0.2), needed=True):
    pass
assert os.path.exists("at the end")
try:
    with begun(lambda: work("killed", 0.5), needed=True):
        raise KeyError
except KeyError:
    pass
with begun(lambda: work("not needed", 0), needed=False) as ended:
    ended()
time.sleep(0.8)
assert sorted(os.listdir()) == ["asked", "at the end"], os.listdir()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none is left")
"""


def test_what_is_begun_is_done_meanwhile_or_killed(tmp_path: Path) -> None:
    """Its end is waited for where somebody asks, and at the latest at the end; a fault here ends it, a fault there is nobody's. In a
    process without threads, as the command line is: where there are some, nothing is begun."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, "-c", BEGUN], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("none is left\n", "")


APART = """
import os, signal
from catalog.cores import apart
from catalog.errors import FitcardError

kept = []

def work(fault=None):
    kept.append(bytearray(10**6))
    if fault:
        fault()
    return len(kept), os.getpid()

def refuse():
    raise FitcardError("no such card")

for _ in range(3):
    size, who = apart(work)
    assert (size, kept) == (1, []) and who != os.getpid()
for fault in (refuse, lambda: os.kill(os.getpid(), signal.SIGKILL)):
    try:
        apart(lambda: work(fault))
    except FitcardError as error:
        print(error)
"""


def test_what_is_done_apart_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither in memory nor when it fails or dies, which is told as what it is."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, "-c", APART], cwd=tmp_path, env=environment, capture_output=True, text=True)
    refused, died = done.stdout.splitlines()
    assert (refused, done.stderr) == ("no such card", "")
    assert "was killed by signal 9" in died
