"""The sizes of memory that GPUs are sold with, and what runs on a GPU of which nothing else is known."""

from __future__ import annotations

from dataclasses import dataclass

from fitcard.advisor.fit import default_component
from fitcard.advisor.memory import available_bytes
from fitcard.advisor.recommend import Pick, named, unseen_pick
from fitcard.advisor.records import rules_of
from fitcard.catalog import Catalog
from fitcard.catalog.schema.gpu import Gpu, GpuSpec
from fitcard.catalog.schema.run import Run
from fitcard.catalog.storage.memo import shared

TIERS_GB = (4, 6, 8, 12, 16, 24)
"""GB as GPUs are sold, which are GiB."""


@dataclass(frozen=True)
class Proof:
    """A run that stayed within so much memory."""

    run: Run
    bytes: int
    """The most that it took at batch 1."""
    on_gpu: bool
    """Whether it ran on a GPU; a processor's runtime takes other amounts."""


def pick(catalog: Catalog, model: str, size: int) -> Pick:
    """What a GPU of `size` GB runs of a model at batch 1: an NVIDIA desktop GPU, of which nothing but its memory is known.

    Always predicted, since nobody has run anything on it.
    """
    return named(unseen_pick(catalog.traces[model], _GPUS[size], rules_of(catalog)), model)


def sizes_that_fit(catalog: Catalog, model: str) -> tuple[int, ...]:
    """The sizes on which some quantization of a model fits, and not just barely."""
    best = ((size, pick(catalog, model, size).best) for size in TIERS_GB)
    return tuple(size for size, answer in best if answer and answer.verdict == "fits")


@shared
def proof(catalog: Catalog, model: str, size: int) -> Proof | None:
    """The best evidence that a model has run within a GPU of `size` GB, or None. Badge, page and picture state it.

    What counts: a run of the component that the pages are about, with the configuration of today, under a cap or not, that
    succeeded and at batch 1 was seen to take no more than a GPU of that size has available. Of several, one on a GPU comes before one
    on a processor, then one under a cap, then one in the quantization that would be picked, then the newest.
    """
    config, component = catalog.model_index[model].config_sha256, default_component(catalog, model)
    available = available_bytes(catalog.runtimes, _GPUS[size])
    chosen = pick(catalog, model, size).nearest.quantization
    proofs: list[Proof] = []
    for run in catalog.runs_of(model):
        memory = run.batch_memory(1)
        counts = run.status == "ok" and run.component == component and run.config_sha256 == config
        if counts and memory and memory.total_bytes <= available:
            proofs.append(Proof(run, memory.total_bytes, run.machine.device_vendor != "CPU"))

    def rank(one: Proof) -> tuple[bool, bool, bool, str, str]:
        run = one.run
        return one.on_gpu, run.memory_limit_bytes is not None, run.quantization == chosen, run.measured_at, run.key

    return max(proofs, key=rank, default=None)


def _id(size: int) -> str:
    return f"any-{size}gb"


def _gpu(size: int) -> Gpu:
    spec = GpuSpec(name=f"a GPU of {size} GB", segment="desktop", memory_gib=size, sources={"size": ("memory_gib",)})
    return Gpu(id=_id(size), vendor="NVIDIA", generation="", rates=None, sources={}, reviewed=None, spec=spec)


_GPUS = {size: _gpu(size) for size in TIERS_GB}
"""One of each size."""
