"""Models that share a trace share what follows from it, and nothing of what was measured of one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fitcard.advisor.recommend import picks, picks_on
from fitcard.catalog import Catalog, load
from fitcard.catalog.storage.writer import add_run
from fitcard.catalog.twins import all_alike, dealt_alike, first_alike
from fitcard.site.generator.outputs import groups
from fitcard.site.generator.pages.variants import labels_of, made_of
from tests.benchmarks.synthetic import made_run, make

CARD = "rtx-4090"


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, real: Catalog) -> tuple[Catalog, str, str]:
    """A catalog on disk in which the second of two models with one trace was run on a card, which it nearly filled."""
    root = make(tmp_path_factory.mktemp("twins") / "catalog", len(real.models) + 3, len(real.gpus), 0)
    first = next(iter(real.models))
    second = f"{first}-1"
    source = next(run for run in real.runs if run.status == "ok" and run.metrics_version == 3 and run.mode == "eager")
    full = source.model_copy(
        update={
            "memory": tuple(
                m.model_copy(update={"peak_bytes": 23 * 10**9, "reserved_bytes": 23 * 10**9}) for m in source.memory
            )
        }
    )
    for number, label in enumerate(("BF16", "FP16")):
        run = full.model_copy(update={"quantization": label})
        component = real.traces[first].components()[0]
        add_run(root / "runs", made_run(real, run, second, first, component, CARD, number))
    return load(root), first, second


def test_twins_are_found_by_their_traces(twins: tuple[Catalog, str, str], real: Catalog) -> None:
    catalog, first, second = twins
    assert first_alike(catalog, second) == first_alike(catalog, first) == all_alike(catalog, first)[0]
    assert {first, second} <= set(all_alike(catalog, second))
    assert set(all_alike(catalog, second)) == {
        key for key, trace in catalog.traces.items() if trace == catalog.traces[first]
    }
    assert first_alike(replace(catalog), second) == second  # changed in memory, so nobody knows


def test_what_is_shared_is_what_each_would_get_by_itself(twins: tuple[Catalog, str, str]) -> None:
    """The other way to the same: a catalog that was changed in memory, for which everything is computed model by model."""
    catalog, first, second = twins
    alone = replace(catalog)
    for model in (first, second):
        assert picks(catalog, model) == picks(alone, model)
        assert labels_of(catalog, model) == made_of(alone, model)
    for card in (CARD, "rtx-3060"):
        assert picks_on(catalog, card) == {model: picks(alone, model)[card] for model in catalog.models}


def test_a_run_of_one_says_nothing_of_the_other(twins: tuple[Catalog, str, str]) -> None:
    catalog, first, second = twins
    ran, other = picks(catalog, second)[CARD], picks(catalog, first)[CARD]
    assert ran.nearest.model == second
    assert other.nearest.model == first
    assert other.best
    assert other.best.quantization == "BF16"
    assert other.best.evidence == "predicted"
    assert ran.nearest != other.nearest._replace(model=second)  # the run has its say


def test_one_trace_is_in_memory_once(twins: tuple[Catalog, str, str]) -> None:
    catalog, first, second = twins
    assert catalog.traces[first] is catalog.traces[second]


def test_what_twins_need_is_worked_out_in_one_part(twins: tuple[Catalog, str, str]) -> None:
    """Their pages and documents, and those of their runs, too: else each part would read the runs again."""
    catalog, first, second = twins
    for parts in (dealt_alike(catalog, catalog.models, 8), dealt_alike(catalog, catalog.models, 1)):
        assert sorted(model for part in parts for model in part) == sorted(catalog.models)
        assert [first in part for part in parts] == [second in part for part in parts]
    work = {group.name: group.work for group in groups(catalog)}
    assert work[f"models/{first}"] == work[f"models/{second}"]
    assert (
        len(set(work.values()))
        == len({first_alike(catalog, model) for model in catalog.models}) + len(catalog.gpus) + 1
    )
