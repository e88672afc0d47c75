"""The JSON API: every document keeps the schema, says what the advisor says, and is found from the index."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter

from fitcard.advisor.hardware import gpus_by_memory
from fitcard.advisor.recommend import picks as picks_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.record import UNVERIFIED, Record
from fitcard.catalog.schema.run import Run
from fitcard.site.generator.data import api, csv_tables, documents
from fitcard.site.generator.data.json_schema import SCHEMA_PATH
from fitcard.site.generator.engine.output import Asset, Page
from fitcard.site.generator.engine.sources import read_sources
from fitcard.site.generator.outputs import whole_site
from tests.sample import MODELS, SO400M

KINDS: dict[str, type[Record]] = {
    "index.json": documents.Index, "models.json": documents.ModelList, "gpus.json": documents.GpuList,
    "quantizations.json": documents.QuantizationList, "runs.json": documents.RunList, "catalog.json": documents.CatalogDocument,
    "models": documents.ModelDocument, "gpus": documents.GpuDocument, "runs": Run,
}  # fmt: skip


@pytest.fixture(scope="module")
def written(sample: Catalog) -> dict[str, bytes]:
    return documents_in(sample)


def documents_in(catalog: Catalog) -> dict[str, bytes]:
    """Every JSON document of the API, by its path below api/v1/."""
    made = [*api.assets(catalog), *csv_tables.assets(catalog)]
    made += [asset for key in catalog.models for asset in api.of_model(catalog, key)]
    made += [asset for key in catalog.gpus for asset in api.of_gpu(catalog, key)]
    return {a.path.removeprefix(api.ROOT): a.content() for a in made if a.path.endswith(".json")}


def documents_of(written: dict[str, bytes]) -> dict[str, tuple[type[Record], bytes]]:
    described = {"csv-metadata.json"}
    return {
        path: (KINDS.get(path) or KINDS[path.partition("/")[0]], content)
        for path, content in written.items() if path not in described
    }  # fmt: skip


def test_every_document_is_of_its_kind(each: Catalog) -> None:
    """Read back by the classes that give the schema, none of which takes an unknown key; the version is in each."""
    for path, (kind, content) in documents_of(documents_in(each)).items():
        TypeAdapter(kind).validate_json(content)
        assert json.loads(content)["schema_version"] == 1, path


def test_rows_are_written_as_their_records_would_be(written: dict[str, bytes]) -> None:
    """They are written from mappings: the same fields, in the same order, with the same values."""
    compared = 0
    for path, (kind, content) in documents_of(written).items():
        for field in ("rows", "runs"):
            rows = json.loads(content).get(field)
            if rows and isinstance(rows[0], dict):
                read = json.loads(kind.model_validate_json(content).model_dump_json())[field]
                assert json.dumps(rows) == json.dumps(read), path
                compared += len(rows)
    assert compared > 100


def test_the_schema_holds_what_is_written(written: dict[str, bytes], sample: Catalog) -> None:
    """By a validator that knows nothing of our classes: one document of each kind, and none of them when it is spoilt."""
    schema = json.loads(SCHEMA_PATH.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    tried: set[str] = set()
    for path, (kind, content) in documents_of(written).items():
        if kind.__name__ in tried or (path.startswith("models/") and SO400M not in path):
            continue
        tried.add(kind.__name__)
        checker = jsonschema.Draft202012Validator({**schema, "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"}]})
        document = json.loads(content)
        checker.validate(document)
        document = {key: value[:1] if isinstance(value, list) else value for key, value in document.items()}  # quicker
        for key in document:
            spoilt = copy.deepcopy(document)
            spoilt[f"{key}_"] = spoilt.pop(key)
            assert not checker.is_valid(spoilt), f"{path} without {key}"
    assert tried == {kind.__name__ for kind in documents.KINDS}


def test_the_written_schema_is_fresh() -> None:
    """Made in a process of its own, since only that one reads the explanations of fields."""
    program = "from fitcard.site.generator.data.json_schema import schema_text; print(schema_text(), end='')"
    environment = {**os.environ, "FITCARD_FIELD_DOCS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert SCHEMA_PATH.read_text("utf-8") == done.stdout, "run `make schema`"


def test_every_field_of_ours_is_described_or_speaks_for_itself() -> None:
    """Units and meaning reach whoever reads the schema alone."""
    definitions = json.loads(SCHEMA_PATH.read_bytes())["$defs"]
    assert "Exact" in definitions["ModelDocument"]["properties"]["parameters"]["description"]
    assert "NVIDIA" in definitions["VariantEntry"]["properties"]["required_bytes"]["description"]


def test_rows_are_the_advisors_for_every_model_and_card(written: dict[str, bytes], sample: Catalog) -> None:
    """The picks and speeds of both kinds of document, one by one."""
    of_cards = {key: {r["model"]: r for r in json.loads(written[f"gpus/{key}.json"])["rows"]} for key in sample.gpus}
    for key, model in sample.models.items():
        rows = json.loads(written[f"models/{key}.json"])["rows"]
        picks = picks_of(sample, key)
        assert [row["gpu"] for row in rows] == gpus_by_memory(sample)
        for row in rows:
            answer = picks[row["gpu"]].nearest
            assert row.pop("name") == sample.gpus[row["gpu"]].name
            there = of_cards[row.pop("gpu")][key]
            assert {k: v for k, v in there.items() if k not in ("model", "name", "tasks")} == row
            assert (there["name"], tuple(there["tasks"])) == (model.name, model.tasks)
            assert (row["verdict"], row["quantization"], row["component"]) == (answer.verdict, answer.quantization, answer.component)  # fmt: skip
            assert (row["required_bytes"], row["available_bytes"]) == (answer.memory.required_bytes, answer.memory.available_bytes)  # fmt: skip
            assert (row["max_batch"], row["evidence"]) == (answer.max_batch, answer.evidence)


def test_speeds_are_the_advisors(written: dict[str, bytes], sample: Catalog) -> None:
    """On the models that have every kind of evidence, and one that has none, card by card."""
    kinds: set[str] = set()
    for key in MODELS:
        for row in json.loads(written[f"models/{key}.json"])["rows"]:
            known = picks_of(sample, key)[row["gpu"]].throughput
            speed: dict[str, Any] | None = row["speed"]
            if known is None or speed is None:
                assert known is None
                assert speed is None
                continue
            kinds.add(speed["evidence"])
            assert speed.pop("unit") == COMPONENTS[row["component"]].unit
            assert speed == {name: getattr(known, name) for name in speed}
            assert set(speed) == set(known._fields)
    assert {"published", "predicted"} <= kinds


def test_variants_are_those_of_the_page(written: dict[str, bytes], sample: Catalog) -> None:
    """Every component and label, with a census that adds up; the sizes that the project was built to get right."""
    for key, trace in sample.traces.items():
        variants = json.loads(written[f"models/{key}.json"])["variants"]
        pairs = [(c, label) for c in trace.components() for label in sample.quantizations]
        assert [(v["component"], v["quantization"]) for v in variants] == pairs
        for v in variants:
            assert sum(row["elements"] for row in v["census"].values()) == trace.parameters(v["component"])
            total = sum(row["bytes"] for row in v["census"].values())
            assert v["bits_per_weight"] == pytest.approx(total * 8 / trace.parameters(v["component"]))
            assert (v["file_bytes"] is None) == (v["file_evidence"] is None)
    found = next(
        v for v in json.loads(written["models/google/siglip-so400m-patch14-384.json"])["variants"]
        if (v["component"], v["quantization"]) == ("vision", "Q4_K_M")
    )  # fmt: skip
    assert found["file_bytes"] == 495131104
    assert found["file_evidence"] == "measured"
    assert round(found["bits_per_weight"], 2) == 9.25


def test_figures_of_a_card_name_their_sources(written: dict[str, bytes], sample: Catalog) -> None:
    for key, card in sample.gpus.items():
        document = json.loads(written[f"gpus/{key}.json"])
        assert set(document["figures"]) == card.spec.figures
        for name, figure in document["figures"].items():
            assert set(figure["sources"]) <= set(document["sources"])
            assert bool(figure["sources"]) != (name in document["unverified"])
        assert UNVERIFIED not in document["sources"]
        bandwidth = card.spec.bandwidth_gb_per_s
        assert document["bandwidth_bytes_per_s"] == (bandwidth * 1e9 if bandwidth else None)


def test_everything_is_found_from_the_index(written: dict[str, bytes], sample: Catalog) -> None:
    """Every path in the documents is that of an output, and every document of the API is linked."""
    made = [planned.output for planned in whole_site(sample, read_sources())]
    assets, pages = ({o.path for o in made if isinstance(o, kind)} for kind in (Asset, Page))
    lists = {name: json.loads(written[f"{name}.json"])[name] for name in ("models", "gpus", "runs")}
    linked = {link["path"] for link in json.loads(written["index.json"])["documents"] if "{" not in link["path"]}
    linked |= {entry["document"] for entries in lists.values() for entry in entries}
    assert linked == {path for path in assets if path.startswith(api.ROOT)}
    assert {entry["page"] for name in ("models", "gpus") for entry in lists[name]} <= pages
    counts = json.loads(written["index.json"])["counts"]
    assert counts == {
        "models": len(sample.models), "gpus": len(sample.gpus), "quantizations": len(sample.quantizations), "runs": len(sample.runs),
        "published": sum(len(file.speeds) for file in sample.published.values()),
    }  # fmt: skip
