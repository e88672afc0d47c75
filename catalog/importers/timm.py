"""timm: the CSV that its `benchmark.py --bench inference` writes, a row a model; published as results/benchmark-infer-*.csv.

What holds for every row stands in the file's name alone: precision, memory layout, versions, device and compiler.
Columns and precisions: huggingface/pytorch-image-models, benchmark.py at aa4b5850c154.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import FitcardError, shown
from fitcard.catalog.importers.row import (
    UNKNOWN_MODEL,
    File,
    ImportedSpeed,
    Row,
    Unmapped,
    bare_timm_name,
    models_of_timm,
    not_a_number,
    positive,
    whole,
)

TITLE = "timm benchmark CSV"
COMMENT = "timm runs its own implementation of the same image tower; shapes and parameters are equal."

_NAME = re.compile(
    r"benchmark-infer-(?P<precision>[a-z0-9_]+)-(?P<layout>nchw|nhwc)-pt(?P<torch>\d{3,4})"
    r"(-cu(?P<cuda>\d{3}))?-(?P<device>[\w-]+?)(?P<compiled>-dynamo)?\.csv\Z"
)
_PRECISIONS = {
    "amp": ("FP16", True), "amp_bf16": ("BF16", True), "fp16": ("FP16", False), "bf16": ("BF16", False), "fp32": ("FP32", False),
}  # fmt: skip
"""The label whose arithmetic it is, and whether weights stay in 32 bit and are cast on the way."""
_COLUMNS = ("model", "infer_samples_per_sec", "infer_batch_size", "infer_img_size")


def fits(text: str) -> bool:
    """Whether a text looks like this format."""
    header = text.partition("\n")[0].strip().split(",")
    return "model" in header and any(name.startswith("infer_") for name in header)


def read(catalog: Catalog, file: File) -> Iterator[Row]:
    """Every row. Raises FitcardError where columns are missing or the file's name does not say how it was run."""
    try:
        rows = csv.DictReader(file.text.splitlines())
        every = list(rows)
    except csv.Error as error:
        raise FitcardError(f"{shown(file.path)}: is no CSV: {error}") from None
    if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
        there = ", ".join(rows.fieldnames or ()) or "none"
        raise FitcardError(f"{shown(file.path)}:1: lacks the column {', '.join(missing)} (there are: {there})")
    run = next((found for name in file.names if (found := _NAME.match(name))), None)
    if run is None or run["precision"] not in _PRECISIONS:
        raise FitcardError(
            f"{file.names[0]}: says nothing of precision, layout, versions and card, which timm puts into the name of the file alone: "
            f"name it benchmark-infer-PRECISION-LAYOUT-ptTORCH-cuCUDA-CARD[-dynamo].csv, where PRECISION is {', '.join(_PRECISIONS)}, "
            "LAYOUT nchw or nhwc, ptTORCH such as pt240, cuCUDA such as cu124"
        )
    label, autocast = _PRECISIONS[run["precision"]]
    on_processor = run["cuda"] is None or run["device"].startswith("cpu")
    models = models_of_timm(catalog)
    for row in every:
        where, model = f"row {row['model']}", models.get(bare_timm_name(row["model"] or ""))
        if model is None:
            yield Unmapped(where, UNKNOWN_MODEL)
            continue
        per_second, batch = positive(row["infer_samples_per_sec"]), whole(row["infer_batch_size"])
        size = whole(row["infer_img_size"])
        if on_processor:
            yield Unmapped(where, f"was measured on a processor ({run['device']}); published figures are of cards")
        elif label == "FP32":
            yield Unmapped(where, "was multiplied in TF32, which timm allows on cards and which no label stands for")
        elif per_second is None or batch is None or size is None:
            bad = next(
                name for name, value in zip(_COLUMNS[1:], (per_second, batch, size), strict=True) if value is None
            )
            yield Unmapped(where, not_a_number(bad, row[bad]))
        else:
            counted = positive(row.get("param_count"))
            yield ImportedSpeed(
                where=where, model=model, gpu=run["device"], component="vision", quantization=label,
                mode="compiled" if run["compiled"] else "eager", batch=batch, image_size=size, per_second=per_second,
                autocast=autocast, channels_last=run["layout"] == "nhwc", settings=_settings(run, label, autocast),
                parameters=counted * 1e6 if counted else None,
            )  # fmt: skip


def _settings(run: re.Match[str], label: str, autocast: bool) -> str:
    weights = f"autocast to {label} over FP32 weights" if autocast else f"{label} weights"
    layout = "channels last" if run["layout"] == "nhwc" else "channels first"
    cuda = f"CUDA {run['cuda'][:2]}.{run['cuda'][2:]}"
    return f"{weights}, {layout}, torch {_torch(run['torch'])}, {cuda}"


def _torch(digits: str) -> str:
    """`240` is 2.4.0, `113` is 1.13, `2100` is 2.10.0: minor versions of torch 1 had two digits at the end."""
    if digits.startswith("11") or len(digits) == 4:
        return ".".join(part for part in (digits[0], digits[1:3], digits[3:]) if part)
    return ".".join(digits)
