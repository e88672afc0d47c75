"""Two trees of one site: the one that is served, and a spare beside it that becomes the next one.

    build/site          what readers see; nothing in it is ever changed in place
    build/.site.spare   an older generation of it, or what a killed build left; brought up to date, then exchanged with it
    build/.site.fresh   what this build has made so far

Files that both trees hold are hard links to one file, so a generation costs little more than its folders. The spare loses its
manifest before it is touched, so whatever happens meanwhile, it is then known to be no site, and made anew from the served one.
The exchange is one step of the file system: a reader sees the old site or the new one. Nothing here waits for the disk: after a
power cut the site may have to be built with --clean.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from fitcard.catalog.errors import FitcardError
from fitcard.site.generator.engine import manifest
from fitcard.site.generator.engine.manifest import Manifest


def spare(target: Path) -> Path:
    """The tree that becomes the next site."""
    return target.with_name(f".{target.name}.spare")


def fresh(target: Path) -> Path:
    """The folder of what a build makes."""
    return target.with_name(f".{target.name}.fresh")


def _old(target: Path) -> Path:
    """Where the old site is for a moment, on systems that cannot exchange two folders."""
    return target.with_name(f".{target.name}.old")


@contextmanager
def locked(target: Path) -> Generator[None]:
    """Hold the only lock on the site, so that two builds take turns. The kernel drops it when a process dies."""
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not target.exists() and _old(target).exists():  # a build was killed between two renames
            _old(target).rename(target)
        yield
    finally:
        os.close(folder)


def check_ours(target: Path) -> None:
    """Raise FitcardError for a folder that holds anything but a site that we built: building replaces it as a whole."""
    if target.exists() and not (target / manifest.NAME).exists() and (not target.is_dir() or any(target.iterdir())):
        raise FitcardError(f"{target} holds something that fitcard did not build; give --output a new or empty folder")


@contextmanager
def written_to(target: Path) -> Generator[None]:
    """Say of a disk that is full or read-only what could not be written."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        message = f"the site cannot be written to {target}: {what}{error.strerror}; what was there is untouched"
        raise FitcardError(message) from error


def clear_up(target: Path) -> None:
    """Remove what a build left that was killed when its site was in place."""
    shutil.rmtree(fresh(target), ignore_errors=True)


@contextmanager
def work_folder(target: Path) -> Generator[Path]:
    """An empty folder beside the site, on the same file system; gone afterwards, and with the next build after a kill."""
    folder = fresh(target)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:  # Ctrl-C or SIGTERM arrived meanwhile: finish first
            shutil.rmtree(folder, ignore_errors=True)
            raise


def replace(target: Path, new: Manifest, files: Mapping[str, str], *, whole: bool) -> None:
    """Make the site what `new` says: from the files that were `files` and, for everything else, from the site of now, which may be known
    to be `whole`.

    Raises OSError and leaves the site as it was when that cannot be done; then the spare is gone too.
    """
    try:
        _bring(spare(target), new, files, target)
        _exchange(spare(target), target)
    except OSError:
        shutil.rmtree(spare(target), ignore_errors=True)
        raise
    if not whole and manifest.find(spare(target)) is None:
        # There was none, so it is made now, when nobody waits for the site, and not at the next build.
        try:
            shutil.rmtree(spare(target), ignore_errors=True)
            _second(spare(target), new, target)
        except (OSError, FitcardError):
            shutil.rmtree(spare(target), ignore_errors=True)


def _second(tree: Path, new: Manifest, live: Path) -> None:
    """A second tree of the site that is served, with the same files."""
    tree.mkdir()
    _link_all(str(live), str(tree), new.outputs)
    _write(tree, new)


def _link_all(source: str, root: str, paths: Iterable[str]) -> None:
    folders: set[str] = set()
    for path in paths:
        place = f"{root}/{path}"
        if (folder := place.rpartition("/")[0]) not in folders:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - tens of thousands of files, and a Path costs more than its system call
            folders.add(folder)
        _link(f"{source}/{path}", place)


def _bring(tree: Path, new: Manifest, files: Mapping[str, str], live: Path) -> None:
    """Bring a tree from what its own manifest says to `new`, touching only what differs."""
    old = manifest.read(tree)
    if old is None:
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
    (tree / manifest.NAME).unlink(missing_ok=True)
    there, outputs = old.outputs if old else {}, new.outputs
    root, source = str(tree), str(live)
    gone = [path for path in there if path not in outputs]
    for path in gone:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{root}/{path}")  # noqa: PTH108 - tens of thousands of files, and a Path costs more than its system call
    _remove_empty(tree, gone)
    folders: set[str] = {root}
    # Looking for whole folders takes longer than a few files.
    whole = _whole_folders(files, outputs) if 2 * len(files) > len(outputs) else {}
    for path, entry in outputs.items():
        before = there.get(path)
        if before and before.content == entry.content:
            continue
        place = f"{root}/{path}"
        if source_folder := whole.get(path.rpartition("/")[0]):
            folder = place.rpartition("/")[0]
            if folder in folders:
                continue  # it came with its neighbour
            if not os.path.exists(folder):  # noqa: PTH110 - as above
                os.makedirs(folder.rpartition("/")[0], exist_ok=True)  # noqa: PTH103 - as above
                os.rename(source_folder, folder)  # noqa: PTH104 - as above
                folders.add(folder)
                continue
            del whole[path.rpartition("/")[0]]
        folder = place.rpartition("/")[0]
        if folder not in folders:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
            folders.add(folder)
        if path in files:
            os.replace(files[path], place)  # noqa: PTH105 - as above
        else:
            if before:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(place)  # noqa: PTH108 - as above
            _link(f"{source}/{path}", place)
    _write(tree, new)


def _write(tree: Path, new: Manifest) -> None:
    """Write the manifest of a tree, the last of its files."""
    text = tree / f"{manifest.NAME}.tmp"
    text.write_bytes(new.text())
    text.replace(tree / manifest.NAME)


def _whole_folders(files: Mapping[str, str], outputs: Iterable[str]) -> dict[str, str]:
    """Folders of the site all of whose files were just made in one folder that holds nothing else, and that folder: such can be moved
    in one step. No folder lies inside another."""
    inside: dict[str, list[str]] = {}
    above: set[str] = set()
    for path in outputs:
        folder = path.rpartition("/")[0]
        inside.setdefault(folder, []).append(path)
        while (folder := folder.rpartition("/")[0]) and folder not in above:
            above.add(folder)
    moves: dict[str, str] = {}
    for folder, paths in inside.items():
        sources = {files[path].rpartition("/")[0] if path in files else "" for path in paths}
        if folder and folder not in above and len(sources) == 1 and (source := sources.pop()):
            moves[folder] = source
    return moves


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV):
            raise
        shutil.copyfile(source, place)  # a file system without hard links


def _remove_empty(tree: Path, gone: Iterable[str]) -> None:
    """Remove the folders that held nothing else, the deepest first."""
    folders = {parent for path in gone for parent in Path(path).parents if parent != Path()}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        with contextlib.suppress(OSError):
            (tree / folder).rmdir()


def _exchange(tree: Path, target: Path) -> None:
    """Put the tree in the target's place in one step, and the target in the tree's."""
    if not target.exists() or not any(target.iterdir()):
        tree.rename(target)
        return
    if _exchanged(tree, target):
        return
    # Two steps, then: for a moment there is no site, and a build that is killed right then is put right by the next one.
    target.rename(_old(target))
    try:
        tree.rename(target)
    except OSError:
        _old(target).rename(target)
        raise
    _old(target).rename(tree)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        done = library.renamex_np(first, second, 2)  # RENAME_SWAP, <sys/stdio.h>
    elif hasattr(library, "renameat2"):
        done = library.renameat2(-100, first, -100, second, 2)  # AT_FDCWD, RENAME_EXCHANGE: <fcntl.h>, <linux/fs.h>
    else:
        return False
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
