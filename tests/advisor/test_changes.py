"""What changed between two catalogs, and what follows from it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fitcard.advisor import diff as module
from fitcard.advisor.diff import Change, changes
from fitcard.advisor.markdown import MOST, pull_request
from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.published import PublishedFile
from tests.advisor.asking import believed
from tests.advisor.test_answers import with_memory
from tests.catalog.test_store import made_run
from tests.conftest import Cli, copy_catalog

SO400M, BASE, SMALL = (
    "google/siglip-so400m-patch14-384",
    "google/siglip-base-patch16-224",
    "facebook/dinov2-with-registers-small",
)


@pytest.fixture(scope="module")
def few(real: Catalog) -> Catalog:
    """Three models on a dozen cards, without runs."""
    models = (SO400M, BASE, SMALL)
    cards = [*list(real.gpus)[::25], "rtx-4090", "rtx-3090"]
    return replace(
        real, models={key: real.models[key] for key in models}, traces={key: real.traces[key] for key in models}, runs=(),
        published={key: real.published[key] for key in (SO400M, BASE)}, gpus={key: real.gpus[key] for key in sorted(set(cards))},
    )  # fmt: skip


def with_gpu(catalog: Catalog, key: str, **spec: Any) -> Catalog:
    card = catalog.gpus[key]
    changed: Gpu = card.model_copy(update={"spec": card.spec.model_copy(update=spec)})
    return replace(catalog, gpus={**catalog.gpus, key: changed})


def without(catalog: Catalog, model: str) -> Catalog:
    """The catalog without a model and all that is of it."""
    return replace(
        catalog,
        models={key: value for key, value in catalog.models.items() if key != model},
        traces={key: value for key, value in catalog.traces.items() if key != model},
        published={key: value for key, value in catalog.published.items() if key != model},
    )


def published(catalog: Catalog, model: str, per_second: float, **changed: Any) -> Catalog:
    """The catalog with one published figure of a model, and no other of it."""
    speed = (
        catalog.published[SO400M].speeds[0].model_copy(update={"per_second": per_second, "image_size": 518, **changed})
    )
    file = PublishedFile(reviewed="2026-11-24", sources=catalog.published[SO400M].sources, speeds=(speed,))
    return replace(catalog, published={**catalog.published, model: file})


def test_nothing_changed(few: Catalog) -> None:
    assert changes(few, few) == ()
    assert changes(few, replace(few)) == ()
    assert pull_request((), "main") == "No fact of the catalog changed since `main`."


def test_new_and_removed_things_are_facts_and_change_no_verdict(few: Catalog) -> None:
    assert changes(without(few, SMALL), few) == (
        Change(kind="model", model=SMALL, what="model", after="DINOv2 ViT-S/14 with registers"),
    )
    assert [(c.kind, c.before, c.after) for c in changes(few, without(few, SMALL))] == [
        ("model", "DINOv2 ViT-S/14 with registers", None)
    ]
    fewer = replace(few, gpus={key: card for key, card in few.gpus.items() if key != "rtx-4090"})
    assert changes(fewer, few) == (Change(kind="card", gpu="rtx-4090", what="card", after="GeForce RTX 4090"),)
    labels = {key: label for key, label in few.quantizations.items() if key != "Q2_K"}
    older = replace(few, quantization_file=few.quantization_file.model_copy(update={"quantizations": labels}))
    assert changes(older, few)[0] == Change(kind="quantization", what="Q2_K", after="Q2_K")


def test_less_memory_changes_verdicts_and_the_best_choice(few: Catalog) -> None:
    found = changes(few, with_memory(few, 1.9))
    assert found[0] == Change(kind="card", gpu="rtx-4090", what="memory_gib", before=24.0, after=1.9)
    verdicts = {(c.model, c.what): (c.before, c.after) for c in found if c.kind == "verdict"}
    assert verdicts[SO400M, "FP32"] == ("fits", "no")
    assert {c.gpu for c in found} == {"rtx-4090"}
    best = {c.model: (c.before, c.after) for c in found if c.kind == "best"}
    assert best[SO400M][0] == "BF16" and best[SO400M][1] != "BF16"
    old, new = picks(few, SO400M)["rtx-4090"], picks(with_memory(few, 1.9), SO400M)["rtx-4090"]
    assert best[SO400M] == tuple(pick.best.quantization if pick.best else "none" for pick in (old, new))


def test_the_field_of_a_model_is_named_with_both_values(few: Catalog) -> None:
    model = few.models[SO400M]
    licence = model.license.model_copy(update={"id": "mit"})
    claims = (model.claims[0].model_copy(update={"value": 84.0}), *model.claims[1:])
    newer = model.model_copy(update={"license": licence, "claims": claims, "reviewed": "2030-01-01"})
    found = changes(few, replace(few, models={**few.models, SO400M: newer}))
    assert found[0] == Change(kind="model", model=SO400M, what="license.id", before="apache-2.0", after="mit")
    assert [(c.what, str(c.before or "")[:50], str(c.after or "")[:50]) for c in found[1:]] == [
        ("claims", "key imagenet, what ImageNet-1k zero-shot top-1, va", ""), ("claims", "", "key imagenet, what ImageNet-1k zero-shot top-1, va"),
    ]  # fmt: skip


def test_a_published_figure_is_a_fact_and_the_highest_throughput_follows(few: Catalog) -> None:
    newer = published(few, SMALL, 5000.0)
    found = changes(few, newer)
    assert found[0] == Change(
        kind="published", model=SMALL, gpu="rtx-4090", what="FP16, vision, compiled, batch 256", after=5000.0
    )
    (highest,) = [c for c in found if c.kind == "throughput"]
    assert str(highest.before).endswith("predicted")
    assert highest.after == "5000 images/s, FP16, compiled, batch 256, published"
    assert {(c.model, c.gpu) for c in found} == {(SMALL, "rtx-4090")}
    corrected = changes(newer, published(few, SMALL, 4000.0))
    assert (corrected[0].kind, corrected[0].before, corrected[0].after) == ("published", 5000.0, 4000.0)
    moved = changes(newer, published(few, SMALL, 5000.0, settings="autocast"))
    assert [(c.kind, c.before, c.after) for c in moved] == [("published", 5000.0, None), ("published", None, 5000.0)]


def test_a_place_changes_for_the_card_whose_speed_changed(few: Catalog) -> None:
    """The cards that it overtakes are not named: nothing of them changed."""
    fastest = published(few, SMALL, 1e6)
    (rank,) = [c for c in changes(few, fastest) if c.kind == "rank"]
    known = {gpu: pick.throughput for gpu, pick in picks(few, SMALL).items() if pick.best}
    mine = known["rtx-4090"]
    assert mine is not None
    assert rank.before == 1 + sum(k.per_second > mine.per_second for k in known.values() if k)
    assert (rank.gpu, rank.after, rank.what) == (
        "rtx-4090",
        1.0,
        f"place among {sum(k is not None for k in known.values())} GPUs by throughput",
    )


@pytest.mark.parametrize(("factor", "told"), [(1.04, False), (1.06, True), (0.94, True)])
def test_predictions_that_move_by_more_than_five_percent(factor: float, told: bool, few: Catalog) -> None:
    assert few.speed is not None
    known = {gpu: {mode: one.model_copy(update={"slower": one.slower / factor}) for mode, one in modes.items()} for gpu, modes in few.speed.known.items()}  # fmt: skip
    newer = replace(few, speed=few.speed.model_copy(update={"known": known}))
    found = changes(few, newer)
    assert found[0].what == "speed model"
    predictions = [c for c in found if c.kind == "prediction"]
    assert {(c.model, c.gpu) for c in predictions} == ({(SMALL, "rtx-4090"), (SMALL, "rtx-3090")} if told else set())
    for change in predictions:
        assert isinstance(change.before, float) and isinstance(change.after, float)
        assert change.after / change.before == pytest.approx(factor)


def test_a_run_is_a_fact_and_its_verdict_follows(few: Catalog) -> None:
    run = made_run(
        model=SO400M, config_sha256=few.models[SO400M].config_sha256,
        machine={**made_run().machine.model_dump(mode="json"), "device": "rtx-4090"},
        memory=[{"batch": 1, "runtime_bytes": 10**9, "loaded_bytes": 1, "peak_bytes": 1, "reserved_bytes": 30 * 10**9}],
    )  # fmt: skip
    found = changes(few, believed(few, run))
    assert found[0] == Change(
        kind="run",
        model=SO400M,
        gpu="rtx-4090",
        what="BF16, vision, eager, 2026-01-02",
        after="2.222 images/s at batch 1",
    )
    assert ("verdict", "BF16", "fits", "no") in {(c.kind, c.what, c.before, c.after) for c in found}
    back = changes(replace(few, runs=(run,)), few)
    assert (back[0].kind, back[0].before, back[0].after) == ("run", "2.222 images/s at batch 1", None)


def half_the_rate(catalog: Catalog) -> Catalog:
    rates = [
        rate.model_copy(update={"fp16": 40.0, "bf16": 40.0}) if rate.gpu == "rtx-4090" else rate for rate in catalog.matmul.rates
    ]  # fmt: skip
    return replace(catalog, matmul=catalog.matmul.model_copy(update={"rates": tuple(rates)}))


def more_context(catalog: Catalog) -> Catalog:
    amount = catalog.runtimes.context["NVIDIA"].model_copy(update={"bytes": 20 * 10**9})
    context = {**catalog.runtimes.context, "NVIDIA": amount}
    return replace(catalog, runtimes=catalog.runtimes.model_copy(update={"context": context}))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: with_gpu(c, "rtx-4090", memory_gib=2.0), lambda c: with_gpu(c, "rtx-3090", bandwidth_gb_per_s=300.0),
        lambda c: published(c, SMALL, 9e4), half_the_rate, more_context,
    ],
)  # fmt: skip
def test_what_cannot_have_changed_is_left_out_and_nothing_else(
    change: Callable[[Catalog], Catalog], few: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as comparing every model on every card."""
    newer = change(few)
    short = changes(few, newer)
    assert any(c.kind in ("verdict", "throughput", "prediction") for c in short)
    monkeypatch.setattr(module, "_concerned", lambda *_: True)
    assert changes(few, newer) == short


def test_how_far_the_work_is(few: Catalog) -> None:
    told: list[tuple[int, int]] = []
    changes(few, without(few, SMALL), lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_markdown_has_a_table_a_kind_with_what_moved_most_first() -> None:
    moves = [
        Change(kind="prediction", model="a/b", gpu="c", what=f"{i}", before=100.0, after=106.0 + i)
        for i in range(MOST + 5)
    ]
    text = pull_request([Change(kind="card", gpu="c", what="note", before="a|b", after=None), *moves], "HEAD~1")
    assert text.startswith(
        "## What changed in the catalog since `HEAD~1`\n\nFacts: GPUs: 1.\n\nWhat follows from them: predictions that moved by more than 5 %: 30."
    )
    assert "### GPUs\n\n| GPU | What | Before | After |\n| --- | --- | --- | --- |\n| `c` | note | a\\|b | – |" in text
    assert (
        f"| Model | GPU | What | Before | After |\n| --- | --- | --- | --- | --- |\n| `a/b` | `c` | {MOST + 4} | 100 | 135 |"
        in text
    )
    assert "… and 5 more: `fitcard diff HEAD~1 --json` lists them all." in text


# The command


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with a catalog of three models that was changed since its only commit."""
    root = copy_catalog(tmp_path_factory.mktemp("repository") / "catalog")
    for folder, ending in (("models", ".yaml"), ("published", ".yaml"), ("traces", ".json")):
        for path in (root / folder).rglob(f"*{ending}"):
            if path.relative_to(root / folder).as_posix().removesuffix(ending) not in (SO400M, BASE, SMALL):
                path.unlink()
    for path in (root / "models").rglob("*.yaml"):
        path.write_text(re.sub(r"^successor: .*\n", "", path.read_text(), flags=re.M))
    git = ["git", "-C", str(root.parent), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    card = root / "gpus/nvidia-ada.yaml"
    card.write_text(card.read_text().replace("    name: GeForce RTX 4060\n", "    name: GeForce RTX 4060 renamed\n", 1))
    return root


def test_a_revision_or_a_folder_is_compared(repository: Path, cli: Cli, tmp_path: Path) -> None:
    for base in ("HEAD", "v1", "HEAD~0"):
        done = cli("diff", base, catalog=repository)
        assert done.returncode == 0
        assert f"since `{base}`" in done.stdout
        assert "| `rtx-4060` | name | GeForce RTX 4060 | GeForce RTX 4060 renamed |" in done.stdout
    document = json.loads(cli("diff", "HEAD", "--json", catalog=repository).stdout)
    assert (document["base"], document["counts"]) == ("HEAD", {"card": 1})
    assert document["changes"] == [
        {"kind": "card", "model": None, "gpu": "rtx-4060", "what": "name", "before": "GeForce RTX 4060", "after": "GeForce RTX 4060 renamed"}
    ]  # fmt: skip
    assert (
        cli("diff", repository, catalog=repository).stdout == f"No fact of the catalog changed since `{repository}`.\n"
    )


@pytest.mark.parametrize("base", ["nowhere", "", "--all", "HEAD:catalog", "/no/such/folder"])
def test_a_base_that_does_not_exist(base: str, repository: Path, cli: Cli) -> None:
    done = cli("diff", "--", base, catalog=repository)
    assert done.returncode == 1
    assert f"'{base}' is neither a folder with a catalog nor a revision of the git repository around" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_catalog_outside_of_any_repository(copied: Path, cli: Cli) -> None:
    done = cli("diff", "HEAD", catalog=copied)
    assert done.returncode == 1 and "'HEAD' is neither a folder with a catalog nor a revision" in done.stderr


def test_an_older_catalog_that_does_not_load(repository: Path, cli: Cli, tmp_path: Path) -> None:
    """Said with the first fault, by the name of the file in the catalog, and with exit code 1."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repository.parent), str(clone)], check=True)
    git = ["git", "-C", str(clone), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    model = clone / "catalog/models" / f"{SO400M}.yaml"
    text = model.read_text()
    model.write_text(text.replace("family: SigLIP\n", "kind: SigLIP\n"))
    subprocess.run([*git, "commit", "-qam", "older"], check=True)
    model.write_text(text)
    done = cli("diff", "HEAD", catalog=clone / "catalog")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "the catalog at HEAD does not load with this version of fitcard, so nothing can be compared: models/google/siglip-so400m-patch14-384.yaml:"
        in done.stderr
    )
    assert "(the first of 2 faults)" in done.stderr
    subprocess.run([*git, "rm", "-rqf", "--cached", "catalog"], check=True)
    subprocess.run([*git, "commit", "-qm", "no catalog"], check=True)
    done = cli("diff", "HEAD", catalog=clone / "catalog")
    assert done.returncode == 1 and "'HEAD' has no folder" in done.stderr
