"""What llama.cpp says of a model that is traced: asked once, with a file that has a header and no weights."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.language import ComputePoint, LlamaCpp
from fitcard.catalog.schema.quantization import Storage
from fitcard.catalog.schema.trace import Tensor
from fitcard.profiler.llama_cpp.bindings import BUILD
from fitcard.profiler.llama_cpp.conversion import architecture_of, metadata_of
from fitcard.profiler.llama_cpp.gguf_file import ROPE, gguf_tensors, write_sparse
from fitcard.profiler.llama_cpp.memory import LlamaMemory, memory_of
from fitcard.profiler.llama_cpp.process import Failure
from fitcard.profiler.llama_cpp.settings import LlamaSetting

POINTS = tuple(LlamaSetting(context, ubatch=ubatch) for ubatch in (128, 512) for context in (4096, 32768))
"""Where it is asked for its compute buffer, through which lines go."""
_PLAIN = Storage(name="F16", format="gguf", summary="F16", weight_type="F16", other_type="F16", vector_type="F32")
"""The compute buffer does not depend on the weights' types."""


def asked(config: Any, tensors: Sequence[Tensor]) -> LlamaCpp:
    """llama.cpp's own figures for a model; `config` is transformers' own object.

    Raises FitcardError for a model whose GGUF fitcard does not write, or that llama.cpp refuses.
    """
    written = gguf_tensors(config, _PLAIN, tensors)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "header.gguf"
        write_sparse(file, metadata_of(config), written)
        answers = memory_of(file, POINTS)
    points: list[ComputePoint] = []
    for setting, answer in zip(POINTS, answers, strict=True):
        if isinstance(answer, Failure):
            raise FitcardError(f"llama.cpp does not run this model: {answer.reason}")
        assert isinstance(answer, LlamaMemory)
        points.append(ComputePoint(ubatch=setting.ubatch, context=setting.context, compute_bytes=answer.compute_bytes))
    return LlamaCpp(
        build=BUILD,
        architecture=architecture_of(config.get_text_config()),
        rope_bytes=sum(tensor.bytes for tensor in written if tensor.name == ROPE),
        compute=tuple(points),
    )
