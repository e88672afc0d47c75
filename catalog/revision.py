"""The catalog as it was at a revision of its git repository."""

from __future__ import annotations

import io
import subprocess
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fitcard.catalog.errors import FitcardError, shorten, shown


@contextmanager
def catalog_at(root: Path, base: str) -> Generator[Path]:
    """A folder with the catalog that `base` means: that folder itself, or the one at `root` as it was at that git revision.

    Raises FitcardError where `base` is neither, or where the revision has no catalog there.
    """
    if (Path(base) / "quantizations.yaml").is_file():
        yield Path(base)
        return
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if commit is None:
        raise FitcardError(
            f"{shorten(base)} is neither a folder with a catalog nor a revision of the git repository around {shown(root)}: "
            "give a commit, a branch or a tag, such as origin/main"
        )
    packed = _git(root, "archive", "--format=zip", commit.decode().strip(), ".")
    if packed is None:
        raise FitcardError(f"{shorten(base)} has no folder {shown(root)}: give a later revision")
    with tempfile.TemporaryDirectory(prefix="fitcard-diff-") as folder:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(folder)
        yield Path(folder)


def _git(root: Path, *words: str) -> bytes | None:
    """What git prints; None where it is not there or refuses."""
    try:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
