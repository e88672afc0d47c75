"""What the documents show is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fitcard.catalog.schema.gpu import GpuFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import Record, read_record
from fitcard.catalog.schema.run import Content
from fitcard.catalog.schema.waivers import ExceptionsFile
from fitcard.catalog.storage import database
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


def test_the_workflow_to_copy_runs_commands_that_exist(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
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
    cached = next(step["with"]["path"].split() for step in steps if "actions/cache" in step.get("uses", ""))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert [str(Path(path).expanduser()) for path in cached] == ["build/site", str(database.folder())]
    assert "constraints.txt" in lines[1]
