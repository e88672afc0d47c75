"""Digests of files, records and of fitcard's own code.

Times of files say nothing: a clock can be set back, and a checkout sets them anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

PLACES = {
    "models": (2, ".yaml"),
    "published": (2, ".yaml"),
    "traces": (2, ".json"),
    "runs": (3, ".yaml"),
    "gpus": (1, ".yaml"),
}
"""The folders of a catalog: how deep in them files are, and their ending."""

UNREADABLE = "unreadable"
"""Stands for the bytes of a file that cannot be read; whoever needs them says why."""


def digest(content: bytes | memoryview) -> str:
    """Half a SHA-256, in hex: enough that no two contents are ever taken for each other."""
    return hashlib.sha256(content).hexdigest()[:32]


def file_digest(path: str | Path) -> str:
    """The digest of a file's bytes."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - thousands of files, and a Path costs as much as reading one
            return digest(file.read())
    except OSError:
        return UNREADABLE


def combined(parts: Iterable[str]) -> str:
    """One digest of several texts."""
    return digest("\0".join(parts).encode())


def catalog_digests(root: Path) -> dict[str, str]:
    """The digest of every file of a catalog by its path below `root`, in order; hidden files are no part of it."""
    names = [path.name for path in root.glob("*.yaml")]
    for folder in PLACES:
        top = f"{root}/{folder}"
        for where, _, files in os.walk(top):
            inside = folder + where[len(top) :].replace(os.sep, "/")
            names += [f"{inside}/{name}" for name in files if not name.startswith(".")]
    names.sort(key=lambda name: name.split("/"))
    return {name: file_digest(f"{root}/{name}") for name in names}


@cache
def package_digest() -> str:
    """Identifies the code that makes results: Python, and fitcard's own but for the profiler and the command line."""
    package = Path(__file__).resolve().parents[1]
    rooms = (package, package.parent / "advisor", package.parent / "site/generator")
    files = (f"{path.relative_to(package.parent)} {file_digest(path)}" for path in code_files(*rooms))
    return combined((sys.version, *files))


def code_files(*folders: Path) -> list[Path]:
    """The Python files of some folders, and of the folders in them."""
    return [path for folder in folders for path in sorted((*folder.glob("*.py"), *folder.glob("*/*.py")))]


def id_of(name: str) -> str:
    """`org/name` of the path `folder/org/name.suffix`; names may hold dots."""
    return name.split("/", 1)[1].rpartition(".")[0]


def in_folder(digests: Mapping[str, str], folder: str) -> list[str]:
    """The paths of a folder's files."""
    return [name for name in digests if name.startswith(f"{folder}/")]


def run_files(digests: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The path of each file of runs, with the device and the model that its runs are of."""
    for name in in_folder(digests, "runs"):
        _, device, model = name.split("/", 2)
        yield name, device, model.rpartition(".")[0]
