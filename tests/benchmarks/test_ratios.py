"""How fast, as ratios within one run: `make bench`. Nothing here is asserted against a clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from fitcard.advisor import fit
from fitcard.catalog import Catalog, load
from fitcard.catalog.schema.tensor_types import tensor_bytes
from fitcard.catalog.schema.trace import Tensor
from fitcard.profiler import ggml
from fitcard.profiler.backends import backend
from fitcard.profiler.devices import Device
from fitcard.profiler.measure import timed
from fitcard.profiler.meta_model import EntryPoint, inputs
from fitcard.profiler.packed_layers import PackedLinear
from fitcard.profiler.variant import Runnable, VariantSpec, with_values
from fitcard.profiler.weights import random_values
from tests.sample import TEXT

BATCH = 4


class Layer(NamedTuple):
    rows: int
    columns: int
    tokens: int


@pytest.fixture
def size(benchmark: BenchmarkFixture) -> Layer:
    """That of SO400M where it is timed; else the least."""
    return Layer(4304, 1152, BATCH * 729) if benchmark.enabled else Layer(256, 128, BATCH)


def linear(type_name: str, size: Layer) -> Callable[[torch.Tensor], torch.Tensor]:
    values = np.random.default_rng(0).normal(size=(size.rows, size.columns)).astype(np.float32)
    if type_name == "BF16":
        weight = torch.from_numpy(values).bfloat16()
        return lambda x: torch.nn.functional.linear(x, weight)
    return PackedLinear(type_name, torch.from_numpy(ggml.quantize(type_name, values)), None, torch.float32, 1 << 18)


@pytest.mark.parametrize("type_name", ["BF16", "Q8_0", "Q5_0", "Q4_0"])
@pytest.mark.benchmark(group="one linear layer of SO400M, batch 4, packed and unpacked on the fly")
def test_packed_layer(type_name: str, size: Layer, benchmark: BenchmarkFixture) -> None:
    """What unpacking on the fly costs over plain BF16; and that the weights stay packed while it runs."""
    layer, x = linear(type_name, size), torch.randn(size.tokens, size.columns, dtype=torch.bfloat16)
    with torch.inference_mode():
        out: Any = benchmark(layer, x)
    assert out.shape == (size.tokens, size.rows)
    if isinstance(layer, PackedLinear):
        assert layer.packed.numel() == tensor_bytes(type_name, (size.rows, size.columns))


@pytest.mark.parametrize("label", ["BF16", "INT8-dynamic", "INT8-weight-only", "INT4", "INT8-bnb", "NF4"])
@pytest.mark.benchmark(group="one linear layer of SO400M, batch 4, other runtimes")
def test_quantized_layer(label: str, size: Layer, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """What the other runtimes' own layers cost over plain BF16."""
    tensor = Tensor(
        name="layer.weight", shape=(size.rows, size.columns), component="vision", kind="linear", role="ffn_up"
    )
    ready = one_layer(label, tensor, tmp_path / "layer")
    x = torch.randn(size.tokens, size.columns, dtype=torch.bfloat16)
    with torch.inference_mode():
        out: Any = benchmark(ready, x)
    assert out.shape == (size.tokens, size.rows)


class _OneLayer(torch.nn.Module):
    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(columns, rows, bias=False, device="meta")


def one_layer(label: str, tensor: Tensor, path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model of one linear layer, through the backend that writes and loads whole models."""
    model = _OneLayer(*tensor.shape)

    class OneLayer(VariantSpec):
        def meta_model(self) -> torch.nn.Module:
            return model

        def entry_point(self, model: torch.nn.Module) -> EntryPoint:
            return EntryPoint("vision", None, None, lambda m, x: m.layer(x["x"]))  # type: ignore[operator]

    quantization = load().quantizations[label]
    variant = OneLayer("tiny/one", label, {}, "vision", quantization, (tensor,), Device("cpu", "CPU"), 1 << 18)
    backend(quantization).write(path, variant, random_values())
    ready = backend(quantization).load(path, variant, model)
    return lambda x: ready.call({"x": x})


@pytest.mark.parametrize("how", ["a bare loop", "the profiler's loop"])
@pytest.mark.benchmark(group="overhead of the profiler")
def test_overhead_of_the_profiler(how: str, benchmark: BenchmarkFixture) -> None:
    """The same forward pass of SigLIP Base's text tower, called barely and as the profiler times it; where nothing is timed, of less."""
    catalog, device = load(), Device("cpu", "CPU")
    model_id = "google/siglip-base-patch16-384" if benchmark.enabled else TEXT
    tensors = catalog.traces[model_id].tensors_of("text")
    config, quantization = catalog.models[model_id].config, catalog.quantizations["FP32"]
    variant = VariantSpec(model_id, "FP32", config, "text", quantization, tensors, device, 1 << 18)
    model = with_values(variant, random_values())
    way = variant.entry_point(model)
    given = inputs(model, way, BATCH, torch.float32, "cpu")
    if how == "a bare loop":
        with torch.inference_mode():
            benchmark.pedantic(way.call, (model, given), rounds=30, warmup_rounds=3)  # type: ignore[no-untyped-call]
    else:
        ready = Runnable(lambda x: way.call(model, x), 0)
        benchmark.pedantic(timed, (device, ready, given), rounds=30, warmup_rounds=3)  # type: ignore[no-untyped-call]


@pytest.mark.benchmark(group="catalog")
def test_load_the_catalog(benchmark: BenchmarkFixture) -> None:
    assert benchmark(load).models


@pytest.mark.benchmark(group="catalog")
def test_every_card_for_one_model(benchmark: BenchmarkFixture, real: Catalog) -> None:
    found = benchmark(lambda: list(fit.gpus(real, "google/siglip-so400m-patch14-384")))
    assert len(found) == len(real.gpus) * len(real.quantizations)
