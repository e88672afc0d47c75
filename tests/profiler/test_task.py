"""Tasks and results cross from one process to the other unchanged."""

from __future__ import annotations

import math
from pathlib import Path

from fitcard.profiler.task import BatchSpeed, Measured, MeasuredSpeed, read_result, write_result


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    """To the last bit of every sample; embeddings that are infinite or not a number stay so, and no result is None."""
    file = tmp_path / "a.json"
    assert read_result(file) is None
    row = BatchSpeed(batch=1, samples_s=(0.123456789012345, 0.1 + 0.2), settled=True)
    embeddings = [[math.nan, math.inf, -math.inf, 0.1]]
    speed = MeasuredSpeed(rows=(row,), load_s=1.0, first_run_s=2.0, threads=2, embeddings=embeddings)
    write_result(file, Measured(speed=speed))
    answer = read_result(file)
    assert isinstance(answer, Measured)
    assert answer.speed is not None
    assert answer.speed.embeddings is not None
    assert answer.speed.rows == (row,)
    assert repr(answer.speed.embeddings) == repr(embeddings)
