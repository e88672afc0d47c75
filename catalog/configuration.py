"""Finding the Hugging Face configuration of a model that the catalog does not hold: in a file, a checkpoint's folder, or on the hub."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from fitcard.catalog.errors import FitcardError, UnknownName

HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")
_SNAPSHOT = re.compile(r"models--([^/]+)--([^/]+)/snapshots/([0-9a-f]{40})\Z")


@dataclass(frozen=True)
class Configuration:
    """A configuration, and what its place says about it."""

    values: dict[str, Any]
    where: str
    """The file or the address, for messages."""
    model_id: str | None = None
    """Its id on the hub; null where the place does not say."""
    commit: str | None = None
    """The hub's commit; null where the place does not say."""


def is_local(typed: str) -> bool:
    """Whether `typed` means a file or folder, and not a name."""
    return typed.endswith(".json") or Path(typed).is_dir()


def is_hub_id(typed: str) -> bool:
    """Whether `typed` has the form of an id of the hub."""
    return bool(_HUB_ID.match(typed))


def from_path(path: Path) -> Configuration:
    """The configuration in a file, or in a checkpoint's folder. Raises FitcardError where there is none.

    The folders of the hub's own cache say which model it is, at which commit.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise FitcardError(
            f"{file} cannot be read: {reason}; give a Hugging Face config.json or a folder with one"
        ) from None
    found = _SNAPSHOT.search(file.absolute().parent.as_posix())
    return Configuration(
        _parsed(text, str(file)), str(file), f"{found[1]}/{found[2]}" if found else None, found[3] if found else None
    )


def from_hub(model_id: str) -> Configuration:
    """The configuration of a model as the hub has it now.

    Raises UnknownName where the hub cannot be reached or gives none, FitcardError for one that is damaged.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise UnknownName("The Hugging Face hub, which may have it, is not asked: HF_HUB_OFFLINE is set.")
    address = f"{os.environ.get('HF_ENDPOINT', HUB)}/{model_id}/resolve/main/config.json"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            text, commit = answer.read().decode(), str(answer.headers.get("X-Repo-Commit") or "")
    except urllib.error.HTTPError as error:
        raise UnknownName(f"{address} answers {error.code}.") from None
    except (OSError, ValueError, HTTPException):
        raise UnknownName("The Hugging Face hub, which may have it, cannot be reached.") from None
    return Configuration(
        _parsed(text, address), address, model_id, commit if re.fullmatch(r"[0-9a-f]{40}", commit) else None
    )


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except RecursionError:
        raise FitcardError(f"{where} is nested too deeply to be a configuration") from None
    except ValueError as error:
        raise FitcardError(f"{where} is no JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):  # pyright: ignore[reportUnknownMemberType]
        raise FitcardError(f"{where} is no Hugging Face configuration: it has no model_type")
    return config  # pyright: ignore[reportUnknownVariableType]
