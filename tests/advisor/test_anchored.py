"""Predictions beside measurements of the same variant on the same device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import pytest

from fitcard.advisor import fit
from fitcard.advisor.evidence import evidence_of
from fitcard.advisor.fit import ModelQuestion
from fitcard.advisor.hardware import Hardware, hardware_of
from fitcard.advisor.predict import ANCHORED_HALF_WIDTH, Predicted, anchored
from fitcard.catalog import Catalog
from fitcard.catalog.schema.run import Run
from tests.advisor.asking import ask

SO400M = "google/siglip-so400m-patch14-384"
BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 48, 64, 96, 128, 256)


def measured(real: Catalog) -> Iterator[tuple[ModelQuestion, Hardware, Run]]:
    """The newest good run of every variant of an encoder on every device."""
    for model in dict.fromkeys(run.model for run in real.run_index):
        for newest, *_ in evidence_of(real, model).good.values():
            run = real.run(newest.key)
            if run.component == "language":  # which has no batches to predict between
                continue
            asked = fit.question(real, model, run.component, mode=run.mode)
            yield asked, hardware_of(real, run.machine.device), run


def test_no_interval_excludes_a_measured_neighbour(real: Catalog) -> None:
    """At any batch of any measured variant; and between two measured batches the prediction lies between what they reached."""
    looked_at = 0
    for asked, hardware, run in measured(real):
        own = {speed.batch: speed.per_second for speed in run.speed}
        for batch in BATCHES:
            expected = asked.predicted(run.quantization, hardware, batch)
            if expected is None:
                continue
            below, above = [at for at in own if at <= batch], [at for at in own if at >= batch]
            near = [own[at] for at in {*below[-1:], *above[:1]}]
            assert near
            for reached in near:
                assert expected.low <= reached <= expected.high, (run.key, batch)
            if below and above:
                assert min(near) <= expected.per_second <= max(near), (run.key, batch)
            assert expected.low <= expected.per_second <= expected.high
            looked_at += 1
    assert looked_at > 1000


def test_the_ratio_is_interpolated_over_the_logarithm_of_the_batch() -> None:
    """By hand: measured 0.5 and 0.8 times the prediction at batches 4 and 64; halfway, at 16, their geometric mean."""

    def predicted(batch: int) -> Predicted:
        return Predicted(100.0 + batch, 90.0, 200.0, "because")

    own = [(4, 52.0), (64, 131.2)]
    halfway = anchored(predicted, 16, own)
    assert halfway is not None
    assert halfway.per_second == pytest.approx(116 * math.sqrt(0.5 * 0.8))
    assert halfway.why == "because; corrected by this variant's own run at batches 4 and 64"
    beyond = anchored(predicted, 128, own)
    assert beyond is not None
    assert beyond.per_second == pytest.approx(228 * 0.8)
    assert beyond.low == 131.2
    assert beyond.why.endswith("own run at batch 64")
    assert anchored(predicted, 16, []) == predicted(16)


def test_an_h100_is_not_expected_to_be_faster_between_its_measurements(real: Catalog) -> None:
    """416 and 464 images/s were measured at batches 8 and 64, where 511 to 631 had been predicted beside them."""
    for batch in (16, 32):
        answer = ask(real, SO400M, "h100-sxm", "BF16", batch=batch)
        assert answer.speed is not None
        assert answer.speed.evidence == "predicted"
        assert 416 < answer.speed.per_second < 465
        assert "corrected by this variant's own run at batches 8 and 64" in answer.reasons[-1]
    for batch in (128, 256):
        answer = ask(real, SO400M, "h100-sxm", "BF16", batch=batch)
        assert answer.speed is not None
        assert 440 < answer.speed.per_second < 490


def test_what_has_no_run_of_its_own_is_predicted_as_before(real: Catalog) -> None:
    """Another model, another mode and another GPU; and the same variant where runs shall not be looked at."""
    for model, gpu, mode, only in (
        ("google/siglip-large-patch16-384", "h100-sxm", "eager", False),
        (SO400M, "h100-sxm", "compiled", False),
        (SO400M, "h200-sxm", "eager", False),
        (SO400M, "h100-sxm", "eager", True),
    ):
        answer = ask(real, model, gpu, "BF16", batch=16, mode=mode, only_predicted=only)  # type: ignore[arg-type]
        assert not any("own run" in reason for reason in answer.reasons)


def test_the_half_width_is_that_of_batches_left_out(real: Catalog) -> None:
    """The middle batch of every run on a GPU, predicted from the others: four of five within it, and not by far."""
    errors: list[float] = []
    for asked, hardware, run in measured(real):
        if hardware.only_runs or len(run.speed) != 3:
            continue
        first, middle, last = ((speed.batch, speed.per_second) for speed in run.speed)
        unanchored = partial(asked._unanchored, run.quantization, hardware)
        if expected := anchored(unanchored, middle[0], [first, last]):
            errors.append(abs(math.log(expected.per_second / middle[1])))
    assert len(errors) >= 26
    assert 0.78 <= sum(error <= ANCHORED_HALF_WIDTH for error in errors) / len(errors) <= 0.85
