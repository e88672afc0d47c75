"""Models that the catalog does not hold: a configuration in a file, a checkpoint's folder, or an id of the Hugging Face hub."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog import Catalog
from catalog.errors import FitcardError, UnknownName
from catalog.loading import read_trace
from catalog.model import Licence, Model, config_sha256
from catalog.names import find_model
from catalog.record import UNVERIFIED
from catalog.store import write_atomically
from catalog.trace import Trace

HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")


def with_model(catalog: Catalog, typed: str) -> tuple[Catalog, str]:
    """The catalog with the model that `typed` means, and its id.

    A file's or folder's model, or one that only the hub knows, is traced (which needs torch and transformers) and added to
    this catalog in memory alone. Raises FitcardError when there is none, or when it cannot be traced.
    """
    path = Path(typed)
    if typed.endswith(".json") or path.is_dir():
        file = path / "config.json" if path.is_dir() else path
        config = _config(_text(file), str(file))
        name = (path if path.is_dir() else path.parent if path.name == "config.json" else path).resolve().stem
        return _added(catalog, f"local/{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'model'}", config)
    try:
        return catalog, find_model(catalog, typed)
    except UnknownName as unknown:
        if not _HUB_ID.match(typed) or "fits several" in str(unknown):
            raise
        return _added(catalog, typed, _from_hub(typed, unknown))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise FitcardError(
            f"{file} cannot be read: {reason}; give a Hugging Face config.json or a folder with one"
        ) from None


def _config(text: str, where: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise FitcardError(f"{where} is no JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):  # pyright: ignore[reportUnknownMemberType]
        raise FitcardError(f"{where} is no Hugging Face configuration: it has no model_type")
    return config  # pyright: ignore[reportUnknownVariableType]


def _from_hub(typed: str, unknown: UnknownName) -> dict[str, Any]:
    address = f"{os.environ.get('HF_ENDPOINT', HUB)}/{typed}/resolve/main/config.json"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return _config(answer.read().decode(), address)
    except urllib.error.HTTPError as error:
        raise UnknownName(f"{unknown} {address} answers {error.code}.") from None
    except (OSError, ValueError):
        raise UnknownName(f"{unknown} The Hugging Face hub, which may have it, cannot be reached.") from None


def _added(catalog: Catalog, key: str, config: dict[str, Any]) -> tuple[Catalog, str]:
    nothing = "This model is not in the catalog."
    model = Model(
        name=key.split("/")[-1], verdict=nothing, tasks=("not known",), family="not known",
        license=Licence(id="not known", commercial_use="not known", conditions=nothing, source=UNVERIFIED),
        config=config, config_source=UNVERIFIED, overview=nothing, strengths=(nothing,), weaknesses=(nothing,),
        reviewed="1970-01-01", reviewed_by="nobody", sources={},
    )  # fmt: skip
    trace = _traced(config)
    return replace(catalog, models={**catalog.models, key: model}, traces={**catalog.traces, key: trace}), key


def _traced(config: dict[str, Any]) -> Trace:
    """The trace of a configuration, made once and then kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fitcard" / "traces"
    kept = cache / f"{config_sha256(config)}.json"
    if kept.is_file():
        with contextlib.suppress(FitcardError):  # one of another version, or damaged, is made anew
            return read_trace(kept)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config))
        # Tracing needs torch, which nothing here imports: it is the profiler's own command, in a process of its own.
        command = [sys.executable, "-m", "fitcard", "trace", str(file), "--output", folder]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it gave no reason"]
            raise FitcardError(f"the configuration cannot be traced: {lines[-1]}")
        made = Path(folder) / "config.trace.json"
        trace = read_trace(made)
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            write_atomically(kept, made.read_bytes())
    return trace
