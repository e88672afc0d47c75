"""Texts about every run are the same whether they come from the cache or not, and a new run costs one stretch of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fitcard.catalog.storage.index import RunSummary
from fitcard.site.generator.engine.stretches import joined


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _entries(count: int, seed: int) -> list[RunSummary]:
    keys = (hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:16] for number in range(count))
    days = random.Random(seed)
    found = [
        RunSummary(
            key, "org/model", "card", "vision", "BF16", "eager", "ok", f"2026-01-{days.randint(1, 9):02}T00:00:00Z"
        )
        for key in keys
    ]
    return sorted(found, key=lambda run: (run.measured_at, run.key))


def test_a_run_that_comes_between_others_costs_one_stretch() -> None:
    """Many runs have the same time, and so are in the order of their keys."""
    asked: list[int] = []

    def make(some: Sequence[RunSummary]) -> dict[str, bytes]:
        asked.append(len(some))
        return {run.key: f"<{run.key}>".encode() for run in some}

    runs = _entries(5000, 1)
    with_another = [sorted([*runs, new], key=lambda run: (run.measured_at, run.key)) for new in _entries(20, 2)]
    for among in (runs, *with_another, runs[:1], []):
        catalog: Any = SimpleNamespace(run_index=tuple(among))
        assert joined(catalog, "test", b",", make) == b",".join(f"<{run.key}>".encode() for run in among)
    assert asked[0] == 5000
    assert (
        0 < sum(asked[1:21]) / 20 < 200
    )  # a stretch is 64 long, and a run falls into a long one rather than into a short one
    assert sum(asked[21:]) <= 1
