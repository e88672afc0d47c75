"""The parameters of a model as the trace lists them: shape, kind, role, and the component that reads them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from fitcard.catalog.schema.trace import LAYER, Kind, Reader, Tensor, layer_pattern, tensor_role


def traced_tensors(model: nn.Module, used: dict[str, set[str]]) -> Iterator[Tensor]:
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
    vision, text = (pattern in used.get(component, set()) for component in ("vision", "text"))
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
