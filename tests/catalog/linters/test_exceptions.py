"""The linters together, and exceptions from them."""

from __future__ import annotations

import re
from pathlib import Path

from fitcard.catalog import Catalog, load
from fitcard.catalog.linters import LINTERS, problems
from fitcard.catalog.loader import HERE
from tests.catalog.test_bad_input import spoil
from tests.conftest import ROOT, Cli

EXCEPTIONS = "exceptions.yaml"


def test_the_catalog_is_in_order(real: Catalog) -> None:
    assert [str(problem) for problem in problems(real)] == []


def test_every_linter_is_run_and_has_its_own_name_and_test() -> None:
    files = {path.stem for path in (HERE / "linters").glob("*.py")} - {"__init__", "over_runs"}
    assert files == {linter.NAME for linter in LINTERS}
    assert len(LINTERS) == len(files)
    untested = {name for name in files if not (ROOT / f"tests/catalog/linters/test_{name}.py").is_file()}
    assert all(name.startswith("run_") for name in untested), "tests/catalog/test_forged_runs.py tests those of runs"
    assert {linter.SCOPE for linter in LINTERS} == {"pages", "files"}


def test_what_is_excepted_is_not_reported_and_what_is_not_is(copied: Path) -> None:
    assert list(problems(load(copied))) == []
    (copied / EXCEPTIONS).unlink()
    found = {problem.field for problem in problems(load(copied))}
    assert found == {
        "gpus.h100-nvl.memory_gib",
        "gpus.gtx-1660-super.bandwidth_gb_per_s",
        "sources.llama-quant-b11549.url",
    }


def test_an_exception_that_nothing_needs_is_reported(copied: Path) -> None:
    """The memory is whole stacks now, so its exception is in the way of the next fault there."""
    spoil(
        copied,
        "gpus/nvidia-hopper.yaml",
        "memory_bus_bits: 6016\n    memory_gbps_per_pin: 5.238",
        "memory_bus_bits: 6144\n    memory_gbps_per_pin: 5.128",
    )
    (problem,) = problems(load(copied))
    message = (
        "memory no longer finds fault with gpus.h100-nvl.memory_gib in gpus/nvidia-hopper.yaml: delete the exception"
    )
    assert re.fullmatch(rf".*/exceptions\.yaml:\d+: exceptions\.0: {re.escape(message)}", str(problem))
    assert list(problems(load(copied), "pages")) == [], "a needless exception misleads nobody who reads pages"


def test_an_exception_from_a_linter_that_there_is_not(copied: Path) -> None:
    spoil(copied, EXCEPTIONS, "linter: memory", "linter: memories")
    found = [str(problem) for problem in problems(load(copied))]
    assert len(found) == 2, "the linter reports again what was excepted"
    assert re.search(
        r"exceptions\.yaml:\d+: exceptions\.0\.linter: no linter is called 'memories' \(there are: aliases, ", found[1]
    )


def test_check_prints_what_all_linters_find_and_build_stops_on_what_would_be_untrue(
    copied: Path, cli: Cli, tmp_path: Path
) -> None:
    spoil(copied, "models/google/siglip-base-patch16-384.yaml", "  id: apache-2.0\n", "  id: apache2\n")
    spoil(
        copied,
        "gpus/nvidia-ada.yaml",
        "sources:\n",
        "sources:\n  new: {title: New, publisher: X, url: https://nvidia.com/x, read: 2026-11-23}\n",
    )
    done = cli("check", catalog=copied)
    assert done.returncode == 1
    assert f"{len(LINTERS) + 1} linters, 2 problems:" in done.stdout
    lines = done.stderr.strip().splitlines()
    assert [line.split(": ")[1] for line in lines] == ["sources.new", "license.id"]
    done = cli("build", "--output", tmp_path / "out", catalog=copied)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "license.id: is neither an SPDX identifier" in done.stderr
    assert not (tmp_path / "out").exists()
