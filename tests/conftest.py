"""What several tests share: the real catalog, a small one that can be spoilt, and the command line as a user calls it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fitcard.catalog import Catalog, load
from fitcard.catalog.loader import HERE
from fitcard.site.generator.build import build

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script, where shells have Ctrl-C ignored; what tests interrupt must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def real() -> Catalog:
    """The catalog that comes with the package."""
    return load()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The website of the real catalog, built once."""
    return build(tmp_path_factory.mktemp("site") / "out")[0]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the real catalog's data, without runs, for tests that spoil it."""
    return copy_catalog(tmp_path / "catalog")


def copy_catalog(target: Path) -> Path:
    """Copy the data of the real catalog."""
    for name in ("models", "gpus", "published", "traces"):
        shutil.copytree(HERE / name, target / name)
    for name in ("quantizations.yaml", "runtimes.yaml", "matmul.yaml", "speed.yaml", "exceptions.yaml"):
        shutil.copy(HERE / name, target / name)
    (target / "runs").mkdir()
    return target


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run `fitcard` in a process of its own."""

    def run(*words: str | Path, catalog: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fitcard", *(["--catalog", str(catalog)] if catalog else []), *map(str, words)]
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600, check=False
        )

    return run
