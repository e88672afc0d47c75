"""How fast, as ratios within one run: `make bench`. Nothing here is asserted against a clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from advisor import answers
from catalog import Catalog, load
from generator.build import build
from profiler import ggml
from profiler.packed import PackedLinear

ROWS, COLUMNS, TOKENS = 4304, 1152, 729


def linear(type_name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    if type_name == "BF16":
        weight = torch.from_numpy(values).bfloat16()
        return lambda x: torch.nn.functional.linear(x, weight)
    return PackedLinear(type_name, torch.from_numpy(ggml.quantize(type_name, values)), None, 1 << 18)


@pytest.mark.parametrize("type_name", ["BF16", "Q8_0", "Q5_0", "Q4_0"])
@pytest.mark.benchmark(group="one linear layer of SO400M, 729 tokens")
def test_packed_layer(type_name: str, benchmark: BenchmarkFixture) -> None:
    """What unpacking on the fly costs over plain BF16."""
    layer, x = linear(type_name), torch.randn(TOKENS, COLUMNS, dtype=torch.bfloat16)
    with torch.inference_mode():
        out: Any = benchmark(layer, x)
    assert out.shape == (TOKENS, ROWS)


@pytest.mark.benchmark(group="catalog")
def test_load_the_catalog(benchmark: BenchmarkFixture) -> None:
    assert benchmark(load).models


@pytest.mark.benchmark(group="catalog")
def test_every_card_for_one_model(benchmark: BenchmarkFixture, real: Catalog) -> None:
    found = benchmark(lambda: list(answers.gpus(real, "google/siglip-so400m-patch14-384")))
    assert len(found) == len(real.cards) * len(answers.described(real))


@pytest.mark.benchmark(group="catalog")
def test_build_the_site(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    folder, pages = benchmark(build, tmp_path / "site")
    assert pages > 50
    assert folder.is_dir()
