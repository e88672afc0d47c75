"""The catalog as one JSON document, and as tables for spreadsheets.

The tables are CSV after RFC 4180: UTF-8, a header line, CRLF, quotes where needed; an unknown is an empty cell. Their columns
are described once, here, and `csv-metadata.json` passes that on in the form of the W3C (CSV on the Web), which readers of
tables find by its name. Every line carries the version of the table and the licence of the data, since lines travel alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from fitcard.catalog import Catalog
from fitcard.catalog.linters.prose import prose_of
from fitcard.catalog.prose import fill
from fitcard.catalog.schema.gpu import NumberType
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedSpeed
from fitcard.catalog.summaries import BatchSummary, RunSummary
from fitcard.site.generator.data import api
from fitcard.site.generator.data.documents import CatalogDocument, DataLicence, written
from fitcard.site.generator.engine.output import Asset

LICENCE = DataLicence()
SCHEMA_VERSION = 1

Cell = str | int | float | bool | None
Type = Literal["string", "integer", "double", "boolean", "date", "dateTime", "anyURI"]


@dataclass(frozen=True)
class Column:
    """One column; units stand in the name."""

    name: str
    type: Type
    what: str
    value: Callable[[Any], Cell]
    """From a row."""


@dataclass(frozen=True)
class CsvTable:
    """One CSV file."""

    name: str
    what: str
    lines: Callable[[Catalog], Iterable[bytes]]
    """The rows as text."""
    columns: tuple[Column, ...]


def assets(catalog: Catalog) -> Iterator[Asset]:
    """The catalog as JSON, the tables, and what their columns mean."""
    yield Asset(f"{api.ROOT}catalog.json", lambda: written(whole(catalog)))
    for table in TABLES:
        yield Asset(f"{api.ROOT}{table.name}.csv", partial(csv_bytes, table, catalog))
    yield Asset(f"{api.ROOT}csv-metadata.json", _metadata_json)


def whole(catalog: Catalog) -> CatalogDocument:
    """The catalog with the facts filled in where prose has placeholders."""
    return CatalogDocument(
        version=api.VERSION,
        models={key: _filled(catalog, key, model) for key, model in catalog.models.items()},
        gpus=dict(catalog.gpus),
        quantizations=catalog.quantization_file, published=dict(catalog.published), matmul=catalog.matmul,
    )  # fmt: skip


def _filled(catalog: Catalog, key: str, model: Model) -> Model:
    words: dict[str, Any] = {}
    for place, text in prose_of(model):
        words.setdefault(str(place[0]), []).append(fill(text, catalog, key))
    corrections = [old.model_copy(update={"so": so}) for old, so in zip(model.corrections, words.pop("corrections", ()), strict=True)]  # fmt: skip
    lists = {name: tuple(words[name]) for name in ("strengths", "weaknesses")}
    texts = {name: words[name][0] for name in ("verdict", "overview")}
    return model.model_copy(update={**texts, **lists, "corrections": tuple(corrections)})


def csv_bytes(table: CsvTable, catalog: Catalog) -> bytes:
    """A table as CSV, its header first."""
    head = _lines([[column.name for column in table.columns]])
    return b"".join((head.encode(), *table.lines(catalog)))


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _each(rows: Callable[[Catalog], Iterator[Any]], columns: Sequence[Column]) -> Callable[[Catalog], Iterator[bytes]]:
    return lambda catalog: (_row(columns, row).encode() for row in rows(catalog))


def _row(columns: Sequence[Column], row: object) -> str:
    return _lines([[_cell(column.value(row)) for column in columns]])


def _cell(value: Cell) -> str:
    """A value as text. A spreadsheet takes text that begins with one of these signs for a formula; an apostrophe stops that."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return "" if value is None else repr(value)


def metadata() -> dict[str, Any]:
    """What the columns mean, as CSV on the Web (https://www.w3.org/TR/tabular-metadata/)."""
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": "en"}],
        "dc:title": "fitcard catalog",
        "dc:license": {"@id": LICENCE.url},
        "schema:version": f"{SCHEMA_VERSION}",
        "schema:creator": LICENCE.attribution,
        "schema:softwareVersion": api.VERSION,
        "tables": [
            {
                "url": f"{table.name}.csv",
                "dc:description": table.what,
                "tableSchema": {
                    "columns": [
                        {"name": c.name, "titles": c.name, "datatype": c.type, "dc:description": c.what} for c in table.columns
                    ]
                },
            }
            for table in TABLES
        ],
    }  # fmt: skip


def _metadata_json() -> bytes:
    return (json.dumps(metadata(), indent=1, ensure_ascii=False) + "\n").encode()


_ALWAYS = (
    Column("data_license", "string", "The licence of the data, an SPDX identifier; name fitcard.", lambda _: LICENCE.id),
    Column("schema_version", "integer", "Of this table; columns are only added within one.", lambda _: SCHEMA_VERSION),
)  # fmt: skip


def _models(catalog: Catalog) -> Iterator[Any]:
    yield from ((api.entry(catalog, model), catalog.models[model]) for model in catalog.models)


def _entry_at(field: str, key: str) -> Callable[[Any], Cell]:
    """What a mapping of a row's entry holds under a key."""
    return lambda row: getattr(row[0], field).get(key)


_MODEL_COLUMNS = (
    Column("id", "string", "Organization and name, as on the Hugging Face hub.", lambda r: r[0].id),
    Column("name", "string", "As people call it.", lambda r: r[0].name),
    Column("family", "string", "Its nearest relatives have the same.", lambda r: r[0].family),
    Column("tasks", "string", "What it is for, separated by semicolons.", lambda r: "; ".join(r[0].tasks)),
    Column("license", "string", "SPDX identifier, or the hub's own.", lambda r: r[0].license.id),
    Column("commercial_use", "string", "allowed, not allowed, restricted or not known.", lambda r: r[0].license.commercial_use),
    Column("released", "date", "When its weights were published.", lambda r: r[0].released),
    Column("image_size_px", "integer", "Pixels along each side of an image.", lambda r: r[0].image_size),
    Column("image_tokens", "integer", "Patches that an image becomes.", lambda r: r[0].image_tokens),
    Column("text_tokens", "integer", "Tokens of the texts that the figures here are for.", lambda r: r[0].text_tokens),
    Column("context_tokens", "integer", "The longest text that it reads.", lambda r: r[0].context_tokens),
    Column("vision_parameters", "integer", "Of the vision encoder, exact.", _entry_at("parameters", "vision")),
    Column("text_parameters", "integer", "Of the text encoder, exact.", _entry_at("parameters", "text")),
    Column("all_parameters", "integer", "Of the whole checkpoint; empty where one component is all that can be run.", _entry_at("parameters", "all")),
    Column("vision_multiply_adds", "integer", "Of the matrix operations for one image.", _entry_at("multiply_adds", "vision")),
    Column("text_multiply_adds", "integer", "Of the matrix operations for one text.", _entry_at("multiply_adds", "text")),
    Column("runs", "integer", "Runs by fitcard.", lambda r: r[0].run_count),
    Column("reviewed", "date", "When somebody last read the sources again.", lambda r: r[1].reviewed),
    *_ALWAYS,
)  # fmt: skip


def _gpus(catalog: Catalog) -> Iterator[Any]:
    yield from ((entry, catalog.gpus[entry.id]) for entry in api.gpus(catalog).gpus)


def _rate(kind: NumberType, of: str) -> Column:
    return Column(
        f"{kind}_flop_per_s",
        "double",
        f"Dense peak rate of {of}, a multiply-add counted as 2.",
        _entry_at("rates_flop_per_s", kind),
    )


_GPUS = (
    Column("id", "string", "As in the addresses of pages.", lambda r: r[0].id),
    Column("name", "string", "With its maker.", lambda r: r[0].name),
    Column("vendor", "string", "Its maker.", lambda r: r[0].vendor),
    Column("generation", "string", "Its architecture.", lambda r: r[0].generation),
    Column("segment", "string", "desktop, laptop, workstation, datacenter or integrated.", lambda r: r[0].segment),
    Column("compute_capability", "string", "NVIDIA's.", lambda r: r[0].compute_capability),
    Column("gfx", "string", "AMD's target name.", lambda r: r[0].gfx),
    Column("memory_gib", "double", "Memory in units of 2^30 bytes: what is sold as GB.", lambda r: r[0].memory_gib),
    Column("unified_memory", "boolean", "Whether processor and GPU share it.", lambda r: r[1].spec.unified_memory),
    Column("available_bytes", "integer", "What a program may use of it, by the stated reserve.", lambda r: r[0].available_bytes),
    Column("bandwidth_bytes_per_s", "double", "Of its memory.", lambda r: r[0].bandwidth_bytes_per_s),
    _rate("fp32", "FP32"), _rate("tf32", "TF32"), _rate("fp16", "FP16 with FP32 accumulate"),
    _rate("fp16_fp16_accumulate", "FP16 with FP16 accumulate"), _rate("bf16", "BF16 with FP32 accumulate"),
    _rate("fp8", "FP8 with FP32 accumulate"), _rate("int8", "INT8"),
    Column("board_power_w", "double", "What its maker allows it.", lambda r: r[0].board_power_w),
    Column("released", "date", "When it came out.", lambda r: r[0].released),
    Column("launch_price_usd", "double", "What its maker announced.", lambda r: r[1].spec.launch_price_usd),
    Column("unverified", "string", "Figures that nobody has read in a source, separated by semicolons.", lambda r: "; ".join(r[1].spec.unverified)),
    Column("reviewed", "date", "When somebody last read the sources again.", lambda r: r[1].reviewed),
    *_ALWAYS,
)  # fmt: skip


def _runs(catalog: Catalog) -> Iterator[tuple[RunSummary, BatchSummary | None]]:
    """A row for each batch that was measured, oldest runs first, and one for a run that measured none."""
    for run in catalog.run_index:
        yield from ((run, batch) for batch in run.batches or (None,))


_RUN_COLUMNS = (
    Column("key", "string", "Names the record api/v1/runs/KEY.json, which has every sample.", lambda r: r[0].key),
    Column("measured_at", "dateTime", "UTC.", lambda r: r[0].measured_at),
    Column("model", "string", "Its id.", lambda r: r[0].model),
    Column("device", "string", "A GPU's id, or a processor.", lambda r: r[0].device),
    Column("device_name", "string", "As its driver says.", lambda r: r[0].device_name),
    Column("component", "string", "vision, text or all.", lambda r: r[0].component),
    Column("quantization", "string", "The label.", lambda r: r[0].quantization),
    Column("mode", "string", "eager or compiled.", lambda r: r[0].mode),
    Column("status", "string", "ok, out_of_memory, unsupported, crashed or timed_out.", lambda r: r[0].status),
    Column("reason", "string", "Why there is no measurement.", lambda r: r[0].reason),
    Column("recorded_by", "string", "Who contributed it; empty for fitcard's own runners.", lambda r: r[0].recorded_by),
    Column("weights", "string", "random, hub or local: where the numbers in the tensors came from.", lambda r: r[0].weights),
    Column("memory_limit_bytes", "integer", "The cap under which it had to stay.", lambda r: r[0].memory_limit_bytes),
    Column("bits_per_weight", "double", "Of the file, counted.", lambda r: r[0].bits_per_weight),
    Column("file_bytes", "integer", "Of the file, counted.", lambda r: r[0].file_bytes),
    Column("weights_bytes", "integer", "In memory, counted.", lambda r: r[0].weights_bytes),
    Column("cosine_mean", "double", "Of embeddings with those in FP32.", lambda r: r[0].cosine_mean),
    Column("batch", "integer", "Items in one forward pass.", lambda r: r[1] and r[1].batch),
    Column("memory_bytes", "integer", "All that the process took at its highest.", lambda r: r[1] and r[1].memory_bytes),
    Column("latency_s", "double", "Seconds of a forward pass, the median of the processes' medians.", lambda r: r[1] and r[1].latency_s),
    Column("items_per_s", "double", "Images, texts or pairs a second.", lambda r: r[1] and r[1].per_second),
    *_ALWAYS,
)  # fmt: skip


def _published(catalog: Catalog) -> Iterator[Any]:
    for model, file in catalog.published.items():
        yield from ((model, speed, file.sources[speed.source]) for speed in file.speeds)


def _of_speed(name: str) -> Callable[[tuple[str, PublishedSpeed, Any]], Cell]:
    return lambda row: getattr(row[1], name)


_PUBLISHED = (
    Column("model", "string", "Its id.", lambda r: r[0]),
    Column("gpu", "string", "The GPU's id.", _of_speed("gpu")),
    Column("component", "string", "vision, text or all.", _of_speed("component")),
    Column("quantization", "string", "The arithmetic that was used.", _of_speed("quantization")),
    Column("mode", "string", "eager or compiled.", _of_speed("mode")),
    Column("batch", "integer", "Items in one forward pass.", _of_speed("batch")),
    Column("image_size_px", "integer", "Pixels along each side of an image.", _of_speed("image_size")),
    Column("text_tokens", "integer", "Tokens of a text.", _of_speed("text_tokens")),
    Column("items_per_s", "double", "Images, texts or pairs a second.", _of_speed("per_second")),
    Column("settings", "string", "What differs from how fitcard runs it.", _of_speed("settings")),
    Column("where", "string", "The row in the source.", _of_speed("where")),
    Column("source_publisher", "string", "Who published it.", lambda r: r[2].publisher),
    Column("source_url", "anyURI", "Where it stands.", lambda r: r[2].url),
    Column("source_read", "date", "When it was read there.", lambda r: r[2].read),
    *_ALWAYS,
)  # fmt: skip

TABLES = (
    CsvTable("models", "Every model, by id.", _each(_models, _MODEL_COLUMNS), _MODEL_COLUMNS),
    CsvTable("gpus", "Every GPU, the smallest memory first.", _each(_gpus, _GPUS), _GPUS),
    CsvTable(
        "runs", "Every run by fitcard, oldest first, a line for each batch.", _each(_runs, _RUN_COLUMNS), _RUN_COLUMNS
    ),
    CsvTable(
        "published",
        "Every throughput that others measured, by model.",
        _each(_published, _PUBLISHED),
        _PUBLISHED,
    ),
)
