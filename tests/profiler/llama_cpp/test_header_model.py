"""What a GGUF file's header says of a model's memory, and what a trace says, held to llama.cpp's own figures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from fitcard.advisor.hardware import Hardware
from fitcard.advisor.language_fit import LanguageQuestion
from fitcard.advisor.language_memory import completed, need
from fitcard.advisor.language_model import LanguageModel, header_model, traced_model
from fitcard.catalog import Catalog
from fitcard.catalog.gguf_header import read_gguf_header
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Storage
from fitcard.catalog.schema.workload import CacheType, Workload
from fitcard.profiler.decoder_trace import trace_decoder
from fitcard.profiler.llama_cpp.conversion import metadata_of
from fitcard.profiler.llama_cpp.gguf_file import write_sparse
from fitcard.profiler.llama_cpp.memory import LlamaMemory, memory_of
from fitcard.profiler.llama_cpp.settings import LlamaSetting
from tests.profiler.llama_cpp.configs import CONFIGS
from tests.profiler.llama_cpp.conftest import Model

CACHES: tuple[CacheType, ...] = ("f16", "q8_0")
WORKLOADS = [
    Workload(context_tokens=context, cache_type=cache, ubatch=ubatch)
    for context, cache, ubatch in itertools.product((4096, 32768), CACHES, (128, 512))
]
SETTINGS = [
    LlamaSetting(w.context_tokens or 0, ubatch=w.ubatch or 0, cache_k=w.cache_type or "", cache_v=w.cache_type or "")
    for w in WORKLOADS
]
ROUGH = {
    "gemma3": 0.3,
    "granitehybrid": 0.1,
    "granitehybrid-dense": 0.35,
    "mamba": 0.07,
    "deepseek2": 0.04,
    "deepseek2-lite": 0.04,
}
"""How far off the formula of the compute buffer is for shapes this narrow; for the models themselves see LOG.md."""


@pytest.fixture(scope="module")
def processor(real: Catalog) -> Gpu:
    """A device on which all weights lie in one memory, as in llama.cpp's own figures."""
    gpu = next(iter(real.gpus.values()))
    return gpu.model_copy(update={"vendor": "CPU"})


def differences(model: LanguageModel, file: Path, real: Catalog, processor: Gpu) -> list[tuple[int, int, float]]:
    """Weights and cache, ours less llama.cpp's in bytes, and the compute buffer as a share, in each setting."""
    rows: list[tuple[int, int, float]] = []
    for workload, answer in zip(WORKLOADS, memory_of(file, SETTINGS), strict=True):
        assert isinstance(answer, LlamaMemory), answer
        ours = need(model, real.runtimes, processor, completed(workload, None))
        share = ours.compute_bytes / answer.compute_bytes - 1
        rows.append((ours.weights_bytes - answer.weights_bytes, ours.cache_bytes - answer.cache_bytes, share))
    return rows


@pytest.mark.parametrize("name", CONFIGS)
def test_a_header_says_what_llama_cpp_allocates(
    name: str, model_of: Callable[[str], Model], real: Catalog, processor: Gpu
) -> None:
    """Weights and cache to the byte for every architecture; the compute buffer by formula."""
    file = model_of(name).file
    for weights, cache, compute in differences(header_model([read_gguf_header(file)]), file, real, processor):
        assert (weights, cache) == (0, 0)
        assert abs(compute) < ROUGH.get(name, 0.012)  # a quantized cache adds 1 %


@pytest.mark.parametrize("name", ["qwen3", "smolvlm"])
def test_a_trace_says_what_llama_cpp_allocates(
    name: str,
    labels: dict[str, Storage],
    model_of: Callable[[str], Model],
    real: Catalog,
    processor: Gpu,
    tmp_path: Path,
) -> None:
    """In F16, Q8_0 and Q4_K_M, at two contexts, cache types and passes: equal to the byte, the compute buffer within 1 %.
    The header of the same file says the same of all but the image encoder."""
    model, trace = model_of(name), trace_decoder(CONFIGS[name])
    for label in ("F16", "Q8_0", "Q4_K_M"):
        file = tmp_path / f"{label}.gguf"
        write_sparse(file, metadata_of(model.config), model.as_stored(labels[label]))
        traced, read = traced_model(trace, labels[label]), header_model([read_gguf_header(file)])
        for weights, cache, compute in differences(traced, file, real, processor):
            assert (weights, cache) == (traced.vision_bytes, 0)  # llama.cpp has the image encoder in a file of its own
            assert abs(compute) < 0.01
        same = ("cache", "parameters", "active_parameters", "weights_bytes", "input_bytes", "tied", "token_bytes")
        assert {key: getattr(traced, key) for key in same} == {key: getattr(read, key) for key in same}


def test_the_longest_context_is_the_last_that_fits(model_of: Callable[[str], Model], real: Catalog) -> None:
    """At it the verdict is not no; with 256 tokens more it is."""
    model = header_model([read_gguf_header(model_of("llama-80-layers").file)])
    asked = LanguageQuestion("m", ("F16",), lambda _: model, real.runtimes)
    hardware = Hardware(real.gpus["rtx-3060"])
    longest = asked.answer("F16", hardware, Workload(parallel=8), with_speed=False).max_context
    assert longest and model.longest_context and 0 < longest < model.longest_context
    verdicts = [
        asked.answer("F16", hardware, Workload(context_tokens=context, parallel=8), with_speed=False).verdict
        for context in (longest, longest + 256)
    ]
    assert verdicts == ["tight", "no"]
