"""Digests of files, records and of fitcard's own code.

Times of files say nothing: a clock can be set back, and a checkout sets them anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from glob import glob
from pathlib import Path

from fitcard.catalog.reader import MAX_BYTES

PLACES = {
    "models": (2, ".yaml"),
    "published": (2, ".yaml"),
    "traces": (2, ".json"),
    "runs": (3, ".yaml"),
    "gpus": (1, ".yaml"),
}
"""The folders of a catalog: how deep in them files are, and their ending."""

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_AT_ONCE = 1 << 17
"""Bytes of one reading: nearly every file is shorter."""
UNREADABLE = "unreadable"
"""Stands for the bytes of a file that cannot be read; whoever needs them says why."""


def digest(content: bytes | memoryview) -> str:
    """Half a SHA-256, in hex: enough that no two contents are ever taken for each other."""
    return hashlib.sha256(content).hexdigest()[:32]


def file_digest(path: str | Path, root: Path | None = None) -> str:
    """The digest of a file's bytes; UNREADABLE for what is no regular file or too large, without waiting for it.

    With `root`, a link to a place outside that folder is UNREADABLE too.
    """
    try:
        # By system calls: there are thousands of files, and a Path costs as much as reading one.
        try:
            file = os.open(path, _READ if root is None else _READ | _NO_LINK)
        except OSError as error:
            if error.errno != errno.ELOOP or root is None or not inside(path, root):
                raise
            file = os.open(path, _READ)
        try:
            info = os.fstat(file)
            if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_BYTES:
                return UNREADABLE
            content = os.read(file, _AT_ONCE)
            while len(content) <= MAX_BYTES and (more := os.read(file, _AT_ONCE)):
                content += more
            return digest(content)
        finally:
            os.close(file)
    except (OSError, ValueError):  # a name may hold a NUL byte
        return UNREADABLE


def inside(path: str | Path, root: Path) -> bool:
    """Whether a file is below `root`, once all links on the way are followed."""
    return os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)


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
    return {name: file_digest(f"{root}/{name}", root) for name in names}


@cache
def package_digest() -> str:
    """Identifies the code that makes results: Python, and fitcard's own but for the profiler and the command line."""
    return combined((sys.version, *code_digests(Path(__file__).resolve().parents[2])))


def code_digests(root: Path, *patterns: str) -> list[str]:
    """Path and digest of each Python file that makes results, and of the files below `root` that the patterns find."""
    rooms = (f"{room}/{depth}" for room in ("catalog", "advisor", "site/generator") for depth in ("*.py", "*/*.py"))
    # By names, since a Path costs as much as reading its file.
    names = [name for pattern in (*rooms, *patterns) for name in sorted(glob(pattern, root_dir=root))]  # noqa: PTH207
    return [f"{name} {file_digest(f'{root}/{name}')}" for name in names]


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
