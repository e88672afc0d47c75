"""Finding the Hugging Face configuration of a model that the catalog does not hold: in a file, a checkpoint's folder, or on the hub."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from fitcard.catalog.configuration_formats import as_encoder, from_open_clip, from_timm, makes_embeddings
from fitcard.catalog.errors import FitcardError, UnknownName, listed, shown
from fitcard.catalog.reader import load_json, read_json

HUB = "https://huggingface.co"
HUB_SECONDS = 10.0
"""The most time for one answer of the hub, from looking up its name to the last byte."""
MAX_CONFIGURATION_BYTES = 4 << 20
"""The largest configuration: one that names 22,000 classes has 1 MB."""
_REPAIR = "give a Hugging Face config.json or a folder with one"
_OTHERS = {
    "adapter_config.json": "it is an adapter, and its base model's configuration is the one that counts",
    "model_index.json": "it is a pipeline of diffusers, which makes images",
    "params.json": "params.json is the model's own format",
    "router_config.json": "its modules.json names several models, each in a folder of its own",
}
"""What a folder without a configuration is, by a file in it."""
_HUB_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z", re.ASCII)
_SNAPSHOT = re.compile(r"models--([^/]+)--([^/]+)/snapshots/([0-9a-f]{40})\Z")
_IN_CACHE = re.compile(r"models--([^/]+)--([^/]+)\Z")


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
    file = _file_in(path) if path.is_dir() else path
    values = _cut(_checked(_read(file), str(file)), path)
    if (path / "modules.json").is_file() or makes_embeddings(local_name(path)):
        values = as_encoder(values)
    snapshot = _SNAPSHOT.search(file.absolute().parent.as_posix())
    return Configuration(
        values, str(file), f"{snapshot[1]}/{snapshot[2]}" if snapshot else None, snapshot[3] if snapshot else None
    )


def local_name(path: Path) -> str:
    """What a model is called by its folder, or by a file of its own."""
    if found := _SNAPSHOT.search(path.absolute().as_posix()) or _IN_CACHE.search(path.absolute().as_posix()):
        return found[2]
    if path.is_dir():
        return path.resolve().name
    return path.resolve().parent.name if path.name == "config.json" else path.resolve().stem


def _read(file: Path) -> Any:
    return read_json(file, _REPAIR, MAX_CONFIGURATION_BYTES)


def _file_in(folder: Path) -> Path:
    """The configuration in a folder of transformers, timm, open_clip or sentence-transformers, which keeps the model in
    a folder that its modules.json names first."""
    folder = _snapshot(folder)
    modules = _read(folder / "modules.json") if (folder / "modules.json").is_file() else None
    first = modules[0] if isinstance(modules, list) and modules else None
    inner = first.get("path") if isinstance(first, dict) else None
    if isinstance(inner, str) and re.fullmatch(r"[\w-][\w.-]*", inner) and (folder / inner / "config.json").is_file():
        return folder / inner / "config.json"
    names = ("config.json", "open_clip_config.json")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        there = sorted(entry.name for entry in folder.iterdir())
        what = next((f": {_OTHERS[name]}" for name in there if name in _OTHERS), "")
        raise FitcardError(
            f"{shown(folder)} has no config.json{what or f' (there are: {listed(there, 5)})' if there else ''}; {_REPAIR}"
        )
    return found


def _snapshot(folder: Path) -> Path:
    """The newest snapshot in a model's folder of the hub's cache; any other folder itself."""
    every = folder.glob("snapshots/*/") if _IN_CACHE.search(folder.absolute().as_posix()) else ()
    return max(every, key=lambda one: one.stat().st_mtime, default=folder)


def _cut(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With the length at which sentence-transformers cuts texts, where a file beside the configuration states one."""
    file = folder / "sentence_bert_config.json"
    longest = _read(file) if file.is_file() else None
    longest = longest.get("max_seq_length") if isinstance(longest, dict) else None
    return {**values, "max_seq_length": longest} if type(longest) is int and longest > 0 else values


def from_hub(model_id: str) -> Configuration:
    """The configuration of a model as the hub has it now.

    Raises UnknownName where the hub cannot be reached or gives none, FitcardError for one that is damaged.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise UnknownName("The Hugging Face hub, which may have it, is not asked: HF_HUB_OFFLINE is set.")
    address = f"{os.environ.get('HF_ENDPOINT', HUB)}/{model_id}/resolve/main/config.json"
    try:
        text, commit = _within(HUB_SECONDS, partial(_answer, address))
        values = load_json(text, address)
    except urllib.error.HTTPError as error:
        raise UnknownName(f"{address} answers {error.code}.") from None
    except json.JSONDecodeError as error:
        raise FitcardError(f"{address} is no JSON: {error}") from None
    except _TooLong:
        raise FitcardError(
            f"{address} is longer than {MAX_CONFIGURATION_BYTES:,} bytes: that is no configuration; download it and look"
        ) from None
    except TimeoutError:
        raise UnknownName(f"The Hugging Face hub took longer than {HUB_SECONDS:g} seconds: try again later.") from None
    except (OSError, ValueError, HTTPException):
        raise UnknownName("The Hugging Face hub, which may have it, cannot be reached.") from None
    checked = _checked(values, address)
    return Configuration(
        as_encoder(checked) if makes_embeddings(model_id) else checked,
        address,
        model_id,
        commit if re.fullmatch(r"[0-9a-f]{40}", commit) else None,
    )


def _checked(config: Any, where: str) -> dict[str, Any]:
    if isinstance(config, dict) and "model_type" not in config:  # pyright: ignore[reportUnknownMemberType]
        config = from_timm(config) or from_open_clip(config, where) or config  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):  # pyright: ignore[reportUnknownMemberType]
        raise FitcardError(f"{where} is no Hugging Face configuration: it has no model_type")
    return config  # pyright: ignore[reportUnknownVariableType]


class _TooLong(Exception):
    """An answer that does not end where a configuration would have."""


def _answer(address: str) -> tuple[str, str]:
    """The text at an address, and the commit that it is of. One that comes byte by byte is left at `HUB_SECONDS`."""
    until, parts, left = time.monotonic() + HUB_SECONDS, list[bytes](), MAX_CONFIGURATION_BYTES
    with urllib.request.urlopen(address, timeout=HUB_SECONDS) as answer:
        while part := answer.read1(1 << 16):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise _TooLong
            if time.monotonic() > until:
                raise TimeoutError
        return b"".join(parts).decode(), str(answer.headers.get("X-Repo-Commit") or "")


def _within(seconds: float, work: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    """What `work` gives or raises; TimeoutError where it takes longer. The thread that is left then does not hold up the end of the process.

    Looking up a host's name, and reading the headers of an answer, have no limit of their own in Python's HTTP client.
    """
    done: queue.SimpleQueue[tuple[str, str] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except Exception as error:
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result
