"""Records are never lost, doubled or half-written."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest

from fitcard.catalog import CatalogError, FitcardError
from fitcard.catalog.parse import read_runs
from fitcard.catalog.schema.quantization import Quantization, held_bytes, predicted_census
from fitcard.catalog.schema.run import Run, sealed
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.storage.writer import add_run, check_writable, json_text, write_atomically
from fitcard.catalog.yaml_file import read_yaml

MODEL = "google/siglip-so400m-patch14-384"


def made_run(seed: int = 0, **changes: Any) -> Run:
    """A whole record with invented measurements, for tests of storage and pages only."""
    fields: dict[str, Any] = {
        "measured_at": "2026-01-02T03:04:05Z", "model": MODEL, "config_sha256": "0" * 64, "component": "vision", "quantization": "BF16",
        "mode": "eager", "status": "ok", "weights": {"kind": "random", "seed": seed}, "workload": {"image_size": 384},
        "machine": {
            "device": "cpu-test", "device_name": "A test's processor", "cpu": "test", "cpu_cores": 2, "cpu_features": [],
            "memory_bytes": 8 * 2**30, "system": "Linux", "libraries": {"torch": "2.13.0"},
        },
        "activation_type": "bfloat16", "census": {"BF16": {"tensors": 1, "elements": 10, "bytes": 20}}, "bits_per_weight": 16.0,
        "file_bytes": 30, "weights_bytes": 20, "load_s": 1.0, "first_run_s": 1.0,
        "memory": [{"batch": 1, "runtime_bytes": 1, "loaded_bytes": 2, "peak_bytes": 3}],
        "speed": [{"batch": 1, "samples_s": [[0.5, 0.5, 0.5], [0.4, 0.4, 0.4]], "settled": [True, True]}],
    } | changes  # fmt: skip
    return sealed(fields)


def counted(trace: Trace, component: Component, quantization: Quantization) -> dict[str, Any]:
    """What a run of a variant counts, for records that the linters of runs find nothing wrong with."""
    census = predicted_census(quantization, trace.tensors_of(component))
    weights, phase = held_bytes(quantization, trace.tensors_of(component)), trace.phase(component)
    return {
        "component": component, "quantization": quantization.name, "config_sha256": trace.config_sha256,
        "workload": {"image_size": phase.image_size, "text_tokens": phase.text_tokens},
        "census": {name: row.model_dump() for name, row in census.items()}, "bits_per_weight": None,
        "file_bytes": sum(row.bytes for row in census.values()), "weights_bytes": weights,
        "memory": [{"batch": 1, "runtime_bytes": 2**28, "loaded_bytes": 2**28 + weights, "peak_bytes": 2**29 + weights}],
        "speed": [{"batch": 1, "samples_s": [[50.0, 50.0, 50.0], [40.0, 40.0, 40.0]], "settled": [True, True]}],
    }  # fmt: skip


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = made_run()
    path = add_run(tmp_path, run)
    assert path == tmp_path / "cpu-test" / f"{MODEL}.yaml"
    assert read_runs(path) == (run,)


def test_a_run_file_is_yaml_too(tmp_path: Path) -> None:
    """The design promises YAML; any YAML reader gives the same data as the JSON reader."""
    path = add_run(tmp_path, made_run())
    data, _ = read_yaml(path)
    assert data["runs"][0]["key"] == made_run().key
    assert data["runs"][0]["speed"][0]["samples_s"] == [[0.5, 0.5, 0.5], [0.4, 0.4, 0.4]]


def test_the_same_record_is_not_added_twice(tmp_path: Path) -> None:
    run = made_run()
    add_run(tmp_path, run)
    path = add_run(tmp_path, run)
    assert len(read_runs(path)) == 1


def test_a_record_that_was_edited_is_noticed(tmp_path: Path) -> None:
    path = add_run(tmp_path, made_run())
    path.write_text(path.read_text().replace('"peak_bytes": 3', '"peak_bytes": 2'))
    with pytest.raises(CatalogError, match="key is not the hash of the record: it was edited or damaged"):
        read_runs(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_record_cut_off_in_the_middle(share: float, tmp_path: Path) -> None:
    """A damaged file is named with its line, and adding to it is refused without touching it."""
    path = add_run(tmp_path, made_run())
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    before = path.read_bytes()
    with pytest.raises(CatalogError) as caught:
        add_run(tmp_path, made_run(seed=1))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert "yaml:" in lines[0]
    assert path.read_bytes() == before


def _add(folder: str, seeds: list[int]) -> None:
    for seed in seeds:
        add_run(Path(folder), made_run(seed=seed))


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Four processes add ten records each to one file; all forty are there."""
    context = multiprocessing.get_context("spawn")
    groups = [list(range(i * 10, i * 10 + 10)) for i in range(4)]
    workers = [context.Process(target=_add, args=(str(tmp_path), seeds)) for seeds in groups]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    runs = read_runs(tmp_path / "cpu-test" / f"{MODEL}.yaml")
    assert sorted(run.weights.seed or 0 for run in runs) == list(range(40))


def _add_and_say(folder: str, first: int, said: Any) -> None:
    for seed in range(first, first + 1000):
        add_run(Path(folder), made_run(seed=seed))
        said.send(seed)


def test_kill_9_at_any_moment_loses_no_record(tmp_path: Path) -> None:
    """Twenty writers, each killed at a random moment: what a writer had said to be written is there, and the file is whole."""
    context, chance = multiprocessing.get_context("fork"), random.Random(7)
    path = tmp_path / "cpu-test" / f"{MODEL}.yaml"
    written: set[int] = set()
    for number in range(20):
        heard, said = context.Pipe(duplex=False)
        writer = context.Process(target=_add_and_say, args=(str(tmp_path), number * 1000, said))
        writer.start()
        said.close()
        for _ in range(3):  # however slow the machine, each is killed only after it wrote a few
            written.add(heard.recv())
        time.sleep(chance.uniform(0, 0.08))
        writer.kill()
        writer.join()
        with contextlib.suppress(EOFError):
            while True:
                written.add(heard.recv())
        found = {run.weights.seed for run in read_runs(path)}
        assert written <= found
        assert len(found) <= len(written) + number + 1  # a writer may die between writing and saying so
        written |= {seed for seed in found if seed is not None}
    assert len(written) > 40
    add_run(tmp_path, made_run(seed=-1))
    assert sorted(p.name for p in path.parent.iterdir() if p != path) == [".lock"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk shows at fsync at the latest: the old content stays, and no temporary file is left."""
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_json_text_is_the_same_data() -> None:
    value = {"a": [[1.5] * 50, []], "b": {"c": "ü" * 200, "d": None}, "e": []}
    assert json.loads(json_text(value)) == value


def test_a_field_added_later_changes_no_older_key() -> None:
    """Fields at their defaults are no part of the hash: a record without them has the key of one with them spelled out."""
    run = made_run()
    spelled = {**run.model_dump(mode="json"), "reason": None, "memory_limit_bytes": None}
    assert Run.model_validate(spelled).key == run.key
    assert made_run(memory_limit_bytes=1).key != run.key


def test_what_is_not_a_number_is_no_measurement() -> None:
    """NaN would make the file, and the site's API, no JSON."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite number"):
            made_run(fidelity={"inputs": 4, "cosine_mean": value, "cosine_min": 0.9, "floor": 1.0})


def test_that_no_record_can_be_written_is_known_before_measuring(tmp_path: Path) -> None:
    path = add_run(tmp_path, made_run())
    check_writable(tmp_path, "cpu-test", MODEL)
    path.write_text(path.read_text()[:100])
    with pytest.raises(CatalogError):
        check_writable(tmp_path, "cpu-test", MODEL)
    (tmp_path / "file").write_text("")
    with pytest.raises(FitcardError, match="no record can be written under"):
        check_writable(tmp_path / "file", "cpu-test", MODEL)
