"""The files of a catalog and of the code, by their bytes.

Nothing here knows what is in a file, so whether anything changed is known before anything else is imported. Times of files
say nothing: a clock can be set back, and a checkout sets them anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path

from fitcard.catalog.parallel import cores, spread

PLACES = {
    "models": (2, ".yaml"),
    "published": (2, ".yaml"),
    "traces": (2, ".json"),
    "runs": (3, ".yaml"),
    "gpus": (1, ".yaml"),
}
"""The folders of a catalog: how deep in them files are, and their ending."""

SPREAD_FROM = 1000
"""Files from which reading their bytes is worth a process for each core."""
_AT_ONCE = 1 << 17
"""Bytes of one reading: nearly every file is shorter."""
UNREADABLE = "unreadable"
"""Stands for the bytes of a file that cannot be read; whoever needs them says why."""


def digest(content: bytes | memoryview) -> str:
    """Half a SHA-256, in hex: enough that no two contents are ever taken for each other."""
    return hashlib.sha256(content).hexdigest()[:32]


def file_digest(path: str | Path) -> str:
    """The digest of a file's bytes."""
    try:
        # By system calls, since there are thousands of files, and a file object costs as much as reading it.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            content = os.read(file, _AT_ONCE)
            while more := os.read(file, _AT_ONCE):
                content += more
            return digest(content)
        finally:
            os.close(file)
    except OSError:
        return UNREADABLE


def combined(parts: Iterable[str]) -> str:
    """One digest of several texts."""
    return digest("\0".join(parts).encode())


def catalog_digests(root: Path) -> dict[str, str]:
    """The digest of every file of a catalog by its path below `root`, in order; hidden files are no part of it."""
    found = [path.name for path in root.glob("*.yaml")]
    for folder in PLACES:
        top = f"{root}/{folder}"
        for where, _, names in os.walk(top):
            inside = folder + where[len(top) :].replace(os.sep, "/")
            found += [f"{inside}/{name}" for name in names if not name.startswith(".")]
    found.sort(key=lambda name: name.split("/"))
    count = 4 * cores() if len(found) >= SPREAD_FROM else 1
    digests = dict(
        pair for part in spread(partial(_digests, root), [found[at::count] for at in range(count)]) for pair in part
    )
    return {name: digests[name] for name in found}


def _digests(root: Path, names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, file_digest(f"{root}/{name}")) for name in names]


def code_digest(*folders: Path) -> str:
    """Identifies the Python files of some folders and the interpreter that runs them, as they were when first asked for."""
    return combined((sys.version, *map(_code_of, folders)))


@lru_cache(maxsize=8)
def _code_of(folder: Path) -> str:
    return combined(f"{path.name} {file_digest(path)}" for path in code_files(folder))


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
