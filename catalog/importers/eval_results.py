"""The Hugging Face hub's `.eval_results/*.yaml`: a list of accuracies, in the repository of the model that they are of.

Fields: huggingface/hub-docs, eval_results.yaml at 242f4a1eeb86. The format states neither the unit nor what the number means,
so a person completes each result before it becomes a claim of the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import cast

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import FitcardError, shorten, shown
from fitcard.catalog.importers.row import UNKNOWN_MODEL, Accuracy, File, Row, Unmapped, mapping
from fitcard.catalog.yaml_file import parse_yaml

TITLE = "Hugging Face .eval_results YAML"
COMMENT = ""

_REPOSITORY = re.compile(r"https://(?:huggingface\.co|hf\.co)/(?!datasets/|spaces/|docs/)([^/]+/[^/]+)/")


def fits(text: str) -> bool:
    """Whether a text looks like this format."""
    return re.match(r"(\s*(#.*)?\n)*- +(dataset|value|source|date|notes|verifyToken):", text) is not None


def read(catalog: Catalog, file: File) -> Iterator[Row]:
    """Every result. Raises FitcardError where the file is no list or its address names no model."""
    data, lines = parse_yaml(file.text, file.path)
    if not isinstance(data, list) or not data:
        raise FitcardError(f"{shown(file.path)}: is no list of results, each with `dataset:` and `value:`")
    repository = _REPOSITORY.match(file.url)
    if repository is None:
        raise FitcardError(
            f"{file.url} names no model: results lie in the model's own repository, so give --url as "
            "https://huggingface.co/ORG/NAME/blob/COMMIT/.eval_results/FILE.yaml"
        )
    model = repository[1]
    for index, entry in enumerate(cast("list[object]", data)):
        result, line = mapping(entry), lines.get((index,), 1)
        dataset = mapping(result.get("dataset"))
        name, task, value = dataset.get("id"), dataset.get("task_id"), result.get("value")
        where = f"line {line}"
        if not (isinstance(name, str) and isinstance(task, str)):
            yield Unmapped(where, "names no dataset with `id` and `task_id`")
            continue
        where += f", {name} {task}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield Unmapped(where, f"value is no number (got {shorten(value)})")
        elif model not in catalog.models:
            yield Unmapped(where, UNKNOWN_MODEL)
        else:
            what = name if task in ("default", name) else f"{name}, {task}"
            notes = result.get("notes")
            origin = mapping(result.get("source")).get("url")
            yield Accuracy(
                where=where + (f", from {origin}" if origin else ""), model=model,
                key=_key(name, task),
                what=f"{what} ({notes})" if notes else what, value=value,
            )  # fmt: skip


def _key(name: str, task: str) -> str:
    """The name by which prose could refer to it: `Idavidrein/gpqa`, `diamond` is gpqa_diamond."""
    words = f"{name.rsplit('/', 1)[-1]} {task if task not in (name, 'default') else ''}"
    key = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return key if key[:1].isalpha() else f"result_{key}"
