"""What the documents show is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalog.exceptions import ExceptionsFile
from catalog.gpu import GpuFile
from catalog.model import Model
from catalog.published import PublishedFile
from catalog.record import Record, read_record
from catalog.run import Content
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
