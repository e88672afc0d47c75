"""`fitcard fit FILE.gguf`: from the header alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.conftest import ROOT, Cli

WIDTH, LAYERS, VOCABULARY = 256, 2, 1024
TENSORS: Mapping[str, tuple[int, ...]] = {
    "token_embd.weight": (VOCABULARY, WIDTH),
    "output.weight": (VOCABULARY, WIDTH),
    **{
        f"blk.{layer}.{name}.weight": shape
        for layer in range(LAYERS)
        for name, shape in {
            "attn_q": (256, WIDTH),
            "attn_k": (64, WIDTH),
            "attn_v": (64, WIDTH),
            "ffn_up": (512, WIDTH),
        }.items()
    },
}
CACHE_BYTES = LAYERS * 4096 * 2 * (64 + 64)


def write(
    path: Path, architecture: str = "llama", tensors: Mapping[str, tuple[int, ...]] = TENSORS, **more: int
) -> Path:
    """A GGUF file with zeros for weights, in F16."""
    writer = gguf.GGUFWriter(path, architecture)
    sizes = {"block_count": LAYERS, "embedding_length": WIDTH, "attention.head_count": 4, "context_length": 8192}
    for key, value in {**sizes, **more}.items():
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_file_type(1)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def asked(cli: Cli, file: Path, *words: str) -> dict[str, object]:
    done = cli("fit", file, "--gpu", "RTX 3060 12 GB", "--json", *words)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_an_untied_model(cli: Cli, tmp_path: Path) -> None:
    """Its label, and its weights on the GPU but for the token embeddings, which stay in main memory."""
    answer = asked(cli, write(tmp_path / "m.gguf"))
    memory = answer["memory"]
    assert isinstance(memory, dict)
    embedding = 2 * VOCABULARY * WIDTH
    layers = 2 * LAYERS * WIDTH * (256 + 64 + 64 + 512)
    assert (memory["weights_bytes"], memory["host_bytes"]) == (layers + embedding, embedding)
    assert (answer["quantization"], memory["cache_bytes"], answer["engine"]) == ("F16", CACHE_BYTES, "llama.cpp")
    assert answer["max_context"] == 8192


def test_sequences_and_the_type_of_the_cache(cli: Cli, tmp_path: Path) -> None:
    """Three sequences have a cache each; Q8_0 takes 34 bytes for 32 numbers."""
    memory = asked(cli, write(tmp_path / "m.gguf"), "--parallel", "3", "--cache-type", "q8_0")["memory"]
    assert isinstance(memory, dict)
    assert memory["cache_bytes"] == 3 * CACHE_BYTES // 2 * 34 // 32


def test_a_context_in_k_and_the_longest(cli: Cli, tmp_path: Path) -> None:
    """8k is 8,192 tokens, as is max here."""
    file = write(tmp_path / "m.gguf")
    contexts = [asked(cli, file, "--context", typed)["workload"] for typed in ("8k", "8192", "max")]
    assert [one["context_tokens"] for one in contexts if isinstance(one, dict)] == [8192] * 3


def test_parts_are_read_together(cli: Cli, tmp_path: Path) -> None:
    """A model in two files, whichever is named; a part that is missing is told."""
    names = list(TENSORS)
    for part, mine in enumerate((names[:5], names[5:]), 1):
        write(tmp_path / f"m-0000{part}-of-00002.gguf", tensors={name: TENSORS[name] for name in mine})
    whole = asked(cli, write(tmp_path / "m.gguf"))["memory"]
    assert asked(cli, tmp_path / "m-00002-of-00002.gguf")["memory"] == whole
    (tmp_path / "m-00001-of-00002.gguf").unlink()
    done = cli("fit", tmp_path / "m-00002-of-00002.gguf", "--gpu", "RTX 4090")
    assert done.returncode == 1 and "m-00001-of-00002.gguf is not beside it" in done.stderr


@pytest.mark.parametrize(
    ("architecture", "tensors", "message"),
    [
        ("clip", TENSORS, "holds an image encoder (clip), and no language model"),
        ("llama", {"token_embd.weight": (8, 32)}, "holds no layers of a language model"),
    ],
)
def test_other_files_are_refused(
    architecture: str, tensors: Mapping[str, tuple[int, ...]], message: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli("fit", write(tmp_path / "m.gguf", architecture, tensors), "--gpu", "RTX 4090")
    assert done.returncode == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "2"], "--batch says nothing about m.gguf, a language model: it takes --context"),
        (["--quant", "Q4_K_M"], "a GGUF file is in one quantization"),
        (["--context", "long"], "is no number of tokens such as 8192 or 32k, or max"),
        (["--context", "0"], "is no number of tokens"),
    ],
)
def test_options_that_say_nothing_are_told(words: list[str], message: str, cli: Cli, tmp_path: Path) -> None:
    done = cli("fit", write(tmp_path / "m.gguf"), "--gpu", "RTX 4090", *words)
    assert done.returncode == 2 and message in done.stderr


def test_a_context_says_nothing_about_an_encoder(cli: Cli) -> None:
    done = cli("fit", "bge-small-en-v1.5", "--gpu", "RTX 4090", "--context", "4k")
    assert done.returncode == 2 and "--context says nothing about BAAI/bge-small-en-v1.5, an encoder" in done.stderr


def test_a_file_needs_no_torch(tmp_path: Path) -> None:
    """Neither torch nor numpy is imported for an answer about a file."""
    code = "import sys; from fitcard.__main__ import main\ntry: main()\nexcept SystemExit: pass\nprint(sorted({'torch', 'numpy', 'gguf'} & set(sys.modules)))"
    command = [sys.executable, "-c", code, "fit", str(write(tmp_path / "m.gguf")), "--gpu", "RTX 4090"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
