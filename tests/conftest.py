"""What several tests share: the real catalog and a small one, their sites, and the command line as a user calls it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from subprocess import Popen
from unittest.mock import patch

import pytest

from fitcard.catalog import Catalog, load
from fitcard.catalog.loader import HERE
from fitcard.cli import main
from fitcard.site.generator.build import build
from tests.preloaded import COMMANDS, Preloaded
from tests.sample import sample_catalog

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script, where shells have Ctrl-C ignored; what tests interrupt must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def suite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of one run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(folder: Path, name: str, make: Callable[[Path], object]) -> Path:
    """What `make` writes to the path that it is given, made by the first worker that asks, while the others wait."""
    target = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            make(folder / f"{name}.new")
            (folder / f"{name}.new").rename(target)
    return target


@pytest.fixture(scope="session")
def real() -> Catalog:
    """The catalog that comes with the package."""
    return load()


@pytest.fixture(scope="session")
def real_site(suite_folder: Path) -> Path:
    """The website of the real catalog. Building it takes most of a minute, so it is for what only all the data can show."""
    return once(suite_folder, "real-site", build)


@pytest.fixture(scope="session")
def sample_root(suite_folder: Path) -> Path:
    """The folder of the small catalog of tests/sample.py, for reading."""
    return once(suite_folder, "sample", sample_catalog)


@pytest.fixture(scope="session")
def sample(sample_root: Path) -> Catalog:
    """The small catalog of tests/sample.py."""
    return load(sample_root)


@pytest.fixture(scope="session")
def site(suite_folder: Path, sample_root: Path) -> Path:
    """The website of the small catalog."""
    return once(suite_folder, "sample-site", lambda target: build(target, sample_root))


@pytest.fixture
def copied_sample(tmp_path: Path, sample_root: Path) -> Path:
    """A copy of the small catalog, for tests that spoil it and build its site."""
    shutil.copytree(sample_root, tmp_path / "sample")
    return tmp_path / "sample"


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


@pytest.fixture(scope="session", autouse=True)
def preloaded() -> Generator[None]:
    """Processes that would import torch are forks of one that has: tests/preloaded.py says how they differ."""
    with patch.object(subprocess, "Popen", Preloaded):
        yield
    Preloaded.close()


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of this test starts with an interpreter of its own, as a user's does."""
    monkeypatch.setattr(subprocess, "Popen", Popen)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run `fitcard` as a user calls it. Most commands run in this process, which saves their start: `test_cli.py` starts real ones."""

    def run(*words: str | Path, catalog: Path | None = None) -> subprocess.CompletedProcess[str]:
        arguments = [*(["--catalog", str(catalog)] if catalog else []), *map(str, words)]
        return (in_a_process if words[0] in COMMANDS else in_this_process)(arguments)

    return run


def in_a_process(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """`fitcard` in a process of its own."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "fitcard", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600, check=False)


def in_this_process(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The same by a call; an exception that nobody caught is a traceback here, too."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    code = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(sys, "argv", ["fitcard", *arguments]))
        stack.enter_context(patch.dict(os.environ, {"COLUMNS": "200", "NO_COLOR": "1"}))
        stack.enter_context(contextlib.chdir(ROOT))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # it is the BytesIO of above
    return subprocess.CompletedProcess(arguments, code, *texts)
