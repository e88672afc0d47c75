"""`fitcard profile`: every case in fresh processes, and a record for each, failures included."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from catalog import Catalog
from catalog.errors import FitcardError
from catalog.quantization import Quantization, bits_per_weight, census, predicted_census
from catalog.run import Fidelity, Memory, Mode, Run, Speed, Weights, Workload, sealed
from catalog.trace import Component
from profiler.case import BACKENDS, FIDELITY_INPUTS, backend
from profiler.devices import Device, device_memory_bytes, device_name, machine, slug

REPEATS = 3
SECONDS_PER_BATCH = 20.0
TIMEOUT_S = 3600.0
REFERENCE = "FP32"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to profile."""

    device: Device
    components: tuple[Component, ...]
    quantizations: tuple[str, ...]
    batches: tuple[int, ...]
    mode: Mode = "eager"
    checkpoint: Path | None = None
    """A local checkpoint; None for random weights."""
    seed: int = 0
    repeats: int = REPEATS
    seconds: float = SECONDS_PER_BATCH


def device_id(catalog: Catalog, device: Device) -> str:
    """The device's id: that of the card in the catalog with its very name and memory, else a slug of its name.

    A card that merely resembles one of the catalog's is not taken for it. Processors begin with `cpu-`.
    """
    name = device_name(device)
    if device.kind == "cpu":
        return f"cpu-{slug(name)}"
    memory = device_memory_bytes(device)
    fitting = [
        key for key, card in catalog.cards.items()
        if _bare(name) in {_bare(known) for known in (card.name, card.spec.name, *card.spec.aliases)}
        and (memory is None or abs(card.spec.memory_bytes / memory - 1) < 0.1)
    ]  # fmt: skip
    return fitting[0] if len(fitting) == 1 else slug(name)


def _bare(name: str) -> str:
    """A card's name without its maker and its memory: `NVIDIA GeForce RTX 4060 Ti 16GB` is `geforcertx4060ti`."""
    words = re.sub(r"\b(nvidia|amd|intel|apple|graphics)\b|\(r\)|\(tm\)|\b\d+(\.\d+)? ?gi?b\b", " ", name.lower())
    return re.sub(r"[^a-z0-9]", "", words)


def steps(settings: Settings) -> int:
    """How many processes a whole profile runs, for a progress bar."""
    per_case = 3 + settings.repeats
    return len(settings.components) * (2 + per_case * len(settings.quantizations))


def profile(catalog: Catalog, model_id: str, settings: Settings, progress: Progress = lambda _: None) -> Iterator[Run]:
    """Run every case and give its record as soon as it is there.

    Raises FitcardError when a checkpoint is not this model's; anything that goes wrong with one case is a record.
    """
    with tempfile.TemporaryDirectory(prefix="fitcard-") as folder:
        for component in settings.components:
            reference = _Case(catalog, model_id, component, REFERENCE, settings, Path(folder))
            try:
                reference.artifact(progress)
                truth = reference.process("embed", progress)
            except _Failed as failure:  # no reference, no fidelity; the variants may well run
                progress(f"{component} {REFERENCE}: {failure.status}")
                truth = None
            for label in settings.quantizations:
                case = (
                    reference
                    if label == REFERENCE
                    else _Case(catalog, model_id, component, label, settings, Path(folder))
                )
                yield case.run(truth, progress)
                if case is not reference:
                    case.path.unlink(missing_ok=True)
            reference.path.unlink(missing_ok=True)


class _Failed(Exception):
    """A process that did not give a result."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class _Case:
    """One variant of one component on one device, and the processes that measure it."""

    def __init__(
        self, catalog: Catalog, model_id: str, component: Component, label: str, settings: Settings, folder: Path
    ) -> None:
        self.settings, self.label, self.component, self.model_id = settings, label, component, model_id
        self.quantization: Quantization = catalog.quantizations[label]
        self.phase = catalog.traces[model_id].phase(component)
        self.tensors = catalog.traces[model_id].tensors_of(component)
        self.config_sha256 = catalog.models[model_id].config_sha256
        self.path = folder / f"{component}-{slug(label)}.{self.quantization.format}"
        self.machine = machine(settings.device, device_id(catalog, settings.device))
        chunks = catalog.runtimes.dequantize_chunk_elements
        self.task: dict[str, Any] = {
            "model": model_id, "label": label, "component": component, "mode": settings.mode,
            "config": catalog.models[model_id].config,
            "quantization": self.quantization.model_dump(mode="json"),
            "tensors": [tensor.model_dump(mode="json") for tensor in self.tensors],
            "device": settings.device.kind, "vendor": settings.device.vendor,
            "chunk_elements": chunks.get(settings.device.vendor, chunks["CPU"]),
            "artifact": str(self.path), "seed": settings.seed,
            "checkpoint": str(settings.checkpoint) if settings.checkpoint else None,
            "batches": settings.batches, "seconds": settings.seconds,
        }  # fmt: skip
        self.written: dict[str, Any] | None = None

    def artifact(self, progress: Progress) -> dict[str, Any]:
        """Write the variant's file, once."""
        if self.written is None:
            self.written = self.process("artifact", progress)
        return self.written

    def run(self, truth: dict[str, Any] | None, progress: Progress) -> Run:
        """Measure the case."""
        reason = self.unsupported()
        if reason:
            return self.record("unsupported", reason)
        try:
            made = self.artifact(progress)
            memory = self.process("memory", progress)
            speeds = [self.process("speed", progress, number=n + 1) for n in range(self.settings.repeats)]
            embedded = self.process("embed", progress)
        except _Failed as failure:
            return self.record(failure.status, failure.reason)
        counted = census([tuple(row) for row in made["census"]])
        if counted != predicted_census(self.quantization, self.tensors):
            return self.record(
                "crashed", f"the file does not hold what the rule of {self.label} says: {', '.join(counted)}"
            )
        return self.record(
            "ok", None,
            activation_type=str(backend(self.quantization).activation_type(self.quantization, self.settings.device)).removeprefix("torch."),
            threads=speeds[0]["threads"] if self.settings.device.kind == "cpu" else None,
            census=counted, bits_per_weight=bits_per_weight(counted), file_bytes=made["file_bytes"],
            weights_bytes=memory["weights_bytes"], memory=tuple(Memory(**row) for row in memory["memory"]),
            load_s=min(s["load_s"] for s in speeds), first_run_s=min(s["first_run_s"] for s in speeds),
            speed=tuple(self.speed(speeds, batch) for batch in self.settings.batches), fidelity=fidelity(embedded, truth) if truth else None,
        )  # fmt: skip

    def speed(self, processes: Sequence[dict[str, Any]], batch: int) -> Speed:
        rows = [row for process in processes for row in process["speed"] if row["batch"] == batch]
        samples = tuple(tuple(round(sample, 7) for sample in row["samples_s"]) for row in rows)
        return Speed(batch=batch, samples_s=samples, settled=tuple(row["settled"] for row in rows))

    def unsupported(self) -> str | None:
        """Why this device cannot serve the variant, or None."""
        if self.quantization.runtime not in BACKENDS or not self.quantization.defined:
            return f"fitcard has no backend for {self.quantization.runtime}"
        reason: str | None = backend(self.quantization).unsupported(self.quantization, self.settings.device)
        return reason

    def record(self, status: str, reason: str | None, **measured: Any) -> Run:
        """The record of this case."""
        commit, dirty = _commit()
        workload = Workload(image_size=self.phase.image_size, text_tokens=self.phase.text_tokens)
        local = self.settings.checkpoint is not None
        fields: dict[str, Any] = {
            "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "model": self.model_id, "config_sha256": self.config_sha256,
            "component": self.component, "quantization": self.label, "mode": self.settings.mode, "status": status, "reason": reason,
            "weights": Weights(kind="local") if local else Weights(kind="random", seed=self.settings.seed),
            "workload": workload, "machine": self.machine, "fitcard_commit": commit, "fitcard_dirty": dirty, **measured,
        }  # fmt: skip
        return sealed(fields)

    def process(self, task: str, progress: Progress, number: int | None = None) -> dict[str, Any]:
        """Do one task in a fresh process and give its result. Raises _Failed when there is none."""
        progress(f"{self.component} {self.label}: {task}" + (f" {number}/{self.settings.repeats}" if number else ""))
        file = self.path.with_suffix(f".{task}.json")
        result = file.with_suffix(".result")
        result.unlink(missing_ok=True)
        file.write_text(json.dumps({**self.task, "task": task}))
        root = Path(__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
        began = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "profiler.case", str(file)], env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise _Failed("timed_out", f"{task} took longer than {time.monotonic() - began:.0f} s") from None
        if not result.exists():
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            if last[0].startswith("catalog.errors.FitcardError: "):
                raise FitcardError(last[0].removeprefix("catalog.errors.FitcardError: "))
            how = f"killed by signal {-done.returncode}" if done.returncode < 0 else last[0][:300]
            raise _Failed("out_of_memory" if done.returncode == -9 else "crashed", f"{task}: {how}")
        answer: dict[str, Any] = json.loads(result.read_text())
        if answer["status"] != "ok":
            raise _Failed(answer["status"], f"{task}: {answer['reason'][:300]}")
        return answer


def fidelity(embedded: dict[str, Any], truth: dict[str, Any]) -> Fidelity | None:
    """Cosine between the variant's embeddings and the reference's; the floor is the reference against itself one by one.

    None when no embedding is finite: then there is nothing to compare.
    """

    def cosines(a: list[list[float]], b: list[list[float]]) -> list[float]:
        pair = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
        return [c for c in torch.nn.functional.cosine_similarity(*pair).tolist() if math.isfinite(c)]

    found, floor = cosines(embedded["together"], truth["together"]), cosines(truth["alone"], truth["together"])
    if not found or not floor:
        return None
    mean, least, zero = (round(x, 9) for x in (sum(found) / len(found), min(found), sum(floor) / len(floor)))
    return Fidelity(
        inputs=FIDELITY_INPUTS, nonfinite=FIDELITY_INPUTS - len(found), cosine_mean=mean, cosine_min=least, floor=zero
    )


def _commit() -> tuple[str | None, bool | None]:
    """The commit that this code is at, and whether it was changed since; None outside a checkout."""
    root = Path(__file__).parents[1]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", "*.py")
    return commit, None if commit is None else bool(changed)
