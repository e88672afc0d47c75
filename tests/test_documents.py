"""What the documents show is what the program takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from fitcard.catalog.schema.gpu import GpuFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import Record, read_record
from fitcard.catalog.schema.run import Content
from fitcard.catalog.schema.signers import SignersFile
from fitcard.catalog.schema.waivers import ExceptionsFile
from fitcard.cli import COMMANDS
from tests.conftest import ROOT, Cli

ROOMS = ("catalog", "advisor", "profiler", "site")
DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
]

KINDS: dict[str, type[Record]] = {
    "model": Model, "gpus": GpuFile, "published": PublishedFile, "run": Content, "exceptions": ExceptionsFile, "signers": SignersFile,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_of_contributing_are_valid(kind: str, tmp_path: Path) -> None:
    """Each commented example is a file that could be copied as it stands."""
    found = re.search(rf"```yaml {kind}\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    assert found
    path = tmp_path / "example.yaml"
    path.write_text(found[1])
    read_record(KINDS[kind], path)


def test_every_make_target_of_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"^make (\w+)", (ROOT / document).read_text(), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), (document, target)


Usage = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def usage(cli: Cli) -> Usage:
    """What `fitcard COMMAND --help` prints, asked once."""
    return lru_cache(lambda command: cli(command, "--help"))


def options(usage: Usage, command: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", usage(command).stdout))


BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.S | re.M)
"""A block of code: its language, and its text."""


def command_lines(text: str) -> list[list[str]]:
    """The words of every `fitcard ...` in a document, in blocks of code and in sentences, without `# comments`."""
    blocks = [code for language, code in BLOCK.findall(text) if not language]
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    lines = [re.sub(r"^(\.venv/bin/)?fitcard --catalog \S+", "fitcard", line) for line in lines]
    return [words for line in lines if line.startswith("fitcard ") and (words := shlex.split(line, comments=True))[1:]]


def test_every_command_line_of_the_documents_exists(usage: Usage) -> None:
    """Each names a command that has an example, and only options that its help lists."""
    lines = [(name, words) for name in DOCUMENTS for words in command_lines((ROOT / name).read_text())]
    assert {words[1] for _, words in lines} > {"gpus", "fit", "models", "profile", "add", "build", "import"}
    for name, (_, command, *words) in lines:
        assert usage(command).returncode == 0, (name, command)
        assert f"Example: fitcard {command}" in usage(command).stdout
        unknown = {word for word in words if word.startswith("-")} - options(usage, command)
        assert not unknown, (name, command, unknown)


def test_every_option_in_a_sentence_belongs_to_a_command(usage: Usage) -> None:
    every = set().union(*(options(usage, command) for command in COMMANDS))
    for name in DOCUMENTS:
        assert set(re.findall(r"`(--[a-z-]+)`", (ROOT / name).read_text())) <= every, name


def test_every_file_that_the_maps_name_exists() -> None:
    """Paths in sentences and tables may leave out the room; those in a tree are below the folder of its heading. Words in
    capitals stand for any name."""
    folders = (*ROOMS, "src", "tests", "docs")
    paths = [path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*")]
    paths += [path.name for path in ROOT.iterdir()]
    for document in DOCUMENTS[2:]:
        for path in named_paths((ROOT / document).read_text()):
            pattern = re.compile(r"(.*/)?" + re.sub(r"[A-Z]{2,}(\\-[A-Z]+)*|\\\*", "[^/]+", re.escape(path)))
            assert any(map(pattern.fullmatch, paths)), (document, path)


def named_paths(text: str) -> set[str]:
    """The files and folders that a map names."""
    endings = r"(?:/|\.(?:py|yaml|yml|json|md|html|js|css|toml))"
    prose = BLOCK.sub("", text)
    code = [word for span in re.findall(r"`([^`\n]+)`", prose) for word in span.split()]
    named = {word for word in code if re.fullmatch(rf"[\w*][\w./*-]*{endings}|\w[\w-]*/[\w./*-]+", word)}
    named |= {link.removeprefix("../") for link in re.findall(r"\]\(([^):#]+)", prose)}
    for heading, tree in re.findall(r"^## (\S+/)[^\n]*\n\n```\n(.*?)^```$", text, re.S | re.M):
        entries = [line.split("  ")[0] for line in tree.splitlines() if not line.startswith(" ")]
        named |= {heading + word for entry in entries for word in entry.split() if re.search(rf"{endings}$", word)}
    return {path.rstrip("/") for path in named if path not in ("/", "/.")}


def test_the_index_of_the_log_links_every_entry() -> None:
    """In order, newest first, by the anchors that GitHub gives to headings."""
    text = (ROOT / "LOG.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert re.findall(r"^- \[(.+)\]\(#(.+)\)$", text, re.M) == list(zip(headings, anchors, strict=True))
    days = [heading[:10] for heading in headings]
    assert days == sorted(days, reverse=True)


def test_the_log_has_every_day_that_the_code_cites() -> None:
    """Constants of the code and of the data name the entry that they come from by its day."""
    days = set(re.findall(r"^## (\S+)", (ROOT / "LOG.md").read_text(), re.M))
    files = [*(ROOT / "catalog").glob("*.yaml"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    cited = {day for file in files for day in re.findall(r"LOG\.md,[\s#]*(\d{4}-\d\d-\d\d)", file.read_text())}
    assert len(cited) >= 4
    assert cited <= days


def test_the_workflow_to_copy_runs_commands_that_exist(cli: Cli) -> None:
    """Its steps are read as GitHub reads them; each command takes the options that it is given, and diff is really run."""
    steps = yaml.safe_load((ROOT / "site/docs/workflow.yml").read_text())["jobs"]["catalog"]["steps"]
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    commands = [
        re.findall(r"\S+", line.split(">>")[0].split("fitcard ", 1)[1]) for line in lines if "/fitcard " in line
    ]
    assert [words[0] for words in commands] == ["check", "build", "diff"]
    for name, *options in commands:
        usage = cli(name, "--help").stdout
        assert all(option in usage for option in options if option.startswith("-"))
    done = cli("diff", "HEAD")
    assert done.returncode == 0, done.stderr
    assert "--require-hashes --requirement site.lock" in lines[1]


def test_the_workflow_to_copy_gives_a_pull_request_nothing_but_reading() -> None:
    """No token to write with, no cache of another run, actions by commit; what may publish runs after a push alone."""
    workflow = yaml.safe_load((ROOT / "site/docs/workflow.yml").read_text())
    jobs = workflow["jobs"]
    assert workflow["permissions"] == {}
    assert jobs["catalog"]["permissions"] == {"contents": "read"}
    steps = [step for job in jobs.values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)
    assert not any("cache" in action or "cache" in step.get("with", {}) for action in used for step in steps)
    assert not any("${{" in step.get("run", "") for step in steps)  # a branch's name is not to be run by a shell
    assert jobs["publish"]["if"] == "github.event_name == 'push'"
    assert {name for name, job in jobs.items() if "write" in str(job["permissions"])} == {"publish"}


@pytest.mark.parametrize("name", ["site.lock", "sbom.lock"])
def test_a_lock_names_every_file_by_its_digest(name: str) -> None:
    """And no index's address."""
    text = (ROOT / name).read_text()
    assert text.count("==") == len(re.findall(r"==[^\n]+\\\n    --hash=sha256:[0-9a-f]{64}", text)) + text.count("== '")
    assert "://" not in text


def test_a_release_lists_what_it_was_made_with() -> None:
    """After a push, beside the site, by a tool of which every file is pinned."""
    steps = yaml.safe_load((ROOT / "site/docs/workflow.yml").read_text())["jobs"]["catalog"]["steps"]
    (step,) = [step for step in steps if "make sbom" in step.get("run", "")]
    assert step["if"] == "github.event_name == 'push'"
    done = subprocess.run(["make", "--dry-run", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True)
    written = re.findall(r"--output-file (\S+)", done.stdout)
    assert [f"cp {path} build/site/" for path in written] == step["run"].splitlines()[1:]
    assert " requirements site.lock " in done.stdout
    assert "--require-hashes --requirement sbom.lock" in (ROOT / "Makefile").read_text()


def test_the_lock_has_what_the_project_needs() -> None:
    """Each dependency in the tested version."""
    locked = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (ROOT / "site.lock").read_text()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[><=]", name)[0].lower().replace("_", "-") for name in project["dependencies"]]
    assert set(wanted) <= set(locked)
    pinned = re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text())
    tested = {name.lower().replace("_", "-"): version for name, version in pinned}
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}
