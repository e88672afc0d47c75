"""`fitcard profile` of a language model: records of real runs in llama.cpp, interrupted ones, and those that llama.cpp ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fitcard.advisor.fit import fits
from fitcard.catalog import Catalog, load
from fitcard.catalog.loader import HERE
from fitcard.catalog.parse import read_runs
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.workload import Setup, Variant, Workload
from fitcard.catalog.storage.writer import write_trace
from fitcard.profiler.decoder_trace import trace_decoder
from fitcard.profiler.devices import find_device
from fitcard.profiler.llama_cpp import profile as language_profile
from fitcard.profiler.llama_cpp.conversion import Metadata, metadata_of
from fitcard.profiler.settings import Settings
from tests.conftest import ROOT, Cli, copy_catalog
from tests.nightly import NIGHTLY

KEY = "tiny/decoder"
CONFIG: dict[str, Any] = {
    "model_type": "qwen3", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 64, "intermediate_size": 512, "vocab_size": 512, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The real catalog with one small language model more."""
    root = copy_catalog(tmp_path_factory.mktemp("tiny") / "catalog")
    text = (HERE / "models/Qwen/Qwen3-0.6B.yaml").read_text()
    start, end = text.index("config:\n"), text.index("config_source:")
    path = root / "models" / f"{KEY}.yaml"
    path.parent.mkdir(parents=True)
    aliases = text.index("aliases:"), text.index("\n", text.index("aliases:"))
    text = text[:start] + f"config: {json.dumps(CONFIG)}\n" + text[end:]
    path.write_text(text[: aliases[0]] + "aliases: []" + text[aliases[1] :])
    write_trace(root / "traces" / f"{KEY}.json", trace_decoder(CONFIG))
    return load(root)


def records(folder: Path) -> list[Run]:
    return [run for path in folder.rglob("*.yaml") for run in read_runs(path)]


def test_a_record_holds_what_llama_cpp_did(tiny: Catalog, cli: Cli, tmp_path: Path) -> None:
    """Two labels, two processes each: the buffers that it had said before, all points, the census of the rule; and the answer
    about that device is then measured."""
    words = ["--quant", "Q8_0", "--quant", "Q4_K_M", "--context", "640", "--repeats", "2", "--output", tmp_path]
    done = cli("profile", KEY, *words, "--json", catalog=tiny.root)
    assert done.returncode == 0, done.stderr
    runs = records(tmp_path)
    assert [run.quantization for run in runs] == ["Q8_0", "Q4_K_M"]
    for run in runs:
        generation = run.generation
        assert run.status == "ok" and generation is not None and generation.tiled
        assert generation.asked[0] == generation.allocated
        assert len(generation.asked) == 1 + len(language_profile.ASKED)
        assert [(t.phase, t.tokens, t.depth, len(t.wall_s)) for t in generation.times] == [
            ("prefill", 512, 0, 2),
            ("decode", 64, 0, 2),
        ]
        assert generation.allocated.weights_bytes == sum(row.bytes for row in run.census.values())
        assert (run.file_bytes or 0) > generation.allocated.weights_bytes
    device = runs[0].machine.device
    seen = replace(tiny, runs=tuple(runs))
    (answer,) = fits(seen, KEY, ["Q8_0"], Setup(device), Workload(prompt_tokens=512))
    assert answer.prefill is not None and runs[0].generation is not None
    assert (answer.prefill.evidence, answer.prefill.record) == ("measured", runs[0].key)
    assert answer.prefill.per_second == runs[0].generation.times[0].per_second


def test_killed_it_goes_on_and_nothing_is_lost(tiny: Catalog, tmp_path: Path) -> None:
    """kill -9 at several moments, ten by night: what was written stays, and the last one finishes."""
    command = [sys.executable, "-m", "fitcard", "--catalog", str(tiny.root), "profile", KEY, "--context", "576", "--repeats", "1",
               "--quant", "F16", "--quant", "Q8_0", "--quant", "Q4_K_M", "--output", str(tmp_path / "runs")]  # fmt: skip
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept: set[str] = set()
    for attempt in range(0, 10, 1 if NIGHTLY else 3):
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.5 + 0.4 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = {run.key for run in records(tmp_path / "runs")}
        assert kept <= now
        kept = now
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = records(tmp_path / "runs")
    assert kept <= {run.key for run in runs}
    assert {run.quantization for run in runs if run.status == "ok"} == {"F16", "Q8_0", "Q4_K_M"}


def test_what_ends_llama_cpp_is_a_record(tiny: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on which it aborts: that case says so with llama.cpp's own words, and the other is measured."""

    def damaged(config: Any) -> Metadata:
        broken = next(labels)
        return metadata_of(config) | ({"qwen3.attention.head_count": 3} if broken else {})

    labels = iter((True, False))
    monkeypatch.setattr(language_profile, "metadata_of", damaged)
    settings = Settings(find_device("cpu"), ("language",), ("Q8_0", "F16"), (), repeats=1, context=576)
    variants = [Variant(KEY, "language", label) for label in settings.quantizations]
    bad, good = language_profile.profile_language(tiny, KEY, settings, variants, "cpu-test")
    assert bad.status in ("crashed", "unsupported") and bad.reason and "llama.cpp" in bad.reason
    assert good.status == "ok" and good.generation is not None


def test_a_file_is_run_as_it_is(tiny: Catalog, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record, all figures; a file that is no model is one line."""
    kept = tmp_path / "kept.gguf"
    write = language_profile._write

    def keep(catalog: Catalog, variant: Variant, config: Any, settings: Settings, file: Path) -> Any:
        tensors = write(catalog, variant, config, settings, file)
        shutil.copy(file, kept)
        return tensors

    monkeypatch.setattr(language_profile, "_write", keep)
    settings = Settings(find_device("cpu"), ("language",), ("Q8_0",), (), repeats=1, context=576)
    (run,) = language_profile.profile_language(tiny, KEY, settings, [Variant(KEY, "language", "Q8_0")], "cpu-test")
    done = cli("profile", kept, "--context", "576", "--repeats", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert run.generation is not None
    assert told["allocated"] == run.generation.allocated.model_dump(mode="json")
    kept.write_bytes(b"GGUF but no more")
    done = cli("profile", kept)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1


def test_options_of_encoders_are_refused(cli: Cli) -> None:
    done = cli("profile", "Qwen/Qwen3-0.6B", "--batch", "4")
    assert done.returncode == 2 and "a language model runs in llama.cpp" in done.stderr
