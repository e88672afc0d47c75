"""Models and contexts of llama.cpp, or its refusal as an error."""

from __future__ import annotations

import ctypes
import os

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.llama_cpp import bindings
from fitcard.profiler.llama_cpp.settings import LlamaSetting, context_params


def load_model(loaded: ctypes.CDLL, file: str, *, no_alloc: bool = False) -> int:
    """A model from a file, read whole; with `no_alloc`, only what its tensors are. Raises FitcardError when llama.cpp
    says no."""
    params = loaded.llama_model_default_params()
    params.load_mode = bindings.LOAD_WHOLE
    params.no_alloc = no_alloc
    model: int | None = loaded.llama_model_load_from_file(os.fsencode(file), params)
    if not model:
        raise FitcardError("llama.cpp does not load the file")
    return model


def new_context(loaded: ctypes.CDLL, model: int, setting: LlamaSetting) -> int:
    """A context of a model. Raises FitcardError when llama.cpp says no."""
    context: int | None = loaded.llama_init_from_model(model, context_params(loaded, setting))
    if not context:
        raise FitcardError("llama.cpp makes no context")
    return context
