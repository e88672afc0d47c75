"""Predictions, held to the runs that are committed."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

from fitcard.advisor.accuracy import memory_errors, speed_accuracy
from fitcard.advisor.calibrate import device_left_out, left_out
from fitcard.advisor.language_model import traced_model
from fitcard.catalog import Catalog, load
from fitcard.catalog.file_format import file_bytes, variant_bytes
from fitcard.catalog.loader import HERE
from fitcard.catalog.schema.quantization import held_bytes, predicted_census
from fitcard.catalog.schema.workload import Variant

SO400M = "google/siglip-so400m-patch14-384"


def test_every_committed_run_became_what_the_rule_says(real: Catalog) -> None:
    """Full-size variants: census, file size to the byte, and bytes of weights in memory to the byte."""
    good = [run for run in real.runs if run.status == "ok"]
    seen = {(r.component, r.quantization) for r in good if r.model == SO400M}
    served = {label for label in real.quantizations if label not in ("FP8", "NF4", "FP16")}
    assert seen >= {("vision", label) for label in served}
    assert seen >= {("text", label) for label in ("FP32", "BF16", "FP16", "INT8-dynamic", "INT4", "Q8_0", "Q4_K_M")}
    for run in good:
        quantization = real.labels_of(run.component)[run.quantization]
        tensors = real.traces[run.model].tensors_of(run.component)
        assert dict(run.census) == predicted_census(quantization, tensors)
        if run.component == "language":  # what llama.cpp allocated, and a file with a header and no vocabulary
            model = traced_model(real.traces[run.model], quantization)
            data = variant_bytes(real, Variant(run.model, run.component, run.quantization))
            assert run.weights_bytes == model.weights_bytes
            assert data is not None and run.file_bytes is not None and 0 < run.file_bytes - data < 100_000
            continue
        # A graph's size is not known without writing it.
        predicted = file_bytes(quantization, run.quantization, run.model, tensors)
        assert predicted == (None if quantization.format == "onnx" else run.file_bytes)
        assert run.weights_bytes == held_bytes(quantization, tensors)


def test_resident_weights_are_within_one_percent(real: Catalog) -> None:
    """What loading added to the resident set of the process, against the bytes of the tensors."""
    rows = [(run, m) for run in real.runs if run.status == "ok" and run.model == SO400M for m in run.memory]
    for run, memory in rows:
        assert run.weights_bytes is not None
        if run.machine.device in real.gpus:  # by torch's own counter: cuBLAS' workspace of 34 MB and rounding besides
            assert 33e6 < memory.loaded_bytes - run.weights_bytes < 46e6, (run.component, run.quantization)
            continue
        added = memory.loaded_bytes - memory.runtime_bytes
        # A session of ONNX Runtime keeps its graph and constants too.
        most = 0.08 if real.quantizations[run.quantization].format == "onnx" else 0.01
        assert abs(added / run.weights_bytes - 1) < most, (run.component, run.quantization, added, run.weights_bytes)


def test_predicted_memory_is_near_what_was_measured(real: Catalog) -> None:
    rows = list(memory_errors(real))
    assert median(abs(row.error) for row in rows) <= 0.05
    for row in rows:
        most = (
            0.12 if row.quantization == "INT8-bnb" else 0.10
        )  # its float32 products at batch 4 on a processor with AMX
        assert -0.10 <= row.error <= most, row


def test_errors_that_are_kept_are_those_of_the_catalog(copied: Path) -> None:
    """After a run file goes, on a processor and then on a card, and comes back: what is told is what would be worked out anew."""
    shutil.copytree(HERE / "runs", copied / "runs", dirs_exist_ok=True)
    before = speed_accuracy(load(copied))
    on_processor = next(copied.glob("runs/cpu-amd-*/google/siglip-so400m-*.yaml"))
    on_card = next(copied.glob("runs/h100-sxm/google/siglip-so400m-*.yaml"))
    for path in (on_processor, on_card):
        text = path.read_text()
        path.unlink()
        catalog = load(copied)
        told = {
            one.way: [(row.record, row.predicted_per_second) for row in one.rows] for one in speed_accuracy(catalog)
        }
        for way, rows in told.items():
            anew = device_left_out(catalog) if way == "device" else left_out(catalog, way)  # type: ignore[arg-type]
            assert rows == [(residual.point.record, residual.per_second) for residual in anew], way
        assert told != {one.way: [(row.record, row.predicted_per_second) for row in one.rows] for one in before}
        path.write_text(text)
        assert speed_accuracy(load(copied)) == before
