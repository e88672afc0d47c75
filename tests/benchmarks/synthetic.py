"""A catalog of any size, made of the real one's records under other names: `python -m tests.benchmarks.synthetic FOLDER --models 1000`.

Models keep the configuration and the trace of the one that they are made from. Runs are real records with other names; nine of ten are on
processors and the rest on cards, since the real catalog's fits of speed are made for hundreds of measurements on cards, not for thousands.
"""

from __future__ import annotations

import argparse
import json
import re
from functools import partial
from pathlib import Path

from fitcard.catalog import Catalog, load
from fitcard.catalog.loader import HERE
from fitcard.catalog.parallel import spread
from fitcard.catalog.schema.quantization import held_bytes, predicted_census
from fitcard.catalog.schema.run import Run, sealed
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.storage.writer import run_file_text
from tests.sample import copy_published, cut

PROCESSORS, RUN_CARDS = 36, ("rtx-4090", "rtx-3090", "rtx-3060", "rtx-4070")
WITH_CARD_RUNS = 20
"""Models that have runs on cards."""


def make(target: Path, models: int, cards: int, runs: int) -> Path:
    """Write a catalog under `target`."""
    real = load()
    gpus = [*RUN_CARDS, *(key for key in real.gpus if key not in RUN_CARDS)][:cards]
    cut(target, (), gpus, real.quantizations)
    _more_cards(target, cards - len(gpus))
    originals = list(real.models)
    made: list[tuple[str, str]] = []
    for number in range(models):
        original = originals[number % len(originals)]
        round_ = number // len(originals)
        key = original if round_ == 0 else f"{original}-{round_}"
        made.append((key, original))
        text = re.sub(r"(?m)^successor: .*\n", "", (HERE / f"models/{original}.yaml").read_text())
        text = re.sub(r"\{(gmacs|pixels)\.[^{}]+\}", "as many", text)  # the other model may not be among them
        if round_:
            name = real.models[original].name
            text = text.replace(f"name: {name}\n", f"name: {name} {round_}\n", 1)
            text = re.sub(r"(?m)^(aliases|timm): .*\n", "", text)
        _write(target / f"models/{key}.yaml", text)
        _write(target / f"traces/{key}.json", (HERE / f"traces/{original}.json").read_text())
        if round_ == 0:
            copy_published(target, key, gpus)
    per_model = -(-runs // models)
    parts = [made[at::64] for at in range(64)]
    spread(partial(_runs, target, real, per_model), [part for part in parts if part])
    return target


def _more_cards(target: Path, more: int) -> None:
    """Cards that are none."""
    if more > 0:
        sources = {"a": {"title": "A", "publisher": "B", "url": "https://example.com/a", "read": "2026-01-01"}}
        gpus = {
            f"made-{number}": {
                "name": f"Made {number}", "segment": "desktop", "memory_gib": 4 + number, "memory_type": "GDDR6", "bandwidth_gb_per_s": 200 + number,
                "sources": {"a": ["memory_gib", "memory_type", "bandwidth_gb_per_s"]},
            }
            for number in range(more)
        }  # fmt: skip
        file = {"vendor": "NVIDIA", "generation": "Made", "reviewed": "2026-01-01", "sources": sources, "gpus": gpus}
        _write(target / "gpus/made.yaml", json.dumps(file, indent=1))


def _runs(target: Path, real: Catalog, count: int, models: list[tuple[str, str]]) -> None:
    """Runs of some models, on two processors each, and for a few models on cards."""
    good = [run for run in real.runs if run.status == "ok" and run.metrics_version == 3 and run.mode == "eager"]
    for key, original in models:
        number = sum(key.encode())
        component = real.traces[original].components()[0]
        devices = [f"cpu-made-{(number + at) % PROCESSORS}" for at in range(2)]
        if number % (1000 // WITH_CARD_RUNS) == 0:
            devices = [RUN_CARDS[number % len(RUN_CARDS)], devices[0]]
        found: dict[str, list[Run]] = {}
        for at in range(count):
            found.setdefault(devices[at % 2], []).append(
                made_run(real, good[at % len(good)], key, original, component, devices[at % 2], at)
            )
        for device, runs in found.items():
            _write(target / f"runs/{device}/{key}.yaml", run_file_text(runs))


def made_run(
    real: Catalog, source: Run, key: str, original: str, component: Component, device: str, number: int
) -> Run:
    """A real run under the name of another model and device: what it counts is that model's, and its times grow with the arithmetic."""
    trace, theirs, gpu = real.traces[original], real.traces[source.model], real.gpus.get(device)
    tensors, phase = trace.tensors_of(component), trace.phase(component)
    try:
        census = predicted_census(real.quantizations[source.quantization], tensors)
        label = source.quantization
    except ValueError:  # it has no type for rows of such a length
        census, label = predicted_census(real.quantizations["BF16"], tensors), "BF16"
    weights = held_bytes(real.quantizations[label], tensors)
    slower = max(1.0, phase.multiply_adds() / theirs.phase(source.component).multiply_adds())
    if source.machine.device_vendor != "CPU":
        slower *= 20 if gpu else 20_000
    fields = source.model_dump(mode="json", exclude={"key"})
    fields |= {
        "model": key, "component": component, "config_sha256": real.models[original].config_sha256, "quantization": label,
        "measured_at": f"2026-{1 + number % 10:02}-{1 + number // 10 % 28:02}T03:04:05Z",
        "machine": fields["machine"] | {
            "device": device, "device_vendor": gpu.vendor if gpu else "CPU", "device_name": gpu.name if gpu else "made",
            "device_memory_bytes": None, "power_limit_w": None,
        },
        "workload": {"image_size": phase.image_size, "text_tokens": phase.text_tokens},
        "census": {name: row.model_dump() for name, row in census.items()}, "bits_per_weight": None,
        "file_bytes": sum(row.bytes for row in census.values()), "weights_bytes": weights, "memory_limit_bytes": None,
        "memory": [
            row | {"loaded_bytes": weights + 2**28, "peak_bytes": weights + 2**29 + 2**20 * row["batch"], "reserved_bytes": None}
            for row in fields["memory"]
        ],
        "speed": [
            row | {"samples_s": [[sample * slower for sample in samples] for samples in row["samples_s"]], "power": None}
            for row in fields["speed"]
        ],
    }  # fmt: skip
    return sealed(fields)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--cards", type=int, default=300)
    parser.add_argument("--runs", type=int, default=20000)
    words = parser.parse_args()
    make(words.folder, words.models, words.cards, words.runs)
