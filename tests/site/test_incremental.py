"""Building in parts: what comes out is what a clean build gives, and nothing that goes wrong meanwhile harms the site that is there."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fitcard.catalog import FitcardError
from fitcard.catalog.storage import database
from fitcard.catalog.storage.hashing import catalog_digests, combined, file_digest
from fitcard.site.generator.build import build
from fitcard.site.generator.engine import manifest, publish, render
from fitcard.site.generator.engine.manifest import Entry, Manifest
from fitcard.site.generator.engine.sources import read_sources
from tests.conftest import ROOT, once
from tests.nightly import KILLS, SEQUENCES
from tests.site import edits
from tests.site.edits import POOL, copy_checkout, is_whole, new_run, small_catalog, tree


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, also for the processes that it starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the checkout that builds in this process use."""
    copy = copy_checkout(tmp_path / "checkout")
    monkeypatch.setattr("fitcard.site.generator.engine.sources.ROOT", copy)
    return copy


@pytest.fixture(scope="session")
def beginning(suite_folder: Path) -> Path:
    """The small catalog with its site as a build from nothing leaves it, and with what was kept meanwhile."""
    edits.real()  # from the common cache, not from a test's own, which is empty

    def make(folder: Path) -> None:
        folder.mkdir()
        with kept_in(folder / "cache"):
            _, report = build(folder / "site", small_catalog(folder / "catalog"))
        assert (report.current, report.removed) == (0, ())

    return once(suite_folder, "beginning", make)


@pytest.fixture
def small(tmp_path: Path, beginning: Path) -> Path:
    """A copy of the small catalog; its site and what was kept lie beside it."""
    command = ["cp", "-a", f"{beginning}/.", str(tmp_path)]  # links between the site and its spare stay links
    subprocess.run(command, check=True)
    return tmp_path / "catalog"


@contextlib.contextmanager
def kept_in(cache: Path) -> Iterator[None]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


Clean = Callable[[Path], dict[str, bytes] | str]


@pytest.fixture
def clean(suite_folder: Path, tmp_path: Path) -> Clean:
    """A build from nothing, with nothing kept: its tree, or why there is none. What several tests end with is built once."""

    def built(catalog: Path) -> dict[str, bytes] | str:
        key = combined((read_sources().key, *(f"{name} {digest}" for name, digest in catalog_digests(catalog).items())))
        try:
            with kept_in(tmp_path / "nothing"):
                return tree(once(suite_folder, f"clean-{key}", lambda target: build(target, catalog)))
        except FitcardError as error:
            return str(error)
        finally:
            shutil.rmtree(tmp_path / "nothing", ignore_errors=True)

    return built


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_a_sequence_of_edits_gives_what_a_clean_build_gives(
    seed: int, small: Path, checkout: Path, tmp_path: Path, clean: Clean
) -> None:
    """After every edit the site is whole, and the one that stands is the old one where the data cannot be believed; at the end,
    and at every error, a clean build says the same, byte for byte."""
    site = tmp_path / "site"
    for edit, chance in edits.sequence(seed):
        saved, before = tmp_path / "saved", tree(site)
        shutil.copytree(small, saved / "catalog")
        shutil.copytree(checkout, saved / "checkout", symlinks=True)
        edit(small, checkout, chance)
        try:
            build(site, small)
        except FitcardError as error:
            assert clean(small) == str(error)
            assert tree(site) == before
            for name, place in (("catalog", small), ("checkout", checkout)):
                shutil.rmtree(place)
                shutil.copytree(saved / name, place, symlinks=True)
        assert is_whole(site)
        shutil.rmtree(saved)
    build(site, small)
    assert tree(site) == clean(small)
    assert not publish.fresh(site).exists()
    spare = manifest.read(publish.spare(site))
    assert spare is None or is_whole(publish.spare(site))


def start(
    catalog: Path, site: Path, *words: str, checkout: Path = ROOT, before: Callable[[], object] | None = None
) -> subprocess.Popen[str]:
    """`fitcard build` in a process of its own, from a copy of the checkout where one is given."""
    command = [sys.executable, "-m", "fitcard", "--catalog", str(catalog), "build", "--output", str(site), *words]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    if before:  # Python itself would leave halves of compiled modules in the checkout where its disk is full
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.Popen(
        command, cwd=checkout, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=before,
    )  # fmt: skip


def test_only_what_depends_on_a_change_is_made_again(small: Path, checkout: Path, tmp_path: Path, clean: Clean) -> None:
    """Of each kind of edit: what is made again, and why; files that stay are the very same files."""
    site, spare = tmp_path / "site", tmp_path / ".site.spare"
    said = manifest.read(site)
    assert said
    count = f"{len(said.outputs):,}"
    assert str(build(site, small)[1]).startswith(f"0 of {count} outputs made again, {count} current, 0 removed")
    card, other = "gpus/apple-m6-12-core-16gb/index.html", "gpus/apple-m6-12-core-24gb/index.html"
    inode = (site / other).stat().st_ino
    new_run(small, POOL[0], "apple-m6-12-core-16gb", 77)
    made = build(site, small)[1].made
    assert {card, f"models/{POOL[0]}/index.html", "index.html"} <= set(made)
    assert not {other, f"models/{POOL[1]}/index.html", "css/fitcard.css", "policy/index.html"} & set(made)
    assert "devices/apple-m6-12-core-16gb" in made[card]
    assert (site / other).stat().st_ino == (spare / other).stat().st_ino == inode
    path = small / "gpus/apple-m6.yaml"
    path.write_text(path.read_text().replace("name: Apple M6 (12-core GPU, 24 GB)", "name: Apple M6, 24 GB"))
    made = build(site, small)[1].made
    assert {other, f"models/{POOL[0]}/index.html"} <= set(made)
    assert card not in made
    template = checkout / "site/theme/gpu.html"
    template.write_text(template.read_text() + "\n")
    made = build(site, small)[1].made
    assert set(made) == {f"gpus/{key.name}/index.html" for key in (site / "gpus").iterdir() if key.is_dir()} | {
        path for path, why in made.items() if why == "template/gpu.html changed"
    }
    (small / "models/renamed").mkdir()
    for folder, ending in (("models", "yaml"), ("traces", "json")):
        (small / folder / "renamed").mkdir(exist_ok=True)
        (small / folder / f"{POOL[2]}.{ending}").rename(small / folder / f"renamed/it.{ending}")
    _, report = build(site, small)
    assert report.made["models/renamed/it/index.html"] == "it is new"
    assert f"models/{POOL[2]}/index.html" in report.removed
    assert not (site / "models" / POOL[2]).exists()
    assert tree(site) == clean(small)


def test_documents_link_to_pages_that_were_not_listed(
    small: Path, checkout: Path, tmp_path: Path, clean: Clean
) -> None:
    """What is there is known of groups in which nothing changed, too; and a link to what is gone is an error."""
    site, document = tmp_path / "site", checkout / "site/docs/policy.md"
    text = document.read_text()
    document.write_text(f"{text}\n[a model](models/{POOL[0]}/index.md), [its data](api/v1/models/{POOL[0]}.json)\n")
    _, report = build(site, small)
    assert set(report.made) >= {"policy/index.html"}
    assert f'href="../models/{POOL[0]}/"' in (site / "policy/index.html").read_text()
    assert tree(site) == clean(small)
    document.write_text(f"{text}\n[a model](models/nobody/nothing/index.md)\n")
    with pytest.raises(FitcardError, match="nobody"):
        build(site, small)


def test_a_document_and_a_file_that_it_links_to_change_together(
    small: Path, checkout: Path, tmp_path: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both are made by one process, its call of MkDocs must be told of the file, which it does not make."""
    monkeypatch.setattr(render, "TOGETHER", 1 << 20)
    site = tmp_path / "site"
    for name in ("contribute.md", "workflow.yml"):
        document = checkout / "site/docs" / name
        document.write_text(f"{document.read_text()}\n")
    _, report = build(site, small)
    assert set(report.made) >= {"contribute/index.html", "workflow.yml"}
    assert tree(site) == clean(small)


def test_files_by_hand_stay_out_of_generated_folders(small: Path, checkout: Path, tmp_path: Path) -> None:
    page = checkout / f"site/docs/models/{POOL[0]}.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Mine\n")
    with pytest.raises(FitcardError, match="would lie among what is about models, GPUs and runs"):
        build(tmp_path / "site", small)


def test_kill_9_at_any_moment(small: Path, tmp_path: Path, clean: Clean) -> None:
    """Builds of everything, each killed at a random moment, its helpers left running: the old site is whole all the while,
    and the next build is right."""
    site, chance = tmp_path / "site", random.Random(11)
    began = time.monotonic()
    start(small, site, "--clean").communicate()
    whole = time.monotonic() - began
    died = 0
    for number in range(KILLS):
        new_run(small, POOL[number % 3], "cpu-test", 1000 + number)
        process = start(small, site, "--clean")
        time.sleep(chance.uniform(0.2, 1.0) * whole)
        process.kill()
        process.communicate()
        died += process.returncode == -signal.SIGKILL
        assert is_whole(site)
    assert died > KILLS / 3
    build(site, small)
    assert tree(site) == clean(small)
    assert {path.name for path in tmp_path.iterdir()} <= {"site", ".site.spare", "catalog", "cache"}


@pytest.mark.parametrize("kibibytes", [1, 24])
def test_a_full_disk(kibibytes: int, small: Path, tmp_path: Path, clean: Clean) -> None:
    """One line that says so; the old site is whole, nothing is left beside it, and the next build is right."""
    site = tmp_path / "site"
    before = tree(site)
    new_run(small, POOL[0], "cpu-test", 50)
    size = kibibytes * 1024
    process = start(small, site, "--clean", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    _, said = process.communicate()
    assert process.returncode == 1
    assert len(said.strip().splitlines()) == 1
    assert f"the site cannot be written to {site}: " in said
    assert "File too large; what was there is untouched" in said
    assert tree(site) == before
    assert not publish.fresh(site).exists()
    build(site, small)
    assert tree(site) == clean(small)


def test_a_corrupt_manifest(small: Path, tmp_path: Path) -> None:
    """Then everything is made again; only a folder that has none at all is not ours."""
    site = tmp_path / "site"
    before, path = tree(site), site / manifest.NAME
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(FitcardError, match="holds something that fitcard did not build"):
        build(site, small)
    spoilt = (
        content[: len(content) // 2], content.replace(b"index.html", b"index.htm1", 1), b"",
        content.replace(b'"fitcard":3', b'"fitcard":0', 1),
    )  # fmt: skip
    for each in spoilt:
        path.unlink(missing_ok=True)
        path.write_bytes(each)
        assert manifest.find(site) is None  # which is all that a build asks of it
    _, report = build(site, small)
    assert report.current == 0
    assert set(report.made.values()) == {"there is no site yet whose manifest is whole"}
    assert tree(site) == before


@pytest.mark.parametrize("how", ["not a database", "cut", "bytes changed", "cannot be written"])
def test_a_corrupt_cache(how: str, small: Path, tmp_path: Path, clean: Clean) -> None:
    """It costs time and nothing else: the site is what it would be without one, and no error shows."""
    site = tmp_path / "site"
    path = database.file()
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "not a database":
        path.write_bytes(b"x" * 5000)
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "bytes changed":
        chance = random.Random(3)
        for _ in range(2000):
            content[chance.randrange(4096, len(content))] ^= 0xFF
        path.write_bytes(content)
    else:
        path.parent.rmdir()
        path.parent.write_text("a file where the folder should be")
    new_run(small, POOL[0], "cpu-test", 50)
    done = start(small, site)
    _, said = done.communicate()
    assert (done.returncode, said) == (0, "")
    assert tree(site) == clean(small)


def test_a_clock_that_was_set_back(small: Path, tmp_path: Path, clean: Clean) -> None:
    """A change of the same length, in a file that says it is older than the site, is seen."""
    site = tmp_path / "site"
    path = small / f"models/{POOL[0]}.yaml"
    state = path.stat()
    path.write_text(path.read_text().replace("family: ", "family:  ", 1).replace("family:  B", "family: Q", 1))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - 10**15))
    _, report = build(site, small)
    assert f"models/{POOL[0]}/index.html" in report.made
    assert tree(site) == clean(small)


def test_a_template_edited_during_a_build(small: Path, checkout: Path, tmp_path: Path, clean: Clean) -> None:
    """The build shows the templates of its beginning, all of one kind; the next one shows the edit."""
    site, template, chance = tmp_path / "site", checkout / "site/theme/main.html", random.Random(5)
    text = template.read_text()
    for number in range(3):
        template.write_text(text.replace("</body>", f"<!-- begun {number} --></body>"))
        process = start(small, site, checkout=checkout)
        time.sleep(chance.uniform(0.3, 1.5))
        template.write_text(text.replace("</body>", f"<!-- edited {number} --></body>"))
        assert process.communicate()[1] == ""
        assert is_whole(site)
        shown = {page.read_text().partition("</footer>")[2] for page in site.rglob("*.html")}
        assert len(shown) == 1
    build(site, small)
    assert f"<!-- edited {number} -->" in (site / "index.html").read_text()
    assert tree(site) == clean(small)


def test_two_builds_at_once(small: Path, tmp_path: Path, clean: Clean) -> None:
    """Of a site that is not there yet. The second waits, and then finds everything current."""
    for name in ("site", ".site.spare", "cache"):
        shutil.rmtree(tmp_path / name)
    site = tmp_path / "site"
    said = [process.communicate() for process in [start(small, site) for _ in range(3)]]
    assert [error for _, error in said] == ["", "", ""]
    first = [out for out, _ in said if "0 current" in out]
    others = [out for out, _ in said if out.startswith("0 of ")]
    assert (len(first), len(others)) == (1, 2)
    assert tree(site) == clean(small)


def test_a_reader_always_finds_a_page(small: Path, tmp_path: Path) -> None:
    """While sites are exchanged again and again, no page is missing for a moment, and no open file changes."""
    site = tmp_path / "site"
    page = site / f"models/{POOL[0]}/index.html"
    with page.open("rb") as held:
        before = held.read()
        processes = [start(small, site, "--clean") for _ in range(2)]
        read = 0
        while any(process.poll() is None for process in processes):
            assert page.read_bytes() == before
            read += 1
        new_run(small, POOL[0], "cpu-test", 50)
        build(site, small)
        build(site, small, clean=True)
        held.seek(0)
        assert held.read() == before
    assert read > 100
    assert page.read_bytes() != before
    for process in processes:
        assert process.communicate()[1] == ""


def test_systems_that_cannot_exchange_folders(
    small: Path, tmp_path: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two renames do it, and a build that was killed between them is put right by the next one."""
    monkeypatch.setattr(publish, "_exchanged", lambda one, other: False)
    site = tmp_path / "site"
    new_run(small, POOL[0], "cpu-test", 50)
    build(site, small)
    assert is_whole(site)
    site.rename(tmp_path / ".site.old")
    new_run(small, POOL[0], "cpu-test", 51)
    build(site, small)
    assert tree(site) == clean(small)
    assert not (tmp_path / ".site.old").exists()


def test_file_systems_without_hard_links(
    small: Path, tmp_path: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    site = tmp_path / "site"
    new_run(small, POOL[0], "cpu-test", 50)
    build(site, small)
    assert tree(site) == clean(small)


def test_mkdocs_by_itself_gives_the_same_site(small: Path, tmp_path: Path) -> None:
    """File by file, `mkdocs build` writes what `fitcard build` writes, but for MkDocs' own site map."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "whole")]
    environment = {**os.environ, "FITCARD_CATALOG": str(small), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, ours = tree(tmp_path / "whole"), tree(site)
    del ours[manifest.NAME]
    for name in ("sitemap.xml", "sitemap.xml.gz"):
        if name not in ours:
            del whole[name]
    assert whole == ours


@contextlib.contextmanager
def served(small: Path, site: Path, checkout: Path) -> Iterator[str]:
    """The address of a server that watches."""
    command = [
        sys.executable,
        "-m",
        "fitcard",
        "--catalog",
        str(small),
        "serve",
        "--address",
        "127.0.0.1:0",
        "--output",
        str(site),
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def fetched(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except OSError:
        return ""


def until(found: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that comes, as a reader would."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_serving_shows_edits(small: Path, checkout: Path, tmp_path: Path) -> None:
    """An edit of data, of a template and of code is on the page; a page is told so; bad data leave the last good site standing; the files hold no script."""
    site = tmp_path / "site"
    with served(small, site, checkout) as address:
        page = f"{address}models/{POOL[0]}/"
        until(lambda: "<h1>" in fetched(page))
        text = fetched(page)
        asked = text.partition('<script src="/.fitcard-news.js?')[2].partition('"')[0]
        assert "location.reload" in fetched(f"{address}.fitcard-news.js?{asked}")
        path = small / f"models/{POOL[0]}.yaml"
        good = path.read_text()
        path.write_text(good.replace("family: ", "family: Edited ", 1))
        assert fetched(f"{address}.fitcard-news?{asked}") == "new"
        until(lambda: fetched(page) != text)
        path.write_text("name: [")
        time.sleep(1.5)
        assert "<h1>" in fetched(page)
        path.write_text(good)
        template = checkout / "site/theme/model.html"
        template.write_text(template.read_text().replace("<h1>", "<h1>Template ", 1))
        until(lambda: "<h1>Template " in fetched(page))
        code = checkout / "site/generator/pages/listing.py"
        code.write_text(code.read_text().replace("All models", "All the models"))
        until(lambda: "All the models" in fetched(f"{address}models/"))
        assert "There is no such page" in fetched(f"{address}nowhere/")
    assert is_whole(site)
    assert not any(b"fitcard-news" in content for content in tree(site).values())
    assert file_digest(site / "index.html")


def test_folders_are_moved_whole_only_where_nothing_lies_below_them(tmp_path: Path) -> None:
    """A new folder comes in one step; one that has others below it, or parts made elsewhere, file by file."""
    outputs = {name: ("key", name) for name in ("a/x", "a/b/c/y", "d/1", "d/2", "e/1", "e/2", "top")}
    where = {"a/x": "0", "a/b/c/y": "0", "d/1": "0", "d/2": "0", "e/1": "0", "e/2": "1", "top": "0"}
    made: dict[str, str] = {}
    for name, part in where.items():
        path = tmp_path / "fresh" / part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        made[name] = str(path)
    new = Manifest("key", "code", {name: Entry("", content, {}) for name, (_, content) in outputs.items()})
    assert publish._whole_folders(made, outputs) == {
        "a/b/c": str(tmp_path / "fresh/0/a/b/c"),
        "d": str(tmp_path / "fresh/0/d"),
    }
    target = tmp_path / "site"
    target.mkdir()
    publish.replace(target, new, made, whole=False)
    for place in (target, publish.spare(target)):
        assert {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()} - {manifest.NAME} == set(
            outputs
        )
        assert all((place / name).read_text() == name for name in outputs)
