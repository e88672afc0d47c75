"""`fitcard profile`: every case in fresh processes, and a record for each, failures included."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import torch

import fitcard
from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.host import cpu_cores, cpu_id, gpu_of_device, slug
from fitcard.catalog.schema.quantization import Quantization, bits_per_weight, census, predicted_census
from fitcard.catalog.schema.run import Fidelity, Memory, Mode, Power, Run, Speed, Weights, Workload, sealed
from fitcard.catalog.schema.trace import Component
from fitcard.profiler.devices import Device, device_memory_bytes, device_name, machine
from fitcard.profiler.variant import Variant
from fitcard.profiler.weights import SEED
from fitcard.profiler.worker import FIDELITY_INPUTS, NO_MEMORY, Embeddings, backend

REPEATS = 3
SECONDS_PER_BATCH = 20.0
TIMEOUT_S = 3600.0
REFERENCE = "FP32"
RANDOM = Weights(kind="random", seed=SEED)
METRICS_VERSION = 3
CASES_AT_ONCE = 4
"""How many cases of a card are under way together at most; only one of them has the card. Each has two threads and leaves
as many cores alone: with twelve on sixteen cores, passes that wait for the host took up to twice as long (LOG.md, 2026-11-26)."""
_WORKSPACE = "fitcard-profile-"

Progress = Callable[[Component, str, str], None]
"""Told the component, the quantization, and what begins now, before each process."""


@dataclass(frozen=True)
class Settings:
    """How to profile."""

    device: Device
    components: tuple[Component, ...]
    quantizations: tuple[str, ...]
    batches: tuple[int, ...]
    mode: Mode = "eager"
    checkpoint: Path | None = None
    """A checkpoint on disk; None for random weights."""
    weights: Weights = RANDOM
    """Where its numbers come from, as the record says it."""
    repeats: int = REPEATS
    seconds: float = SECONDS_PER_BATCH
    """The most time for one batch in one process."""
    timeout_s: float = TIMEOUT_S
    """The most time for one process."""
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Truth:
    """What the FP32 reference makes of the fixed inputs."""

    together: Embeddings
    alone: Embeddings
    """The first few again, run one by one."""
    candidates: Embeddings | None
    """The other tower's embeddings; None where there is one tower."""


def device_id(catalog: Catalog, device: Device) -> str:
    """The device's id: that of the card in the catalog with its very name and memory, else a slug of its name.

    A card that merely resembles one of the catalog's is not taken for it. Processors begin with `cpu-`.
    """
    if device.kind == "cpu":
        return cpu_id()
    name = device_name(device)
    return gpu_of_device(catalog, name, device_memory_bytes(device)) or slug(name)


def cases(settings: Settings) -> list[tuple[Component, str]]:
    """Every case that a profile runs, in order."""
    return [(component, label) for component in settings.components for label in settings.quantizations]


def estimate_s(catalog: Catalog, model_id: str, settings: Settings, todo: Sequence[tuple[Component, str]]) -> float:
    """Roughly how long the cases will take, from two matrix products timed here. Right within a factor of two or so."""
    rates = {bits: _multiply_adds_per_s(settings.device, bits) for bits in (16, 32)}
    start_s, passes, total = 8.0, 4.5, 0.0
    for component, label in todo:
        rate = rates[catalog.quantizations[label].held_bits]
        item_s = catalog.traces[model_id].phase(component).multiply_adds() / rate
        ladder_s = sum(settings.batches) * item_s
        if settings.device.kind == "cpu":
            total += (2 + settings.repeats) * start_s + (2 + settings.repeats * passes) * ladder_s
        else:  # beginnings overlap, but for what happens on the card; seen on an H100
            total += settings.repeats * (5.0 + 1.5 * len(settings.batches) + passes * ladder_s)
        total += FIDELITY_INPUTS[component] * item_s
    return total


def _multiply_adds_per_s(device: Device, bits: int) -> float:
    """The rate of one product of 2048 x 2048 matrices, in float32 or in what the device multiplies fastest.

    A card is not asked: its context would stay in this process, and in the way of what is measured. 10 T/s stand for it.
    """
    if device.kind != "cpu":
        return 1e13
    a = torch.randn(2048, 2048, dtype=device.fast_type if bits == 16 else torch.float32)
    torch.mm(a, a)
    began, products = time.perf_counter(), 0
    while time.perf_counter() - began < 0.2:
        torch.mm(a, a)
        products += 1
    return products * 2048**3 / (time.perf_counter() - began)


def ladder(kind: str) -> tuple[int, ...]:
    """The batches to run where none are given: up to the largest that fits on a card, two on a processor, which is slow."""
    return (1, 4) if kind == "cpu" else tuple(2**n for n in range(9))


def missing_packages(catalog: Catalog, labels: Sequence[str]) -> dict[str, str]:
    """The labels whose runtime cannot be imported here, with what is missing."""
    found: dict[str, str] = {}
    for label in labels:
        try:
            backend(catalog.quantizations[label])
        except ImportError as error:
            found[label] = error.name or str(error)
    return found


def profile(
    catalog: Catalog,
    model_id: str,
    settings: Settings,
    todo: Sequence[tuple[Component, str]],
    progress: Progress = lambda *_: None,
) -> Generator[Run]:
    """Run the cases and give each record as soon as it is there. To be closed when it is left before its end.

    Raises FitcardError when a checkpoint is not this model's; anything that goes wrong with one case is a record.
    """
    with workspace() as folder, Processes(settings, len(todo)) as processes:
        references = References(catalog, model_id, settings, processes, folder, progress)

        def measure(case: Case) -> Run:
            if (reason := case.unsupported()) is not None:
                return case.record("unsupported", reason)
            if settings.memory_limit_bytes is not None:
                return case.run(lambda: None, progress)
            return case.run(lambda: references.truth(case.component), progress)

        made = [Case(catalog, model_id, component, label, settings, processes, folder) for component, label in todo]
        waiting = {processes.pool.submit(measure, case) for case in made}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


class Processes:
    """The processes of one profile: on a processor one at a time, on a card several, of which one at a time has the card.

    So files are written, libraries imported and models built while the card measures; nothing else is on it meanwhile, not
    even another profile's process. Left, whatever still runs is killed.
    """

    def __init__(self, settings: Settings, cases: int = 1) -> None:
        self.device, self.timeout_s = settings.device, settings.timeout_s
        self.at_once = 1 if self.device.kind == "cpu" else max(1, min(CASES_AT_ONCE, cpu_cores() // 4, cases))
        self.pool = ThreadPoolExecutor(self.at_once)
        self.running: set[subprocess.Popen[bytes]] = set()
        self.writing: dict[Path, Lock] = {}
        self.over = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        for process in tuple(self.running):
            process.kill()
        self.pool.shutdown(cancel_futures=True)

    def run(self, file: Path, *, uses_device: bool) -> tuple[int, str]:
        """Do the task that a file describes: the exit code, and what went to standard error.

        Raises subprocess.TimeoutExpired when starting or working, each by itself, takes longer than the settings allow; waiting
        for the device does not count.
        """
        root = Path(str(fitcard.__file__)).parents[1]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
        if self.at_once > 1:  # or each would have as many threads as there are cores
            environment["OMP_NUM_THREADS"] = "2"
        environment["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = (
            "1"  # or the second process would not compile but look it up
        )
        ready, tells = os.pipe()
        with file.with_suffix(".stderr").open("w+") as errors, os.fdopen(ready) as is_ready:
            command = [sys.executable, "-m", "fitcard.profiler.worker", str(file), str(tells)]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
                pass_fds=[tells],
            )  # fmt: skip
            self.running.add(process)
            os.close(tells)
            try:
                if self.over:  # it came to be while the others were killed
                    raise CaseFailed("crashed", "the profile was ended")
                # Its end of the pipe closes when it is ready, or ends.
                if uses_device and not select.select([is_ready], [], [], self.timeout_s)[0]:
                    raise subprocess.TimeoutExpired(command, self.timeout_s)
                with self.device.turn() if uses_device else contextlib.nullcontext():
                    assert process.stdin is not None
                    process.stdin.close()  # go
                    process.wait(self.timeout_s)
            finally:
                process.kill()
                process.wait()
                self.running.discard(process)
            errors.seek(0)
            return process.returncode, errors.read()


@contextmanager
def workspace() -> Generator[Path]:
    """A folder for the variants' files, gone at the end; those that killed profiles left behind go first.

    Whoever uses a folder holds the lock in it, which the kernel drops with the process.
    """
    root = Path(tempfile.gettempdir())
    for left in root.glob(f"{_WORKSPACE}*"):
        with contextlib.suppress(OSError), (left / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{_WORKSPACE}"))
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = made.rename(root / made.name[1:])  # seen by others only now that it is locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class References:
    """What the FP32 reference makes of the fixed inputs, tower by tower, each asked once."""

    def __init__(
        self, catalog: Catalog, model_id: str, settings: Settings, processes: Processes, folder: Path,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.given = catalog, model_id, settings, processes, folder, progress
        self.found: dict[Component, dict[str, Any] | None] = {}
        self.asking = Lock()
        self.at_once = ThreadPoolExecutor(1 if settings.device.kind == "cpu" else 2)

    def truth(self, component: Component) -> Truth | None:
        """What to compare a component with, or None where FP32 does not run here: then there is no fidelity."""
        with self.asking:
            return self._truth(component)

    def _truth(self, component: Component) -> Truth | None:
        there = self.given[0].traces[self.given[1]].components()
        if len(there) == 1:
            own = self._embeddings(component)
            return Truth(own["together"], own["alone"], None) if own else None
        other_tower: Component = "vision" if component == "text" else "text"
        own, other = self.at_once.map(self._embeddings, (component, other_tower))
        return Truth(own["together"], own["alone"], other["together"]) if own and other else None

    def _embeddings(self, component: Component) -> dict[str, Any] | None:
        if component not in self.found:
            catalog, model_id, settings, processes, folder, progress = self.given
            case = Case(catalog, model_id, component, REFERENCE, settings, processes, folder)
            try:
                case.artifact(progress)
                self.found[component] = case.process("embed", progress)
            except CaseFailed as failure:
                progress(component, REFERENCE, f"no reference: {failure.status}, {failure}")
                self.found[component] = None
        return self.found[component]


class CaseFailed(Exception):
    """A process that did not give a result."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Case:
    """One variant of one component on one device, and the processes that measure it."""

    def __init__(
        self, catalog: Catalog, model_id: str, component: Component, label: str, settings: Settings, processes: Processes,
        folder: Path,
    ) -> None:  # fmt: skip
        self.settings, self.processes, self.label, self.model_id = settings, processes, label, model_id
        self.component: Component = component
        self.quantization: Quantization = catalog.quantizations[label]
        self.phase = catalog.traces[model_id].phase(component)
        self.tensors = catalog.traces[model_id].tensors_of(component)
        chunks = catalog.runtimes.dequantize_chunk_elements
        chunk = chunks.get(settings.device.vendor, chunks["CPU"])
        config = catalog.models[model_id].config
        self.variant = Variant(
            model_id, label, config, component, self.quantization, self.tensors, settings.device, chunk
        )
        self.config_sha256 = catalog.models[model_id].config_sha256
        self.path = folder / f"{component}-{slug(label)}.{self.quantization.format}"
        self.machine = machine(settings.device, device_id(catalog, settings.device))
        self.task: dict[str, Any] = {
            "model": model_id, "label": label, "component": component, "mode": settings.mode,
            "config": config,
            "quantization": self.quantization.model_dump(mode="json"),
            "tensors": [tensor.model_dump(mode="json") for tensor in self.tensors],
            "device": settings.device.kind, "vendor": settings.device.vendor,
            "chunk_elements": chunk,
            "artifact": str(self.path), "seed": settings.weights.seed,
            "checkpoint": str(settings.checkpoint) if settings.checkpoint else None,
            "batches": settings.batches, "seconds": settings.seconds, "embed": False, "memory_limit_bytes": None,
        }  # fmt: skip

    def unsupported(self) -> str | None:
        """Why this device cannot serve the variant, or None."""
        device, requires = self.settings.device, self.quantization.requires
        if requires.vendors and device.vendor not in requires.vendors:
            return f"{self.label} needs {' or '.join(requires.vendors)}: {requires.why}"
        least = requires.nvidia_compute_capability
        if least is not None and device.vendor == "NVIDIA" and device.compute_capability() < least:
            return f"{self.label} needs compute capability {least}: {requires.why}"
        reason: str | None = backend(self.quantization).unsupported(self.variant, self.settings.mode)
        return reason

    def artifact(self, progress: Progress) -> dict[str, Any]:
        """Write the variant's file, or find it written: the result of the process that did it lies beside it."""
        result = self.path.with_suffix(".artifact.result")
        with self.processes.writing.setdefault(self.path, Lock()):  # the reference is a case too
            if result.exists() and self.path.exists():
                written: dict[str, Any] = json.loads(result.read_text())
                return written
            return self.process("artifact", progress)

    def run(self, reference: Callable[[], Truth | None], progress: Progress) -> Run:
        """Measure the case, and compare it with the reference, which is asked for once the variant's file is written."""
        limit = {"memory_limit_bytes": self.settings.memory_limit_bytes}
        try:
            made = self.artifact(progress)
            counted = census([tuple(row) for row in made["census"]])
            if counted != predicted_census(self.quantization, self.tensors):
                raise CaseFailed(
                    "crashed", f"the file does not hold what the rule of {self.label} says: {', '.join(counted)}"
                )
            truth = reference()
            embed = truth is not None
            both = self.settings.device.kind != "cpu"
            memory = self.process("both" if both else "memory", progress, embed=embed and both, **limit)
            fitting = [row["batch"] for row in memory["memory"]]
            speeds = [memory] * both
            while len(speeds) < self.settings.repeats:
                first = not speeds
                speeds.append(
                    self.process("speed", progress, len(speeds) + 1, batches=fitting, embed=embed and first, **limit)
                )
        except CaseFailed as failure:
            return self.record(failure.status, failure.reason)
        finally:
            if self.label != REFERENCE:
                for part in self.path.parent.glob(f"{self.path.name}*"):
                    part.unlink()
        module = backend(self.quantization)
        return self.record(
            "ok", None,
            activation_type=str(module.activation_type(self.quantization, self.settings.device)).removeprefix("torch."),
            threads=speeds[0]["threads"] if self.settings.device.kind == "cpu" else None,
            census=counted, bits_per_weight=bits_per_weight(counted), file_bytes=made["file_bytes"],
            weights_bytes=memory["weights_bytes"], memory=tuple(Memory(**row) for row in memory["memory"]),
            out_of_memory_batch=memory["out_of_memory_batch"],
            load_s=min(s["load_s"] for s in speeds), first_run_s=min(s["first_run_s"] for s in speeds),
            speed=tuple(_speed(speeds, batch) for batch in fitting),
            fidelity=fidelity(speeds[0]["embeddings"], truth) if truth else None,
        )  # fmt: skip

    def record(self, status: str, reason: str | None, **measured: Any) -> Run:
        """The record of this case."""
        commit, dirty = _commit()
        workload = Workload(image_size=self.phase.image_size, text_tokens=self.phase.text_tokens)
        fields: dict[str, Any] = {
            "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "model": self.model_id, "config_sha256": self.config_sha256,
            "metrics_version": METRICS_VERSION,
            "component": self.component, "quantization": self.label, "mode": self.settings.mode, "status": status, "reason": reason,
            "weights": self.settings.weights, "workload": workload, "machine": self.machine,
            "memory_limit_bytes": self.settings.memory_limit_bytes, "cases_at_once": self.processes.at_once, "fitcard_commit": commit, "fitcard_dirty": dirty, **measured,
        }  # fmt: skip
        return sealed(fields)

    def process(self, task: str, progress: Progress, number: int | None = None, **more: Any) -> dict[str, Any]:
        """Do one task in a fresh process and give its result. Raises CaseFailed when there is none."""
        progress(self.component, self.label, task + (f" {number}/{self.settings.repeats}" if number else ""))
        file = self.path.with_suffix(f".{task}.json")
        result = file.with_suffix(".result")
        result.unlink(missing_ok=True)
        try:
            file.write_text(json.dumps({**self.task, "task": task, "parent": os.getpid(), **more}))
        except OSError as error:
            raise CaseFailed("crashed", f"{task}: {file.parent}: {error.strerror}") from None
        try:
            code, errors = self.processes.run(file, uses_device=task != "artifact")
        except subprocess.TimeoutExpired:
            raise CaseFailed(
                "timed_out", f"{task} took longer than {self.settings.timeout_s:g} s and was ended"
            ) from None
        if not result.exists():
            last = errors.strip().splitlines()[-1:] or ["no message"]
            if last[0].startswith("catalog.errors.FitcardError: "):
                raise FitcardError(last[0].removeprefix("catalog.errors.FitcardError: "))
            how = f"killed by signal {-code}" if code < 0 else last[0][:300]
            no_memory = code == -9 or any(words in errors for words in NO_MEMORY)
            raise CaseFailed("out_of_memory" if no_memory else "crashed", f"{task}: {how}")
        answer: dict[str, Any] = json.loads(result.read_text())
        if answer["status"] != "ok":
            raise CaseFailed(answer["status"], f"{task}: {answer['reason'][:300]}")
        return answer


def _speed(processes: Sequence[dict[str, Any]], batch: int) -> Speed:
    rows = [row for process in processes for row in process["speed"] if row["batch"] == batch]
    samples = tuple(tuple(round(sample, 7) for sample in row["samples_s"]) for row in rows)
    powers = [row["power"] for row in rows if row.get("power")]
    return Speed(
        batch=batch, samples_s=samples, settled=tuple(row["settled"] for row in rows),
        power=Power(**_pooled(powers)) if powers else None,
    )  # fmt: skip


def _pooled(powers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the processes of one case read, as one: means of energy, power and clock, the highest temperature, every reason."""
    mean = {key: sum(power[key] for power in powers) / len(powers) for key in ("joules_per_item", "watts", "clock_mhz")}
    reasons = tuple(sorted({reason for power in powers for reason in power["throttled"]}))
    return {**mean, "temperature_c": max(power["temperature_c"] for power in powers), "throttled": reasons}


def fidelity(found: Embeddings, truth: Truth) -> Fidelity | None:
    """How near the variant's embeddings are to the reference's, and how often they choose the same candidate.

    None when the reference itself is not finite: then there is nothing to compare with.
    """
    ours, theirs, alone = (torch.tensor(rows, dtype=torch.float64) for rows in (found, truth.together, truth.alone))
    cosine = torch.nn.functional.cosine_similarity
    floor = [c for c in cosine(alone, theirs[: len(alone)]).tolist() if math.isfinite(c)]
    if not floor or not torch.isfinite(theirs).all():
        return None
    candidates = theirs if truth.candidates is None else torch.tensor(truth.candidates, dtype=torch.float64)
    chosen, wanted = (_nearest(rows, candidates, truth.candidates is None) for rows in (ours, theirs))
    finite = [c for c in cosine(ours, theirs).tolist() if math.isfinite(c)]
    same = sum(math.isfinite(score) and a == b for (a, score), (b, _) in zip(chosen, wanted, strict=True))
    return Fidelity(
        inputs=len(found), nonfinite=len(found) - len(finite),
        cosine_mean=round(sum(finite) / len(finite), 9) if finite else None,
        cosine_min=round(min(finite), 9) if finite else None, floor=round(sum(floor) / len(floor), 9),
        top1_agreement=same / len(found), top1_candidates=len(candidates) - (truth.candidates is None),
    )  # fmt: skip


def _nearest(rows: torch.Tensor, candidates: torch.Tensor, itself: bool) -> list[tuple[int, float]]:
    """For each row the candidate of the highest cosine, and that cosine; with `itself`, never the row's own place."""
    scores = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(candidates).T
    if itself:
        scores.fill_diagonal_(-2.0)
    best = scores.max(dim=1)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _commit() -> tuple[str | None, bool | None]:
    """The commit that this code is at, and whether code or rules were changed since; None outside a checkout."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("rev-parse", "--show-toplevel") != str(root.resolve()):
        return None, None  # installed somewhere below another project's checkout
    rules = ("*.py", "catalog/quantizations.yaml", "catalog/runtimes.yaml")
    return git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain", "--", *rules))
