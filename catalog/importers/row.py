"""What a reader makes of a file, row by row: a speed in the catalog's words, an accuracy, or the reason why it is neither."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import CatalogError, FitcardError, shorten, shown
from fitcard.catalog.reader import load_json
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.trace import Component

UNKNOWN_MODEL = "its model is not in the catalog"


@dataclass(frozen=True)
class File:
    """A file of results: where it is here, what it holds, and the address at which it was published."""

    path: Path
    text: str
    url: str

    @property
    def names(self) -> tuple[str, str]:
        """Its name where it was published, and its name here."""
        return self.url.rsplit("/", 1)[-1], self.path.name


@dataclass(frozen=True, kw_only=True)
class ImportedSpeed:
    """One throughput, in items per second, of a model of the catalog."""

    where: str
    model: str
    gpu: str | None
    """The card as the file names it; None where it names none."""
    component: Component
    quantization: str
    mode: Mode
    batch: int
    image_size: int | None = None
    text_tokens: int | None = None
    per_second: float
    autocast: bool = False
    channels_last: bool = False
    runtime: str | None = None
    settings: str
    parameters: float | None = None
    """As the tool counts them: that a name means the same model is checked with it."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One result of an evaluation of a model of the catalog. The formats state no unit."""

    where: str
    model: str
    key: str
    what: str
    value: float


@dataclass(frozen=True)
class Unmapped:
    """A row that becomes no record."""

    where: str
    reason: str


Row = ImportedSpeed | Accuracy | Unmapped


def models_of_timm(catalog: Catalog) -> dict[str, str]:
    """The models by what timm calls their image towers, without a tag of weights."""
    return {model.timm: key for key, model in catalog.model_index.items() if model.timm}


def bare_timm_name(name: str) -> str:
    """A name of timm without repository and tag of weights (`.webli`), which does not matter for speed."""
    return name.removeprefix("timm/").partition(".")[0]


def positive(value: object) -> float | None:
    """A positive finite number, whether it is one or its text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def whole(value: object) -> int | None:
    """A positive whole number, whether it is one or its text (`1024.0` is one); None for anything else."""
    number = positive(value)
    return int(number) if number is not None and number.is_integer() else None


def json_of(text: str) -> Any:
    """The data of a JSON text; None where it is none, or more than an honest file needs."""
    try:
        return load_json(text, "")
    except (ValueError, CatalogError):
        return None


def read_json(path: Path, text: str) -> Any:
    """The data of a JSON text. Raises FitcardError with the line where it is damaged."""
    try:
        return load_json(text, path)
    except json.JSONDecodeError as error:
        message = f"{shown(path)}:{error.lineno}: is damaged: {error.msg}; get the whole file again"
        raise FitcardError(message) from None


def mapping(value: object) -> Mapping[str, Any]:
    """`value` where it is a mapping, else an empty one, so that what is missing reads as None."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def not_a_number(name: str, value: object) -> str:
    """The reason for a row whose figure cannot be read."""
    return f"{name} is no positive number (got {shorten(value)})"
