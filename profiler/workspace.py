"""A folder for the variants' files while a profile runs."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.storage.private import locked_file, user_folder


@contextmanager
def workspace() -> Generator[Path]:
    """A folder in the user's cache, removed at the end; those that killed profiles left behind are removed first.

    Whoever uses a folder holds the lock in it, which the kernel drops with the process. Raises FitcardError when the
    cache cannot
    be used.
    """
    root = user_folder("workspaces")
    with contextlib.ExitStack() as lock:
        with locked_file(root / "lock"):  # nobody takes a folder for a leftover before its owner has locked it
            _remove_leftovers(root)
            folder = Path(tempfile.mkdtemp(dir=root))
            lock.enter_context(locked_file(folder / "lock"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    for folder in root.iterdir():
        if folder.is_symlink() or not folder.is_dir():
            continue
        with contextlib.suppress(OSError, FitcardError), locked_file(folder / "lock", wait=False):
            shutil.rmtree(folder, ignore_errors=True)
