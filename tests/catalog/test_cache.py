"""What is kept between commands: right, bounded, and never in the way. And work that several processes share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fitcard.catalog import CatalogError, load
from fitcard.catalog.linters import untrue_on_pages
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.writer import add_run
from tests.catalog.test_bad_input import CARDS, MODEL, spoil
from tests.catalog.test_store import made_run
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def keys() -> set[str]:
    with sqlite3.connect(cache.file()) as connection:
        found = {key for (key,) in connection.execute("SELECT key FROM kept")}
    connection.close()
    return found


def test_one_edit_costs_the_reading_of_one_file(copied: Path) -> None:
    """Of all files the cache gains the parts of one (entry, record, lines) and the bundle that its entry is in; a catalog from the
    cache says what the files say."""
    load(copied)
    before = keys()
    spoil(copied, MODEL, "family: SigLIP\n", "family: Another\n")
    changed = load(copied)
    assert len(keys() - before) == 3 + 1
    assert changed.models[MODEL.removeprefix("models/").removesuffix(".yaml")].family == "Another"
    spoil(copied, MODEL, "family: Another\n", "family: SigLIP\n")
    after = keys()
    load(copied)
    assert keys() == after


def test_records_from_the_cache_are_those_of_the_files(copied: Path) -> None:
    fresh, kept = load(copied), load(copied)
    for name in ("models", "cards", "traces", "published", "lines"):
        assert dict(getattr(fresh, name)) == dict(getattr(kept, name)), name
    assert list(fresh.runs) == list(kept.runs)
    assert fresh.quantization_file == kept.quantization_file
    for name in ("model_index", "card_index", "trace_index", "published_index"):
        assert dict(getattr(fresh, name)) == dict(getattr(kept, name)), name


def test_faults_between_files_are_found_in_what_is_kept(copied: Path) -> None:
    """A card that a published figure names goes: the figure's own file, unchanged and kept, is the one that is named, with its line."""
    load(copied)
    spoil(copied, CARDS, "  rtx-4090:\n", "  rtx-4091:\n")
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert any(
        "speeds.0.gpu: no card 'rtx-4090'" in str(problem) and problem.line > 1 for problem in caught.value.problems
    )


def test_a_card_is_told_apart_from_its_neighbours(copied: Path) -> None:
    """An edit of one card changes the digest of that card alone."""
    before = load(copied).gpu_index
    spoil(copied, CARDS, "name: GeForce RTX 4090\n", "name: GeForce RTX 4090 X\n")
    after = load(copied).gpu_index
    assert {key for key in before if before[key].digest != after[key].digest} == {"rtx-4090"}


def test_it_stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not used for longest goes first."""
    monkeypatch.setattr(cache, "LIMIT_BYTES", 200_000)
    for number in range(50):
        assert cache.write({f"key {number}": bytes(10_000)}, used=["key 0"])
    found = cache.read(f"key {number}" for number in range(50))
    assert {"key 0", "key 49"} <= set(found)
    assert len(found) < 25


def test_a_value_that_was_damaged_is_no_value() -> None:
    cache.write({"a": b"one", "b": b"two"})
    with sqlite3.connect(cache.file()) as connection:
        connection.execute("UPDATE kept SET value = (SELECT value FROM kept WHERE key = 'b') WHERE key = 'a'")
    connection.close()
    assert cache.read(["a", "b"]) == {"b": b"two"}


def test_bundles_give_what_is_kept_under_each_key_and_read_it_together() -> None:
    digests = {f"name {number}": f"digest {number}" for number in range(100)}

    def read(digests: dict[str, str]) -> cache.Bundles[str]:
        return cache.Bundles(" test", digests, lambda names: {name: f"single {digests[name]}" for name in names})

    first = read(digests)
    assert (first.found, sorted(first.missing)) == ({}, sorted(digests))
    first.keep({name: name.upper() for name in digests})
    assert read(digests).found == {name: name.upper() for name in digests}
    # One changes, and its neighbours are taken from what is kept under their own keys.
    changed = digests | {"name 7": "digest new"}
    second = read(changed)
    assert second.missing == ["name 7"]
    assert second.found == {name: name.upper() for name in digests if name != "name 7"}
    second.keep({"name 7": "changed"})
    # Without the single values, the bundles alone give everything.
    with sqlite3.connect(cache.file()) as connection:
        connection.execute("DELETE FROM kept WHERE key LIKE 'single%'")
    connection.close()
    third = read(changed)
    assert (third.missing, third.found["name 7"], len(third.found)) == ([], "changed", 100)
    # What is not whole is not kept together.
    again = digests | {f"name {number}": f"digest newer {number}" for number in range(50)}
    read(again).keep({"name 8": "changed too"})
    missing = set(read(again).missing)
    assert missing >= {f"name {number}" for number in range(50) if number != 8}
    assert "name 8" not in missing


def test_a_fault_of_a_day_is_found_again_when_a_newer_run_goes(copied: Path) -> None:
    """A release lies after the newest day in the catalog, but while a run is newer still it does not; that all was well then is no
    answer later."""
    spoil(copied, CARDS, 'released: "2022-10-12"', 'released: "2027-03-04"')
    [before] = untrue_on_pages(load(copied))
    assert "is after" in str(before)
    path = add_run(copied / "runs", made_run(measured_at="2027-05-06T07:08:09Z"))
    assert not [fault for fault in untrue_on_pages(load(copied)) if "is after" in str(fault)]
    path.unlink()
    assert [before] == untrue_on_pages(load(copied))


def in_a_process(work: str, after: str) -> subprocess.CompletedProcess[str]:
    """`found` is what `spread` makes of the parts 0 to 39, in a process of its own: one that has threads, as a runner of tests may
    have, does not spread."""
    script = f"""
import os, signal
from pathlib import Path
from catalog import cores
from catalog.errors import CatalogError, Problem
cores.cores = lambda: 2
def work(number):
{textwrap.indent(textwrap.dedent(work), "    ")}
found = cores.spread(work, range(40))
{after}
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)


def test_work_is_spread_and_comes_back_in_order() -> None:
    done = in_a_process("return number, os.getpid()", "print([n for n, _ in found] == list(range(40)), os.getpid() in {p for _, p in found})")  # fmt: skip
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
    assert (
        "FitcardError: a process that did part of the work was killed by signal 9: is there enough memory"
        in done.stderr
    )
