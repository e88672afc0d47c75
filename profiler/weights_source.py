"""Where a model's weights come from: a seed, the hub at a pinned revision, or a folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.reader import opened
from fitcard.catalog.schema.run import WeightsSource
from fitcard.profiler.weights import SEED


def find_weights(typed: str, model_id: str) -> tuple[Path | None, WeightsSource]:
    """The folder of a checkpoint (None for random weights) and what the record says of it.

    `typed` is `random`, `hub`, `hub@REVISION` or a folder. From the hub, only safetensors files come, at the commit
    that the
    revision is now; the record holds that commit. Raises FitcardError when there is no such checkpoint or no way to it.
    """
    if typed == "random":
        return None, WeightsSource(kind="random", seed=SEED)
    if typed == "hub" or typed.startswith("hub@"):
        return _from_hub(model_id, typed.partition("@")[2] or "main")
    folder = Path(typed)
    if not folder.is_dir():
        raise FitcardError(
            f"--weights takes random, hub, hub@REVISION or a checkpoint's folder; {typed!r} is none of them"
        )
    return folder, WeightsSource(kind="local", revision=_digest(folder))


def pinned(typed: str, model_id: str) -> str:
    """The same with the hub's commit of now, so that many machines run one and the same. Raises FitcardError without
    one."""
    if not typed.startswith("hub"):
        return typed
    return f"hub@{_from_hub(model_id, typed.partition('@')[2] or 'main')[1].revision}"


def checkpoint_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder. Raises CatalogError where one is no regular file: to read a pipe never ends."""
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        with opened(path):
            pass
    return files


def _digest(folder: Path) -> str:
    """The hash of the folder's safetensors files, so that two checkpoints of one model are told apart."""
    total = hashlib.sha256()
    for path in checkpoint_files(folder):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{total.hexdigest()[:16]}"


def _from_hub(model_id: str, revision: str) -> tuple[Path, WeightsSource]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        folder = snapshot_download(model_id, revision=revision, allow_patterns=["*.safetensors"])
    except GatedRepoError:
        raise FitcardError(
            f"{model_id} asks for consent on its page; give it there, then `hf auth login` here"
        ) from None
    except RepositoryNotFoundError:
        raise FitcardError(f"the hub has no model {model_id} (or you may not see it)") from None
    except Exception as error:  # whatever the network and the hub's client say; each version has other classes for it
        first = str(error).strip().splitlines()[0]
        raise FitcardError(
            f"{model_id} at {revision} could not be fetched from the hub: {first} (--weights PATH takes a local copy)"
        ) from None
    commit = Path(folder).name  # the cache keeps each commit in a folder of its name
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise FitcardError(
            f"the hub gave no commit for {model_id} at {revision}, so the record could not say what it ran"
        )
    return Path(folder), WeightsSource(kind="hub", revision=commit)
