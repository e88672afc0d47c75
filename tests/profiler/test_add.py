"""`fitcard add` as a user calls it, and what it keeps of a configuration."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fitcard.catalog import Catalog, load
from fitcard.catalog.linters import problems
from fitcard.profiler.meta_model import resolve
from fitcard.profiler.minimal_config import minimal_config
from tests.catalog.test_bad_input import snapshot
from tests.conftest import Cli
from tests.profiler.test_trace import SMALL

# What each states is what differs from the defaults, to the letter; the others write some defaults out, to be read.
EXACT = (
    "openai/clip-vit-base-patch32",
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", "facebook/dinov2-giant", "facebook/dinov2-with-registers-base",
    "apple/aimv2-3B-patch14-448",
)  # fmt: skip


def whole(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as transformers writes it into a checkpoint's folder: with every default, and what says nothing of shapes."""
    written: dict[str, Any] = json.loads(resolve(config).to_json_string(use_diff=False))
    return {
        **written,
        "architectures": ["SomeModel"],
        "torch_dtype": "float32",
        "_name_or_path": "x",
        "nobody_reads": 1,
    }


@pytest.mark.parametrize("key", EXACT)
def test_only_what_differs_from_the_defaults_is_kept(key: str, real: Catalog) -> None:
    """A checkpoint's config.json, which states everything, becomes what a person wrote by hand."""
    config = real.models[key].config
    assert minimal_config(whole(config)) == config


WRITTEN_OUT = ("openai/clip-vit-large-patch14-336", "google/siglip2-giant-opt-patch16-384", "BAAI/bge-m3", "nomic-ai/modernbert-embed-base", "sentence-transformers/all-MiniLM-L6-v2")  # fmt: skip


@pytest.mark.parametrize("key", WRITTEN_OUT)
def test_what_is_kept_resolves_to_the_same(key: str, real: Catalog) -> None:
    """These entries write some defaults out, to be read: nothing besides them is kept, and the outcome is the same."""
    config = real.models[key].config
    kept = minimal_config(whole(config))
    for name, value in kept.items():
        assert set(value) <= set(config[name]) if isinstance(value, dict) else config[name] == value
    assert resolve(kept).to_dict() == resolve(config).to_dict()


def test_what_only_its_name_makes_look_like_training_is_kept() -> None:
    """A layer scale that begins at 0 is none: BEiT then has fewer tensors."""
    config = {"model_type": "beit", "layer_scale_init_value": 0.0, "hidden_dropout_prob": 0.3, "initializer_range": 0.5}
    assert minimal_config(config) == {"model_type": "beit", "layer_scale_init_value": 0.0}


def test_a_default_that_depends_on_another_value_is_kept() -> None:
    """Mistral's head_dim follows from the width unless it is stated: 128 is its default, but not at this width."""
    config = {"model_type": "mistral", "hidden_size": 1024, "num_attention_heads": 32, "head_dim": 128}
    assert minimal_config(config)["head_dim"] == 128


def test_a_model_is_begun_from_its_config(copied: Path, cli: Cli, tmp_path: Path) -> None:
    """File and trace are written, their paths printed, and the model can be asked about at once."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(whole(SMALL["clip"])))
    done = cli("add", file, "--id", "tiny/clip", catalog=copied)
    assert done.returncode == 0, done.stderr
    written = [Path(line) for line in done.stdout.splitlines()]
    assert written == [copied / "models/tiny/clip.yaml", copied / "traces/tiny/clip.json"]
    catalog = load(copied)
    assert catalog.models["tiny/clip"].config == SMALL["clip"]
    assert {problem.message.partition(":")[0] for problem in problems(catalog)} == {"is still to be written"}
    check = cli("check", catalog=copied)
    assert check.returncode == 1
    lines = check.stderr.strip().splitlines()
    assert len(lines) == 9
    assert re.search(
        r"tiny/clip\.yaml:\d+: verdict: is still to be written: one sentence, who should take it", lines[0]
    )
    assert cli("fit", "tiny/clip", "--gpu", "4090", catalog=copied).returncode == 0
    before = snapshot(copied)
    done = cli("add", file, "--id", "Tiny/CLIP", catalog=copied)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("models/tiny/clip.yaml is there already: edit it")
    assert snapshot(copied) == before


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for the configuration of one model, with its commit in the head."""

    def do_GET(self) -> None:
        there = self.path == "/tiny/clip/resolve/main/config.json"
        self.send_response(200 if there else 404)
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.end_headers()
        if there:
            self.wfile.write(json.dumps(whole(SMALL["clip"])).encode())

    def log_message(self, *_: object) -> None:
        """Nothing is printed into the test's output."""


def test_a_model_is_begun_from_the_hub_at_the_commit_of_now(
    copied: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the address answers is the source, with its commit; what it does not have is one line."""
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        done = cli("add", "tiny/clip", catalog=copied)
        assert done.returncode == 0, done.stderr
        model = load(copied).models["tiny/clip"]
        url = "https://huggingface.co/tiny/clip/blob/0123456789abcdef0123456789abcdef01234567/config.json"
        assert (model.config, model.sources[model.config_source].url) == (SMALL["clip"], url)
        done = cli("add", "tiny/other", catalog=copied)
        assert done.returncode == 2
        assert re.fullmatch(r"http://\S+/tiny/other/resolve/main/config\.json answers 404\.\n", done.stderr)
        server.shutdown()


def test_a_card_is_begun_like_another(copied: Path, cli: Cli) -> None:
    """Found by the name that people type; a second one can be begun before the first is finished."""
    for key, like in (("rtx-4075", "RTX 4070"), ("rtx-4085", "4080")):
        done = cli("add", "--gpu", key, "--like", like, catalog=copied)
        assert done.returncode == 0, done.stderr
        path, _, line = done.stdout.strip().rpartition(":")
        assert Path(path).read_text().splitlines()[int(line) - 1] == f"  {key}:"
    done = cli("check", catalog=copied)
    assert done.returncode == 1
    assert re.search(r"gpus\.rtx-4085\.units: is still to be written: rtx-4080 has 76", done.stderr)
    done = cli("build", catalog=copied)
    assert done.returncode == 1
    assert "gpus.rtx-4085.units: is still to be written" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ((), 2, r"give a model, or --gpu with --like; for a GPU of a new generation, copy the example in CONTRIBUTING"),
        (("--gpu", "rtx-4075"), 2, r"give a model, or --gpu with --like"),
        (("x/y", "--gpu", "rtx-4075", "--like", "4070"), 2, r"give a model, or --gpu with --like"),
        (("--gpu", "RTX 4075", "--like", "4070"), 2, r"--gpu takes an id: .*, such as rtx-5050 \(got 'RTX 4075'\)"),
        (("--gpu", "rtx-4075", "--like", "9999"), 2, r"no GPU is called '9999'"),
        (("--gpu", "rtx-4090", "--like", "4070"), 1, r"nvidia-ada\.yaml:\d+: gpus\.rtx-4090: is there already: edit it"),
        (("google/siglip-base-patch16-384",), 1, r"siglip-base-patch16-384\.yaml is there already: edit it"),
        (("so400m",), 1, r"'so400m' is no config\.json, no checkpoint's folder and no id of the Hugging Face hub, ORG/NAME"),
        (("nobody/nothing",), 2, r"The Hugging Face hub, which may have it, cannot be reached|answers 4\d\d"),
        (("nobody/nothing", "--id", "a/b"), 2, r"nobody/nothing says which model it is; --id a/b says otherwise"),
        (("CONFIG",), 2, r"config\.json does not say which model it is: give its id on the hub as --id ORG/NAME"),
        (("CONFIG", "--id", "nonsense"), 2, r"--id takes the model's id on the hub, ORG/NAME \(got 'nonsense'\)"),
        (("CONFIG", "--id", "../x"), 2, r"--id takes the model's id on the hub, ORG/NAME \(got '\.\./x'\)"),
        (("BAD", "--id", "a/b"), 1, r"cannot build model_type 'nonsense'"),
        (("ODD", "--id", "a/b"), 1, r"cannot build model_type 'clip': The hidden size \(64\) is not a multiple of the number of attention heads"),
        (("nowhere.json", "--id", "a/b"), 1, r"nowhere\.json:1: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_wrong_words(words: tuple[str, ...], code: int, expected: str, copied: Path, cli: Cli, tmp_path: Path) -> None:
    """One line, the right exit code, and nothing written."""
    files = {"CONFIG": tmp_path / "config.json", "BAD": tmp_path / "bad.json", "ODD": tmp_path / "odd.json"}
    files["CONFIG"].write_text(json.dumps(SMALL["clip"]))
    files["ODD"].write_text('{"model_type": "clip", "vision_config": {"hidden_size": 64, "num_attention_heads": 12}}')
    files["BAD"].write_text('{"model_type": "nonsense"}')
    before = snapshot(copied)
    done = cli("add", *[files.get(word, word) for word in words], catalog=copied)
    assert done.returncode == code, done.stderr
    assert re.search(expected, done.stderr.replace("\n", " ")), done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(copied) == before
