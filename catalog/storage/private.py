"""Folders and locks of the user's own: nobody else can read them, replace them or put a link or a FIFO in their
place."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fitcard.catalog.errors import FitcardError


def user_folder(name: str) -> Path:
    """The folder `name` in fitcard's part of the user's cache, created with mode 0700 where it is missing.

    Raises FitcardError when it cannot be created, is no folder, is a link, or belongs to another user.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not cache.is_absolute():
        raise FitcardError(f"XDG_CACHE_HOME is {str(cache)!r}, which is no absolute path: set it to one, or unset it")
    folder = cache
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in ("fitcard", name):
            folder = folder / part
            folder.mkdir(exist_ok=True, mode=0o700)
            _check_own(folder)
    except OSError as error:
        raise FitcardError(
            f"{folder} cannot be used as a folder: {error.strerror}; set XDG_CACHE_HOME to a folder of your own"
        ) from None
    return folder


def _check_own(folder: Path) -> None:
    """Raise FitcardError unless `folder` is a real folder of this user; take away what others may do in it."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise FitcardError(f"{folder} is no folder; move it away, or set XDG_CACHE_HOME to a folder of your own")
    if status.st_uid != os.geteuid():
        raise FitcardError(f"{folder} belongs to another user; set XDG_CACHE_HOME to a folder of your own")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


@contextmanager
def locked_file(path: Path, *, wait: bool = True) -> Generator[None]:
    """Hold the only lock on the file `path`, which is created where it is missing and never written to.

    The kernel drops the lock when the process dies. Links are not followed and a FIFO does not block. Raises
    FitcardError for
    anything that is no regular file, and BlockingIOError when another process has the lock and `wait` is false.
    """
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        lock = os.open(path, flags, 0o644)
    except OSError as error:
        if path.is_symlink():
            raise FitcardError(f"{path} is a link, which no lock may be; remove it") from None
        raise FitcardError(f"{path} cannot be opened as a lock: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            raise FitcardError(f"{path} is no regular file, so it cannot be a lock; remove it")
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)
