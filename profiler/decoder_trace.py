"""Trace a language model: run it without weights on the meta device, over a prompt and then one token at a time.

Four lengths of each are run. A size that is a polynomial of at most the second degree in the length is written down as
one, and the fourth length checks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fitcard.catalog.schema.language import Language, TokenActivations, TokenOperation, TokenPhase, TokenPhaseName
from fitcard.catalog.schema.model import config_sha256
from fitcard.catalog.schema.trace import Trace, layer_pattern
from fitcard.profiler.cache_plan import cache_plan
from fitcard.profiler.decoder_model import build, hub_tensors
from fitcard.profiler.decoder_tensors import language_tensors, vision_tensors
from fitcard.profiler.llama_cpp.ask import asked
from fitcard.profiler.recorder import FusedAttention, LiveBytes, Recorder

STEP = 16
"""How far apart the lengths are that sizes are worked out from."""
PEAKS = {"prefill": (512, 2048, 8192), "decode": (4096,)}
"""Lengths at which activations are traced, of models that keep something of each token."""


class NotTraceable(Exception):
    """What a model does depends on the length in a way that no trace can say."""


Rows = list[dict[str, Any]]
Growth = tuple[int, ...]


def trace_decoder(config: Mapping[str, Any], progress: Callable[[str], None] = lambda _: None) -> Trace:
    """The trace of the language model of a Hugging Face configuration.

    Of a vision-language model it holds the image encoder's tensors too, and the passes over text.
    Raises FitcardError for a configuration that the installed transformers cannot build, or that llama.cpp does not run.
    """
    import transformers

    model = build(config)
    resolved: Any = model.config
    text, tensors = resolved.get_text_config(), list(hub_tensors(model))
    language = language_tensors(resolved, tensors)
    progress("asking llama.cpp")
    llama_cpp = asked(resolved, language)
    phases: list[TokenPhase] = []
    for name in ("prefill", "decode"):
        progress(f"tracing {name}")
        try:
            phases.append(_phase(model, name))
        except NotTraceable as error:
            progress(f"{name} is left out: {error}")
    return Trace(
        config_sha256=config_sha256(dict(config)),
        made_with={"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        tensors=(*language, *vision_tensors(tensors)),
        phases=(),
        language=Language(
            layers=text.num_hidden_layers,
            longest_context=getattr(text, "max_position_embeddings", None),
            cache=cache_plan(resolved),
            phases=tuple(phases),
            llama_cpp=llama_cpp,
        ),
    )


def _phase(model: nn.Module, name: TokenPhaseName) -> TokenPhase:
    plan = cache_plan(model.config)
    least = max((layers.window or 0 for layers in plan), default=0) + STEP
    peaks = (least,) if all(layers.kind == "state" for layers in plan) else PEAKS[name]
    lengths = [least + STEP * index for index in range(4)]
    runs = [_operations(model, name, length) for length in lengths]
    if len({tuple(row["name"] for row in rows) for rows in runs}) > 1:
        raise NotTraceable("which operations run depends on the number of tokens")
    grouped: Counter[tuple[Any, ...]] = Counter(_operation(rows, lengths) for rows in zip(*runs, strict=True))
    return TokenPhase(
        name=name,
        least_tokens=least,
        operations=tuple(_record(key, count) for key, count in grouped.items()),
        activations=tuple(TokenActivations(tokens=length, bytes_16=_peak(model, name, length)) for length in peaks),
    )


class _TokenRecorder(Recorder):  # type: ignore[no-untyped-call]
    """Knows the product of tokens with the experts chosen for them, which encoders do not have."""

    def note(
        self,
        name: str,
        read: list[torch.Tensor],
        written: list[torch.Tensor],
        weight: str | None,
        sums: dict[str, Any],
    ) -> None:
        if name == "_grouped_mm":
            (m, k), (groups, _, n) = read[0].shape, read[1].shape
            shape = {"m": m, "n": n, "k": k, "groups": 1, "experts": groups}
            sums = {"kind": "matmul", "shape": shape, "flops": 2 * m * n * k}
        super().note(name, read, written, weight, sums)


def _operations(model: nn.Module, name: TokenPhaseName, length: int) -> Rows:
    weights = {p.untyped_storage()._cdata: layer_pattern(key)[0] for key, p in model.named_parameters()}
    recorder = _TokenRecorder(weights)
    cache = _cache(model, length - 1) if name == "decode" else None
    with torch.no_grad(), recorder, FusedAttention(recorder):
        _run(model, length if name == "prefill" else 1, cache)
    return recorder.rows


def _peak(model: nn.Module, name: TokenPhaseName, length: int) -> int:
    cache = _cache(model, length - 1) if name == "decode" else None
    live = LiveBytes([*model.parameters(), *model.buffers()], [])
    with torch.no_grad(), live, FusedAttention():
        _run(model, length if name == "prefill" else 1, cache)
    return live.peak


def _cache(model: nn.Module, tokens: int) -> Any:
    """What is in the cache after a prompt of so many tokens."""
    with torch.no_grad(), FusedAttention():
        output = _run(model, tokens, None)
    return output.cache_params if "cache_params" in output else output.past_key_values


def _run(model: nn.Module, tokens: int, cache: Any) -> Any:
    """A pass as text is generated with: of the logits only those of the last token."""
    ids = torch.empty((1, tokens), dtype=torch.long, device="meta")
    cache_argument = {"cache_params" if "mamba" in model.config.model_type else "past_key_values": cache}  # type: ignore[operator, union-attr]
    return model(input_ids=ids, use_cache=True, logits_to_keep=1, **cache_argument)


def _operation(rows: Sequence[dict[str, Any]], lengths: Sequence[int]) -> tuple[Any, ...]:
    """One operation of all runs, its sizes as polynomials of the length; hashable."""
    first = rows[0]
    shape = tuple((key, _growth([row["shape"][key] for row in rows], lengths)) for key in first["shape"])
    sizes = tuple((key, _growth([row[key] for row in rows], lengths)) for key in ("flops", "read", "written"))
    return first["kind"], first["name"], first["weight"], shape, sizes


def _record(key: tuple[Any, ...], count: int) -> TokenOperation:
    kind, name, weight, shape, sizes = key
    return TokenOperation(kind=kind, count=count, name=name, weight=weight, shape=dict(shape), **dict(sizes))


def _growth(sizes: Sequence[int], lengths: Sequence[int]) -> Growth:
    """The polynomial through a size at three lengths, which the fourth checks. Raises NotTraceable for another
    curve."""
    a, b, c, _ = sizes
    square, rest = divmod(a - 2 * b + c, 2 * STEP**2)
    per_token, rest_too = divmod(b - a - square * (lengths[1] ** 2 - lengths[0] ** 2), STEP)
    factors = [a - per_token * lengths[0] - square * lengths[0] ** 2, per_token, square]
    if rest or rest_too or sum(f * lengths[3] ** power for power, f in enumerate(factors)) != sizes[3]:
        raise NotTraceable(f"a size of {list(sizes)} at {list(lengths)} tokens")
    while len(factors) > 1 and not factors[-1]:
        factors.pop()
    return tuple(factors)
