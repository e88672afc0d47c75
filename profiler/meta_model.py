"""A model without its weights, its entry points, and inputs for it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

import fitcard.profiler.backends  # noqa: F401 - it silences what torchao says when transformers imports it
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.trace import Component
from fitcard.profiler.architecture import Architecture, check_plain
from fitcard.profiler.input_sizes import (
    USUAL_PIXELS,
    USUAL_TOKENS,
    Pixels,
    longest_text,
    naflex_patches,
    own_image_size,
    pair,
    text_length,
    vision_config,
)
from fitcard.profiler.out_of_memory import out_of_memory
from fitcard.profiler.safe_config import safe_config


@dataclass(frozen=True)
class EntryPoint:
    """One way of running a model: what goes in, and the call."""

    component: Component
    pixels: Pixels | None
    """Height and width of an image; None where none goes in."""
    text_tokens: int | None
    call: Callable[[nn.Module, dict[str, torch.Tensor]], torch.Tensor]


def build(config: dict[str, Any]) -> nn.Module:
    """The model of a Hugging Face configuration, in evaluation mode, with parameters on the meta device and buffers
    real.

    Raises FitcardError for a configuration that the installed transformers cannot build.
    """
    return build_as(config, architecture(config))


def architecture(config: dict[str, Any]) -> Architecture:
    """The class that a configuration means. Raises FitcardError for one that fitcard does not answer for."""
    check_plain(config)
    return Architecture(config, resolve(config))


def build_as(config: dict[str, Any], chosen: Architecture) -> nn.Module:
    """The same of a class that was chosen."""
    with explained(config["model_type"]), _parameters_on_meta():
        model: nn.Module = cast(Any, chosen.model)._from_config(chosen.config)
    return model.eval().requires_grad_(False)


def resolve(config: dict[str, Any]) -> Any:
    """The configuration object of transformers for a Hugging Face configuration, with every default filled in.

    Raises FitcardError for one that the installed transformers does not take.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    options = copy.deepcopy(safe_config(config).values)  # some classes change what they are given
    kind = options.pop("model_type")
    with explained(kind):
        _simplify(options, kind)
        return transformers.AutoConfig.for_model(kind, **options)


_SIZES = ("image_size", "patch_size")


def _simplify(options: dict[str, Any], kind: str) -> None:
    """Write sizes as the class does: a square as one number, height and width as a list, where its default is a number."""
    import transformers

    parts = [part for part in (options, options.get("vision_config")) if isinstance(part, dict)]
    if all(isinstance(part.get(key), int | None) for part in parts for key in _SIZES):
        return
    own = transformers.CONFIG_MAPPING[kind]()
    for part, default in zip(parts, (own, vision_config(own)), strict=False):
        for key in _SIZES:
            size = pair(part.get(key))
            if size and not isinstance(part[key], int) and isinstance(getattr(default, key, None), int):
                part[key] = size[0] if size[0] == size[1] else list(size)


@contextmanager
def explained(kind: str, what: str = "build") -> Generator[None]:
    """Any error of transformers or torch, said as what it is to the user: a configuration that they cannot build or
    run."""
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except FitcardError:
        raise
    except Exception as error:
        if (reason := out_of_memory(error)) is None:
            cause = error.__cause__ if isinstance(error, StrictDataclassError) and error.__cause__ else error
            reason = (str(cause).strip().splitlines() or [""])[0] or type(cause).__name__
            if "requires the timm library" in reason:
                reason = "it is a model of timm, which is not installed: pip install timm"
            if isinstance(error, TypeError) and "'list' and 'int'" in reason:
                reason = "a size is a list, and this model takes one number (square images)"
            reason = reason.partition(" You can install it")[0]  # what follows stands on further lines
            if "meta tensors" in reason:
                reason = "what it does depends on the values of its inputs, and a trace has only their sizes"
            if isinstance(error, KeyError | AssertionError | IndexError | ZeroDivisionError | RecursionError):
                reason = f"{type(error).__name__}: {reason}"
        raise FitcardError(
            f"transformers {transformers.__version__} cannot {what} model_type {kind!r}: {reason}"
        ) from None


@contextmanager
def _parameters_on_meta() -> Generator[None]:
    """Let modules register parameters without memory. Buffers stay real: they hold tables that a run needs."""
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(module, name, param)
        if (
            param is not None and not param.is_meta
        ):  # one that is there already is tied to another module's, and stays it
            module._parameters[name] = nn.Parameter(param.to("meta"), requires_grad=False)

    # A method is replaced on purpose: it is the one place through which every parameter of every module passes.
    nn.Module.register_parameter = on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def entry_points(model: nn.Module, image: Pixels | None = None, tokens: int | None = None) -> tuple[EntryPoint, ...]:
    """The ways to run a model: each component of a two-component model and both together, or the one encoder that
    there is. Images and texts have the size that is asked for, or the one that the model is made for.

    Raises FitcardError for what is neither, and for a size that the model does not take.
    """
    config: Any = model.config
    resized = _resized(model, image)
    if hasattr(model, "get_image_features") and hasattr(model, "get_text_features"):
        size, text = _pixels(vision_config(config), image), text_length(model, _text_config(config), tokens)
        return (
            EntryPoint("vision", size, None, lambda m, x: _embedding(m.get_image_features(**x, **resized))),  # type: ignore[operator]
            EntryPoint("text", None, text, lambda m, x: _embedding(m.get_text_features(**x))),  # type: ignore[operator]
            EntryPoint("all", size, text, lambda m, x: m(**x, **resized).image_embeds),
        )
    if hasattr(config, "num_frames") and str(model.main_input_name).startswith("pixel_values"):
        raise FitcardError(
            f"{type(model).__name__} takes videos: fitcard answers for encoders of images and texts so far"
        )
    if model.main_input_name == "pixel_values":
        return (
            EntryPoint(
                "vision", _pixels(vision_config(config), image), None, lambda m, x: _embedding(m(**x, **resized))
            ),
        )
    if model.main_input_name == "input_ids" and hasattr(config, "vocab_size"):
        return (EntryPoint("text", None, text_length(model, config, tokens), lambda m, x: _embedding(m(**x))),)
    raise FitcardError(f"{type(model).__name__} takes neither images alone nor texts alone nor both as two components")


def _resized(model: nn.Module, image: Pixels | None) -> dict[str, bool]:
    """What tells a model to stretch its table of positions over an image of another size than its own, where it waits
    to be told."""
    own = own_image_size(vision_config(model.config))
    if image is None or image == own:
        return {}
    forwards = (inspect.unwrap(type(module).forward) for module in model.modules())
    asks = any(_STRETCH in getattr(getattr(forward, "__code__", None), "co_varnames", ()) for forward in forwards)
    return {_STRETCH: True} if asks else {}


_STRETCH = "interpolate_pos_encoding"


def size_notes(config: Any, points: tuple[EntryPoint, ...], pixels: int | None, tokens: int | None) -> Iterator[str]:
    """What a reader of a trace must be told of the sizes that it was made at."""
    if any(point.pixels for point in points):
        vision = vision_config(config)
        if pixels is None and own_image_size(vision) is None:
            yield f"the configuration names no image size: {USUAL_PIXELS} pixels are assumed (--image-size takes others)"
        if config.model_type == "vit_mae":
            share = {0.75: "a quarter"}.get(config.mask_ratio, f"{1 - config.mask_ratio:.0%}")
            yield f"only {share} of the patches is traced: ViTMAEModel drops the others at random whenever it runs"
    if (
        tokens is None
        and any(point.text_tokens for point in points)
        and longest_text(None, _text_config(config)) is None
    ):
        yield f"the configuration names no longest text: {USUAL_TOKENS} tokens are assumed (--tokens takes others)"


def _pixels(config: Any, asked: Pixels | None) -> Pixels:
    return asked or own_image_size(config) or (USUAL_PIXELS, USUAL_PIXELS)


def _text_config(config: Any) -> Any:
    return getattr(config, "text_config", config)


def _embedding(output: Any) -> torch.Tensor:
    """The embedding in whatever the model returns: a tensor, or an output with a projected, a pooled or a last hidden
    state."""
    if isinstance(output, torch.Tensor):
        return output
    names = ("image_embeds", "text_embeds", "pooler_output", "last_hidden_state")
    values = [getattr(output, name, None) for name in names]
    tensors = [value for value in (*values, *output.values()) if isinstance(value, torch.Tensor)]
    if not tensors:
        raise FitcardError(f"{type(output).__name__} holds no embedding")
    return tensors[0]


def inputs(
    model: nn.Module, entry_point: EntryPoint, batch: int, dtype: torch.dtype, device: str, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Seeded inputs of the sizes that `entry_point` takes: pixels as a processor would normalise them, and token ids.

    On the meta device they have no values, but for those that say how large an image is.
    """
    config: Any = model.config
    shared = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    if entry_point.text_tokens is not None:
        shape: tuple[int, ...] = (batch, entry_point.text_tokens)
        if device == "meta":
            tensors["input_ids"] = torch.empty(shape, dtype=torch.int64, device="meta")
        else:
            ids = torch.randint(0, _text_config(config).vocab_size, shape, generator=shared)
            tensors["input_ids"] = ids.to(device)
    if entry_point.pixels is not None:
        vision = vision_config(config)
        channels = getattr(vision, "num_channels", 3)
        shape = (batch, channels, *entry_point.pixels)
        if naflex_patches(vision):
            # Images cut into patches, and how many those are along each side, which is read and so is real everywhere. No mask:
            # where no patch is padding, the model drops the one that its processor makes.
            rows, columns = (side // vision.patch_size for side in entry_point.pixels)
            shape = (batch, rows * columns, channels * vision.patch_size**2)
            tensors["spatial_shapes"] = torch.tensor(
                [[rows, columns]] * batch, device="cpu" if device == "meta" else device
            )
        pixels = torch.empty(shape, device="meta") if device == "meta" else torch.rand(shape, generator=shared) * 2 - 1
        tensors["pixel_values"] = pixels.to(device=device, dtype=dtype)
    return tensors


def drop_unused_modules(model: nn.Module, names: set[str]) -> None:
    """Drop every module that holds none of the parameters `names`, so that one component can run without the other."""
    for name, child in list(model.named_children()):
        held = {f"{name}.{parameter}" for parameter, _ in child.named_parameters()}
        if held and not held & names:
            delattr(model, name)
    for name in list(model._parameters):
        if name not in names:
            model._parameters[name] = None
