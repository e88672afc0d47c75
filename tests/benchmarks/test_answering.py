"""How long one answer takes, cold, as a whole process; beside the tools that answer the same kind of question, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog, load
from tests.conftest import ROOT

ASKED = ["siglip so400m", "--gpu", "RTX 4060", "--quant", "BF16", "--batch", "8", "--json"]
COMMANDS = {
    "fitcard": [sys.executable, "-m", "fitcard", "fit", *ASKED],
    # llmfit knows language models only, so it is asked for one; whichllm asks the hub, so offline only its help can be timed.
    "llmfit": ["llmfit", "--json", "--memory", "8G", "info", "Qwen/Qwen2.5-7B-Instruct"],
    "whichllm": ["whichllm", "--help"],
}


@pytest.mark.parametrize("tool", [name for name, words in COMMANDS.items() if shutil.which(words[0])])
@pytest.mark.benchmark(group="one answer, cold, as a whole process", min_rounds=15)
def test_one_answer(tool: str, benchmark: BenchmarkFixture) -> None:
    done = benchmark(subprocess.run, COMMANDS[tool], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.benchmark(group="the whole matrix", min_rounds=3)
def test_the_whole_matrix(benchmark: BenchmarkFixture, sample_root: Path) -> None:
    """Every model x quantization x card: verdict and memory of each, and the pick of each card in full; nothing kept from before."""
    root = None if benchmark.enabled else sample_root

    def matrix() -> int:
        catalog: Catalog = replace(load(root))  # one changed in memory, for which nothing is kept
        return sum(len(picks(catalog, model)) for model in catalog.models) * len(catalog.quantizations)

    catalog = load(root)
    assert benchmark(matrix) == len(catalog.models) * len(catalog.gpus) * len(catalog.quantizations)
