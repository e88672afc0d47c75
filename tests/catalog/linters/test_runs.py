"""Runs against the rules of today."""

from __future__ import annotations

from pathlib import Path

from fitcard.catalog import load
from fitcard.catalog.linters import runs
from fitcard.catalog.schema.quantization import predicted_census
from fitcard.catalog.storage.writer import add_run
from tests.catalog.test_store import MODEL, made_run


def test_a_run_of_what_a_label_meant_once(copied: Path) -> None:
    """Its census is no longer what the rule says; one that it says, and one of another configuration, are in order."""
    catalog = load(copied)
    rule = predicted_census(catalog.quantizations["BF16"], catalog.traces[MODEL].tensors_of("vision"))
    today = catalog.models[MODEL].config_sha256
    good = {"census": {k: v.model_dump() for k, v in rule.items()}, "bits_per_weight": None, "file_bytes": None}
    add_run(copied / "runs", made_run(seed=1, config_sha256=today, **good))
    add_run(copied / "runs", made_run(seed=2, config_sha256="0" * 64))
    assert list(runs.check(load(copied))) == []
    old = made_run(seed=3, config_sha256=today)
    path = add_run(copied / "runs", old)
    (problem,) = runs.check(load(copied))
    line = next(number for number, row in enumerate(path.read_text().splitlines(), 1) if old.key in row)
    assert (problem.path, problem.line, problem.field) == (path, line, f"{old.key}.census")
    types = ", ".join(f"{name} x{row.tensors}" for name, row in rule.items())
    assert problem.message == f"is no longer what BF16 means: run it again (got BF16 x1; the rule: {types})"
