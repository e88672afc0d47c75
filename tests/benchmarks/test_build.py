"""Building the site at any size, and beside other generators: `make bench`. Nothing here is asserted against a clock.

FITCARD_BENCH=full takes 1,000 models, 300 cards and 20,000 runs; the ordinary tests, which time nothing, run what stands here on next to
nothing. Other generators take part where they are installed; they get the finished content of every page, and we compute it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fitcard.catalog import load
from fitcard.catalog.parse import read_runs
from fitcard.catalog.storage.writer import add_run
from fitcard.site.generator.build import build
from fitcard.site.generator.engine import manifest
from tests.benchmarks.synthetic import made_run, make
from tests.conftest import ROOT

T = TypeVar("T")
FULL = os.environ.get("FITCARD_BENCH") == "full"
LARGE = {"third": (100, 300, 2000), "half": (300, 300, 6000), "whole": (1000, 300, 20000)}
SIZES = LARGE if FULL else {"whole": (6, 256, 60)}
LEAST = (2, 4, 12)
"""Models, cards and runs, the last where nothing is timed."""
TOOLS = [name for name in ("hugo", "eleventy", "zensical") if shutil.which(name)]


class Place:
    """A catalog of some size, the site made of it, and a cache of its own."""

    def __init__(self, folder: Path, size: tuple[int, int, int]) -> None:
        self.folder, self.site = folder, folder / "site"
        self.catalog = make(folder / "catalog", *size)
        self.cache = folder / "cache"
        self.seconds = 0.0

    def forget(self) -> None:
        """As if nothing had ever been built."""
        for name in ("site", ".site.spare", "cache"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def build(self) -> tuple[str, int]:
        """What a build says, and the most memory of all its processes together (each shared page counted once), in bytes."""
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.cache),
            "PYTHONPATH": str(ROOT / "src"),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "fitcard", "--catalog", str(self.catalog), "build", "--output", str(self.site)]
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        most = [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, most))
        watcher.start()
        out, _ = process.communicate()
        self.seconds = time.perf_counter() - began
        watcher.join()
        assert process.returncode == 0
        return out.splitlines()[0], most[0]


def _watch(pid: int, most: list[int]) -> None:
    while True:
        try:
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
            if root.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        held = 0
        for each in family:
            with contextlib.suppress(psutil.Error):  # it may just have ended
                held += each.memory_full_info().pss
        most[0] = max(most[0], held)
        time.sleep(0.1)


def timed(
    benchmark: BenchmarkFixture, work: Callable[[], T], before: Callable[[], None] | None = None, rounds: int = 1
) -> T:
    """What `work` gives, timed as often as it is asked for, with something done before each time that is not."""
    pedantic: Callable[..., T] = benchmark.pedantic  # it has no types of its own
    return pedantic(work, setup=before, rounds=rounds)


@pytest.fixture(scope="module", params=SIZES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return _place(request, tmp_path_factory, request.param)


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = _place(request, tmp_path_factory, "whole")
    found.build()
    return found


def _place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str) -> Place:
    size = LEAST if request.config.getoption("benchmark_disable") else SIZES[name]
    return Place(tmp_path_factory.mktemp(name), size)


@pytest.mark.benchmark(group="site: clean build, by size")
def test_clean_build(place: Place, benchmark: BenchmarkFixture) -> None:
    """From nothing: the catalog is read and checked, everything is computed, every page is made."""
    said, memory = timed(benchmark, place.build, place.forget)
    pages = sum(1 for _ in place.site.rglob("*.html"))
    benchmark.extra_info.update(said=said, pages=pages, ms_per_page=place.seconds / pages * 1000, peak_mb=memory / 1e6)
    print(
        f"\n{pages} pages, {place.seconds:.1f} s, {place.seconds / pages * 1000:.2f} ms a page, {memory / 1e6:.0f} MB: {said}"
    )


CHANGES = ["nothing changed", "one new run on a processor", "one new run on a card", "one word of a model"]
NUMBERS = count()
"""Of changes, so that none is made twice."""


@pytest.mark.benchmark(group="site: after a clean build, a whole process")
@pytest.mark.parametrize("what", CHANGES)
def test_one_change(what: str, whole: Place, benchmark: BenchmarkFixture) -> None:
    """Its start included."""
    said: list[str] = []
    timed(benchmark, lambda: said.append(whole.build()[0]), lambda: change(whole, what, next(NUMBERS)), rounds=3)
    benchmark.extra_info["said"] = said
    if benchmark.enabled:
        print(f"\n{what}: {said}, {whole.seconds:.2f} s the last with its start; and again: {whole.build()[0]}")


@pytest.mark.benchmark(group="site: after a clean build, the work besides start-up")
@pytest.mark.parametrize("what", CHANGES)
def test_work_of_one_change(
    what: str, whole: Place, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `fitcard build --watch` does it: in a copy of a process that has started up, so that nothing is imported any more."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(whole.cache))
    if what != CHANGES[0]:
        change(whole, what, next(NUMBERS))
    built = partial(build, whole.site, whole.catalog)
    built()
    said: list[str] = []
    timed(
        benchmark, lambda: said.append(str(built()[1])),
        lambda: change(whole, what, next(NUMBERS)), rounds=5,
    )  # fmt: skip
    benchmark.extra_info["said"] = said
    assert all(one.startswith("0 of") == (what == CHANGES[0]) for one in said), said
    print(f"\n{what}: {said}")


def change(place: Place, what: str, number: int) -> None:
    """Do what people do to a catalog."""
    real = load()
    model = sorted(place.catalog.glob("runs/cpu-*/*/*.yaml"))[0]
    key = model.relative_to(model.parents[1]).as_posix().removesuffix(".yaml")
    if "run" in what:
        device = "rtx-4090" if what.endswith("card") else model.relative_to(place.catalog / "runs").parts[0]
        source = read_runs(model)[number % 3]
        original = next(one for one in real.models if key.startswith(one))
        add_run(place.catalog / "runs", made_run(real, source, key, original, source.component, device, 5000 + number))
    elif "word" in what:
        path = place.catalog / f"models/{key}.yaml"
        path.write_text(path.read_text().replace("verdict: ", "verdict: Well, ", 1))


@pytest.mark.parametrize("what", ["clean", "one change"])
@pytest.mark.parametrize("tool", ["fitcard", *TOOLS])
@pytest.mark.benchmark(group="site: beside other generators, pages of the same content")
def test_beside_others(tool: str, what: str, whole: Place, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """Each makes the same pages; ours computes what stands on them, the others copy it in."""
    if tool == "fitcard":
        if what == "clean":
            timed(benchmark, whole.build, whole.forget)
        else:
            timed(benchmark, whole.build, lambda: change(whole, "one new run on a processor", next(NUMBERS)), rounds=3)
        return
    pages = list(contents(whole.site))
    command, first = _TOOLS[tool](tmp_path, pages)

    def run() -> None:
        environment = {**os.environ, "NODE_OPTIONS": "--max-old-space-size=8000"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    if what == "one change":
        run()
        number = iter(range(10**6))

        def edit() -> None:
            first.write_text(first.read_text().replace("</h1>", f" {next(number)}</h1>", 1))

        timed(benchmark, run, edit, rounds=2)
    else:
        timed(benchmark, run)
    made = sum(1 for _ in (tmp_path / "out").rglob("*.html"))
    assert made >= len(pages)
    benchmark.extra_info["pages"] = made


def contents(site: Path) -> Any:
    """Address, title, and what stands inside <main> of every page."""
    said = manifest.read(site)
    assert said
    for path in said.outputs:
        if path.endswith("/index.html"):
            text = (site / path).read_text()
            title = text.partition("<title>")[2].partition("</title>")[0]
            yield (
                path.removesuffix("/index.html"),
                title,
                re.sub(r"\n\s*\n", "\n", text.partition('class="wide">')[2].partition("</main>")[0]),
            )


SHELL = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>%s</title></head><body><main>%s</main></body></html>\n'


def _hugo(folder: Path, pages: list[tuple[str, str, str]]) -> tuple[list[str], Path]:
    (folder / "layouts/_default").mkdir(parents=True)
    for name in ("single", "list"):
        (folder / f"layouts/_default/{name}.html").write_text(SHELL % ("{{ .Title }}", "{{ .Content }}"))
    (folder / "config.toml").write_text(
        'baseURL = "/"\ndisableKinds = ["taxonomy", "term", "RSS", "sitemap", "section", "home"]\n'
        '[security]\nallowContent = [".*"]\n'  # from some version on it takes no HTML unless told so
    )
    # Not as index.html of a folder: what lies below such a one is no page of its own to Hugo.
    last = folder
    for path, title, content in pages:
        last = folder / f"content/{path}.html"
        last.parent.mkdir(parents=True, exist_ok=True)
        last.write_text(f"---\ntitle: {json.dumps(title)}\n---\n{content}\n")
    return ["hugo", "--destination", "out", "--quiet"], last


def _eleventy(folder: Path, pages: list[tuple[str, str, str]]) -> tuple[list[str], Path]:
    (folder / "src/_includes").mkdir(parents=True)
    (folder / "src/_includes/page.njk").write_text(SHELL % ("{{ title }}", "{{ content | safe }}"))
    (folder / "src/src.json").write_text(json.dumps({"layout": "page.njk"}))
    (folder / "eleventy.config.js").write_text(
        'module.exports = () => ({dir: {input: "src", output: "out"}, htmlTemplateEngine: false});\n'
    )
    return ["eleventy", "--quiet"], _written(folder / "src", pages, "index.html")


def _zensical(folder: Path, pages: list[tuple[str, str, str]]) -> tuple[list[str], Path]:
    (folder / "theme").mkdir()
    (folder / "theme/main.html").write_text(SHELL % ("{{ page.title }}", "{{ page.content }}"))
    (folder / "mkdocs.yml").write_text(
        "site_name: bench\nsite_dir: out\nnav: [index.md]\ntheme: {name: material, custom_dir: theme}\nplugins: []\n"
    )
    (folder / "docs").mkdir()
    (folder / "docs/index.md").write_text("# Home\n")
    return ["zensical", "build"], _written(folder / "docs", pages, "index.md")


def _written(folder: Path, pages: list[tuple[str, str, str]], name: str) -> Path:
    for path, title, content in pages:
        (folder / path).mkdir(parents=True, exist_ok=True)
        (folder / path / name).write_text(f"---\ntitle: {json.dumps(title)}\n---\n{content}\n")
    return folder / pages[-1][0] / name


_TOOLS: dict[str, Callable[[Path, list[tuple[str, str, str]]], tuple[list[str], Path]]] = {
    "hugo": _hugo, "eleventy": _eleventy, "zensical": _zensical,
}  # fmt: skip
