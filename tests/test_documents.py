"""What the documents show is what the program takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from fitcard.catalog.schema.gpu import GpuFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import Record, read_record
from fitcard.catalog.schema.run import Content
from fitcard.catalog.schema.waivers import ExceptionsFile
from tests.conftest import ROOT, Cli

KINDS: dict[str, type[Record]] = {
    "model": Model, "gpus": GpuFile, "published": PublishedFile, "run": Content, "exceptions": ExceptionsFile,
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


def test_every_command_of_the_documents_exists_and_has_an_example(cli: Cli) -> None:
    text = "".join((ROOT / document).read_text() for document in ("README.md", "CONTRIBUTING.md"))
    commands = set(
        re.findall(r"fitcard (gpus|fit|models|accuracy|profile|trace|add|import|build|diff|serve|check)\b", text)
    )
    assert {"gpus", "fit", "models", "profile", "add", "build"} <= commands
    for command in commands:
        done = cli(command, "--help")
        assert done.returncode == 0
        assert f"Example: fitcard {command}" in done.stdout


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


def test_the_lock_has_what_the_project_needs_with_hashes() -> None:
    """Each dependency in the tested version, each file by its digest, and no index's address."""
    text = (ROOT / "site.lock").read_text()
    locked = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", text))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[><=]", name)[0].lower().replace("_", "-") for name in project["dependencies"]]
    assert set(wanted) <= set(locked)
    pinned = re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text())
    tested = {name.lower().replace("_", "-"): version for name, version in pinned}
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}
    assert text.count("==") == len(re.findall(r"==[^\n]+\\\n    --hash=sha256:[0-9a-f]{64}", text)) + text.count("== '")
    assert "://" not in text
