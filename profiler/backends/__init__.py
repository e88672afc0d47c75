"""One file an engine, all with the same functions: unsupported, activation_type, write, read_census, load."""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType

from fitcard.catalog.schema.quantization import Quantization

# torchao and bitsandbytes report at import every optional kernel that they cannot load, and torch what of torchao's it will
# refuse one day. None of it is for the people who profile; and this runs before any of them is imported below.
for _name in ("torchao", "torch.utils._pytree", "bitsandbytes"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def backend(quantization: Quantization) -> ModuleType:
    """The module that writes, loads and describes variants of a quantization's engine."""
    return import_module(f"fitcard.profiler.backends.{quantization.engine.backend}")
