"""The numbers in the tensors: what gives them, and random ones from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch

from fitcard.catalog.schema.quantization import StoredTensor

Values = Callable[[StoredTensor], torch.Tensor]
"""Gives the float32 values of a tensor."""

SEED = 0


def random_values(seed: int = SEED) -> Values:
    """Normally distributed weights of the exact shapes; the same for a name and a seed on every machine.

    The width follows the row (1/sqrt), so that activations neither vanish nor overflow. Norm weights are 1, biases
    small.
    """

    def values(tensor: StoredTensor) -> torch.Tensor:
        digest = hashlib.sha256(f"{seed}:{tensor.name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        if len(tensor.shape) < 2:
            base = 1.0 if "norm" in tensor.name and tensor.name.endswith("weight") else 0.0
            return torch.randn(tensor.shape, generator=generator).mul_(0.02).add_(base)
        return torch.randn(tensor.shape, generator=generator).mul_(tensor.shape[-1] ** -0.5)

    return values
