"""Where the numbers in the tensors come from: a seed, or a checkpoint on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.quantization import StoredTensor

Values = Callable[[StoredTensor], torch.Tensor]
"""Gives the float32 values of a tensor."""

SEED = 0


def random_values(seed: int = SEED) -> Values:
    """Normally distributed weights of the exact shapes; the same for a name and a seed on every machine.

    The width follows the row (1/sqrt), so that activations neither vanish nor overflow. Norm weights are 1, biases small.
    """

    def values(tensor: StoredTensor) -> torch.Tensor:
        digest = hashlib.sha256(f"{seed}:{tensor.name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        if len(tensor.shape) < 2:
            base = 1.0 if "norm" in tensor.name and tensor.name.endswith("weight") else 0.0
            return torch.randn(tensor.shape, generator=generator).mul_(0.02).add_(base)
        return torch.randn(tensor.shape, generator=generator).mul_(tensor.shape[-1] ** -0.5)

    return values


def checkpoint_values(folder: Path, wanted: Iterable[StoredTensor]) -> Values:
    """The tensors of a local checkpoint in safetensors, checked for names and shapes before anything is read.

    Raises FitcardError for a missing file, tensor or another shape. Pickled checkpoints are never opened.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        other = sorted(p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth"})
        hint = f" ({', '.join(other)} may run code when opened, so it is not read)" if other else ""
        raise FitcardError(f"{folder} holds no .safetensors file{hint}")
    where: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict: it has keys(), and no iteration
                    where[name] = file
                    shapes[name] = tuple(opened.get_slice(name).get_shape())
        except SafetensorError as error:
            raise FitcardError(f"{file} is no whole safetensors file: {error}") from None
    for tensor in wanted:
        if tensor.name not in where:
            raise FitcardError(f"{folder} has no tensor {tensor.name}: it is another model's checkpoint")
        if shapes[tensor.name] != tensor.shape:
            raise FitcardError(
                f"{tensor.name} is {list(shapes[tensor.name])} in {folder}, but {list(tensor.shape)} in the catalog"
            )

    def values(tensor: StoredTensor) -> torch.Tensor:
        with safe_open(where[tensor.name], framework="pt") as opened:
            loaded: torch.Tensor = opened.get_tensor(tensor.name)
        return loaded.float()

    return values
