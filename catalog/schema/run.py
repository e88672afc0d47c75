"""A run: one variant really run on one device, as `fitcard profile` writes it.

A run file is JSON with a comment on top, which is also YAML: quick to read for programs, and still readable.
Runs are only ever added. A run's key is the hash of its own content, so that a changed record is noticed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fitcard.catalog.schema.model import ModelId
from fitcard.catalog.schema.quantization import Census
from fitcard.catalog.schema.record import Count, Many, Positive, Record, Slug, Text
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode as Mode

Status = Literal["ok", "out_of_memory", "unsupported", "crashed", "timed_out"]

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Machine(Record):
    """What it ran on. Runs whose machine differs in any of these are never pooled."""

    device: Slug
    """The card's id in the catalog, or `cpu-...` for a processor."""
    device_name: Text
    device_vendor: Text = "CPU"
    """Whose runtime serves it: the key of the catalog's runtimes."""
    cpu: Text
    cpu_cores: Annotated[int, Field(ge=1)]
    """Cores that the run could use."""
    cpu_features: Many[Text]
    """Instruction sets that matter for matrix arithmetic."""
    memory_bytes: Count
    """Main memory; a card's own memory is in the catalog."""
    device_memory_bytes: Count | None = None
    driver: Text | None = None
    power_limit_w: Positive | None = None
    system: Text
    libraries: dict[str, str]


class WeightsSource(Record):
    """Where the numbers in the tensors came from. Memory and speed do not depend on them; fidelity does."""

    kind: Literal["random", "hub", "local"]
    seed: int | None = None
    revision: Text | None = None
    """The hub's commit; for a folder the hash of its safetensors files."""


class RunWorkload(Record):
    """What went in, but for the batch."""

    image_size: Count | None = None
    text_tokens: Count | None = None


class Memory(Record):
    """Bytes at one batch, from a process of its own kind of pass.

    On a CPU these are resident-set sizes: `runtime` with the libraries loaded and the model not, `loaded` with the weights,
    `peak` the highest during forward passes. On CUDA `loaded` and `peak` are the allocator's, and `reserved` what it took.
    """

    batch: Annotated[int, Field(ge=1)]
    runtime_bytes: Count
    loaded_bytes: Count
    peak_bytes: Count
    reserved_bytes: Count | None = None

    @property
    def total_bytes(self) -> int:
        """All that the process took: on a card the allocator's reserve on top of the context; a resident set holds the runtime already."""
        return self.peak_bytes if self.reserved_bytes is None else self.runtime_bytes + self.reserved_bytes


class Power(Record):
    """What the device's own sensors said while one batch ran, all processes together. NVIDIA only."""

    joules_per_item: Positive
    """Energy of the whole card, by its own counter."""
    watts: Positive
    """The mean over the time that the samples took."""
    clock_mhz: Positive
    """The median clock of the multiprocessors."""
    temperature_c: Count
    """The highest."""
    throttled: Many[Text] = ()
    """Why the driver held the clocks down, by NVML's names; empty when it did not."""


class Speed(Record):
    """Wall-clock seconds of single forward passes at one batch: every sample, one list a process."""

    batch: Annotated[int, Field(ge=1)]
    samples_s: Many[Many[Positive]]
    settled: Many[bool]
    """For each process, whether the samples settled before the time for them was up."""
    power: Power | None = None

    def medians_s(self) -> tuple[float, ...]:
        """The median of each process."""
        return tuple(quantile(samples, 0.5) for samples in self.samples_s)

    @cached_property
    def median_s(self) -> float:
        """The median of the processes' medians. Kept, since throughputs are compared again and again."""
        return quantile(self.medians_s(), 0.5)

    def latency_s(self, q: float) -> float:
        """The q-quantile of all samples: 0.95 for what 19 of 20 passes stay below."""
        return quantile([sample for samples in self.samples_s for sample in samples], q)

    @property
    def iqr_s(self) -> float:
        """The interquartile range of all samples."""
        return self.latency_s(0.75) - self.latency_s(0.25)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median of the processes' medians."""
        medians = self.medians_s()
        return (max(medians) - min(medians)) / self.median_s

    @property
    def per_second(self) -> float:
        """Items (images, texts or pairs) a second."""
        return self.batch / self.median_s


def quantile(values: Any, q: float) -> float:
    """The q-quantile with linear interpolation between order statistics."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * q
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (at - low))


class Fidelity(Record):
    """How near the embeddings are to those of the same weights in FP32, on the same seeded inputs."""

    inputs: Count
    """How many embeddings were compared; the means are over those of them that are finite."""
    nonfinite: Count = 0
    """Embeddings that held an infinity or not-a-number, and so were left out."""
    cosine_mean: Finite | None = None
    """Null when not one embedding is finite."""
    cosine_min: Finite | None = None
    floor: Finite
    """The same mean for FP32 against itself, the inputs run one by one instead of together: what counts as no difference."""
    top1_agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    """How often the nearest candidate is the one that is nearest in FP32. An embedding that is not finite has none."""
    top1_candidates: Count | None = None
    """How many there are to choose from: FP32 embeddings of the other tower, or of the other inputs where there is one tower."""


class Content(Record):
    """All of a run but its key."""

    schema_version: Literal[1] = 1
    metrics_version: Literal[1, 2, 3] = 1
    """1: wall clock around one forward pass; resident set on CPU, the allocator's own counters on CUDA; batches of equal inputs.
    2: the same, and fidelity over more inputs, with the agreement of the nearest candidate.
    3: the same, and memory at each batch after giving back what smaller batches left; loading without building the modules."""
    measured_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    model: ModelId
    config_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    component: Component
    quantization: Text
    mode: Mode
    status: Status
    reason: Text | None = None
    """Why there is no measurement; null when there is one."""
    weights: WeightsSource
    workload: RunWorkload
    machine: Machine
    activation_type: Literal["float32", "float16", "bfloat16"] | None = None
    threads: Count | None = None
    cases_at_once: Annotated[int, Field(ge=1)] = 1
    """How many cases were under way on the machine while this one was timed, one of them at a time with the card. Writing their
    files and starting their processes keeps the host busy, which passes that wait for the host can feel."""
    memory_limit_bytes: Count | None = None
    """The cap under which it had to stay, when there was one."""
    census: Census = {}
    bits_per_weight: Positive | None = None
    file_bytes: Count | None = None
    weights_bytes: Count | None = None
    """Bytes of the tensors in memory, counted tensor by tensor."""
    load_s: Positive | None = None
    first_run_s: Positive | None = None
    memory: Many[Memory] = ()
    speed: Many[Speed] = ()
    out_of_memory_batch: Count | None = None
    """The first batch of the ladder that did not fit; those before it are in `memory` and `speed`."""
    fidelity: Fidelity | None = None
    fitcard_commit: Text | None = None
    fitcard_dirty: bool | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.status == "ok" and not (self.memory and self.speed and self.census):
            raise ValueError("status is ok, but memory, speed or census is missing")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"status is {self.status}, but no reason is given")
        return self


class Run(Content):
    """One variant, run on one machine."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """The hash of the rest."""

    @model_validator(mode="after")
    def _untouched(self) -> Self:
        if self.key != run_key(self):
            raise ValueError("key is not the hash of the record: it was edited or damaged; restore it or run again")
        return self

    def batch_memory(self, batch: int) -> Memory | None:
        return next((m for m in self.memory if m.batch == batch), None)

    def batch_speed(self, batch: int) -> Speed | None:
        return next((s for s in self.speed if s.batch == batch), None)

    @property
    def best_speed(self) -> Speed | None:
        """The batch with the highest throughput."""
        return max(self.speed, key=lambda s: s.per_second, default=None)


def run_key(content: Content) -> str:
    """Sixteen hex digits that name a record: the hash of all of it but the key.

    Fields at their defaults are left out, so that a field added later changes no older key.
    """
    text = json.dumps(
        content.model_dump(mode="json", exclude={"key"}, exclude_defaults=True), sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sealed(fields: dict[str, Any]) -> Run:
    """A run with its key. Raises pydantic's ValidationError for fields that make no whole record."""
    return Run.model_validate({**fields, "key": run_key(Content.model_validate(fields))})
