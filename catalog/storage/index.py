"""What lists say of a record, so that a list need not read the records themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

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
    """What timm calls its image tower."""
    facts: int
    """How many sourced facts it has."""
    unverified: tuple[str, ...]
    """Those that nobody has read in a source."""
    imagenet: str | None
    """Its published accuracy on ImageNet, with who published it."""

    @classmethod
    def of(cls, model: Model) -> ModelSummary:
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
    """Of one forward pass at batch 1."""

    @classmethod
    def of(cls, trace: Trace) -> TraceSummary:
        components = trace.components()
        return cls(
            trace.config_sha256, {c: trace.parameters(c) for c in (*components, "all")}, components,
            {c: trace.phase(c).multiply_adds() for c in components},
        )  # fmt: skip


class GpuSummary(NamedTuple):
    """A card by its names, its memory, and how many figures are stated of it."""

    name: str
    spec_name: str
    aliases: tuple[str, ...]
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
    """Those of its units that need a source: the same for all cards with such units."""
    digest: str
    """Of all that is known of this card: another card of the same file changes nothing in it."""

    @classmethod
    def of(cls, card: Gpu) -> GpuSummary:
        spec = card.spec
        content = json.dumps(card.model_dump(mode="json"), separators=(",", ":"))
        rates = [kind for kind in NUMBER_TYPES if getattr(card.rates, kind, None) is not None]
        return cls(
            card.name, spec.name, spec.aliases, card.vendor, card.generation, spec.segment, spec.memory_gib, card.reviewed,
            len(spec.figures), spec.unverified, spec.unit_rates or "", 1 + len(rates) if card.rates else 0,
            digest(content.encode()),
        )  # fmt: skip


class PublishedSummary(NamedTuple):
    """What a file of published figures names."""

    speeds: tuple[tuple[str, str], ...]
    """Card and quantization of each."""

    @classmethod
    def of(cls, file: PublishedFile) -> PublishedSummary:
        return cls(tuple((speed.gpu, speed.quantization) for speed in file.speeds))


class RunSummary(NamedTuple):
    """A run without its measurements."""

    key: str
    model: str
    device: str
    component: Component
    quantization: str
    mode: Mode
    status: Status
    measured_at: str

    @classmethod
    def of(cls, run: Run) -> RunSummary:
        return cls(
            run.key, run.model, run.machine.device, run.component, run.quantization, run.mode, run.status, run.measured_at
        )  # fmt: skip


class RunFileSummary(NamedTuple):
    """A file of runs, and what its place and the rest of the catalog are held to."""

    runs: tuple[RunSummary, ...]
    device: str | None
    """None where they are not all of one."""
    model: str | None
    """The same."""
    quantizations: tuple[str, ...]

    @classmethod
    def of(cls, runs: Iterable[Run]) -> RunFileSummary:
        # Runs of one file have most texts in common, and those that are one object are kept and read once.
        same: dict[str, str] = {}
        entries = tuple(RunSummary._make(same.setdefault(text, text) for text in RunSummary.of(run)) for run in runs)
        devices, models = {run.device for run in entries}, {run.model for run in entries}
        labels = tuple(dict.fromkeys(run.quantization for run in entries))
        return cls(
            entries, devices.pop() if len(devices) == 1 else None, models.pop() if len(models) == 1 else None, labels
        )
