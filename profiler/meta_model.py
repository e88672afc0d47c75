"""A model without its weights, its entry points, and inputs for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import fitcard.profiler.backends  # noqa: F401 - it silences what torchao says when transformers imports it
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.trace import Component
from fitcard.profiler.out_of_memory import out_of_memory
from fitcard.profiler.safe_config import safe_config


@dataclass(frozen=True)
class EntryPoint:
    """One way of running a model: what goes in, and the call."""

    component: Component
    image_size: int | None
    text_tokens: int | None
    call: Callable[[nn.Module, dict[str, torch.Tensor]], torch.Tensor]


def build(config: dict[str, Any]) -> nn.Module:
    """The model of a Hugging Face configuration, in evaluation mode, with parameters on the meta device and buffers
    real.

    Raises FitcardError for a configuration that the installed transformers cannot build.
    """
    import transformers

    resolved = resolve(config)
    with explained(config["model_type"]), _parameters_on_meta():
        model: nn.Module = transformers.AutoModel.from_config(resolved)
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
        return transformers.AutoConfig.for_model(kind, **options)


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
        if param is not None:
            module._parameters[name] = nn.Parameter(param.to("meta"), requires_grad=False)

    # A method is replaced on purpose: it is the one place through which every parameter of every module passes.
    nn.Module.register_parameter = on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def entry_points(model: nn.Module) -> tuple[EntryPoint, ...]:
    """The ways to run a model: each component of a two-component model and both together, or the one encoder that
    there is."""
    config: Any = model.config
    if hasattr(model, "get_image_features") and hasattr(model, "get_text_features"):
        image, text = _image_size(config.vision_config), config.text_config.max_position_embeddings
        return (
            EntryPoint("vision", image, None, lambda m, x: _embedding(m.get_image_features(**x))),  # type: ignore[operator]
            EntryPoint("text", None, text, lambda m, x: _embedding(m.get_text_features(**x))),  # type: ignore[operator]
            EntryPoint("all", image, text, lambda m, x: m(**x).image_embeds),
        )
    if image_size := _image_size(config):
        return (EntryPoint("vision", image_size, None, lambda m, x: _embedding(m(**x))),)
    if hasattr(config, "vocab_size") and hasattr(config, "max_position_embeddings"):
        return (EntryPoint("text", None, _longest_text(model), lambda m, x: _embedding(m(**x))),)
    raise FitcardError(f"{type(model).__name__} is neither a two-tower model nor a vision or text encoder")


def vision_config(config: Any) -> Any:
    """The part of a configuration that is about images, which for a vision encoder is all of it."""
    return getattr(config, "vision_config", config)


def _image_size(config: Any) -> int | None:
    """Pixels along each side of the image that a vision encoder takes; None for what is none. A model that takes
    images of any
    shape up to so many patches (NaFlex) is run on the square that fills them."""
    if patches := getattr(config, "num_patches", None):
        return int(config.patch_size) * math.isqrt(patches)
    size: int | None = getattr(config, "image_size", None)
    return size


def _longest_text(model: nn.Module) -> int:
    """Tokens of the longest text. Tables of positions with a padding row begin to count after it, as RoBERTa's do."""
    config: Any = model.config
    embeddings = getattr(model, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return int(config.max_position_embeddings) - (0 if padding is None else int(padding) + 1)


def _embedding(output: Any) -> torch.Tensor:
    """The embedding in whatever the model returns: a tensor, or an output with a pooled or a last hidden state."""
    if isinstance(output, torch.Tensor):
        return output
    pooled: torch.Tensor | None = getattr(output, "pooler_output", None)
    last: torch.Tensor = output.last_hidden_state
    return last if pooled is None else pooled


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
        vocabulary = getattr(config, "text_config", config).vocab_size
        shape: tuple[int, ...] = (batch, entry_point.text_tokens)
        if device == "meta":
            tensors["input_ids"] = torch.empty(shape, dtype=torch.int64, device="meta")
        else:
            tensors["input_ids"] = torch.randint(0, vocabulary, shape, generator=shared).to(device)
    if entry_point.image_size is not None:
        vision = vision_config(config)
        channels = getattr(vision, "num_channels", 3)
        shape = (batch, channels, entry_point.image_size, entry_point.image_size)
        if patches := getattr(vision, "num_patches", None):
            # Images cut into patches, and how many those are along each side, which is read and so is real everywhere. No mask:
            # where no patch is padding, the model drops the one that its processor makes.
            side = entry_point.image_size // vision.patch_size
            shape = (batch, patches, channels * vision.patch_size**2)
            tensors["spatial_shapes"] = torch.tensor(
                [[side, side]] * batch, device="cpu" if device == "meta" else device
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
