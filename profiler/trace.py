"""`fitcard trace`: run a model without weights on the meta device and write down what it does.

Nothing is computed there, so any model can be traced on any machine in seconds. Three things come out: every
parameter tensor, every operation with its sizes, and the most bytes of activations that live at one time.
"""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fitcard.catalog.schema.model import config_sha256
from fitcard.catalog.schema.trace import (
    LAYER,
    Activations,
    Fused,
    Kind,
    Operation,
    Phase,
    Reader,
    StridedLinear,
    Tensor,
    Trace,
    layer_pattern,
    tensor_role,
)
from fitcard.profiler.meta_model import Path, build, inputs, paths

BATCHES = (1, 2, 4, 16, 64)
"""Where activation peaks are traced; between and beyond them they are interpolated."""

_VIEWS = {
    "view", "_unsafe_view", "transpose", "t", "permute", "expand", "unsqueeze", "squeeze", "select", "slice", "split",
    "split_with_sizes", "detach", "alias", "unbind", "as_strided", "reshape", "empty", "empty_like", "new_empty", "lift_fresh",
}  # fmt: skip
_NORMS = {"native_layer_norm", "native_group_norm", "_fused_rms_norm", "native_batch_norm"}
_COPIES = {"clone", "_to_copy", "copy_", "cat", "repeat", "contiguous", "stack", "index"}


# torch leaves its modes untyped, hence the ignored calls of their constructors below.
class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that are alive, and remembers the peak.

    A storage is born with the first tensor on it and dies when Python drops the last, as memory does in a real run.
    """

    def __init__(self, known: Sequence[torch.Tensor], given: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._alive: set[int] = {tensor.untyped_storage()._cdata for tensor in known}
        for tensor in given:
            self._born(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            self._born(tensor)
        return out

    def _born(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive.add(key)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._died, key, size)

    def _died(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.live -= size


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation that moves or computes data."""

    def __init__(self, weights: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = weights
        self.rows: list[dict[str, Any]] = []
        self.used: set[str] = set()
        self.flows: list[_Flow] = []
        self._storages: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no two ever share an address

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        read = list(_tensors((args, kwargs)))
        weights = [(tensor.numel(), self.weights.get(tensor.untyped_storage()._cdata)) for tensor in read]
        named = sorted((size, weight) for size, weight in weights if weight)
        self.used.update(weight for _, weight in named)
        if name not in _VIEWS:
            written = list(_tensors(out))
            weight = named[-1][1] if named else None  # the weight, not its bias
            self.note(name, read, written, weight, _arithmetic(name, read, written))
        return out

    def note(
        self,
        name: str,
        read: list[torch.Tensor],
        written: list[torch.Tensor],
        weight: str | None,
        sums: dict[str, Any],
    ) -> None:
        activations = [t for t in read if t.untyped_storage()._cdata not in self.weights]
        sizes = {"read": sum(t.numel() for t in activations), "written": sum(t.numel() for t in written)}
        moves = sums["kind"] in ("norm", "elementwise", "copy")
        self.rows.append(
            {
                "name": name,
                "weight": weight,
                "transposed": moves and any(map(_transposed, activations)),
                **sizes,
                **sums,
            }
        )
        self.flows.append(_Flow(not moves, self._keyed(activations), self._keyed(written)))

    def _keyed(self, tensors: list[torch.Tensor]) -> dict[int, int]:
        """Elements by storage."""
        found: dict[int, int] = {}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = storage
            found[storage._cdata] = max(found.get(storage._cdata, 0), tensor.numel())
        return found


@dataclass(frozen=True)
class _Flow:
    """What one operation reads and writes, in elements by storage."""

    anchor: bool
    """Whether it is a kernel of its own: a matrix product, attention or a look-up, not arithmetic element by element."""
    read: dict[int, int]
    written: dict[int, int]


def _fused(flows: Sequence[_Flow], result: torch.Tensor) -> tuple[int, int]:
    """Kernels, and elements that they read and write, when every unbroken run of element-wise operations becomes one kernel.

    That is what compilers such as torch's inductor do between matrix products: values that only the run itself reads stay
    in registers.
    """
    kernels = elements = start = 0
    while start < len(flows):
        end = start
        while end < len(flows) and not flows[end].anchor:
            end += 1
        if end > start:
            later = {key for flow in flows[end:] for key in flow.read} | {result.untyped_storage()._cdata}
            reads: dict[int, int] = {}
            writes: dict[int, int] = {}
            for flow in flows[start:end]:
                for key, size in flow.read.items():
                    if key not in writes:
                        reads[key] = max(reads.get(key, 0), size)
                writes |= flow.written
            kernels += 1
            elements += sum(reads.values()) + sum(size for key, size in writes.items() if key in later)
        start = end + 1
    return kernels, elements


def _transposed(tensor: torch.Tensor) -> bool:
    """Whether its numbers fill a storage in another order than they are read in."""
    if tensor.is_contiguous():
        return False
    by_stride = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return tensor.permute(by_stride).is_contiguous()


def _arithmetic(name: str, read: list[torch.Tensor], written: list[torch.Tensor]) -> dict[str, Any]:
    """Kind, sizes and floating-point operations of one operator, a multiply-add counted as 2."""
    out = written[0].numel() if written else 0
    if name in ("addmm", "mm"):
        a, b = read[-2:]
        m, k, n = a.shape[0], a.shape[1], b.shape[1]
        return {"kind": "matmul", "shape": {"m": m, "n": n, "k": k, "groups": 1}, "flops": 2 * m * n * k}
    if name in ("bmm", "baddbmm"):
        a, b = read[-2:]
        g, m, k, n = a.shape[0], a.shape[1], a.shape[2], b.shape[2]
        return {"kind": "matmul", "shape": {"m": m, "n": n, "k": k, "groups": g}, "flops": 2 * g * m * n * k}
    if name == "convolution":
        kernel = read[1]
        per_output = kernel.numel() // kernel.shape[0]
        return {
            "kind": "convolution",
            "shape": {"elements": out, "per_output": per_output},
            "flops": 2 * out * per_output,
        }
    if name in _NORMS:
        return {"kind": "norm", "shape": {"elements": out}, "flops": 8 * out}
    if name == "embedding":
        return {"kind": "embedding", "shape": {"elements": out}, "flops": 0}
    if name in _COPIES:
        return {"kind": "copy", "shape": {"elements": out}, "flops": 0}
    return {"kind": "elementwise", "shape": {"elements": out}, "flops": out}


class _Strided(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes linear layers whose three-dimensional input is not contiguous. Seen in inference mode, where they arrive whole."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.linear.default and args[0].dim() == 3 and not args[0].is_contiguous():
            self.found.append((args[0].shape[0], *args[1].shape))
        return func(*args, **(kwargs or {}))


class _Attention(TorchFunctionMode):
    """Replaces attention by its output alone, as the fused kernels of all back ends behave: they keep no score matrix."""

    def __init__(self, recorder: _Recorder | None = None) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value = (*args, *(kwargs[n] for n in ("query", "key", "value") if n in kwargs))[:3]
        # Fused kernels put out what they were given: heads inside tokens where the query had them so.
        same = value.shape[-1] == query.shape[-1]
        out = torch.empty_like(query) if same else query.new_empty((*query.shape[:-1], value.shape[-1]))
        if self.recorder:
            batch, heads, queries, width = query.shape
            keys = key.shape[-2]
            flops = 2 * batch * heads * queries * keys * (width + value.shape[-1])
            shape = {"batch": batch, "heads": heads, "queries": queries, "keys": keys, "head_dim": width}
            sums = {"kind": "attention", "shape": shape, "flops": flops}
            self.recorder.note("attention", [query, key, value], [out], None, sums)
        return out


def trace(config: dict[str, Any], progress: Callable[[str], None] = lambda _: None) -> Trace:
    """Trace the model of a Hugging Face configuration in every way that it can be run.

    Raises FitcardError when transformers cannot build or run its configuration.
    """
    import transformers

    skeleton = build(config)
    ways = paths(skeleton)
    phases: list[Phase] = []
    used: dict[str, set[str]] = {}
    twins = {dtype: copy.deepcopy(skeleton).to(device="meta", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    for way in ways:
        progress(f"tracing {way.component}")
        phase, used[way.component] = _phase(twins, way)
        phases.append(phase)
    return Trace(
        config_sha256=config_sha256(config),
        made_with={"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        tensors=tuple(_parameters(skeleton, used)),
        phases=tuple(phases),
    )


def _phase(twins: dict[torch.dtype, nn.Module], way: Path) -> tuple[Phase, set[str]]:
    model = twins[torch.float32]
    # Not batch 1: reshaping a single item sometimes needs no copy where every larger batch needs one.
    two, used, width, fused_two = _operations(model, way, 2)
    four, _, _, fused_four = _operations(model, way, 4)
    two, four, single = _one_by_one(two, four)
    if [row["name"] for row in two] != [row["name"] for row in four]:
        raise AssertionError(f"{way.component}: the operations depend on the batch in a way that no trace can say")
    grouped: Counter[_Frozen] = Counter(_operation(a, b) for a, b in zip(two, four, strict=True))
    rows = tuple(
        Operation.model_validate({**_thawed(key), "count": count}) for key, count in [*grouped.items(), *single]
    )
    peaks = {dtype: {batch: _peak(twin, way, batch, dtype) for batch in BATCHES} for dtype, twin in twins.items()}
    return Phase(
        component=way.component,
        image_size=way.image_size,
        image_tokens=_image_tokens(model, way),
        text_tokens=way.text_tokens,
        output_width=width,
        activations=tuple(
            Activations(batch=batch, bytes_32=peaks[torch.float32][batch], bytes_16=peaks[torch.bfloat16][batch])
            for batch in BATCHES
        ),
        operations=rows,
        fused=Fused(
            kernels=_compact(_linear("kernels", fused_two[0], fused_four[0])),
            elements=_linear("fused", fused_two[1], fused_four[1]),
        ),
        strided_linears=_strided(model, way),
    ), used


def _operations(model: nn.Module, way: Path, batch: int) -> tuple[list[dict[str, Any]], set[str], int, tuple[int, int]]:
    weights = {p.untyped_storage()._cdata: layer_pattern(name)[0] for name, p in model.named_parameters()}
    recorder = _Recorder(weights)
    given = inputs(model, way, batch, torch.float32, "meta")
    with torch.no_grad(), recorder, _Attention(recorder):
        out = way.call(model, given)
    return recorder.rows, recorder.used, out.shape[-1], _fused(recorder.flows, out)


def _strided(model: nn.Module, way: Path) -> tuple[StridedLinear, ...]:
    seen: list[list[tuple[int, int, int]]] = []
    for batch in (2, 4):
        mode = _Strided()
        with torch.inference_mode(), mode, _Attention():
            way.call(model, inputs(model, way, batch, torch.float32, "meta"))
        seen.append(mode.found)
    grouped: Counter[tuple[int | tuple[int, int], int, int]] = Counter()
    for (two, rows, columns), (four, _, _) in zip(*seen, strict=True):
        grouped[_compact(_linear("a strided input", two, four)), rows, columns] += 1
    return tuple(
        StridedLinear(count=count, outer=outer, rows=rows, columns=columns)
        for (outer, rows, columns), count in grouped.items()
    )


def _peak(model: nn.Module, way: Path, batch: int, dtype: torch.dtype) -> int:
    given = inputs(model, way, batch, dtype, "meta")
    live = _Live([*model.parameters(), *model.buffers()], list(given.values()))
    with torch.no_grad(), live, _Attention():
        way.call(model, given)
    return live.peak


def _image_tokens(model: nn.Module, way: Path) -> int | None:
    if way.image_size is None:
        return None
    config: Any = model.config
    patch = getattr(config, "vision_config", config).patch_size
    return int((way.image_size // patch) ** 2)


_Frozen = tuple[tuple[str, Any], ...]


def _operation(two: dict[str, Any], four: dict[str, Any]) -> _Frozen:
    """One operation with sizes as `[constant, per_item]`, from the same operation at batches 2 and 4; hashable."""

    shape = []
    for key, size in two["shape"].items():
        shape.append((key, _compact(_linear(two["name"], size, four["shape"][key]))))
    sizes = [(key, _linear(two["name"], two[key], four[key])) for key in ("flops", "read", "written")]
    words = [(key, two[key]) for key in ("kind", "name", "weight", "transposed")]
    return (*words, ("shape", tuple(shape)), *sizes)


Rows = list[dict[str, Any]]


def _one_by_one(two: Rows, four: Rows) -> tuple[Rows, Rows, list[tuple[_Frozen, tuple[int, int] | int]]]:
    """The operations at batches 2 and 4 without those that are run for each item by itself; and these, with their counts."""
    if len(two) == len(four):
        return two, four, []
    keyed_two, keyed_four = [_operation(row, row) for row in two], [_operation(row, row) for row in four]
    in_two, in_four = Counter(keyed_two), Counter(keyed_four)
    single = [
        (key, _compact(_linear("a loop", count, in_four[key]))) for key, count in in_two.items() if in_four[key] > count
    ]
    loop = {key for key, _ in single}
    return (
        [row for row, key in zip(two, keyed_two, strict=True) if key not in loop],
        [row for row, key in zip(four, keyed_four, strict=True) if key not in loop],
        single,
    )


def _compact(size: tuple[int, int]) -> tuple[int, int] | int:
    """A size without its share per item where that is nothing."""
    return size if size[1] else size[0]


def _linear(name: str, two: int, four: int) -> tuple[int, int]:
    """`[constant, per_item]` of a size, from its values at batches 2 and 4."""
    per_item, rest = divmod(four - two, 2)
    if rest:
        raise AssertionError(f"{name}: {two} at batch 2 and {four} at batch 4 is not linear")
    return (two - 2 * per_item, per_item)


def _thawed(frozen: _Frozen) -> dict[str, Any]:
    fields = dict(frozen)
    return {**fields, "shape": dict(fields["shape"])}


def _parameters(model: nn.Module, used: dict[str, set[str]]) -> Iterator[Tensor]:
    """The model's parameters, those of a numbered stack as one entry, in the model's order."""
    kinds = _kinds(model)
    groups: dict[tuple[str, tuple[int, ...]], list[int | None]] = {}
    first: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        pattern, layer = layer_pattern(name)
        groups.setdefault((pattern, tuple(parameter.shape)), []).append(layer)
        first.setdefault(pattern, name)
    for (pattern, shape), layers in groups.items():
        whole = layers == list(range(len(layers)))  # a stack in which every layer has one; else each stands for itself
        for name in [pattern] if whole else [pattern.replace(LAYER, str(layer)) for layer in layers]:
            yield Tensor(
                name=name,
                shape=shape,
                layers=len(layers) if whole else None,
                component=_component(pattern, used),
                kind=kinds.get(first[pattern], "other"),
                role=tensor_role(pattern),
            )


def _component(pattern: str, used: dict[str, set[str]]) -> Reader:
    vision, text = (pattern in used.get(tower, set()) for tower in ("vision", "text"))
    if vision or text:
        return "shared" if vision and text else "vision" if vision else "text"
    return "joint" if pattern in used.get("all", set()) else "unused"


def _kinds(model: nn.Module) -> dict[str, Kind]:
    """The kind of each weight. Only a module that is exactly a linear or embedding layer counts as one: what
    `nn.MultiheadAttention` holds is read by one fused function, which knows nothing of quantized weights."""
    kinds: dict[str, Kind] = {}
    exact: dict[type, Kind] = {nn.Linear: "linear", nn.Embedding: "embedding", nn.Conv2d: "convolution"}
    for prefix, module in model.named_modules():
        if kind := exact.get(type(module)):
            kinds[f"{prefix}.weight"] = kind
    return kinds


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
