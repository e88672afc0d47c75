"""`fitcard trace`: run a model without weights on the meta device and write down what it does.

Nothing is computed there, so any model can be traced on any machine in seconds. Three things come out: every
parameter tensor, every operation with its sizes, and the most bytes of activations that live at one time.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.model import config_sha256
from fitcard.catalog.schema.trace import Activations, Fused, Operation, Phase, StridedLinear, Trace, layer_pattern
from fitcard.profiler.architecture import check_plain, generates
from fitcard.profiler.batch_growth import Frozen, compact, fields_of, linear, operation, without_loops
from fitcard.profiler.decoder_trace import trace_decoder
from fitcard.profiler.fusion import fuse
from fitcard.profiler.input_sizes import image_tokens
from fitcard.profiler.meta_model import EntryPoint, architecture, build_as, entry_points, explained, inputs, size_notes
from fitcard.profiler.recorder import FusedAttention, LiveBytes, Recorder, StridedLinears, WithoutPadding
from fitcard.profiler.safe_config import safe_config
from fitcard.profiler.traced_tensors import traced_tensors

BATCHES = (1, 2, 4, 16, 64)
"""Where activation peaks are traced; between and beyond them they are interpolated."""


def trace(
    config: dict[str, Any],
    progress: Callable[[str], None] = lambda _: None,
    *,
    pixels: int | None = None,
    tokens: int | None = None,
) -> Trace:
    """Trace the model of a Hugging Face configuration through each of its entry points, with square images of `pixels`
    along each side and texts of so many `tokens`, or of the sizes that the model is made for.

    Raises FitcardError when transformers cannot build or run its configuration, or at these sizes.
    """
    import transformers

    kind = config["model_type"]
    check_plain(config)
    if generates(config):
        if pixels or tokens:
            raise FitcardError(f"{kind} is a language model, whose trace holds for every number of tokens")
        return trace_decoder(config, progress)
    chosen = architecture(config)
    model = build_as(config, chosen)
    with explained(kind):
        points = entry_points(model, (pixels, pixels) if pixels else None, tokens)
    notes = (*chosen.notes, *_ignored(config), *size_notes(model.config, points, pixels, tokens))
    phases: list[Phase] = []
    used: dict[str, set[str]] = {}
    twins = {dtype: copy.deepcopy(model).to(device="meta", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    for entry_point in points:
        progress(f"tracing {entry_point.component}")
        with explained(kind, "run"):
            phase, used[entry_point.component] = _phase(twins, entry_point)
        phases.append(phase)
    return Trace(
        config_sha256=config_sha256(config),
        made_with={"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        tensors=tuple(traced_tensors(model, used)),
        phases=tuple(phases),
        notes=notes or None,
    )


def _ignored(config: dict[str, Any]) -> Iterator[str]:
    for path in safe_config(config).warnings:
        yield f"{path} is ignored: the model is built with the code and the weights' types of transformers alone"


def _phase(twins: dict[torch.dtype, nn.Module], entry_point: EntryPoint) -> tuple[Phase, set[str]]:
    model = twins[torch.float32]
    for dtype, twin in twins.items():  # fills what transformers caches, so that every later pass does the same
        with torch.no_grad(), WithoutPadding():
            entry_point.call(twin, inputs(twin, entry_point, 2, dtype, "meta"))
    # Not batch 1: reshaping a single item sometimes needs no copy where every larger batch needs one.
    two, used, width, fused_two = _operations(model, entry_point, 2)
    four, _, _, fused_four = _operations(model, entry_point, 4)
    two, four, single = without_loops(two, four)
    if [row["name"] for row in two] != [row["name"] for row in four]:
        raise FitcardError(
            f"{entry_point.component}: the operations depend on the batch in a way that no trace can say"
        )
    grouped: Counter[Frozen] = Counter(operation(a, b) for a, b in zip(two, four, strict=True))
    rows = tuple(
        Operation.model_validate({**fields_of(key), "count": count}) for key, count in [*grouped.items(), *single]
    )
    peaks = {
        dtype: {batch: _peak(twin, entry_point, batch, dtype) for batch in BATCHES} for dtype, twin in twins.items()
    }
    return Phase(
        component=entry_point.component,
        image_size=entry_point.pixels and entry_point.pixels[0],
        image_width=_width(entry_point),
        image_tokens=entry_point.pixels and image_tokens(model.config, entry_point.pixels),
        text_tokens=entry_point.text_tokens,
        output_width=width,
        activations=tuple(
            Activations(batch=batch, bytes_32=peaks[torch.float32][batch], bytes_16=peaks[torch.bfloat16][batch])
            for batch in BATCHES
        ),
        operations=rows,
        fused=Fused(
            kernels=compact(linear("kernels", fused_two[0], fused_four[0])),
            elements=linear("fused", fused_two[1], fused_four[1]),
        ),
        strided_linears=_strided(model, entry_point),
    ), used


def _width(entry_point: EntryPoint) -> int | None:
    """The width of an image that is not square."""
    height, width = entry_point.pixels or (None, None)
    return None if width == height else width


def _operations(
    model: nn.Module, entry_point: EntryPoint, batch: int
) -> tuple[list[dict[str, Any]], set[str], int, tuple[int, int]]:
    weights = {p.untyped_storage()._cdata: layer_pattern(name)[0] for name, p in model.named_parameters()}
    recorder = Recorder(weights)
    batch_inputs = inputs(model, entry_point, batch, torch.float32, "meta")
    with torch.no_grad(), recorder, FusedAttention(recorder):
        out = entry_point.call(model, batch_inputs)
    return recorder.rows, recorder.used, out.shape[1 if out.dim() == 4 else -1], fuse(recorder.flows, out)


def _strided(model: nn.Module, entry_point: EntryPoint) -> tuple[StridedLinear, ...]:
    seen: list[list[tuple[int, int, int]]] = []
    for batch in (2, 4):
        mode = StridedLinears()
        with torch.inference_mode(), mode, FusedAttention():
            entry_point.call(model, inputs(model, entry_point, batch, torch.float32, "meta"))
        seen.append(mode.layers)
    grouped: Counter[tuple[int | tuple[int, int], int, int]] = Counter()
    for (two, rows, columns), (four, _, _) in zip(*seen, strict=True):
        grouped[compact(linear("a strided input", two, four)), rows, columns] += 1
    return tuple(
        StridedLinear(count=count, outer=outer, rows=rows, columns=columns)
        for (outer, rows, columns), count in grouped.items()
    )


def _peak(model: nn.Module, entry_point: EntryPoint, batch: int, dtype: torch.dtype) -> int:
    batch_inputs = inputs(model, entry_point, batch, dtype, "meta")
    live = LiveBytes([*model.parameters(), *model.buffers()], list(batch_inputs.values()))
    with torch.no_grad(), live, FusedAttention():
        entry_point.call(model, batch_inputs)
    return live.peak
