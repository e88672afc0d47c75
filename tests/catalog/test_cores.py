"""Work is dealt so that all cores end at about the same time, and what belongs together is done by one."""

from __future__ import annotations

import pytest

from catalog.cores import cores, dealt


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
