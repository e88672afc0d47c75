"""Badges say no more than the runs show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fitcard.advisor import fit
from fitcard.advisor.recommend import picks as picks_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import GIB
from fitcard.catalog.schema.trace import Trace
from fitcard.site.generator.media import badges
from fitcard.site.generator.media.badges import badge, message
from fitcard.site.generator.pages import vram_tiers
from tests.advisor.asking import need
from tests.catalog.test_store import MODEL, made_run

SVG = "{http://www.w3.org/2000/svg}"
GPU: dict[str, Any] = {
    "device": "rtx-4090", "device_name": "NVIDIA GeForce RTX 4090", "device_vendor": "NVIDIA", "cpu": "test", "cpu_cores": 2,
    "cpu_features": [], "memory_bytes": 64 * GIB, "system": "Linux", "libraries": {"torch": "2.13.0"},
}  # fmt: skip


def ran(sample: Catalog, *changes: Mapping[str, Any]) -> Catalog:
    """The small catalog with no runs but invented ones of SigLIP SO400M."""
    config: dict[str, Any] = {"config_sha256": sample.models[MODEL].config_sha256}
    return replace(sample, runs=[made_run(seed, **{**config, **fields}) for seed, fields in enumerate(changes)])


def took(size: int) -> list[dict[str, int]]:
    return [{"batch": 1, "runtime_bytes": 1, "loaded_bytes": 2, "peak_bytes": size}]


def test_every_badge_says_what_its_rule_says(sample: Catalog) -> None:
    """Over all models and sizes: drawn as SVG that is safe to embed, and `measured` only where a run of the catalog shows it."""
    for asset in (asset for model in sample.models for asset in badges.of_model(sample, model)):
        match = re.fullmatch(r"badges/models/(.+)/(\d+)gb\.svg", asset.path)
        assert match
        key, size = match[1], int(match[2])
        root = etree.fromstring(asset.content())
        says, title = message(sample, key, size)
        assert [element.text for element in root.iter(f"{SVG}text")] == [f"runs on {size} GB", says]
        assert root[0].tag == f"{SVG}title"
        assert root[0].text == title
        assert root.get("role") == "img"
        fitting = [
            run for run in sample.runs_of(key)
            if run.status == "ok" and any(m.batch == 1 and m.total_bytes < size * GIB for m in run.memory)
        ]  # fmt: skip
        assert says.startswith("measured") <= bool(fitting), asset.path
        best = vram_tiers.pick(sample, key, size).best
        if not says.startswith("measured"):
            expected = "no" if best is None else {"fits": "predicted", "tight": "predicted, tight"}[best.verdict]
            assert says == expected


def test_sizes_are_those_of_a_card_of_which_nothing_is_known(sample: Catalog) -> None:
    """The same pick as that of a real NVIDIA desktop card with as much memory that multiplies BF16."""
    for key in sample.models:
        assert (
            vram_tiers.pick(sample, key, 12).nearest.quantization
            == picks_of(sample, key)["rtx-3060"].nearest.quantization
        )
        assert vram_tiers.pick(sample, key, 12).nearest.memory == picks_of(sample, key)["rtx-3060"].nearest.memory


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"memory": took(3 * GIB)}, "measured on CPU"),
        ({"memory": took(3 * GIB), "machine": GPU}, "measured"),
        ({"memory": took(3 * GIB), "machine": GPU, "memory_limit_bytes": 8 * GIB}, "measured"),
        ({"memory": took(8 * GIB), "machine": GPU}, "predicted"),  # a card of 8 GB has less than that available
        ({"memory": took(3 * GIB), "machine": GPU, "component": "text"}, "predicted"),
        ({"memory": took(3 * GIB), "machine": GPU, "config_sha256": "0" * 64}, "predicted"),
        ({"memory": [{"batch": 4, "runtime_bytes": 1, "loaded_bytes": 2, "peak_bytes": 3}], "speed": [{"batch": 4, "samples_s": [[1.0]], "settled": [True]}], "machine": GPU}, "predicted"),
    ],
)  # fmt: skip
def test_what_counts_as_measured(run: dict[str, Any], says: str, sample: Catalog) -> None:
    assert message(ran(sample, run), MODEL, 8)[0] == says


def test_a_run_that_failed_shows_nothing(sample: Catalog) -> None:
    failed: dict[str, Any] = {
        "status": "out_of_memory", "reason": "no room", "census": {}, "memory": [], "speed": [], "bits_per_weight": None, "file_bytes": None,
        "weights_bytes": None, "load_s": None, "first_run_s": None, "machine": GPU,
    }  # fmt: skip
    assert message(ran(sample, failed), MODEL, 8)[0] == "predicted"


def test_the_best_evidence_is_told(sample: Catalog) -> None:
    """A card before a processor, then a cap, then the label that would be picked; and the title says which."""
    cpu = {"memory": took(GIB), "measured_at": "2029-01-01T00:00:00Z"}
    other = {"memory": took(GIB), "machine": GPU, "quantization": "Q8_0", "measured_at": "2028-01-01T00:00:00Z"}
    picked = {"memory": took(2 * GIB), "machine": GPU, "quantization": "BF16"}
    title = message(ran(sample, cpu, other, picked), MODEL, 8)[1]
    assert title == (
        "SigLIP SO400M (patch14-384) runs on 8 GB: measured (vision encoder in BF16 took 2.15 GB on NVIDIA GeForce RTX 4090, 2026-01-02)"
    )
    capped = other | {"memory_limit_bytes": 4 * GIB}
    assert "under a cap of 4.29 GB" in message(ran(sample, cpu, capped, picked), MODEL, 8)[1]


def test_no_is_said_with_the_least_that_it_needs(sample: Catalog) -> None:
    wide = sample.models[MODEL].model_copy(update={"name": "<b>&\x07"})
    catalog = replace(sample, models={**sample.models, MODEL: wide})
    assert b"&lt;b&gt;&amp;\xef\xbf\xbd runs on" in badge(catalog, MODEL, 8)
    huge = replace(sample, traces={**sample.traces, MODEL: _times(sample.traces[MODEL], 40)}, runs=())
    says, title = message(huge, MODEL, 4)
    component = fit.default_component(huge, MODEL)
    served = [label for label, q in huge.quantizations.items() if "NVIDIA" in (q.requires.vendors or ("NVIDIA",))]
    least = min(need(huge, MODEL, component, label, 1, "NVIDIA").required_bytes for label in served)
    assert says == "no"
    assert least > 4 * GIB
    assert f"needs {least / 1e9:,.2f} GB at least, and" in title


def _times(trace: Trace, factor: int) -> Trace:
    """A trace of a model with that many times as many layers' tensors."""
    tensors = tuple(t.model_copy(update={"layers": t.layers * factor}) if t.layers else t for t in trace.tensors)
    return trace.model_copy(update={"tensors": tensors})
