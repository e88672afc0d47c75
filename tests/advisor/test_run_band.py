"""Runs outside the band in which they are expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fitcard.advisor import fit, run_band
from fitcard.advisor.accuracy import memory_errors, speed_accuracy
from fitcard.advisor.calibrate import calibrate, evidence_sha256
from fitcard.advisor.evidence import evidence_of
from fitcard.advisor.hardware import hardware_of
from fitcard.advisor.impact import consequences
from fitcard.advisor.recommend import picks
from fitcard.advisor.run_band import flagged, out_of_band
from fitcard.catalog import Catalog, load
from fitcard.catalog.linters import impossible, problems
from fitcard.catalog.schema.run import Run, sealed
from fitcard.catalog.schema.waivers import Excepted
from fitcard.catalog.schema.workload import Setup, Variant, Workload
from fitcard.catalog.storage.writer import add_run
from fitcard.site.generator.data import model_card
from fitcard.site.generator.pages import quantization_page
from tests.conftest import Cli

SO400M = "google/siglip-so400m-patch14-384"
CLIP = "openai/clip-vit-large-patch14-336"
H100, XEON = "h100-sxm", "cpu-intel-r-xeon-r-processor-family-6-model-167-2-cores"


def forged(real: Catalog, model: str, device: str, factor: float, labels: Sequence[str]) -> list[Run]:
    """The model's runs on a device with every pass so many times as long, a day later."""
    runs: list[Run] = []
    for run in real.runs_of(model):
        if run.machine.device != device or run.quantization not in labels or not run.speed or run.memory_limit_bytes:
            continue
        fields = run.model_dump(mode="json", exclude={"key"})
        for speed in fields["speed"]:
            speed["samples_s"] = [[sample * factor for sample in samples] for samples in speed["samples_s"]]
            speed["power"] = None
        runs.append(sealed({**fields, "measured_at": "2026-11-28T00:00:00Z"}))
    return runs


def speeds(catalog: Catalog, model: str, device: str) -> list[tuple[float, float, float] | None]:
    """What is predicted of a model there, to the last digit."""
    rows: list[tuple[float, float, float] | None] = []
    for component in (phase.component for phase in catalog.traces[model].phases):
        asked, hardware = fit.question(catalog, model, component), hardware_of(catalog, device)
        for label, batch in ((label, batch) for label in ("BF16", "FP32", "Q8_0") for batch in (1, 16, 128)):
            one = asked.predicted(label, hardware, batch)
            rows.append((one.per_second, one.low, one.high) if one else None)
    return rows


def test_no_committed_run_is_flagged(real: Catalog) -> None:
    """All of them were really run; the farthest is within the band by a margin of less than a tenth."""
    models = dict.fromkeys(run.model for run in real.run_index)
    assert [str(out) for model in models for out in out_of_band(real, model)] == []


@pytest.mark.parametrize(("model", "device", "factor"), [(SO400M, H100, 5.0), (CLIP, XEON, 5.0), (SO400M, XEON, 5.0)])
def test_forged_runs_of_one_model_move_no_other(model: str, device: str, factor: float, real: Catalog) -> None:
    """Possible, but wrong by a factor of five: each is flagged, and after a fit on that catalog every other model is predicted
    on that device as before, to the last digit."""
    forgeries = forged(real, model, device, factor, ("BF16", "FP32", "FP16"))
    assert not any(impossible(real, run) for run in forgeries)
    other = replace(real, runs=(*real.runs, *forgeries))
    doubted = flagged(other, model)
    believed = [run for run in forgeries if run.key not in doubted]
    if device == H100:
        assert believed == []
        assert doubted.keys() == {run.key for run in forgeries}
    assert len(doubted) >= 1
    # Of variants that fewer than two other models ran there, nothing is expected, and no other model rests on one run of them.
    other = replace(real, runs=(*real.runs, *(run for run in forgeries if run.key in doubted)))
    assert real.speed is not None
    again = calibrate(other, real.speed.fitted)
    assert again == real.speed
    other = replace(other, speed=again)
    for name in real.models:
        if name != model:
            assert speeds(other, name, device) == speeds(real, name, device), name
    assert not any(flagged(other, name) for name in real.models if name != model)


def test_a_run_five_times_too_fast_is_flagged(real: Catalog) -> None:
    """In BF16 at batch 1, where no bound of the hardware stands in the way."""
    (run,) = forged(real, SO400M, H100, 0.2, ["BF16"])[:1]
    fields = run.model_dump(mode="json", exclude={"key"})
    fields["speed"] = fields["speed"][:1]
    fast = sealed(fields)
    assert impossible(real, fast) == []
    (out,) = out_of_band(replace(real, runs=(*real.runs, fast)), SO400M)
    assert out.key == fast.key
    assert re.search(r"a second at batch 1 is \d\.\d times outside the [\d.]+ to [\d.]+ that are expected", str(out))


def test_a_flagged_run_is_left_out_until_it_is_signed_off(real: Catalog, copied: Path, cli: Cli) -> None:
    """`check` names it and stops; errors, fits and anchors do without it; an exception with a reason takes it in, and is needless
    without it."""
    (run,) = [run for run in forged(real, SO400M, H100, 5.0, ["BF16"]) if run.component == "vision"]
    path = add_run(copied / "runs", run)
    done = cli("check", catalog=copied)
    assert done.returncode == 1
    assert re.search(rf"{SO400M}\.yaml:\d+: {run.key}\.speed: .* sign it off in exceptions\.yaml", done.stderr)
    doubting = load(copied)
    assert [row for row in memory_errors(doubting) if row.record == run.key] == []
    assert not any(row.record == run.key for one in speed_accuracy(doubting) for row in one.rows)
    asked = fit.question(doubting, SO400M, "vision")
    expected = asked.predicted("BF16", hardware_of(doubting, H100), 16)
    assert expected is not None
    assert "own run" not in expected.why
    file = path.relative_to(copied).as_posix()
    signed = Excepted(linter="run_band", file=file, field=f"{run.key}.speed", why="Somebody looked.")
    trusting = replace(doubting, exceptions=(*doubting.exceptions, signed))
    assert flagged(trusting, SO400M) == {}
    assert run.key not in "".join(map(str, problems(trusting, also=[run_band])))
    assert evidence_sha256(trusting) != evidence_sha256(doubting)
    assert any(row.record == run.key for row in memory_errors(trusting))
    needless = replace(trusting, runs=())
    assert "run_band no longer finds fault with" in "".join(map(str, problems(needless, also=[run_band])))


@pytest.mark.parametrize(("model", "device"), [(SO400M, H100), (CLIP, XEON)])
def test_a_flagged_run_is_ranked_nowhere_and_answers_nothing(model: str, device: str, real: Catalog) -> None:
    """However fast it is: the older runs stand in every list, answer, history and model card as if it were not there."""
    forgeries = forged(real, model, device, 0.1, ("BF16", "FP32"))
    other = replace(real, runs=(*real.runs, *forgeries))
    keys = {run.key for run in forgeries}
    assert flagged(other, model).keys() == keys != set()
    assert evidence_of(other, model).fastest == evidence_of(real, model).fastest
    assert dict(picks(other, model)) == dict(picks(real, model))
    for label in ("BF16", "FP32"):
        asked = Variant(model, "vision", label), Setup(device), Workload(4)
        assert fit.fit(other, *asked) == fit.fit(real, *asked)
    assert list(consequences(other, model, device, "2026-11-28")) == []
    assert not keys & {run.key for label in ("BF16", "FP32") for run in quantization_page.view(other, label).runs}
    assert not keys & set(re.findall("[0-9a-f]{16}", model_card.card(other, model).decode()))


def test_of_two_models_on_a_device_neither_is_doubted(real: Catalog) -> None:
    """Where they differ, either may be wrong."""
    runs = [run for run in real.runs if run.machine.device == XEON and run.model in (CLIP, SO400M)]
    forgeries = forged(real, CLIP, XEON, 50.0, ["BF16"])
    other = replace(real, runs=(*(run for run in runs if run.model == SO400M), *forgeries))
    assert forgeries
    assert [out for model in (CLIP, SO400M) for out in out_of_band(other, model)] == []


def test_nothing_is_expected_where_nothing_was_fitted(real: Catalog) -> None:
    runs = (*real.runs, *forged(real, SO400M, H100, 5.0, ["BF16"]))
    assert out_of_band(replace(real, runs=runs, speed=None), SO400M) == []
