"""Models that the catalog does not hold: a configuration in a file, a checkpoint's folder, or an id of the Hugging Face
hub."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitcard.catalog import Catalog
from fitcard.catalog.configuration import from_hub, from_path, is_hub_id, is_local
from fitcard.catalog.errors import AmbiguousName, FitcardError, UnknownName
from fitcard.catalog.names import find_model
from fitcard.catalog.parse import read_trace
from fitcard.catalog.schema.model import Licence, Model, config_sha256
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.storage.writer import write_atomically


def with_model(catalog: Catalog, typed: str) -> tuple[Catalog, str]:
    """The catalog with the model that `typed` means, and its id.

    A file's or folder's model, or one that only the hub knows, is traced (which needs torch and transformers) and added
    to this catalog in memory alone. Raises FitcardError when there is none, or when it cannot be traced.
    """
    path = Path(typed)
    if is_local(typed):
        config = from_path(path).values
        name = (path if path.is_dir() else path.parent if path.name == "config.json" else path).resolve().stem
        return _added(catalog, f"local/{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'model'}", config)
    try:
        return catalog, find_model(catalog, typed)
    except AmbiguousName:
        raise
    except UnknownName as unknown:
        if not is_hub_id(typed):
            raise
        try:
            config = from_hub(typed).values
        except UnknownName as reason:
            raise UnknownName(f"{unknown} {reason}") from None
        return _added(catalog, typed, config)


def _added(catalog: Catalog, key: str, config: dict[str, Any]) -> tuple[Catalog, str]:
    nothing = "This model is not in the catalog."
    model = Model(
        name=key.split("/")[-1],
        verdict=nothing,
        tasks=("not known",),
        family="not known",
        license=Licence(id="not known", commercial_use="not known", conditions=nothing, source=UNVERIFIED),
        config=config,
        config_source=UNVERIFIED,
        overview=nothing,
        strengths=(nothing,),
        weaknesses=(nothing,),
        reviewed="1970-01-01",
        reviewed_by="nobody",
        sources={},
    )
    trace = _traced(config)
    return replace(catalog, models={**catalog.models, key: model}, traces={**catalog.traces, key: trace}), key


def _traced(config: dict[str, Any]) -> Trace:
    """The trace of a configuration, made once and then left in the user's cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fitcard" / "traces"
    cached = folder / f"{config_sha256(config)}.json"
    if cached.is_file():
        with contextlib.suppress(FitcardError):  # one of another version, or damaged, is made anew
            return read_trace(cached)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "config.json"
        file.write_text(json.dumps(config))
        # Tracing needs torch, which nothing here imports: it is the profiler's own command, in a process of its own.
        command = [sys.executable, "-m", "fitcard", "trace", str(file), "--output", temporary]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it gave no reason"]
            raise FitcardError(f"the configuration cannot be traced: {lines[-1]}")
        output = Path(temporary) / "config.trace.json"
        trace = read_trace(output)
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            write_atomically(cached, output.read_bytes())
    return trace
