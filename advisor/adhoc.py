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
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fitcard.catalog import Catalog
from fitcard.catalog.configuration import from_hub, from_path, is_hub_id, is_local, local_name
from fitcard.catalog.errors import AmbiguousName, FitcardError, UnknownName
from fitcard.catalog.names import find_model, hub_id
from fitcard.catalog.parse import read_trace
from fitcard.catalog.schema.model import Licence, Model, config_sha256
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.trace import Phase, Trace
from fitcard.catalog.schema.workload import Workload
from fitcard.catalog.storage.writer import write_atomically

_VERSION = 3
"""Of what a trace holds; higher where the same configuration is traced otherwise than before."""


def with_model(catalog: Catalog, typed: str) -> tuple[Catalog, str]:
    """The catalog with the model that `typed` means, and its id.

    A file's or folder's model, or one that only the hub knows, is traced (which needs torch and transformers) and added
    to this catalog in memory alone. Raises FitcardError when there is none, or when it cannot be traced.
    """
    path = Path(typed)
    if is_local(typed):
        config = from_path(path).values
        if config["model_type"] == "timm_wrapper":
            architecture = config["architecture"].partition(".")[
                0
            ]  # what the catalog has by its own class needs no timm
            for key, model in catalog.model_index.items():
                if model.timm and model.timm.partition(".")[0] == architecture:
                    return catalog, key
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", local_name(path)).strip("-.")
        return _added(catalog, f"local/{name or 'model'}", config)
    try:
        return catalog, find_model(catalog, typed)
    except AmbiguousName:
        raise
    except UnknownName as unknown:
        address = hub_id(typed)
        if not is_hub_id(address):
            raise
        try:
            config = from_hub(address).values
        except UnknownName as reason:
            raise UnknownName(f"{unknown} {reason}") from None
        return _added(catalog, address, config)


def traced_at(catalog: Catalog, model: str, phase: Phase, asked: Workload) -> Trace:
    """The trace of a model of the catalog with images and texts of the sizes that are asked for, which `phase` does not
    have. It is made on demand: the catalog's has one size, so that it stays small.

    Raises FitcardError for a size of what the phase does not take, and where it cannot be traced.
    """
    for size, own, kind in (
        (asked.image_size, phase.image_size, "image"),
        (asked.text_tokens, phase.text_tokens, "text"),
    ):
        if size is not None and own is None:
            raise FitcardError(f"{model} ({phase.component}) takes no {kind}, so the size of one cannot be chosen")
    pixels = None if asked.image_size == phase.image_size else asked.image_size
    tokens = None if asked.text_tokens == phase.text_tokens else asked.text_tokens
    try:
        return traced(catalog.models[model].config, pixels, tokens)
    except FitcardError:
        if find_spec("torch") is not None:
            raise
        sizes = " and ".join(sizes_in_words(phase.pixels, phase.text_tokens))
        raise FitcardError(
            f"the trace of {model} has {sizes}; another size is traced on demand, which needs torch: "
            "pip install 'fitcard[profile]'"
        ) from None


def sizes_in_words(pixels: str | None, tokens: int | None) -> list[str]:
    """What goes into one pass besides the batch: `images of 224 x 224 pixels`, `texts of 512 tokens`."""
    sizes = [f"images of {pixels} pixels"] if pixels else []
    return [*sizes, f"texts of {tokens:,} tokens"] if tokens else sizes


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
    trace = traced(config)
    return replace(catalog, models={**catalog.models, key: model}, traces={**catalog.traces, key: trace}), key


def traced(config: dict[str, Any], pixels: int | None = None, tokens: int | None = None) -> Trace:
    """The trace of a configuration, at other sizes than the model's own where they are given, made once and then left
    in the user's cache.

    Raises FitcardError where it cannot be made.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fitcard" / "traces"
    sizes = {"--image-size": pixels, "--tokens": tokens}
    options = [word for option, size in sizes.items() if size is not None for word in (option, str(size))]
    cached = folder / f"{'-'.join([config_sha256(config), *options, str(_VERSION)])}.json"
    if cached.is_file():
        with contextlib.suppress(FitcardError):  # one of another version, or damaged, is made anew
            return read_trace(cached)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "config.json"
        file.write_text(json.dumps(config))
        # Tracing needs torch, which nothing here imports: it is the profiler's own command, in a process of its own.
        command = [sys.executable, "-m", "fitcard", "trace", str(file), "--output", temporary, *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it gave no reason"]
            raise FitcardError(f"the configuration cannot be traced: {lines[-1]}")
        output = Path(temporary) / "config.trace.json"
        trace = read_trace(output)
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            write_atomically(cached, output.read_bytes())
    return trace
