"""What last_changed, told from the data: complete, in order, and the same as long as the data are."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from fitcard.advisor import fit
from fitcard.catalog import Catalog
from fitcard.site.generator.pages.events import Event, events, last_changed, newest
from tests.advisor.asking import ask, believed
from tests.catalog.test_store import MODEL, made_run
from tests.sample import TEXT


def with_runs(catalog: Catalog, *changes: dict[str, Any]) -> Catalog:
    return believed(catalog, *(made_run(seed, **fields) for seed, fields in enumerate(changes)))


@pytest.fixture(scope="module")
def told(sample: Catalog) -> list[Event]:
    return newest(sample, most=10**9)[0]


def test_every_run_figure_model_and_card_is_told_of(told: list[Event], sample: Catalog) -> None:
    def sum_of(kind: str) -> int:
        return sum(int(e.title.split(" ")[0].replace(",", "")) for e in told if e.kind == kind)

    assert sum_of("runs") == len(sample.runs)
    assert sum_of("published") == sum(len(file.speeds) for file in sample.published.values())
    assert sum_of("cards") == len(sample.gpus)
    assert sum(e.kind == "model" for e in told) == len(sample.models)


def test_newest_first_and_no_key_twice(told: list[Event]) -> None:
    assert [e.updated for e in told] == sorted((e.updated for e in told), reverse=True)
    assert len({e.key for e in told}) == len(told)
    assert all(e.updated.startswith(e.date) for e in told)


def test_a_models_history_is_its_part_of_the_whole(told: list[Event], sample: Catalog) -> None:
    mine = events(sample, MODEL)
    assert {e.kind for e in mine} == {"runs", "published", "model"}
    assert mine == [e for e in told if e.path == f"models/{MODEL}/"]


def test_runs_of_a_day_and_device_are_one_event(sample: Catalog) -> None:
    """With labels in the order of the catalog, the best throughput, and failures counted."""
    failed: dict[str, Any] = {
        "status": "crashed", "reason": "it fell over", "census": {}, "memory": [], "speed": [], "bits_per_weight": None,
        "file_bytes": None, "weights_bytes": None, "load_s": None, "first_run_s": None,
    }  # fmt: skip
    catalog = with_runs(
        sample,
        {"quantization": "NF4"},
        {"quantization": "BF16", "measured_at": "2026-01-02T23:59:59Z", "speed": [{"batch": 4, "samples_s": [[1.0]], "settled": [True]}], "memory": [{"batch": 4, "runtime_bytes": 1, "loaded_bytes": 2, "peak_bytes": 3}]},
        failed | {"quantization": "FP16"},
        {"measured_at": "2026-01-03T00:00:00Z"},
    )  # fmt: skip
    next_day, day = [e for e in events(catalog, MODEL) if e.kind == "runs"]
    assert (next_day.date, next_day.title) == (
        "2026-01-03",
        "1 run of SigLIP SO400M (patch14-384) on A test's processor",
    )
    assert day.title == "3 runs of SigLIP SO400M (patch14-384) on A test's processor"
    assert day.text == (
        "Quantizations: BF16, NF4. Highest throughput: 4 images/s, BF16 at batch 4. 1 ended without a measurement, and say why."
    )
    assert day.updated == "2026-01-02T23:59:59Z"
    assert day.key == f"runs/2026-01-02/cpu-test/{MODEL}"


def test_a_new_run_leaves_other_events_as_they_were(told: list[Event], sample: Catalog) -> None:
    """A feed reader shows nobody an old event again."""
    catalog = replace(sample, runs=[*sample.runs, made_run(measured_at="2030-01-01T00:00:00Z")])
    new, _ = newest(catalog, most=10**9)
    assert new[0].date == "2030-01-01"
    assert new[1:] == told


def test_days_of_pages_are_those_of_their_data(sample: Catalog) -> None:
    """A new run moves the day of its own page, its model's, its device's and the home page, and of no other model."""
    catalog = with_runs(sample, {"measured_at": "2031-05-06T07:08:09Z"})
    run = catalog.run_index[-1]
    for path in ("", f"models/{MODEL}/", f"runs/{run.key}/"):
        assert last_changed(catalog, path) == "2031-05-06"
    assert last_changed(catalog, f"models/{TEXT}/") == last_changed(sample, f"models/{TEXT}/") < "2031"
    first = sample.run_index[0]
    assert last_changed(sample, f"runs/{first.key}/") == first.measured_at[:10]


def test_a_run_tells_what_it_changed(sample: Catalog) -> None:
    """Verdict, best choice, throughput and place, against what was known the day before; and a later run changes no old event."""
    card = {
        **made_run().machine.model_dump(mode="json"),
        "device": "rtx-4090",
        "device_vendor": "NVIDIA",
        "device_name": "NVIDIA GeForce RTX 4090",
    }
    own = {"machine": card, "config_sha256": sample.models[MODEL].config_sha256}
    full = [{"batch": 1, "runtime_bytes": 10**9, "loaded_bytes": 1, "peak_bytes": 1, "reserved_bytes": 30 * 10**9}]
    slow = [{"batch": 1, "samples_s": [[0.5] * 3], "settled": [True]}]
    first = {**own, "quantization": "BF16", "memory": full, "speed": slow}
    told = [e for e in events(with_runs(replace(sample, published={}), first), MODEL) if e.kind == "runs"]
    assert len(told) == 1
    text = told[0].text
    assert "Verdicts that changed: BF16 no (was fits)." in text
    labels = [
        ask(with_runs(sample, first), MODEL, "rtx-4090", label, with_speed=False) for label in sample.quantizations
    ]
    chosen = fit.best(labels, sample)
    assert chosen
    assert f"The best choice is {chosen.quantization}, was BF16." in text
    assert re.search(r"Known before: [\d,]+ images/s, predicted, BF16 at batch 64\.", text)
    place = re.search(r"Its place among (\d+) GPUs by throughput is (\d+), was (\d+)\.", text)
    assert place
    assert int(place[1]) == int(place[2]) > int(place[3])  # two images a second: the last of all
    later = {**own, "quantization": "FP16", "measured_at": "2026-05-01T00:00:00Z"}
    after = [e for e in events(with_runs(replace(sample, published={}), first, later), MODEL) if e.kind == "runs"]
    assert after[1] == told[0]
