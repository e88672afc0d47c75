"""Predicted speed: the physics, the fit, and what holds for any card and model."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from fitcard.advisor import fit
from fitcard.advisor.accuracy import speed_accuracy
from fitcard.advisor.calibrate import calibrate, evidence_sha256, measured_in_16_bit, told
from fitcard.advisor.detect import Detected, detect, with_free_memory
from fitcard.advisor.fit_speed import PRIOR, PRIOR_WEIGHT, OfGpu, basis_of, fit_factors, fit_without
from fitcard.advisor.predict import predict
from fitcard.advisor.rates import fit_sustained, measured_gpus, measured_rate, sustained_rate
from fitcard.advisor.records import records_of, rules_of
from fitcard.advisor.speed import Setting
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import GIB, Gpu
from fitcard.catalog.schema.speed import Factors
from fitcard.catalog.schema.workload import Variant, Workload
from tests.advisor.asking import ask, work_of
from tests.conftest import Cli
from tests.nightly import NIGHTLY

SO400M = "google/siglip-so400m-patch14-384"


def seconds(catalog: Catalog, card: Gpu, batch: int, label: str = "FP16", mode: str = "compiled") -> float:
    assert catalog.speed is not None
    setting = Setting(mode, batch)  # type: ignore[arg-type]
    return work_of(catalog, SO400M, card.id, label, setting).seconds(catalog.speed.factors)


def test_matrix_products_take_their_flops_at_the_sustained_rate(real: Catalog) -> None:
    """By hand, for the four square projections and the MLP of SO400M's 27 layers at batch 256 on an RTX 4090."""
    rate = measured_rate(real.matmul, "rtx-4090", "fp16")
    assert rate == 171.06e12  # the best of six people's
    found = work_of(real, SO400M, "rtx-4090", "FP16", Setting("compiled", 256))
    layers = 27 * 2 * 729 * 256 * (4 * 1152 * 1152 + 2 * 1152 * 4304)
    head = 2 * 256 * (2 * 729 + 2) * 1152 * 1152 + 2 * 2 * 256 * 1152 * 4304  # attention pooling, and its own MLP
    assert found.matmul == pytest.approx((layers + head) / rate, rel=0.01)


def test_a_small_batch_wastes_units_and_launches_bound_the_smallest(real: Catalog) -> None:
    """One image fills 54 large tiles of a 128-unit card; two hundred images run in less than two hundred times that."""
    card = real.gpus["rtx-4090"]
    assert seconds(real, card, 200) < 0.85 * 200 * seconds(real, card, 1)
    eager = work_of(real, "openai/clip-vit-base-patch32", "rtx-4090", "FP16", Setting("eager", 1))
    assert real.speed is not None
    assert eager.seconds(real.speed.factors) == eager.launches


def test_the_fit_finds_factors_that_made_the_data(real: Catalog) -> None:
    """Times made from known factors give these factors back, and a card whose rate nobody measured does not bend them."""
    truth = Factors(matmul=0.9, attention=1.5, convolution=3.0, moved=1.3, transposed=0.5, computed=0.7)
    known = []
    for measured in told(real):
        point, one = measured.point, measured.work
        slow = 1.25 if point.gpu == "rtx-pro-6000-blackwell-max-q" else 1.0
        busy = (one.matmul * 0.9 + one.attention * 1.5 + one.convolution * 3.0) * slow
        busy += one.moved * 1.3 + one.transposed * 0.5 + one.computed * 0.7
        known.append(measured._replace(point=point._replace(per_second=point.setting.batch / busy)))
    found = fit_factors(basis_of(known).gpus, measured_in_16_bit(real))
    for name in ("matmul", "attention", "moved"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=0.08), name


def test_the_fit_is_least_squares_of_its_rows(real: Catalog) -> None:
    """Summed row by row, every factor nudged either way makes more; and what is left out by group is as if it had never been there."""
    every = [one for one in told(real) if measured_rate(real.matmul, one.point.gpu, "bf16")]
    rows = Counter((one.point.gpu, one.point.setting.mode, one.point.model) for one in every)

    def squares(factors: Factors) -> float:
        found = 0.0
        for one in every:
            share = 1 - one.work._replace(launches=0.0).seconds(factors) / one.point.seconds
            found += (
                one.point.weight
                * share
                * share
                * max(rows.values())
                / rows[one.point.gpu, one.point.setting.mode, one.point.model]
            )
        pulls = ((getattr(factors, name) / getattr(PRIOR, name) - 1) ** 2 for name in Factors.model_fields)
        return found + PRIOR_WEIGHT * float(sum(pulls))

    measured = measured_in_16_bit(real)
    found = fit_factors(basis_of(every).gpus, measured)
    for name in Factors.model_fields:
        for nudge in (0.99, 1.01):
            other = found.model_copy(update={name: getattr(found, name) * nudge})
            assert squares(other) > squares(found), (name, nudge)
    everything = told(real)
    whole = basis_of(everything)
    names: tuple[Literal["gpu", "model"], ...] = ("gpu", "model")
    for name in names:
        for gone in sorted({getattr(one.point, name) for one in everything}):
            rest = [one for one in everything if getattr(one.point, name) != gone]
            assert fit_without(whole, name, gone, measured) == fit_factors(basis_of(rest).gpus, measured), gone


def test_factors_at_the_bound_are_those_of_the_smallest_sum(real: Catalog) -> None:
    """For measurements that would rather have some factors negative: no factor at zero would lessen the squares if it grew, and the
    slope of all others is level."""
    chance, held = random.Random(7), 0
    prior = [getattr(PRIOR, name) for name in Factors.model_fields]
    for _ in range(200):
        wish = [chance.uniform(-2, 3) for _ in prior]
        share = [chance.uniform(0, 3) for _ in prior]  # of one kind that all measurements have much of
        rows = [[one * share[0] + chance.uniform(0, 1) for one in share] for _ in range(8)]
        rows = [[*row, sum(a * b for a, b in zip(row, wish, strict=True))] for row in rows]
        products = [sum(row[i] * row[j] for row in rows) for i in range(7) for j in range(7)]
        found = fit_factors({"rtx-4090": OfGpu(1, products, products)}, {"rtx-4090"})
        factors = [getattr(found, name) for name in Factors.model_fields]
        for i, factor in enumerate(factors):
            slope = sum(row[i] * (sum(a * b for a, b in zip(row, factors, strict=False)) - row[-1]) for row in rows)
            slope += PRIOR_WEIGHT / prior[i] * (factor / prior[i] - 1)
            assert slope > -0.1 if factor == 0 else abs(slope) < 0.1, (factors, slope)
        held += factors.count(0) > 1
    assert held > 50


def test_a_generation_tells_what_an_unmeasured_card_sustains(real: Catalog) -> None:
    """Each card with measured matrix products, predicted without them: half within 8 %, four of five within 20 %."""
    errors = []
    for key in sorted({rate.gpu for rate in real.matmul.rates}):
        card = real.gpus[key]
        if card.supports("fp16") is False and card.supports("bf16") is False:
            continue
        known = measured_rate(real.matmul, key, "fp16")
        guess = sustained_rate(None, card, "fp16", fit_sustained(real.matmul, measured_gpus(real), key))
        if known and guess:
            errors.append(abs(math.log(guess.flops_per_s / known)))
    errors.sort()
    assert len(errors) > 50
    assert errors[len(errors) // 2] < 0.08
    assert errors[int(0.8 * len(errors))] < 0.20


def test_speed_is_as_accurate_as_promised(real: Catalog) -> None:
    """The numbers to reach: a card left out, median 10 % and nine of ten within 20 %; a model left out, median 5 %."""
    found = {one.way: one.summary for one in speed_accuracy(real)}
    assert found["gpu"].median <= 0.10
    assert found["gpu"].p90 <= 0.20
    assert found["gpu_whole"].median <= 0.10
    assert found["model"].median <= 0.05
    for way in ("gpu", "gpu_whole", "model"):
        assert 0.75 <= found[way].covered <= 0.90
        assert found[way].count > 200


def test_the_committed_fit_is_that_of_todays_figures(real: Catalog) -> None:
    assert real.speed is not None
    assert real.speed.evidence_sha256 == evidence_sha256(real), "run `fitcard calibrate`"
    assert calibrate(real, real.speed.fitted) == real.speed, "run `fitcard calibrate`"


def test_only_predicted_means_that_nothing_of_the_card_took_part(real: Catalog) -> None:
    """With another speed on record for a card, what is predicted for it without its figures stays the same to the last digit."""
    file = real.published[SO400M]
    doubled = file.model_copy(
        update={"speeds": tuple(s.model_copy(update={"per_second": 2 * s.per_second}) if s.gpu == "rtx-4090" else s for s in file.speeds)}
    )  # fmt: skip
    other = replace(real, published={**real.published, SO400M: doubled})
    other = replace(other, speed=calibrate(other, "2026-01-01"))
    for only in (True, False):
        mine = ask(real, SO400M, "rtx-4090", "FP16", batch=64, mode="compiled", only_predicted=only).speed
        theirs = ask(other, SO400M, "rtx-4090", "FP16", batch=64, mode="compiled", only_predicted=only).speed
        assert mine is not None
        assert theirs is not None
        assert (mine.per_second == pytest.approx(theirs.per_second, rel=1e-9)) == only


def test_a_card_without_bandwidth_or_rate_has_no_speed(real: Catalog) -> None:
    card = real.gpus["rtx-3060"]
    for left_out in ({"bandwidth_gb_per_s": None}, {"units": None, "boost_mhz": None}):
        bare = card.model_copy(update={"spec": card.spec.model_copy(update=left_out), "rates": None})
        catalog = replace(real, gpus={**real.gpus, "rtx-3060": bare})
        answer = ask(catalog, SO400M, "rtx-3060", "BF16")
        assert answer.verdict == "fits"
        assert answer.speed is None
    without = replace(real, speed=None)
    assert ask(without, SO400M, "rtx-3060", "BF16").speed is None


def test_intervals_widen_with_what_is_not_known(real: Catalog) -> None:
    """Narrow where models were measured on the card, wider where not, widest for quantized layers that nobody timed."""

    def width(card: str, label: str, batch: int) -> float:
        of = records_of(real, Variant(SO400M, "vision", label))
        found = predict(of, real.gpus[card], Setting("compiled", batch), rules_of(real))
        assert found is not None
        assert found.low < found.per_second < found.high
        return math.log(found.high / found.low)

    known, card, specification = (
        width("rtx-4090", "FP16", 128),
        width("rtx-3090", "FP16", 128),
        width("rtx-3050", "FP16", 128),
    )
    assert known < card < specification < width("rtx-3050", "Q8_0", 128)
    assert width("rtx-4090", "FP16", 1) > known
    assert width("rx-7900-xtx", "FP16", 128) > card


VERDICTS = {"fits": 2, "tight": 1, "no": 0, "unsupported": 0}


def test_more_memory_or_a_smaller_batch_never_makes_it_worse(real: Catalog) -> None:
    """Nor do fewer bits of the same runtime. Random models, labels, batches and memories, on cards of every vendor."""
    chance = random.Random(4)
    rows = {"gguf": ["Q8_0", "Q6_K", "Q4_0"], "torch": ["FP32", "BF16"]}
    for _ in range(300 if NIGHTLY else 100):
        model = chance.choice(list(real.models))
        card = real.gpus[chance.choice(list(real.gpus))]
        batch, memory = chance.choice([1, 2, 3, 7, 16, 63, 64, 65, 300]), chance.uniform(0.5, 30)
        labels = ["F16", "Q8_0", "Q4_K_M"] if real.traces[model].language else rows[chance.choice(list(rows))]

        def verdict(label: str, batch: int, gib: float, model: str = model, card: Gpu = card) -> int:
            spec = card.spec.model_copy(update={"memory_gib": gib})
            catalog = replace(real, gpus={**real.gpus, card.id: card.model_copy(update={"spec": spec})})
            return VERDICTS[ask(catalog, model, card.id, label, batch=batch, with_speed=False).verdict]

        here = verdict(labels[0], batch, memory)
        assert verdict(labels[0], batch, memory * chance.uniform(1, 4)) >= here
        assert verdict(labels[0], max(1, batch // 2), memory) >= here
        assert verdict(labels[-1], batch, memory) >= here


def test_the_largest_batch_is_the_largest(real: Catalog) -> None:
    """Against the sum itself, one batch below and one above, for random variants and cards."""
    chance = random.Random(5)
    for _ in range(200):
        model, card = chance.choice(list(real.models)), chance.choice(list(real.gpus))
        language = real.traces[model].language
        label = chance.choice(["F16", "Q8_0", "Q4_K_M"] if language else ["BF16", "Q8_0", "INT8-weight-only", "FP32"])
        most = ask(real, model, card, label, with_speed=False).max_batch
        if 0 < most < fit.MOST_BATCH:
            assert ask(real, model, card, label, batch=most, with_speed=False).verdict in ("fits", "tight")
        if most < fit.MOST_BATCH:
            beyond = ask(real, model, card, label, batch=most + 1, with_speed=False)
            assert beyond.verdict in ("no", "unsupported")


def test_200_random_catalog_entries_never_crash_the_advisor(real: Catalog) -> None:
    """Cards with any of their figures missing or extreme."""
    chance = random.Random(6)
    for number in range(200):
        card = real.gpus[chance.choice(list(real.gpus))]
        dropped = chance.sample(
            sorted(set(card.spec.figures) - {"memory_gib", "published_tflops"}),
            k=min(chance.randint(0, 5), len(card.spec.figures) - 2),
        )
        spec = card.spec.model_copy(
            update={**dict.fromkeys(dropped), "memory_gib": chance.choice([0.001, 0.3, 4, 24, 4096.0])}
        )
        changed = card.model_copy(update={"spec": spec, "rates": chance.choice([None, card.rates])})
        catalog = replace(real, gpus={"card": changed.model_copy(update={"id": "card"})})
        model = chance.choice(list(real.models))
        for answer in fit.gpus(catalog, model, Workload(chance.choice([1, 5, 1000])), only_predicted=bool(number % 2)):
            assert answer.verdict in ("fits", "tight", "no", "unsupported")
            assert answer.speed is None or 0 < answer.speed.per_second < math.inf
            assert answer.reasons


def test_this_machine_is_detected(real: Catalog) -> None:
    processor = detect(real)[-1]
    assert processor.vendor == "CPU"
    assert processor.memory_bytes is not None and processor.free_bytes is not None
    assert 0 < processor.free_bytes <= processor.memory_bytes


def test_what_runs_here_counts_what_is_free_now(real: Catalog) -> None:
    device = Detected(
        name="NVIDIA GeForce RTX 4090", vendor="NVIDIA", memory_bytes=24 * GIB, free_bytes=3 * GIB, driver="580", gpu="rtx-4090"
    )  # fmt: skip
    catalog, key = with_free_memory(real, device)
    answer = ask(catalog, SO400M, key, "FP32")
    assert answer.memory.available_bytes == 3 * GIB
    assert answer.speed is not None
    unknown = device.model_copy(update={"name": "NVIDIA Something", "gpu": None})
    catalog, key = with_free_memory(real, unknown)
    assert ask(catalog, SO400M, key, "FP32").verdict == "fits"


def test_detect_and_calibrate_on_the_command_line(cli: Cli, copied: Path) -> None:
    found = json.loads(cli("detect", "--json").stdout)
    assert found["devices"][-1]["vendor"] == "CPU"
    assert {row["gpu"] for row in found["rows"]} == {device["gpu"] or "here" for device in found["devices"]}
    before = (copied / "speed.yaml").read_bytes()
    assert cli("calibrate", catalog=copied).returncode == 0
    assert (copied / "speed.yaml").read_bytes() != before  # the copy has no runs, so another fit
    assert cli("check", catalog=copied).returncode == 0


def test_a_configuration_that_the_catalog_does_not_hold(cli: Cli, tmp_path: Path) -> None:
    """A config.json and a checkpoint's folder, traced on the spot; the sum is that of the catalog's own model of that shape."""
    folder = tmp_path / "my checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {"model_type": "siglip", "vision_config": {"image_size": 384, "patch_size": 16}, "torch_dtype": "float32"}
        )
    )
    options = ("--gpu", "rtx 3060", "--quant", "BF16", "--json")
    known = json.loads(cli("fit", "google/siglip-base-patch16-384", *options).stdout)
    for given in (folder, folder / "config.json"):
        done = cli("fit", given, *options)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["model"] == "local/my-checkpoint"
        assert answer["memory"] == known["memory"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no Hugging Face configuration: it has no model_type"),
        ("not json", "is damaged: Expecting value"),
        ('{"model_type": "nothing-of-this-name"}', "the configuration cannot be traced"),
    ],
)
def test_bad_configurations_are_one_line(content: str, message: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    done = cli("fit", tmp_path / "config.json", "--gpu", "3060")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert cli("fit", tmp_path / "nothing.json", "--gpu", "3060").returncode == 1


def test_an_unknown_name_with_a_slash_is_looked_for_on_the_hub(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    done = cli("fit", "someone/some-model", "--gpu", "3060")
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
