"""The catalog as one JSON and as tables: whole, read back as it was, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from fitcard.catalog import Catalog
from fitcard.catalog.linters.prose import prose_of
from fitcard.catalog.prose import fill
from fitcard.site.generator.data.csv_tables import TABLES, CsvTable, csv_bytes, metadata, whole
from fitcard.site.generator.data.documents import CatalogDocument


def read(table: CsvTable, catalog: Catalog) -> list[dict[str, str]]:
    text = csv_bytes(table, catalog).decode()
    assert text.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert {len(row) for row in rows} == {len(table.columns)}, "every line has as many fields as the header"
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


TABLE = {table.name: table for table in TABLES}


def test_tables_hold_every_record(sample: Catalog) -> None:
    """Line by line the ids of the catalog, and figures that are the catalog's."""
    models = {row["id"]: row for row in read(TABLE["models"], sample)}
    assert list(models) == list(sample.models)
    for key, row in models.items():
        for component in ("vision", "text", "all"):
            there = component in sample.traces[key].components()
            assert row[f"{component}_parameters"] == (str(sample.traces[key].parameters(component)) if there else "")
    cards = {row["id"]: row for row in read(TABLE["gpus"], sample)}
    assert set(cards) == set(sample.gpus)
    for key, row in cards.items():
        bandwidth = sample.gpus[key].spec.bandwidth_gb_per_s
        assert row["bandwidth_bytes_per_s"] == (repr(bandwidth * 1e9) if bandwidth else "")
        assert float(row["memory_gib"]) == sample.gpus[key].spec.memory_gib
    runs = read(TABLE["runs"], sample)
    assert list(dict.fromkeys(row["key"] for row in runs)) == [run.key for run in sample.runs]
    first = next(run for run in sample.runs if run.status == "ok")
    mine = [row for row in runs if row["key"] == first.key]
    assert [(int(r["batch"]), int(r["memory_bytes"])) for r in mine] == [(m.batch, m.total_bytes) for m in first.memory]
    assert [float(r["items_per_s"]) for r in mine if r["items_per_s"]] == [speed.per_second for speed in first.speed]
    published = read(TABLE["published"], sample)
    figures = [(key, s.gpu, s.per_second) for key, file in sample.published.items() for s in file.speeds]
    assert [(row["model"], row["gpu"], float(row["items_per_s"])) for row in published] == figures


def test_every_line_says_its_licence_and_version(sample: Catalog) -> None:
    for table in TABLES:
        rows = read(table, sample)
        assert rows
        assert {(row["data_license"], row["schema_version"]) for row in rows} == {("CC-BY-4.0", "1")}


@pytest.mark.parametrize(
    "name",
    ['=HYPERLINK("http://evil")', "+1", "-1", "@SUM(A1)", "\t=1", 'a "quoted", name\nin two lines', "漢字 עברית"],
)
def test_text_is_no_formula_and_breaks_no_line(name: str, sample: Catalog) -> None:
    key = next(iter(sample.models))
    renamed = replace(sample, models={**sample.models, key: sample.models[key].model_copy(update={"name": name})})
    first = read(TABLE["models"], renamed)[0]
    assert first["name"] == (f"'{name}" if name[0] in "=+-@\t" else name)
    assert first["id"] == key


def test_columns_are_described_by_the_metadata(sample: Catalog) -> None:
    """As CSV on the Web asks: every table, each column by name and in order, with type and words."""
    described = metadata()
    assert described["dc:license"] == {"@id": "https://creativecommons.org/licenses/by/4.0/"}
    for entry, table in zip(described["tables"], TABLES, strict=True):
        header = csv_bytes(table, sample).decode().split("\r\n")[0]
        assert entry["url"] == f"{table.name}.csv"
        assert ",".join(column["name"] for column in entry["tableSchema"]["columns"]) == header
        assert len({column["name"] for column in entry["tableSchema"]["columns"]}) == len(table.columns)
        assert all(column["dc:description"].endswith(".") for column in entry["tableSchema"]["columns"])
    parsers = {"integer": int, "double": float}
    for table in TABLES:
        for row in read(table, sample):
            for column in table.columns:
                if row[column.name]:
                    parsers.get(column.type, str)(row[column.name])


def test_the_document_is_the_catalog(sample: Catalog) -> None:
    """Read back, it is the same records, but for prose, whose placeholders are filled."""
    document = whole(sample)
    again = CatalogDocument.model_validate_json(document.model_dump_json())
    assert again.published == dict(sample.published)
    assert again.quantizations == sample.quantization_file
    assert {key: card.spec for key, card in again.gpus.items()} == {key: card.spec for key, card in sample.gpus.items()}
    words = ("verdict", "overview", "strengths", "weaknesses", "corrections")
    filled = 0
    for key, model in sample.models.items():
        kept = {name: getattr(model, name) for name in words}
        assert again.models[key].model_copy(update=kept) == model
        for (_, text), (_, old) in zip(prose_of(again.models[key]), prose_of(model), strict=True):
            assert text == fill(old, sample, key)
            filled += text != old
    assert filled > len(sample.models)
    sources = json.loads(document.model_dump_json())["gpus"]["rtx-4090"]["sources"]
    assert set(sources) == (set(sample.gpus["rtx-4090"].spec.sources) | set(sample.gpus["rtx-4090"].rates.sources if sample.gpus["rtx-4090"].rates else ())) - {"unverified"}  # fmt: skip
