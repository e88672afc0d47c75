"""What is kept between commands: right, bounded, and never in the way. And work that several processes share."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from fitcard.catalog import Catalog, CatalogError, load
from fitcard.catalog.linters import untrue_on_pages
from fitcard.catalog.storage import database
from fitcard.catalog.storage.memo import memo, warm
from fitcard.catalog.storage.reads import recording
from fitcard.catalog.storage.writer import add_run
from tests.catalog.test_bad_input import CARDS, MODEL, spoil
from tests.catalog.test_store import made_run
from tests.conftest import ROOT

KEY = MODEL.removeprefix("models/").removesuffix(".yaml")
OTHER = "BAAI/bge-m3"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def keys() -> set[str]:
    with sqlite3.connect(database.file()) as connection:
        rows = {key for (key,) in connection.execute("SELECT key FROM memo")}
    connection.close()
    return rows


def test_one_edit_costs_the_reading_of_one_file(copied: Path) -> None:
    """The cache gains the summary and the record of one file; a catalog from the cache says what the files say."""
    load(copied)
    before = keys()
    spoil(copied, MODEL, "family: SigLIP\n", "family: Another\n")
    changed = load(copied)
    assert len(keys() - before) == 2
    assert changed.models[KEY].family == "Another"
    spoil(copied, MODEL, "family: Another\n", "family: SigLIP\n")
    after = keys()
    load(copied)
    assert keys() == after


def test_records_from_the_cache_are_those_of_the_files() -> None:
    """Every record of the real catalog, restored without a check, has the values, types and fields that checking gave."""
    fresh, kept = load(), load()
    for name in ("models", "gpus", "traces", "published", "gpu_files"):
        one, other = dict(getattr(fresh, name)), dict(getattr(kept, name))
        assert repr(one) == repr(other), name
        assert [r.model_fields_set for r in one.values()] == [r.model_fields_set for r in other.values()], name
    assert repr(list(fresh.runs)) == repr(list(kept.runs))
    assert repr(fresh.quantization_file) == repr(kept.quantization_file)
    for name in ("model_index", "gpu_index", "trace_index", "published_index"):
        assert dict(getattr(fresh, name)) == dict(getattr(kept, name)), name


def test_faults_between_files_are_found_in_what_is_kept(copied: Path) -> None:
    """A GPU that a published figure names goes: the figure's own file, unchanged and kept, is the one that is named, with its line."""
    load(copied)
    spoil(copied, CARDS, "  rtx-4090:\n", "  rtx-4091:\n")
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert any(
        "speeds.0.gpu: no GPU 'rtx-4090'" in str(problem) and problem.line > 1 for problem in caught.value.problems
    )


def test_a_gpu_is_told_apart_from_its_neighbours(copied: Path) -> None:
    """An edit of one GPU changes the digest of that GPU alone."""
    before = load(copied)
    spoil(copied, CARDS, "name: GeForce RTX 4090\n", "name: GeForce RTX 4090 X\n")
    after = load(copied)
    names = [f"gpus/{key}" for key in before.gpu_index]
    assert [name for name in names if before.digest_of(name) != after.digest_of(name)] == ["gpus/rtx-4090"]


class Count(NamedTuple):
    """A result that is no plain JSON."""

    parameters: int
    rates: dict[str, tuple[float, ...]]


calls: list[str] = []


@memo
def counted(catalog: Catalog, model: str) -> list[Count]:
    calls.append(model)
    trace = catalog.traces[model]
    return [Count(trace.parameters(), {"a": (1.0, 0.1)}), Count(OTHER in catalog.published, {})]


@memo
def twice(catalog: Catalog, model: str) -> int:
    calls.append(f"twice {model}")
    return 2 * counted(catalog, model)[0].parameters


def test_a_result_is_used_until_something_that_it_read_changes(copied: Path) -> None:
    """In this process, in the next one, and as the very same value; another model's file does not matter."""
    calls.clear()
    catalog = load(copied)
    value = counted(catalog, KEY)
    assert counted(catalog, KEY) is value
    assert counted(load(copied), KEY) == value
    assert calls == [KEY]
    spoil(copied, "models/BAAI/bge-m3.yaml", "family: BGE", "family: Other")
    assert counted(load(copied), KEY) == value
    assert calls == [KEY]
    path = copied / f"traces/{KEY}.json"
    path.write_text(path.read_text() + " ")
    counted(load(copied), KEY)
    assert calls == [KEY, KEY]


def test_what_was_looked_for_and_not_there_counts_too(copied: Path) -> None:
    calls.clear()
    counted(load(copied), KEY)
    source = next((copied / "published").glob("*/*.yaml"))
    (copied / "published/BAAI").mkdir(exist_ok=True)
    (copied / f"published/{OTHER}.yaml").write_bytes(source.read_bytes())
    counted(load(copied), KEY)
    assert calls == [KEY, KEY]


def test_a_result_made_of_another_depends_on_what_that_read(copied: Path) -> None:
    """Whether the other was worked out meanwhile, was in memory, or was kept."""
    calls.clear()
    catalog = load(copied)
    counted(catalog, KEY)
    for source in (catalog, load(copied)):
        with recording() as reads:
            twice(source, KEY)
        assert reads == {f"traces/{KEY}": catalog.digest_of(f"traces/{KEY}"), f"published/{OTHER}": "none"}
    assert calls == [KEY, f"twice {KEY}"]


def test_a_catalog_changed_in_memory_never_gets_results_of_another(copied: Path) -> None:
    catalog = load(copied)
    other = replace(catalog, traces={**catalog.traces, KEY: catalog.traces[OTHER]})
    assert counted(catalog, KEY)[0].parameters != counted(other, KEY)[0].parameters
    assert counted(other, KEY)[0].parameters == catalog.traces[OTHER].parameters()


def test_all_of_a_kind_includes_each_of_it(copied: Path) -> None:
    catalog = load(copied)
    with recording() as reads:
        assert [gpu.name for gpu in catalog.gpus.values()]
        assert "rtx-4090" in catalog.gpus
        assert catalog.runtimes.reviewed
        assert not catalog.summaries_of(KEY)
    assert set(reads) == {"gpus", "runtimes", f"runs/{KEY}"}
    assert all(catalog.digest_of(name) == digest for name, digest in reads.items())


def test_many_results_are_worked_out_together(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitcard.catalog.storage.memo.MANY", 2)
    warm(counted, load(copied), [KEY, OTHER])
    calls.clear()
    catalog = load(copied)
    assert [counted(catalog, key)[0].parameters for key in (KEY, OTHER)] == [
        catalog.traces[key].parameters() for key in (KEY, OTHER)
    ]
    assert calls == []


def test_a_file_that_has_grown_too_large_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    database.put({"a": "x" * 100_000})
    database._connections.clear()
    monkeypatch.setattr(database, "LIMIT_BYTES", 50_000)
    assert database.get(["a"]) == {}
    database.put({"b": "y"})
    assert database.get(["a", "b"]) == {"b": "y"}


def test_a_text_that_was_damaged_is_not_there() -> None:
    database.put({"a": "one", "b": "two"})
    with sqlite3.connect(database.file()) as connection:
        connection.execute("UPDATE memo SET text = 'owe' WHERE key = 'a'")
    connection.close()
    assert database.get(["a", "b"]) == {"b": "two"}


def test_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody else may write into it; one that belongs to somebody else, or a link in its place, is never used."""
    database.put({"a": "one"})
    assert stat.S_IMODE(database.folder().stat().st_mode) == 0o700
    database._connections.clear()
    database.folder().chmod(0o777)
    assert database.get(["a"]) == {"a": "one"}
    assert stat.S_IMODE(database.folder().stat().st_mode) == 0o700
    database._connections.clear()
    monkeypatch.setattr("os.getuid", lambda: database.folder().stat().st_uid + 1)
    assert database.get(["a"]) == {}
    database.put({"a": "two"})
    assert "belongs to another user, so nothing is kept there: set XDG_CACHE_HOME" in capsys.readouterr().err
    monkeypatch.undo()


def test_a_link_in_place_of_the_database_is_not_followed(tmp_path: Path) -> None:
    database.folder().mkdir(parents=True)
    target = tmp_path / "somebody's file"
    target.write_text("text")
    database.file().symlink_to(target)
    database.put({"a": "one"})
    assert database.get(["a"]) == {}
    assert target.read_text() == "text"


def test_a_fault_of_a_day_is_found_again_when_a_newer_run_goes(copied: Path) -> None:
    """A release lies after the newest day in the catalog, but while a run is newer still it does not; that all was well then is no
    answer later."""
    shutil.rmtree(copied / "published")  # figures of the GPU would be older than it
    spoil(copied, CARDS, 'released: "2022-10-12"', 'released: "2027-03-04"')
    [before] = untrue_on_pages(load(copied))
    assert "is after" in str(before)
    path = add_run(copied / "runs", made_run(measured_at="2027-05-06T07:08:09Z"))
    assert not [fault for fault in untrue_on_pages(load(copied)) if "is after" in str(fault)]
    path.unlink()
    assert [before] == untrue_on_pages(load(copied))


def in_a_process(work: str, after: str) -> subprocess.CompletedProcess[str]:
    """`results` is what `spread` makes of the parts 0 to 39, in a process of its own: one that has threads, as a runner of tests may
    have, does not spread."""
    script = f"""
import os, signal
from pathlib import Path
from fitcard.catalog import parallel
from fitcard.catalog.errors import CatalogError, Problem
parallel.cores = lambda: 2
def work(number):
{textwrap.indent(textwrap.dedent(work), "    ")}
results = parallel.spread(work, range(40))
{after}
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)


def test_work_is_spread_and_comes_back_in_order() -> None:
    done = in_a_process(
        "return number, os.getpid()",
        "print([n for n, _ in results] == list(range(40)), os.getpid() in {p for _, p in results})",
    )
    assert done.stdout == "True False\n", done.stderr


def test_what_a_part_raises_is_raised() -> None:
    fault = """
        if number == 3:
            raise CatalogError([Problem(Path("a.yaml"), 7, "b", "is wrong")])
    """
    done = in_a_process(fault, "")
    assert done.returncode == 1
    assert "fitcard.catalog.errors.CatalogError: a.yaml:7: b: is wrong" in done.stderr


def test_a_process_that_is_killed_is_a_clear_error() -> None:
    done = in_a_process("if number == 3: os.kill(os.getpid(), signal.SIGKILL)", "")
    assert done.returncode == 1
    assert "FitcardError: a process that did part of the work was killed: is there enough memory" in done.stderr


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """A build that is killed leaves nothing running."""
    pids = tmp_path / "pids"
    script = f"""
import os, time
from fitcard.catalog import parallel
parallel.cores = lambda: 2
def work(number):
    with open({str(pids)!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    time.sleep(30)
parallel.spread(work, range(2))
"""
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    for _ in range(200):
        if pids.exists() and len(pids.read_text().split()) == 2:
            break
        subprocess.run(["sleep", "0.05"], check=True)
    process.kill()
    process.wait()
    subprocess.run(["sleep", "0.2"], check=True)
    for pid in pids.read_text().split():
        status = Path(f"/proc/{pid}/status")
        assert not status.exists() or "zombie" in status.read_text()
