"""What a model does in one forward pass on the meta device, seen from inside torch: every operation, every byte that
is alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fitcard.profiler.fusion import Flow

_VIEWS = {
    "view", "_unsafe_view", "transpose", "t", "permute", "expand", "unsqueeze", "squeeze", "select", "slice", "split",
    "split_with_sizes", "detach", "alias", "unbind", "as_strided", "reshape", "empty", "empty_like", "new_empty", "lift_fresh",
}  # fmt: skip
_NORMS = {"native_layer_norm", "native_group_norm", "_fused_rms_norm", "native_batch_norm"}
_COPIES = {"clone", "_to_copy", "copy_", "cat", "repeat", "contiguous", "stack", "index"}


# torch leaves its modes untyped, hence the ignored calls of their constructors.
class WithoutPadding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Answers what a model asks of inputs that have no values, as of texts without padding: whether any token is padding
    or otherwise special (no), whether a mask lets all tokens pass (yes). On the meta device torch itself can only raise.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in _READS_A_VALUE and hasattr(args[0], _ANSWER):
            return getattr(args[0], _ANSWER)
        out = func(*args, **(kwargs or {}))
        if (name := func.overloadpacket.__name__) in ("any", "all") and out.is_meta:
            setattr(out, _ANSWER, name == "all")
        return out


_READS_A_VALUE = ("item", "is_nonzero", "_local_scalar_dense")
_ANSWER = "answer_without_padding"
"""The attribute of a tensor on the meta device that holds its value."""


class LiveBytes(WithoutPadding):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that are alive, and remembers the peak.

    A storage is born with the first tensor on it and dies when Python drops the last, as memory does in a real run.
    """

    def __init__(self, weights: Sequence[torch.Tensor], batch_inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._alive: set[int] = {tensor.untyped_storage()._cdata for tensor in weights}
        for tensor in batch_inputs:
            self._born(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
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


class Recorder(WithoutPadding):  # type: ignore[no-untyped-call]
    """Writes down every operation that moves or computes data."""

    def __init__(self, weights: dict[int, str]) -> None:
        super().__init__()
        self.weights = weights
        self.rows: list[dict[str, Any]] = []
        self.used: set[str] = set()
        self.flows: list[Flow] = []
        self._storages: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no two ever share an address

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
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
        """Write one operation down: what it reads and writes, and its arithmetic `sums`."""
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
        self.flows.append(Flow(not moves, self._keyed(activations), self._keyed(written)))

    def _keyed(self, tensors: list[torch.Tensor]) -> dict[int, int]:
        """Elements by storage."""
        elements: dict[int, int] = {}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = storage
            elements[storage._cdata] = max(elements.get(storage._cdata, 0), tensor.numel())
        return elements


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


class StridedLinears(WithoutPadding):  # type: ignore[no-untyped-call]
    """Notes linear layers whose three-dimensional input is not contiguous. Seen in inference mode, where they arrive
    whole."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.linear.default and args[0].dim() == 3 and not args[0].is_contiguous():
            self.layers.append((args[0].shape[0], *args[1].shape))
        return super().__torch_dispatch__(func, types, args, kwargs)


class FusedAttention(TorchFunctionMode):
    """Replaces attention by its output alone, as the fused kernels of all back ends behave: they keep no score
    matrix."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value = (*args, *(kwargs[n] for n in ("query", "key", "value") if n in kwargs))[:3]
        # Fused kernels put out what went in: heads inside tokens where the query had them so.
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


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
