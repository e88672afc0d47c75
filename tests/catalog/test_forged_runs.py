"""Forged runs: records that no measurement makes, with a right key, are refused on loading or flagged by a linter, each with its line."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fitcard.catalog import Catalog, CatalogError, load
from fitcard.catalog.linters import impossible, problems, untrue_on_pages
from fitcard.catalog.schema.run import Run, sealed
from tests.conftest import copy_catalog

MODEL = "google/siglip-so400m-patch14-384"
Fields = dict[str, Any]


def genuine(real: Catalog, device: str = "h100-sxm", component: str = "vision") -> Fields:
    """What fitcard recorded of BF16 on the H100, or on a processor; without its key."""
    run = next(
        run for run in real.runs_of(MODEL)
        if (run.machine.device.startswith(device), run.quantization, run.component, run.metrics_version) == (True, "BF16", component, 3)
    )  # fmt: skip
    return run.model_dump(mode="json", exclude={"key"}, exclude_defaults=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy of the catalog for all forgeries, since they change nothing but its runs."""
    return copy_catalog(tmp_path_factory.mktemp("forged") / "catalog")


def planted(root: Path, fields: Fields) -> Path:
    """The run in the file where it belongs, with the key that its content has: whoever forges a record can work that out."""
    content = {key: value for key, value in fields.items() if key != "key"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    path = root / f"runs/{fields['machine']['device']}/{fields['model']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    path.write_text(json.dumps({"runs": [{**content, "key": key}]}, indent=1))
    return path


def put(*place: str | int, value: Any) -> Callable[[Fields], None]:
    """Replace the value at a place."""

    def change(fields: Fields) -> None:
        inner: Any = fields
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = value

    return change


def times(factor: float) -> Callable[[Fields], None]:
    """Every sample so many times as long."""

    def change(fields: Fields) -> None:
        for speed in fields["speed"]:
            speed["samples_s"] = [[max(s * factor, 5e-324) for s in samples] for samples in speed["samples_s"]]
            speed.pop("power", None)

    return change


def grown(change_by: Callable[[Any], Any], *place: str | int) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        inner: Any = fields
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = change_by(inner[place[-1]])

    return change


def all_of(*changes: Callable[[Fields], None]) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        for each in changes:
            each(fields)

    return change


def everywhere(name: str, value: Any) -> Callable[[Fields], None]:
    return lambda fields: [memory.update({name: value}) for memory in fields["memory"]] and None  # type: ignore[return-value]


def twice_the_batch(fields: Fields) -> None:
    fields["speed"].append(copy.deepcopy(fields["speed"][0]))


def small_image(fields: Fields) -> None:
    fields["workload"] = {"image_size": 14}
    times(0.01)(fields)


FORGED: dict[str, tuple[str, Callable[[Fields], None], str]] = {
    "130,194,771,378 images/s": ("h100", times(1e-8), r"samples_s: has a pass of \S+ s at batch 1, which makes [\d,]+ TFLOP/s .* at most 1,187"),
    "8820 % of the peak": ("h100", times(1 / 28), r"samples_s: has a pass of .* TFLOP/s .*; h100-sxm does at most"),
    "a processor as fast as a GPU": ("cpu-intel", times(1 / 300), r"samples_s: has a pass of .* does at most"),
    "a larger batch in no time": ("cpu-intel", grown(lambda s: [[x / 50 for x in y] for y in s], "speed", 1, "samples_s"), r"speed\.1\.samples_s: takes .* s at batch 4, and a smaller batch took"),
    "memory below the weights": ("h100", all_of(everywhere("loaded_bytes", 1000), everywhere("peak_bytes", 2000), everywhere("reserved_bytes", 3000)), r"memory\.0\.loaded_bytes: is 1,000 at batch 1, less than the [\d,]+ of its weights"),
    "memory above the GPU's": ("h100", everywhere("reserved_bytes", 10**12), r"memory\.0: takes 1,000,\d+,\d+,\d+ bytes at batch 1, and h100-sxm has 85,"),
    "memory above the machine's": ("cpu-intel", everywhere("peak_bytes", 10**12), r"memory\.0: takes 1,000,000,000,000 bytes at batch 1, and the machine has"),
    "above its own cap": ("h100", put("memory_limit_bytes", value=500_000_000), r"peak_bytes: is [\d,]+ at batch 1, above the cap of 500,000,000"),
    "an allocator on a processor": ("cpu-intel", all_of(everywhere("peak_bytes", 4 * 10**9), everywhere("reserved_bytes", 4 * 10**9)), r"reserved_bytes: is what the allocator of a GPU holds"),
    "a peak below what is loaded": ("h100", everywhere("peak_bytes", 1000), r"memory\.0: peak_bytes is 1,000, less than"),
    "a reserve below the peak": ("h100", everywhere("reserved_bytes", 1000), r"memory\.0: reserved_bytes is 1,000, less than"),
    "no memory at all": ("h100", everywhere("loaded_bytes", 0), r"memory\.0\.loaded_bytes: Input should be greater than 0 \(got 0\)"),
    "a negative time": ("h100", put("speed", 0, "samples_s", value=[[-0.01] * 5] * 3), r"samples_s\.0\.0: Input should be greater than 0 \(got -0\.01\)"),
    "no time": ("h100", put("speed", 0, "samples_s", value=[[0.0] * 5] * 3), r"samples_s\.0\.0: Input should be greater than 0 \(got 0\.0\)"),
    "a time of ages": ("h100", put("load_s", value=1e9), r"load_s: Input should be less than or equal to 86400"),
    "no samples": ("h100", put("speed", 0, "samples_s", value=[]), r"speed\.0\.samples_s: .*at least 1 item"),
    "a process without samples": ("h100", put("speed", 0, "samples_s", value=[[], [], []]), r"speed\.0\.samples_s\.0: .*at least 1 item"),
    "more processes than settled": ("h100", put("speed", 0, "settled", value=[True] * 9), r"speed\.0: settled says something of 9 processes, and samples_s has \d"),
    "a batch twice": ("h100", twice_the_batch, r"speed has batches that are not in order, or one of them twice"),
    "a batch that never was in memory": ("h100", put("speed", -1, "batch", value=999), r"speed has batch 999, and memory has not"),
    "a batch of a billion": ("h100", put("speed", -1, "batch", value=10**9), r"batch: Input should be less than or equal to 1048576"),
    "out of memory before what fitted": ("h100", put("out_of_memory_batch", value=1), r"out_of_memory_batch is 1, and batch \d+ did fit"),
    "a GPU of AMD with NVIDIA's vendor": ("h100", put("machine", "device", value="rx-7900-xtx"), r"machine\.device_vendor: is NVIDIA, and rx-7900-xtx is of AMD"),
    "a vendor that nobody knows": ("h100", all_of(put("machine", "device_vendor", value="Nvidea"), put("machine", "device", value="unheard-of")), r"machine\.device_vendor: is 'Nvidea', which runtimes\.yaml does not know"),
    "a processor that is a GPU": ("h100", all_of(lambda fields: fields["machine"].pop("device_vendor"), put("machine", "device", value="unheard-of")), r"machine\.device: is unheard-of: ids of processors begin with cpu-"),
    "another GPU's name": ("h100", put("machine", "device_name", value="NVIDIA GeForce GT 710"), r"machine\.device_name: is NVIDIA GeForce GT 710 with [\d,]+ bytes, which is not what the catalog calls h100-sxm"),
    "half of the GPU's memory": ("h100", put("machine", "device_memory_bytes", value=40 * 2**30), r"machine\.device_name: is .* with 42,949,672,960 bytes, which is not what|takes"),
    "a power limit of a kettle": ("h100", put("machine", "power_limit_w", value=5000.0), r"machine\.power_limit_w: is 5000 W, and the board power of h100-sxm is 700 W"),
    "more watts than a socket gives": ("h100", put("speed", 0, "power", "watts", value=9000.0), r"power\.watts: is 9000 W, and h100-sxm is allowed 700 W at batch 1"),
    "a clock of 9 GHz": ("h100", put("speed", 0, "power", "clock_mhz", value=9000.0), r"power\.clock_mhz: is 9000 MHz, and the boost clock of h100-sxm is"),
    "a temperature that melts": ("h100", put("speed", 0, "power", "temperature_c", value=140), r"power\.temperature_c: is 140, and GPUs switch off below 120"),
    "energy from nowhere": ("h100", put("speed", 0, "power", "joules_per_item", value=1e-6), r"power\.joules_per_item: is 1e-06 J, and [\d.]+ W over passes of this length make"),
    "sensors of a processor": ("cpu-intel", put("speed", 0, "power", value={"joules_per_item": 1.0, "watts": 1.0, "clock_mhz": 1.0, "temperature_c": 1}), r"power\.watts: is given, and fitcard reads the sensors of NVIDIA's GPUs alone"),
    "a day in the future": ("h100", put("measured_at", value="2099-01-01T00:00:00Z"), r"measured_at: is in the future: the newest day known here is"),
    "a day before the model": ("h100", put("measured_at", value="2019-01-01T00:00:00Z"), r"measured_at: is long before .* was released"),
    "a day that never was": ("h100", put("measured_at", value="2026-02-31T00:00:00Z"), r"measured_at is no time of the calendar \(got '2026-02-31T00:00:00Z'\)"),
    "another model's tensors": ("h100", all_of(put("census", value={"BF16": {"tensors": 1, "elements": 10, "bytes": 20}}), put("weights_bytes", value=20)), r"census: counts 10 elements, and vision of google/siglip-so400m-patch14-384 has 428,225,600 parameters"),
    "bits that the bytes do not make": ("h100", put("bits_per_weight", value=0.1), r"bits_per_weight is 0\.1, but the bytes and elements of census make 16"),
    "a file below its tensors": ("h100", put("file_bytes", value=1000), r"file_bytes is 1,000, less than the [\d,]+ of the tensors in census"),
    "a file of a terabyte": ("h100", put("file_bytes", value=10**12), r"file_bytes: is 1,000,000,000,000, and its tensors have"),
    "bytes below their elements": ("h100", put("census", "BF16", "bytes", value=100), r"census\.BF16 has 428,225,600 elements in 100 bytes, and BF16 needs 856,451,200"),
    "a tensor type that is none": ("h100", put("census", value={"Q0_X": {"tensors": 1, "elements": 10, "bytes": 20}}), r"census has no tensor type 'Q0_X' \(there are: F32, "),
    "weights of no bytes": ("h100", put("weights_bytes", value=1000), r"weights_bytes: is 1,000, and tensors of these types are held in"),
    "an image of 14 pixels": ("h100", small_image, r"workload: is 14 px and no tokens, and this configuration is run with 384 px"),
    "an image of nothing": ("h100", put("workload", "image_size", value=0), r"workload\.image_size: Input should be greater than or equal to 1"),
    "a component that is not there": ("h100", all_of(put("component", value="text"), put("model", value="facebook/dinov2-base")), r"component: is text, which facebook/dinov2-base does not have"),
    "a cosine of two": ("cpu-intel", put("fidelity", value={"inputs": 4, "cosine_mean": 2.0, "floor": 1.0}), r"fidelity\.cosine_mean: Input should be less than or equal to 1"),
    "more failures than inputs": ("cpu-intel", put("fidelity", value={"inputs": 4, "nonfinite": 9, "floor": 1.0}), r"nonfinite is 9, more than the 4 of inputs"),
    "a speed of what did not run": ("h100", all_of(put("status", value="crashed"), put("reason", value="no")), r"status is crashed, but memory or speed is given"),
    "an escape in a name": ("h100", put("machine", "cpu", value="x\x1b[2Jy"), r"machine\.cpu: is no name: it holds a control character.*\(got 'x\\x1b\[2Jy'\)"),
    "a way out of the folder": ("h100", put("machine", "system", value="a\u202eb"), r"machine\.system: is no name: .*\(got 'a\\u202eb'\)"),
    "a name that looks like another": ("h100", put("quantization", value="\u0412F16"), r"quantization: is no id: letters a to z, digits"),
    "no main memory": ("h100", put("machine", "memory_bytes", value=0), r"machine\.memory_bytes: Input should be greater than 0 \(got 0\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_run_is_flagged(name: str, shared: Path, real: Catalog) -> None:
    """`check` names it and `build` stops: where it is refused on loading, or by a linter of the pages."""
    device, change, message = FORGED[name]
    fields = copy.deepcopy(genuine(real, device))
    change(fields)
    shutil.rmtree(shared / "runs")
    path = planted(shared, fields)
    try:
        catalog = load(shared)
    except CatalogError as error:
        lines = [str(error)]
    else:
        lines = [str(problem) for problem in problems(catalog)]
        assert untrue_on_pages(catalog)
        (run,) = catalog.runs
        assert impossible(catalog, run)
    ours = [line for line in lines if path.name in line and re.search(message, line)]
    assert ours, lines
    assert re.search(r"\.yaml:\d+: ", ours[0])


def test_weights_that_come_faster_than_memory_gives_them(copied: Path, real: Catalog) -> None:
    """Few tokens need little arithmetic, but every pass reads every weight: 50 microseconds are too short for it on any GPU."""
    fields = genuine(real, "h100", "text")
    fields["speed"] = [{**fields["speed"][0], "samples_s": [[5e-5] * 5], "settled": [True]}]
    fields["speed"][0].pop("power")
    planted(copied, fields)
    catalog = load(copied)
    (fault,) = impossible(catalog, catalog.runs[0])
    assert fault.field == "speed.0.samples_s"
    assert re.search(r"batch 1, which reads the weights at [\d,]+ GB/s; h100-sxm does at most 4,0\d\d", fault.message)


@pytest.mark.parametrize("device", ["h100", "cpu-intel"])
def test_a_genuine_run_is_not(device: str, copied: Path, real: Catalog) -> None:
    """The records that were forged are in order as they were; so is one that says who recorded it."""
    fields = genuine(real, device) | {"recorded_by": "octocat"}
    planted(copied, fields)
    catalog = load(copied)
    assert catalog.runs[0].recorded_by == "octocat"
    assert impossible(catalog, catalog.runs[0]) == []


def test_every_committed_run_can_be(real: Catalog) -> None:
    """The bounds are wider than all that was really measured, and every key is still that of its content."""
    assert [(run.key, fault) for run in real.runs for fault in impossible(real, run)] == []
    assert [run.key for run in real.runs if sealed(run.model_dump(mode="json", exclude={"key"})).key != run.key] == []
    assert len(real.runs) >= 129


def test_who_recorded_a_run_changes_no_older_key(real: Catalog) -> None:
    """A run without the field has the key that it had before there was one; with it, another."""
    run: Run = real.runs[0]
    fields = run.model_dump(mode="json", exclude={"key"})
    assert sealed(fields | {"recorded_by": None}).key == run.key
    assert sealed(fields | {"recorded_by": "octocat"}).key != run.key


def test_a_linter_looks_at_a_run_again_when_a_gpu_changes(copied: Path, real: Catalog) -> None:
    """That nothing was wrong with it is kept with the files that this rests on."""
    planted(copied, genuine(real))
    assert untrue_on_pages(load(copied)) == []
    assert untrue_on_pages(load(copied)) == []
    path = copied / "gpus/nvidia-hopper.yaml"
    path.write_text(path.read_text().replace("vendor: NVIDIA", "vendor: AMD"))
    assert "machine.device_vendor" in {problem.field.partition(".")[2] for problem in untrue_on_pages(load(copied))}
