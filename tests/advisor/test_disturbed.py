"""Runs while the device was throttled or other jobs ran: marked, and weighing less."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from fitcard.advisor import fit
from fitcard.advisor.calibrate import calibrate
from fitcard.advisor.hardware import hardware_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.run import Run, sealed
from tests.advisor.test_run_band import CLIP, H100, XEON

THROTTLED = {"power": {"joules_per_item": 1.0, "watts": 600.0, "clock_mhz": 1200.0, "temperature_c": 90, "throttled": ["thermal, by software"]}}  # fmt: skip
CALM: dict[str, Any] = {"power": None, "others_busy": 0.1}
BUSY = {"power": None, "others_busy": 0.35}


def slowed(run: Run, factor: float, cases_at_once: int, **speed: Any) -> Run:
    """The same run with passes so many times as long, and what was going on meanwhile."""
    fields = run.model_dump(mode="json", exclude={"key"})
    for row in fields["speed"]:
        row |= {"samples_s": [[sample * factor for sample in samples] for samples in row["samples_s"]], **speed}
    return sealed({**fields, "cases_at_once": cases_at_once})


def test_what_went_on_meanwhile_is_told(real: Catalog) -> None:
    run = next(run for run in real.runs if run.machine.device == H100 and run.speed)
    told = [
        slowed(run, 1.0, cases, **meanwhile) for cases, meanwhile in ((1, CALM), (1, THROTTLED), (4, CALM), (2, BUSY))
    ]
    assert [one.disturbances(one.speed[0]) for one in told] == [
        (),
        ("throttled (thermal, by software)",),
        ("up to 4 cases under way",),
        ("up to 2 cases under way", "other programs on 35% of the processors"),
    ]


@pytest.mark.parametrize("meanwhile", [THROTTLED, BUSY])
def test_a_disturbed_run_on_a_gpu_weighs_a_quarter(meanwhile: dict[str, Any], real: Catalog) -> None:
    """What ran in FP32 on the H100 is 1.2 times slower: if it was held up, that moves the mean of the GPU less."""

    def slower(factor: float, meanwhile: dict[str, Any]) -> float:
        runs = [
            slowed(run, factor, 1, **meanwhile) if run.quantization == "FP32" else slowed(run, 1.0, 1, **CALM)
            for run in real.runs
            if run.machine.device == H100 and run.speed
        ]
        found = calibrate(replace(real, runs=tuple(runs)), "2026-11-29")
        return math.log(found.known[H100]["eager"].slower)

    moved_calm, moved = (slower(1.2, each) - slower(1.0, each) for each in (CALM, meanwhile))
    assert 0 < moved < 0.6 * moved_calm


def test_a_disturbed_run_on_a_processor_weighs_a_quarter(real: Catalog) -> None:
    """The time of a multiply-add there is a mean over the models that were run, by hand."""
    runs = [
        run
        for run in real.runs
        if run.machine.device == XEON and run.quantization == "BF16" and run.component == "vision"
    ]
    newest = {run.model: run for run in runs if run.batch_speed(4) and not run.memory_limit_bytes}
    one, *others = [model for model in newest if model != CLIP]
    assert others
    quiet = {model: slowed(run, 1.0, 1, **CALM) for model, run in newest.items() if model != CLIP}

    def expected(first: Run) -> float:
        catalog = replace(real, runs=(first, *(quiet[model] for model in others)))
        found = fit.question(catalog, CLIP, "vision").predicted("BF16", hardware_of(catalog, XEON), 4)
        assert found
        return math.log(found.per_second)

    for meanwhile, weight in ((CALM, 1.0), (BUSY, 0.25)):
        as_it_was, slower = (expected(slowed(newest[one], factor, 1, **meanwhile)) for factor in (1.0, 1.2))
        assert as_it_was - slower == pytest.approx(math.log(1.2) * weight / (weight + len(others)))
