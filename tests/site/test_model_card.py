"""Model cards for the hub: its own library reads every one, whatever stands in the catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData, metadata_load

from fitcard.catalog import Catalog
from fitcard.site.generator.data import api
from fitcard.site.generator.data.model_card import card, metadata
from tests.catalog.test_store import MODEL
from tests.sample import TEXT

TASKS = {"zero-shot-image-classification", "image-feature-extraction", "feature-extraction"}


def data_of(text: str) -> dict[str, Any]:
    """The metadata as the hub's library reads them from a card."""
    read = ModelCard(text).data
    assert isinstance(read, ModelCardData)
    found: dict[str, Any] = read.to_dict()  # type: ignore[no-untyped-call]
    return found


def test_the_hubs_library_reads_every_card(each: Catalog, tmp_path: Path) -> None:
    """Both of its ways, and what comes out is what went in."""
    for key, model in each.models.items():
        text = card(each, key).decode()
        data = data_of(text)
        assert data == metadata(each, key)
        (tmp_path / "README.md").write_text(text)
        assert metadata_load(tmp_path / "README.md") == metadata(each, key)
        assert data["base_model"] == key
        assert data["license"] == model.license.id
        assert data["pipeline_tag"] in TASKS
        assert text.count("\n# ") == 1


def test_the_tables_hold_the_apis_variants(each: Catalog) -> None:
    for key in each.models:
        text = card(each, key).decode()
        for v in api.variants(each, key):
            size = f"{v.file_bytes / 1e9:,.3f} GB | {v.file_evidence}" if v.file_bytes else "not known | not known"
            row = f"| {v.quantization} | {v.bits_per_weight:.2f} | {size} | {v.weights_bytes / 1e9:,.3f} GB | {v.required_bytes / 1e9:,.3f} GB |"
            assert row.replace("_", "\\_") in text, row


def test_runs_are_told_of_with_their_keys(sample: Catalog) -> None:
    text = card(sample, MODEL).decode()
    newest = max((r for r in sample.runs_of(MODEL) if r.status == "ok" and r.quantization == "Q4_K_M" and r.component == "vision"), key=lambda r: r.measured_at)  # fmt: skip
    assert f"| {newest.key} |" in text
    assert "Nobody has run this model with fitcard yet." in card(sample, TEXT).decode()


HOSTILE = [
    "<script>alert(1)</script>",
    "a: b # c",
    "---\nlicense: mit\n---",
    "| x | [y](javascript:alert(1)) `",
    "漢字 עברית",
    "- *&!%@",
    "null",
    "1e3",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_quoted(text: str, sample: Catalog) -> None:
    """In the metadata it comes back as it was; in the words it is text."""
    old = sample.models[MODEL]
    model = old.model_copy(update={
        "name": text, "family": text, "overview": text, "tasks": (text,), "license": old.license.model_copy(update={"id": text, "conditions": text}),
    })  # fmt: skip
    catalog = replace(sample, models={**sample.models, MODEL: model})
    written = card(catalog, MODEL).decode()
    data = data_of(written)
    assert data == metadata(catalog, MODEL)
    assert data["license"] == (text if text in ("null", "1e3") else "other")
    if data["license"] == "other":
        assert data["license_name"] == text
    assert "pipeline_tag" not in data
    words = ModelCard(written).text
    assert "<script" not in words
    assert "javascript" not in words.replace(r"\[y\](javascript", "")
    assert words.count("\n# ") == 1
