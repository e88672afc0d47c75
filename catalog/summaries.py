"""What lists say of a record, so that a list need not read the records themselves."""

from typing import NamedTuple, Self

from fitcard.catalog.schema.gpu import NUMBER_TYPES, Gpu, Segment
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.run import Mode, Run, Status
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.storage.hashing import digest


class ModelSummary(NamedTuple):
    """A model by its names, and by what lists can be filtered by."""

    name: str
    aliases: tuple[str, ...]
    family: str
    tasks: tuple[str, ...]
    licence: str
    """Its id."""
    successor: str | None
    config_sha256: str
    timm: str | None
    """What timm calls its vision encoder."""
    facts: int
    """How many sourced facts it has."""
    unverified: tuple[str, ...]
    """Those that nobody has read in a source."""
    imagenet: str | None
    """Its published accuracy on ImageNet, with who published it."""

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(
            model.name, model.aliases, model.family, model.tasks, model.license.id, model.successor, model.config_sha256,
            model.timm, model.facts(), model.unverified(), _imagenet(model),
        )  # fmt: skip


def _imagenet(model: Model) -> str | None:
    claim = next((claim for claim in model.claims if claim.key == "imagenet"), None)
    if claim is None:
        return None
    by = "" if claim.source == UNVERIFIED else f" ({model.sources[claim.source].publisher})"
    return f"{claim.value:g} %{by}"


class TraceSummary(NamedTuple):
    """A model by its size."""

    config_sha256: str
    parameters: dict[Component, int]
    """By component, in the order of the trace; those of the whole checkpoint always stand under `all`."""
    components: tuple[Component, ...]
    multiply_adds: dict[Component, int]
    """Of one image, text or token."""

    @classmethod
    def of(cls, trace: Trace) -> Self:
        components = trace.components()
        return cls(
            trace.config_sha256, {c: trace.parameters(c) for c in (*components, "all")}, components,
            {c: trace.multiply_adds(c) for c in components},
        )  # fmt: skip


class GpuSummary(NamedTuple):
    """A GPU by its names, its memory, and how many figures are stated of it."""

    name: str
    spec_name: str
    aliases: tuple[str, ...]
    chips: tuple[str, ...]
    """What drivers call its chip: the maker's name, AMD's gfx target, PCI ids."""
    vendor: str
    generation: str
    segment: Segment
    memory_gib: float
    reviewed: str | None
    figures: int
    """Those of its own that need a source."""
    unverified: tuple[str, ...]
    """Those that nobody has read in a source."""
    units: str
    """Names the rates of its units among those of its generation."""
    unit_figures: int
    """Those of its units that need a source: the same for all GPUs with such units."""
    digest: str
    """Of all that is known of this GPU: another GPU of the same file changes nothing in it."""

    @classmethod
    def of(cls, card: Gpu) -> Self:
        spec = card.spec
        rates = [kind for kind in NUMBER_TYPES if getattr(card.rates, kind, None) is not None]
        return cls(
            card.name, spec.name, spec.aliases, tuple(filter(None, (spec.chip, spec.gfx, *spec.pci_ids))), card.vendor, card.generation, spec.segment, spec.memory_gib, card.reviewed,
            len(spec.figures), spec.unverified, spec.unit_rates or "", 1 + len(rates) if card.rates else 0,
            digest(card.model_dump_json().encode()),
        )  # fmt: skip


class PublishedSummary(NamedTuple):
    """What a file of published figures names."""

    speeds: tuple[tuple[str, str], ...]
    """GPU and quantization of each."""

    @classmethod
    def of(cls, file: PublishedFile) -> Self:
        return cls(tuple((speed.gpu, speed.quantization) for speed in file.speeds))


class BatchSummary(NamedTuple):
    """One batch of a run."""

    batch: int
    memory_bytes: int | None
    """All that the process took at its highest."""
    latency_s: float | None
    """Seconds of one forward pass: the median of the processes' medians."""
    disturbed: bool
    """Whether something may have held it up."""

    @property
    def per_second(self) -> float | None:
        """Items a second."""
        return self.batch / self.latency_s if self.latency_s else None


class RunSummary(NamedTuple):
    """A run without its samples: what lists, tables and statistics over all runs need."""

    key: str
    model: str
    device: str
    component: Component
    quantization: str
    mode: Mode
    status: Status
    measured_at: str
    device_name: str
    config_sha256: str
    reason: str | None
    weights: str
    memory_limit_bytes: int | None
    bits_per_weight: float | None
    file_bytes: int | None
    weights_bytes: int | None
    compared: bool
    """Whether its embeddings were compared with those in FP32."""
    cosine_mean: float | None
    recorded_by: str | None
    batches: tuple[BatchSummary, ...]

    @classmethod
    def of(cls, run: Run) -> Self:
        speeds = {speed.batch: speed.median_s for speed in run.speed}
        memory = {memory.batch: memory.total_bytes for memory in run.memory}
        if run.generation and run.generation.decode:  # one sequence is a batch of one, and its items are tokens
            speeds[1] = 1 / run.generation.decode.per_second
            memory[1] = run.generation.allocated.total_bytes
        disturbed = {speed.batch for speed in run.speed if run.disturbances(speed)}
        if run.generation and run.generation.decode and run.generation.decode.disturbed:
            disturbed.add(1)
        return cls(
            run.key,
            run.model,
            run.machine.device,
            run.component,
            run.quantization,
            run.mode,
            run.status,
            run.measured_at,
            run.machine.device_name,
            run.config_sha256,
            run.reason,
            run.weights.kind,
            run.memory_limit_bytes,
            run.bits_per_weight,
            run.file_bytes,
            run.weights_bytes,
            run.fidelity is not None,
            run.fidelity.cosine_mean if run.fidelity else None,
            run.recorded_by,
            tuple(BatchSummary(b, memory.get(b), speeds.get(b), b in disturbed) for b in sorted({*speeds, *memory})),
        )

    @property
    def best(self) -> BatchSummary | None:
        """The batch with the highest throughput."""
        return max((b for b in self.batches if b.latency_s), key=lambda b: b.per_second or 0.0, default=None)
