"""llama.cpp asked for its memory through a worker process, and what becomes of an answer that does not come."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.quantization import Storage
from fitcard.profiler.llama_cpp import bindings
from fitcard.profiler.llama_cpp.conversion import metadata_of
from fitcard.profiler.llama_cpp.gguf_file import tiled_rows, write_file, write_sparse
from fitcard.profiler.llama_cpp.memory import LlamaMemory, memory_of
from fitcard.profiler.llama_cpp.process import Failure, answers
from fitcard.profiler.llama_cpp.settings import LlamaSetting
from tests.profiler.llama_cpp.conftest import Model


@pytest.mark.parametrize(
    ("installed", "said"), [(None, "pip install xllamacpp==2026.10.11549"), ("2026.9.1", "2026.9.1 is another build")]
)
def test_another_build_is_refused(installed: str | None, said: str) -> None:
    """Without the package, or with another version, one sentence says which version is wanted."""
    with pytest.raises(FitcardError, match=said):
        bindings.check_version(installed)


def test_a_structure_that_moved_is_refused() -> None:
    """A library whose defaults are read as others is refused with the names of the fields that differ."""
    params = bindings.library().llama_context_default_params()
    bindings.check_defaults(params)
    params.n_batch, params.type_k = 512, 0
    with pytest.raises(FitcardError, match=r"\(n_batch, type_k differ\)"):
        bindings.check_defaults(params)


def test_memory_of_qwen3_06b(model_of: Callable[[str], Model]) -> None:
    """Weights are the F16 file's tensors; the cache is 28 layers of 2 x 1024 numbers a token; one output is cheaper than all."""
    model = model_of("qwen3")
    short, long, every = memory_of(
        model.file, [LlamaSetting(4096), LlamaSetting(32768), LlamaSetting(4096, outputs="all")]
    )
    assert isinstance(short, LlamaMemory) and isinstance(long, LlamaMemory) and isinstance(every, LlamaMemory)
    # 65 norms of 1,024 and 56 of 128 stay in F32; llama.cpp aligns each tensor to 32 bytes, which all are
    assert short.weights_bytes == 2 * 596_049_920 + 2 * (57 * 1024 + 56 * 128)
    assert (short.cache_bytes, long.cache_bytes) == (28 * 4096 * 2048 * 2, 28 * 32768 * 2048 * 2)
    # 512 rows of logits in F32, less the one row that `one` reserves and what the buffer holds else at that time
    assert every.compute_bytes > 4 * 151936 * 512 > short.compute_bytes


def test_a_sparse_file_is_as_large_as_a_whole_one(
    model_of: Callable[[str], Model], labels: dict[str, Storage], tmp_path: Path
) -> None:
    """The same size to the byte, the same memory in llama.cpp, and next to nothing on disk."""
    model = model_of("smollm")
    tensors, metadata = model.as_stored(labels["Q4_K_M"]), metadata_of(model.config)
    sparse, whole = tmp_path / "sparse.gguf", tmp_path / "whole.gguf"
    assert write_sparse(sparse, metadata, tensors) == write_file(whole, metadata, tensors, tiled_rows())
    assert sparse.stat().st_size == whole.stat().st_size
    assert sparse.stat().st_blocks * 512 < 100_000 < whole.stat().st_blocks * 512
    setting = [LlamaSetting(512, ubatch=64)]
    (of_sparse,), (of_whole,) = memory_of(sparse, setting), memory_of(whole, setting)
    assert of_sparse == of_whole


def test_no_answer_becomes_a_failure_and_the_others_come(model_of: Callable[[str], Model]) -> None:
    """A setting that llama.cpp refuses (a quantized cache of values without flash attention) takes no other answer with it."""
    bad = LlamaSetting(256, cache_v="q8_0", flash_attention=False)
    first, refused, last = memory_of(model_of("llama").file, [LlamaSetting(256), bad, LlamaSetting(512)])
    assert isinstance(first, LlamaMemory) and isinstance(last, LlamaMemory)
    assert isinstance(refused, Failure) and refused.kind == "refused" and "requires flash_attn" in refused.reason


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """The reason is llama.cpp's own."""
    (tmp_path / "x.gguf").write_bytes(b"not a model at all")
    (answer,) = memory_of(tmp_path / "x.gguf", [LlamaSetting(256)])
    assert isinstance(answer, Failure) and answer.kind == "refused" and "failed to load model from" in answer.reason


def test_an_abort_of_llama_cpp_is_a_failure(
    model_of: Callable[[str], Model], labels: dict[str, Storage], tmp_path: Path
) -> None:
    """llama.cpp ends the process on a file whose heads are all rotary; the failure says at which of its own checks."""
    model = model_of("deepseek2")
    metadata = {**metadata_of(model.config), "deepseek2.rope.dimension_count": 192}
    write_sparse(tmp_path / "x.gguf", metadata, model.as_stored(labels["F16"]))
    (answer,) = memory_of(tmp_path / "x.gguf", [LlamaSetting(256)])
    assert isinstance(answer, Failure) and answer.kind == "crashed"
    assert "SIGABRT" in answer.reason and "GGML_ASSERT(n_embd_head_qk_nope >= 1) failed" in answer.reason


def test_a_worker_that_hangs_or_is_killed_is_a_failure(model_of: Callable[[str], Model]) -> None:
    """No answer in time means hung; a process that the system kills is told apart from one that crashed."""
    file = model_of("llama").file
    (hung,) = memory_of(file, [LlamaSetting(256)], timeout_s=0.001)
    assert hung == Failure("hung", "no answer within 0.001 s")
    task = {"task": "memory", "file": str(file), "settings": [dataclasses.asdict(LlamaSetting(256))] * 2000}
    coming = answers(task)
    assert "buffers" in next(coming)  # type: ignore[operator]
    running = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    (worker,) = [child for child in running if "fitcard.profiler.llama_cpp.worker" in child.cmdline()]
    worker.kill()
    *_, last = coming
    assert isinstance(last, Failure) and last.kind == "killed"
