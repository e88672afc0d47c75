"""A run: one variant really run on one device, as `fitcard profile` writes it.

A run file is JSON with a comment on top, which is also YAML: quick to read for programs, and still readable.
Runs are only ever added. A run's key is the hash of its own content, so that a changed record is noticed.
"""

import hashlib
import json
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fitcard.catalog.errors import shorten
from fitcard.catalog.schema.generation import Generation
from fitcard.catalog.schema.model import ModelId
from fitcard.catalog.schema.quantization import Census, bits_per_weight
from fitcard.catalog.schema.record import (
    MOST_PIXELS,
    MOST_TOKENS,
    Batch,
    Count,
    Id,
    Many,
    Name,
    Positive,
    Record,
    Slug,
    Text,
    Written,
)
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Mode as Mode

Status = Literal["ok", "out_of_memory", "unsupported", "crashed", "timed_out"]
Cosine = Annotated[float, Field(ge=-1.000001, le=1.000001)]
"""Of two embeddings; sums in floating point may end a little outside."""
Seconds = Annotated[float, Field(gt=0, le=86_400)]
"""How long one thing took: no process of a profile is given more than an hour."""
Bytes = Annotated[int, Field(gt=0, lt=2**53)]
"""Bytes of something that is there."""


class Machine(Record):
    """What it ran on. Runs whose machine differs in any of these are never pooled."""

    device: Slug
    """The card's id in the catalog, or `cpu-...` for a processor."""
    device_name: Name
    device_vendor: Name = "CPU"
    """Whose runtime serves it: the key of the catalog's runtimes."""
    cpu: Name
    cpu_cores: Annotated[int, Field(ge=1, le=4096)]
    """Cores that the run could use."""
    cpu_features: Written[Id]
    """Instruction sets that matter for matrix arithmetic."""
    memory_bytes: Bytes
    """Main memory; a card's own memory is in the catalog."""
    device_memory_bytes: Bytes | None = None
    driver: Name | None = None
    power_limit_w: Positive | None = None
    system: Name
    libraries: dict[Id, Name]


class WeightsSource(Record):
    """Where the numbers in the tensors came from. Memory and speed do not depend on them; fidelity does."""

    kind: Literal["random", "hub", "local"]
    seed: int | None = None
    revision: Text | None = None
    """The hub's commit; for a folder the hash of its safetensors files."""


class RunWorkload(Record):
    """What went in, but for the batch."""

    image_size: Annotated[int, Field(ge=1, le=MOST_PIXELS)] | None = None
    text_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None


class Memory(Record):
    """Bytes at one batch, from a process of its own kind of pass.

    On a CPU these are resident-set sizes: `runtime` with the libraries loaded and the model not, `loaded` with the weights,
    `peak` the highest during forward passes. On CUDA `loaded` and `peak` are the allocator's, and `reserved` what it took.
    """

    batch: Batch
    runtime_bytes: Bytes
    loaded_bytes: Bytes
    peak_bytes: Bytes
    reserved_bytes: Bytes | None = None

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.peak_bytes < self.loaded_bytes:
            raise ValueError(f"peak_bytes is {self.peak_bytes:,}, less than the {self.loaded_bytes:,} of loaded_bytes")
        if self.reserved_bytes is not None and self.reserved_bytes < self.peak_bytes:
            raise ValueError(
                f"reserved_bytes is {self.reserved_bytes:,}, less than the {self.peak_bytes:,} of peak_bytes"
            )
        return self

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
    temperature_c: Annotated[int, Field(ge=0, le=150)]
    """The highest."""
    throttled: Many[Text] = ()
    """Why the driver held the clocks down, by NVML's names; empty when it did not."""


Samples = Annotated[Written[Seconds], Field(min_length=1)]


OTHERS_BUSY = 0.1
"""The share of a machine's processor time from which other programs count as other jobs."""


class Speed(Record):
    """Wall-clock seconds of single forward passes at one batch: every sample, one list a process."""

    batch: Batch
    samples_s: Annotated[Written[Samples], Field(min_length=1)]
    settled: Written[bool]
    """For each process, whether the samples settled before the time for them was up."""
    power: Power | None = None
    others_busy: Annotated[float, Field(ge=0, le=1)] | None = None
    """The share of the machine's processor time that other programs took meanwhile, in the process where it was most."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.settled) != len(self.samples_s):
            raise ValueError(
                f"settled says something of {len(self.settled)} processes, and samples_s has {len(self.samples_s)}"
            )
        return self

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
    cosine_mean: Cosine | None = None
    """Null when not one embedding is finite."""
    cosine_min: Cosine | None = None
    floor: Cosine
    """The same mean for FP32 against itself, the inputs run one by one instead of together: what counts as no difference."""
    top1_agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    """How often the nearest candidate is the one that is nearest in FP32. An embedding that is not finite has none."""
    top1_candidates: Count | None = None
    """How many there are to choose from: FP32 embeddings of the other tower, or of the other inputs where there is one tower."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.nonfinite > self.inputs:
            raise ValueError(f"nonfinite is {self.nonfinite}, more than the {self.inputs} of inputs")
        if self.cosine_min is not None and self.cosine_mean is not None and self.cosine_min > self.cosine_mean + 1e-6:
            raise ValueError(f"cosine_min is {self.cosine_min:g}, more than the {self.cosine_mean:g} of cosine_mean")
        return self


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
    quantization: Id
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
    memory_limit_bytes: Bytes | None = None
    """The cap under which it had to stay, when there was one."""
    census: Census = {}
    bits_per_weight: Positive | None = None
    file_bytes: Bytes | None = None
    weights_bytes: Bytes | None = None
    """Bytes of the tensors in memory, counted tensor by tensor."""
    load_s: Seconds | None = None
    first_run_s: Seconds | None = None
    memory: Written[Memory] = ()
    speed: Written[Speed] = ()
    out_of_memory_batch: Batch | None = None
    """The first batch of the ladder that did not fit; those before it are in `memory` and `speed`."""
    fidelity: Fidelity | None = None
    generation: Generation | None = None
    """Of a language model what stands under `memory` and `speed` of an encoder."""
    fitcard_commit: Id | None = None
    fitcard_dirty: bool | None = None
    recorded_by: Name | None = None
    """Who recorded it, as they call themselves; null for what fitcard's own maintainers ran."""
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+=*$", max_length=8192)] | None = None
    """What OpenSSH's `ssh-keygen -Y sign` made of the rest with their SSH key."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.generation is not None) and self.component != "language":
            raise ValueError(f"generation says how a language model ran, and component is {self.component}")
        whole = self.generation if self.component == "language" else self.memory and self.speed
        if self.status == "ok" and not (whole and self.census):
            missing = "generation" if self.component == "language" else "memory, speed"
            raise ValueError(f"status is ok, but {missing} or census is missing")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"status is {self.status}, but no reason is given")
        if self.status != "ok" and (self.memory or self.speed or self.generation):
            raise ValueError(f"status is {self.status}, but memory or speed is given")
        if not _is_time(self.measured_at):
            raise ValueError(f"measured_at is no time of the calendar (got {self.measured_at!r})")
        return self

    @model_validator(mode="after")
    def _counted(self) -> Self:
        """Hold the counts to the arithmetic between them."""
        if unknown := sorted(set(self.census) - set(TENSOR_TYPES)):
            raise ValueError(f"census has no tensor type {shorten(unknown[0])} (there are: {', '.join(TENSOR_TYPES)})")
        for name, row in self.census.items():
            least = row.elements * TENSOR_TYPES[name].bits_per_weight / 8
            if not row.tensors or not row.elements or row.bytes < least * (1 - 1e-9):
                raise ValueError(
                    f"census.{name} has {row.elements:,} elements in {row.bytes:,} bytes, and {name} needs {least:,.0f}"
                )
        if self.status != "ok":
            return self
        size, bits = sum(row.bytes for row in self.census.values()), bits_per_weight(self.census)
        if self.bits_per_weight is not None and abs(self.bits_per_weight / bits - 1) > 1e-6:
            raise ValueError(
                f"bits_per_weight is {self.bits_per_weight:g}, but the bytes and elements of census make {bits:g}"
            )
        if self.file_bytes is not None and self.file_bytes < size:
            raise ValueError(f"file_bytes is {self.file_bytes:,}, less than the {size:,} of the tensors in census")
        return self

    @model_validator(mode="after")
    def _each_batch_once(self) -> Self:
        for name, rows in (("memory", self.memory), ("speed", self.speed)):
            batches = [row.batch for row in rows]
            if batches != sorted(set(batches)):
                raise ValueError(
                    f"{name} has batches that are not in order, or one of them twice: {', '.join(map(str, batches))}"
                )
        if unknown := [speed.batch for speed in self.speed if self.batch_memory(speed.batch) is None]:
            raise ValueError(f"speed has batch {unknown[0]}, and memory has not")
        if self.out_of_memory_batch is not None and self.memory and self.out_of_memory_batch <= self.memory[-1].batch:
            raise ValueError(
                f"out_of_memory_batch is {self.out_of_memory_batch}, and batch {self.memory[-1].batch} did fit"
            )
        return self

    def batch_memory(self, batch: int) -> Memory | None:
        return next((m for m in self.memory if m.batch == batch), None)

    def batch_speed(self, batch: int) -> Speed | None:
        return next((s for s in self.speed if s.batch == batch), None)

    def disturbances(self, speed: Speed) -> tuple[str, ...]:
        """What may have held a batch up, in words: its speed weighs less in fits."""
        throttled, busy = speed.power.throttled if speed.power else (), speed.others_busy or 0.0
        told = {
            f"throttled ({', '.join(throttled)})": bool(throttled),
            f"up to {self.cases_at_once} cases under way": self.cases_at_once > 1,
            f"other programs on {busy:.0%} of the processors": busy > OTHERS_BUSY,
        }
        return tuple(words for words, so in told.items() if so)

    @property
    def best_speed(self) -> Speed | None:
        """The batch with the highest throughput."""
        return max(self.speed, key=lambda s: s.per_second, default=None)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class Run(Content):
    """One variant, run on one machine."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """The hash of the rest."""

    @model_validator(mode="after")
    def _untouched(self) -> Self:
        if self.key != run_key(self):
            raise ValueError("key is not the hash of the record: it was edited or damaged; restore it or run again")
        return self


IMPORTED = "○ imported: others measured and published it"


def recorder(name: str | None) -> str:
    """Who measured a run, as a mark, a word and a name; what others published is `IMPORTED`."""
    return f"◐ contributed by {name}" if name else "● own: by fitcard's own runners"


def run_key(content: Content) -> str:
    """Sixteen hex digits that name a record: the hash of all of it but the key."""
    return hashlib.sha256(_written(content, {"key"}).encode()).hexdigest()[:16]


def signed_text(content: Content) -> str:
    """What a signature is over: all of a record but the signature and the key."""
    return _written(content, {"key", "signature"})


def _written(content: Content, without: set[str]) -> str:
    """A record as text. Fields at their defaults are left out, so that a field added later changes no older key."""
    fields = content.model_dump(mode="json", exclude=without, exclude_defaults=True)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def sealed(fields: dict[str, Any]) -> Run:
    """A run with its key. Raises pydantic's ValidationError for fields that make no whole record."""
    return Run.model_validate({**fields, "key": run_key(Content.model_validate(fields))})
