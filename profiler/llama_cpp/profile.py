"""`fitcard profile` of a language model: each quantization made, counted, asked about and run in llama.cpp."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.host import slug
from fitcard.catalog.parallel import cores
from fitcard.catalog.schema.generation import Allocation, Generation, TokenTimes
from fitcard.catalog.schema.quantization import bits_per_weight, census, predicted_census
from fitcard.catalog.schema.run import Run, RunWorkload, Status
from fitcard.catalog.schema.workload import CacheType, Variant
from fitcard.profiler.devices import machine
from fitcard.profiler.llama_cpp.bindings import BUILD
from fitcard.profiler.llama_cpp.conversion import metadata_of
from fitcard.profiler.llama_cpp.gguf_file import ROPE, TensorToWrite, gguf_tensors, tiled_rows, write_file
from fitcard.profiler.llama_cpp.memory import LlamaMemory, memory_of
from fitcard.profiler.llama_cpp.process import Failure
from fitcard.profiler.llama_cpp.run import LlamaRun, LlamaSpeed, points_for, run
from fitcard.profiler.llama_cpp.settings import LlamaSetting
from fitcard.profiler.meta_model import resolve
from fitcard.profiler.record import About, record
from fitcard.profiler.settings import Settings
from fitcard.profiler.workspace import workspace

LABELS = ("F16", "Q8_0", "Q4_K_M")
"""What is run where nothing is named."""
CONTEXT = 16384 + 256
"""Room for all standard points."""
_CACHES: tuple[CacheType, ...] = ("f16", "q8_0")
_OUTPUTS: tuple[Literal["one", "all"], ...] = ("one", "all")
ASKED = tuple(
    LlamaSetting(context, ubatch=ubatch, outputs=outputs, cache_k=cache, cache_v=cache)
    for context, ubatch, outputs, cache in itertools.product((4096, 32768), (128, 512), _OUTPUTS, _CACHES)
)
"""The settings that llama.cpp is asked about, of each file."""

Progress = Callable[[Variant, str], None]


def profile_language(
    catalog: Catalog,
    model_id: str,
    settings: Settings,
    variants: Sequence[Variant],
    device: str,
    progress: Progress = lambda *_: None,
) -> Generator[Run]:
    """Run a language model's variants and give each record as soon as it is there.

    Raises FitcardError for a model whose GGUF fitcard does not write; anything that goes wrong with one case is a record.
    """
    model = catalog.models[model_id]
    config = resolve(dict(model.config))
    here = machine(settings.device, device)
    with workspace() as folder:
        for variant in variants:
            about = About(variant, model, here, settings)
            file = folder / f"{slug(variant.quantization)}.gguf"
            try:
                progress(variant, "write")
                written = _write(catalog, variant, config, settings, file)
                yield _measured(catalog, about, file, written, progress)
            finally:
                file.unlink(missing_ok=True)


def _write(
    catalog: Catalog, variant: Variant, config: Any, settings: Settings, file: Path
) -> tuple[TensorToWrite, ...]:
    labels = catalog.labels_of("language")
    trace = catalog.traces[variant.model]
    own = [tensor for tensor in trace.tensors if tensor.component == "language"]
    tensors = gguf_tensors(config, labels[variant.quantization], own)
    values = tiled_rows(settings.weights.seed or 0)
    if settings.checkpoint is not None:
        from fitcard.profiler.llama_cpp.checkpoint_rows import checkpoint_rows

        values = checkpoint_rows(settings.checkpoint, config)
    write_file(file, metadata_of(config), tensors, values)
    return tensors


def _measured(
    catalog: Catalog,
    about: About,
    file: Path,
    written: Sequence[TensorToWrite],
    progress: Progress,
) -> Run:
    """The record of one file, run."""
    counted = census((one.type, one.elements, one.bytes) for one in written if one.name != ROPE)
    own = [t for t in catalog.traces[about.variant.model].tensors if t.component == "language"]
    if counted != predicted_census(catalog.labels_of("language")[about.variant.quantization], own):
        return _failed(about, Failure("crashed", "the file does not hold what the rule of the label says"))
    progress(about.variant, "ask llama.cpp")
    generation, load_s = run_file(file, about.settings, lambda what: progress(about.variant, what))
    if isinstance(generation, Failure):
        return _failed(about, generation)
    return record(
        about,
        "ok",
        None,
        workload=RunWorkload(),
        activation_type="float32",
        threads=generation.threads,
        census=counted,
        bits_per_weight=bits_per_weight(counted),
        file_bytes=file.stat().st_size,
        weights_bytes=generation.allocated.weights_bytes,
        load_s=load_s,
        generation=generation.model_copy(update={"tiled": about.settings.checkpoint is None}),
    )


def _failed(about: About, failure: Failure) -> Run:
    statuses: dict[str, Status] = {
        "refused": "unsupported",
        "crashed": "crashed",
        "killed": "out_of_memory",
        "hung": "timed_out",
    }
    return record(about, statuses[failure.kind], failure.reason, workload=RunWorkload())


def run_file(file: Path, settings: Settings, progress: Callable[[str], None]) -> tuple[Generation | Failure, float]:
    """What llama.cpp says of a file and what it then does, and the seconds of loading it."""
    context = settings.context or CONTEXT
    setting = LlamaSetting(context, threads=cores())  # llama.cpp itself takes 4, however many there are
    said = memory_of(file, [setting, *ASKED], settings.timeout_s)
    if isinstance(said[0], Failure):
        return said[0], 0.0
    progress(f"run {settings.repeats} processes")
    done = run(file, setting, points_for(context), settings.repeats, settings.timeout_s)
    if isinstance(done, Failure):
        return done, 0.0
    if done.failures and not done.speeds:
        return done.failures[0], 0.0
    asked = [answer for answer in said if isinstance(answer, LlamaMemory)]
    if (allocated := _allocated(done)) != (promised := _asked(asked[0])):
        text = f"llama.cpp allocated {allocated.total_bytes:,} bytes and had said {promised.total_bytes:,}"
        return Failure("crashed", text), 0.0
    generation = Generation(
        build=BUILD,
        threads=done.speeds[0].samples[0].threads,
        allocated=allocated,
        asked=tuple(map(_asked, asked)),
        resident_bytes=done.resident_bytes,
        times=tuple(_times(done.speeds)),
    )
    return generation, done.load_s


def _asked(memory: LlamaMemory) -> Allocation:
    return _allocation(memory.setting, memory.weights_bytes, memory.cache_bytes, memory.compute_bytes)


def _allocated(done: LlamaRun) -> Allocation:
    sums = (
        sum(getattr(one, name) for one in done.buffers) for name in ("weights_bytes", "cache_bytes", "compute_bytes")
    )
    return _allocation(done.setting, *sums)


def _allocation(setting: LlamaSetting, weights: int, cache: int, compute: int) -> Allocation:
    return Allocation.model_validate(
        {
            "context": setting.context, "ubatch": setting.ubatch, "outputs": setting.outputs, "cache_type": setting.cache_k,
            "weights_bytes": weights, "cache_bytes": cache, "compute_bytes": compute,
        }
    )  # fmt: skip


def _times(speeds: Sequence[LlamaSpeed]) -> Iterator[TokenTimes]:
    for speed in speeds:
        yield TokenTimes(
            phase=speed.point.phase,
            tokens=speed.point.tokens,
            depth=speed.point.depth,
            wall_s=tuple(round(sample.wall_s, 6) for sample in speed.samples),
            busy=tuple(round(min(sample.busy, 1.5), 3) for sample in speed.samples),
        )


def context_for(asked: int | None, longest: int | None) -> int:
    """The context of a run: what is asked for, or what all standard points need and the model allows.

    Raises FitcardError for one that no point fits into.
    """
    context = asked or min(CONTEXT, longest or CONTEXT)
    if not points_for(context):
        raise FitcardError(f"a run needs a context of at least 64 tokens (got {context:,})")
    return context
