"""What lists say of a record, so that a list need not read the records themselves."""

from __future__ import annotations

import json
from typing import NamedTuple

from catalog.files import digest
from catalog.gpu import Card, Segment
from catalog.model import Model
from catalog.published import PublishedFile
from catalog.record import UNVERIFIED
from catalog.run import Mode, Run, Status
from catalog.trace import Component, Trace


class ModelEntry(NamedTuple):
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
    def of(cls, model: Model) -> ModelEntry:
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


class TraceEntry(NamedTuple):
    """A model by its size."""

    config_sha256: str
    parameters: dict[Component, int]
    """By component, in the order of the trace; those of the whole checkpoint always stand under `all`."""
    components: tuple[Component, ...]
    multiply_adds: dict[Component, int]
    """Of one forward pass at batch 1."""

    @classmethod
    def of(cls, trace: Trace) -> TraceEntry:
        components = trace.components()
        return cls(
            trace.config_sha256, {c: trace.parameters(c) for c in (*components, "all")}, components,
            {c: trace.phase(c).multiply_adds() for c in components},
        )  # fmt: skip


class CardEntry(NamedTuple):
    """A card by its names and its memory."""

    name: str
    spec_name: str
    aliases: tuple[str, ...]
    vendor: str
    segment: Segment
    memory_gib: float
    digest: str
    """Of all that is known of this card: another card of the same file changes nothing in it."""

    @classmethod
    def of(cls, card: Card) -> CardEntry:
        spec = card.spec
        content = json.dumps(card.model_dump(mode="json"), separators=(",", ":"))
        return cls(
            card.name, spec.name, spec.aliases, card.vendor, spec.segment, spec.memory_gib, digest(content.encode())
        )


class PublishedEntry(NamedTuple):
    """What a file of published figures names."""

    speeds: tuple[tuple[str, str], ...]
    """Card and quantization of each."""

    @classmethod
    def of(cls, file: PublishedFile) -> PublishedEntry:
        return cls(tuple((speed.gpu, speed.quantization) for speed in file.speeds))


class RunEntry(NamedTuple):
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
    def of(cls, run: Run) -> RunEntry:
        return cls(
            run.key, run.model, run.machine.device, run.component, run.quantization, run.mode, run.status, run.measured_at
        )  # fmt: skip
