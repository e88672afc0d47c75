"""Files begun for somebody to finish: whole YAML, nothing lost, nothing overwritten."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fitcard.catalog import Catalog, FitcardError, load
from fitcard.catalog.configuration import Configuration, from_path
from fitcard.catalog.linters import problems
from fitcard.catalog.scaffold import add_gpu, add_model, flow, gpu_entry, model_text, with_gpu
from fitcard.catalog.yaml_file import parse_yaml, read_yaml

ADA = "gpus/nvidia-ada.yaml"
KEY = "somebody/siglip-new"
MODEL = "google/siglip-base-patch16-384"
DAY = "2026-11-24"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = Path("nowhere.yaml")


def begin(root: Path, real: Catalog, key: str = KEY, **found: Any) -> str:
    """Begin a model with the configuration and trace of one that is there, and give the text."""
    config = dict(real.models[MODEL].config)
    place = Configuration(config, found.pop("where", "config.json"), **found)
    text = model_text(root / "models" / f"{key}.yaml", key, config, place, real.traces[MODEL], DAY)
    add_model(root, key, text, real.traces[MODEL])
    return text


def test_a_model_that_was_begun_loads_and_check_lists_what_is_to_be_written(copied: Path, real: Catalog) -> None:
    """Exactly the texts that a person must write, each with its line, and nothing else."""
    text = begin(copied, real)
    catalog = load(copied)
    assert catalog.models[KEY].config == real.models[MODEL].config
    assert catalog.models[KEY].context_tokens == 64
    found = list(problems(catalog))
    fields = [
        "verdict",
        "tasks.0",
        "family",
        "license.id",
        "license.conditions",
        "overview",
        "strengths.0",
        "weaknesses.0",
        "reviewed_by",
    ]
    assert [problem.field for problem in sorted(found)] == fields
    rows = text.splitlines()
    for problem in found:
        assert problem.path == copied / f"models/{KEY}.yaml"
        wanted = problem.message.removeprefix("is still to be written: ")
        assert wanted in rows[problem.line - 1] + rows[problem.line], "the line is that of the text"
    assert catalog.models[KEY].unverified() == ("license", "config")


def test_what_the_hub_gave_is_its_source_with_the_commit(copied: Path, real: Catalog) -> None:
    begin(copied, real, where="the hub", model_id=KEY, commit=COMMIT)
    model = load(copied).models[KEY]
    assert model.sources[model.config_source].url == f"https://huggingface.co/{KEY}/blob/{COMMIT}/config.json"
    assert model.unverified() == ("license",)
    assert not [problem for problem in problems(load(copied)) if problem.field.startswith("sources")]


def test_the_configuration_of_another_model_is_no_source(copied: Path, real: Catalog) -> None:
    """A folder of the hub's cache says whose it is; under another id it is somebody's copy."""
    begin(copied, real, model_id=MODEL, commit=COMMIT)
    assert load(copied).models[KEY].unverified() == ("license", "config")


def test_the_hubs_cache_says_which_model_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "models--google--siglip2-x" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "siglip"}')
    for path in (folder, folder / "config.json"):
        found = from_path(path)
        assert (found.model_id, found.commit) == ("google/siglip2-x", COMMIT)


def test_nothing_is_overwritten(copied: Path, real: Catalog) -> None:
    """Neither a model's file, nor the trace of another configuration; and nothing is half done then."""
    text = begin(copied, real)
    path, traced = copied / f"models/{KEY}.yaml", copied / f"traces/{KEY}.json"
    path.write_text(text + "# mine\n")
    with pytest.raises(FitcardError, match=r"siglip-new\.yaml is there already: edit it, or delete it first"):
        begin(copied, real)
    assert path.read_text() == text + "# mine\n"
    path.unlink()
    traced.write_text("{}")
    with pytest.raises(FitcardError, match=r"siglip-new\.json is there already, of another model: delete it first"):
        begin(copied, real)
    assert traced.read_text() == "{}"
    assert not path.exists()


def test_what_a_crash_left_is_taken_up(copied: Path, real: Catalog) -> None:
    """The trace was written and the model was not: the same command goes on."""
    begin(copied, real)
    (copied / f"models/{KEY}.yaml").unlink()
    begin(copied, real)
    assert KEY in load(copied).models


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_configuration_that_yaml_cannot_say(value: float, copied: Path, real: Catalog) -> None:
    config = {"model_type": "siglip", "factor": value}
    with pytest.raises(FitcardError, match="holds something that a catalog file cannot say"):
        model_text(NOWHERE, KEY, config, Configuration(config, "config.json"), real.traces[MODEL], DAY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\x85\ufeff\ufffe\uffff")),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "b_c", "no", "1", "x: y", "#"]), inner),
)  # fmt: skip


@given(JSON)
def test_a_value_is_what_every_reader_of_yaml_makes_of_it(value: Any) -> None:
    """The strict reader of the catalog, and PyYAML's with its rules of 1.1."""
    text = f"key: {flow(value)}\n"
    assert parse_yaml(text, NOWHERE)[0] == {"key": value}
    assert yaml.safe_load(text) == {"key": value}


def test_a_card_is_put_behind_the_one_that_it_is_like(copied: Path) -> None:
    """Not a byte that was there is changed, the other cards load, and check lists each figure that is to be written."""
    before = (copied / ADA).read_bytes()
    like = load(copied).gpus["rtx-4070"]
    line = add_gpu(copied / ADA, "rtx-4070-new", like)
    after = (copied / ADA).read_bytes()
    start = after.index(b"  rtx-4070-new:\n")
    end = start + len(after) - len(before)
    assert after[:start] + after[end:] == before
    assert after[end:].startswith(b"  rtx-4070-laptop:\n")
    assert after[:start].count(b"\n") + 1 == line
    catalog = load(copied)
    assert set(catalog.gpus) == set(load().gpus)
    found = sorted(problems(catalog))
    assert {problem.field for problem in found} == {
        f"gpus.rtx-4070-new.{name}" for name in {"name", *like.spec.figures - {"published_tflops"}}
    }
    assert f"{ADA}:{line + 3}: gpus.rtx-4070-new.name: is still to be written: what its maker calls it" in str(found[0])
    units = next(problem for problem in found if problem.field.endswith("units"))
    assert units.message == "is still to be written: rtx-4070 has 46"


def test_a_card_that_was_finished_is_a_card(copied: Path) -> None:
    """With every text written, and the figures under a source, nothing is left to say."""
    path = copied / ADA
    add_gpu(path, "rtx-4070-new", load(copied).gpus["rtx-4070"])
    text = path.read_text()
    start, end = text.index("  rtx-4070-new:\n"), text.index("  rtx-4070-laptop:\n")
    old = re.search(r"  rtx-4070:\n(?:    .*\n)+", text)
    assert old
    figures = dict(re.findall(r"^    (\w+): (.*)", old[0], re.M))
    entry = re.sub(r'    (\w+): "TO WRITE: .*"', lambda m: f"    {m[1]}: {figures[m[1]]}", text[start:end])
    entry = entry.replace("name: GeForce RTX 4070", "name: GeForce RTX 4070 New")
    stated = [
        name
        for name in re.findall(r"^    (\w+):", entry, re.M)
        if name not in {"name", "aliases", "segment", "unit_rates", "sources"}
    ]
    entry = entry.replace("unverified: []", f"wikipedia: [{', '.join(stated)}]")
    path.write_text(text[:start] + entry + text[end:])
    assert list(problems(load(copied))) == []
    assert "rtx-4070-new" in load(copied).gpus


@pytest.mark.parametrize(("last", "ending"), [(True, "\n"), (False, "\n"), (False, "\r\n")])
def test_layouts_of_files(last: bool, ending: str, real: Catalog) -> None:
    """At the end of a file without a final line break, or before a comment that belongs to the next card; with either line break."""
    like = real.gpus["rtx-4060"]
    text = (
        "vendor: X\ngpus:\n  rtx-4060:\n    note: |\n      # text\n\n      more\n    # of this card\n    name: x  # y"
    )
    if not last:
        text += "\n\n  # of the next one\n  other:\n    name: z\n"
    text = text.replace("\n", ending)
    made, line = with_gpu(text, NOWHERE, "new", like)
    rows = made.split("\n")
    assert rows[line - 2].strip("\r") == "    name: x  # y"
    assert rows[line - 1].strip("\r") == "  new:"
    assert all(row.endswith("\r") == (ending == "\r\n") for row in rows[:-1])
    del rows[line - 1 : line - 1 + len(gpu_entry("new", like))]
    assert "\n".join(rows) == text
    assert list(parse_yaml(made, NOWHERE)[0]["gpus"]) == ["rtx-4060", "new", *([] if last else ["other"])]


def test_a_layout_that_cannot_be_cut(real: Catalog) -> None:
    text = "gpus: {rtx-4060: {name: x}, other: {name: y}}\n"
    with pytest.raises(
        FitcardError, match=r"nowhere\.yaml is laid out in a way that no GPU can be put behind rtx-4060"
    ):
        with_gpu(text, NOWHERE, "new", real.gpus["rtx-4060"])


def _add(path: Path, key: str) -> None:
    add_gpu(path, key, load().gpus["rtx-4070"])


def test_two_who_add_at_the_same_time(copied: Path) -> None:
    """Each card is there once, and none is lost."""
    keys = [f"new-{index}" for index in range(6)]
    workers = [multiprocessing.Process(target=_add, args=(copied / ADA, key)) for key in keys]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(keys) <= set(read_yaml(copied / ADA)[0]["gpus"])
    assert [path.name for path in (copied / "gpus").iterdir() if path.suffix == ".tmp"] == []
