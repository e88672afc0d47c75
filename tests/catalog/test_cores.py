"""Work is dealt so that all cores end at about the same time, and what belongs together is done by one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from catalog.cores import begun, cores, dealt


@pytest.mark.parametrize("lengths", ([], [1], [3, 3, 3, 3], [1] * 100, [500, 1, 1, 1], [40, 30, 20, 10, 5, 5, 5]))
@pytest.mark.parametrize("count", (1, 4, 32))
def test_groups_are_dealt_whole_and_evenly(lengths: list[int], count: int) -> None:
    groups = [[(number, at) for at in range(length)] for number, length in enumerate(lengths)]
    parts = dealt(groups, count)
    assert len(parts) <= count
    assert all(parts)
    assert sorted(item for part in parts for item in part) == sorted(item for group in groups for item in group)
    most = max(1, sum(lengths) // min(count, 4 * cores()))  # a group that is longer may be cut
    for number, length in enumerate(lengths):
        homes = [part for part in parts if any(item[0] == number for item in part)]
        assert len(homes) <= -(-length // most)
    assert max(map(len, parts), default=0) <= 2 * max(most, -(-sum(lengths) // max(1, count)))


def test_what_is_begun_is_done_meanwhile_or_killed(tmp_path: Path) -> None:
    """Its end is waited for where somebody asks, and at the latest at the end; a fault here ends it, a fault there is nobody's."""

    def work(name: str, seconds: float) -> None:
        time.sleep(seconds)
        (tmp_path / name).write_text(str(os.getpid()))
        raise ValueError(name)

    with begun(lambda: work("asked", 0.2), needed=True) as ended:
        assert not (tmp_path / "asked").exists()
        ended()
        assert int((tmp_path / "asked").read_text()) != os.getpid()
    with begun(lambda: work("at the end", 0.2), needed=True):
        pass
    assert (tmp_path / "at the end").exists()
    with pytest.raises(KeyError), begun(lambda: work("killed", 0.5), needed=True):
        raise KeyError
    with begun(lambda: work("not needed", 0), needed=False) as ended:
        ended()
    time.sleep(0.8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked", "at the end"]
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(-1, os.WNOHANG)
