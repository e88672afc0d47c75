"""The sample: a small catalog for tests, with a few models, GPUs and quantizations of the real one, and runs of every kind.

It is cut from the real catalog, so a field that is added to a record is written once. What stands on pages of the site is tested on
this catalog, whose site takes seconds; what only all the data can show (links, titles, weight) on the real one.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from fitcard.catalog.loader import HERE
from fitcard.catalog.parse import read_runs, read_trace
from fitcard.catalog.schema.quantization import Quantizations
from fitcard.catalog.schema.record import read_record
from fitcard.catalog.schema.run import Run
from fitcard.catalog.storage.writer import add_run
from fitcard.catalog.yaml_file import read_yaml
from tests.catalog.test_store import counted, made_run

SO400M = "google/siglip-so400m-patch14-384"
"""Image and text encoder: with real runs, runs that failed, runs under a cap, and figures of others."""
TEXT = "sentence-transformers/all-MiniLM-L6-v2"
"""Text encoder without runs."""
IMAGE = "facebook/dinov2-base"
"""Image encoder with one run and figures of others."""
MODELS = (SO400M, TEXT, IMAGE)

GPUS = (
    "rtx-4090", "rtx-4060", "rtx-3060", "rtx-5090", "gtx-1080-ti", "t1000-8gb", "h100-sxm", "h100-nvl", "rtx-pro-6000-blackwell",
    "jetson-orin-nano-4gb", "dgx-spark", "rx-6600", "rx-7900-xtx", "instinct-mi300x", "ryzen-ai-max-395-64gb",
    "apple-m1-8-core-8gb", "apple-m4-max-40-core-64gb", "arc-b580", "arc-140v-16gb", "max-1100",
)  # fmt: skip
"""All vendors; desktop, workstation, server and board; of old and new kinds; six of them share their memory with the processor."""

LABELS = ("FP32", "BF16", "FP16", "NF4", "Q4_K_M")

REAL_RUNS = (f"h100-sxm/{SO400M}", f"cpu-amd-epyc-family-25-model-17-2-cores/{SO400M}")
TWINS = ("cpu-twin-2-cores", "cpu-twin-4-cores")
"""Two devices of one name."""


def sample_catalog(root: Path) -> Path:
    """Write the small catalog to `root`, and give it."""
    cut(root, MODELS, GPUS, LABELS)
    for name in REAL_RUNS:
        for run in read_runs(HERE / f"runs/{name}.yaml"):
            if run.quantization in LABELS:
                add_run(root / "runs", run)
    for run in invented_runs():
        add_run(root / "runs", run)
    return root


def cut(root: Path, models: Collection[str], gpus: Collection[str], labels: Collection[str]) -> None:
    """Write a part of the real catalog, without runs, to `root`."""
    for folder in ("models", "traces", "published", "runs", "gpus"):
        (root / folder).mkdir(parents=True)
    for name in ("runtimes.yaml", "speed.yaml"):
        shutil.copy(HERE / name, root / name)
    data, _ = read_yaml(HERE / "quantizations.yaml")
    data["quantizations"] = {label: data["quantizations"][label] for label in labels}
    write(root / "quantizations.yaml", data)
    for model in models:
        copy_model(root, model, gpus)
    files = {path.stem: read_yaml(path)[0] for path in sorted((HERE / "gpus").glob("*.yaml"))}
    for name, file in files.items():
        file["gpus"] = {key: gpu for key, gpu in file["gpus"].items() if key in gpus}
        if file["gpus"]:
            write(root / f"gpus/{name}.yaml", file)
    data, _ = read_yaml(HERE / "matmul.yaml")
    data["rates"] = [rate for rate in data["rates"] if rate["gpu"] in gpus]
    if data["rates"]:
        write(root / "matmul.yaml", data)
    names = {f"gpus/{name}.yaml" for name in files}
    data, _ = read_yaml(HERE / "exceptions.yaml")
    data["exceptions"] = [e for e in data["exceptions"] if e["file"] in names and e["field"].split(".")[1] in gpus]
    if data["exceptions"]:
        write(root / "exceptions.yaml", data)


def copy_model(root: Path, model: str, gpus: Collection[str] = ()) -> None:
    """Copy a model with its trace and what is published of it on these GPUs; other models that it names need not be there."""
    for name in (f"models/{model}.yaml", f"traces/{model}.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / name, root / name)
    path = root / f"models/{model}.yaml"
    text = re.sub(r"(?m)^successor: .*\n", "", path.read_text())
    path.write_text(re.sub(r"\{(gmacs|pixels)\.[^{}]+\}", "as many", text))
    copy_published(root, model, gpus)


def copy_published(root: Path, model: str, gpus: Collection[str]) -> None:
    """Copy what is published of a model on these GPUs."""
    published = HERE / f"published/{model}.yaml"
    if published.is_file():
        data, _ = read_yaml(published)
        data["speeds"] = [row for row in data["speeds"] if row["gpu"] in gpus]
        if data["speeds"]:
            write(root / f"published/{model}.yaml", data)


def invented_runs() -> list[Run]:
    """One run that failed, one under a cap, two on devices of one name, and the only one of the image encoder."""
    nothing: dict[str, Any] = {
        "census": {}, "memory": [], "speed": [], "bits_per_weight": None, "file_bytes": None, "weights_bytes": None,
        "load_s": None, "first_run_s": None,
    }  # fmt: skip
    here = made_run().machine.model_dump(mode="json")
    twins = [{**here, "device": device, "device_name": "A twin", "cpu": "Twin"} for device in TWINS]
    return [
        of_model(SO400M, 1, "FP32", status="out_of_memory", reason="<b>no room</b>", **nothing),
        of_model(SO400M, 2, memory_limit_bytes=4 * 2**30),
        *(of_model(SO400M, 3 + at, machine=machine) for at, machine in enumerate(twins)),
        of_model(IMAGE, 5),
    ]


def of_model(model: str, seed: int, label: str = "BF16", **fields: Any) -> Run:
    """An invented run of a model of the real catalog, with the tensor types that the label's rule gives."""
    trace = read_trace(HERE / f"traces/{model}.json")
    rules, _ = read_record(Quantizations, HERE / "quantizations.yaml")
    own = counted(trace, trace.components()[0], rules.quantizations[label])
    return made_run(seed, **({"model": model} | own | fields))


def write(path: Path, data: Any) -> None:
    """Write a file of the catalog as YAML, without the sources that nothing in it names any more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "sources" in data:
        named = set(_texts({key: value for key, value in data.items() if key != "sources"}))
        data = {**data, "sources": {key: source for key, source in data["sources"].items() if key in named}}
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120))


def _texts(data: Any) -> Iterator[str]:
    """Every text in data, keys included."""
    if isinstance(data, dict):
        yield from data
        data = list(data.values())
    if isinstance(data, list):
        for each in data:
            yield from _texts(each)
    elif isinstance(data, str):
        yield data
