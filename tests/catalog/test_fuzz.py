"""Every reader of files from outside, fed with what nobody wrote: it reads it, or says a CatalogError, and nothing else ever.

A second or two each here; `FITCARD_NIGHTLY=1` tries for minutes (FITCARD_FUZZ_SECONDS, 180 by default).
"""

from __future__ import annotations

import json
import os
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fitcard.catalog import Catalog, CatalogError, FitcardError
from fitcard.catalog.addresses import forbidden_scheme
from fitcard.catalog.configuration import from_hub, from_path
from fitcard.catalog.errors import printable
from fitcard.catalog.gguf_header import read_gguf_header
from fitcard.catalog.importers.plan import FORMATS, plan
from fitcard.catalog.parse import read_gpus, read_runs, read_trace
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import Source, is_id, read_record
from fitcard.catalog.yaml_file import compose, parse_yaml
from tests.catalog.test_gguf_header import written

NIGHTLY = os.environ.get("FITCARD_NIGHTLY") == "1"
SECONDS = float(os.environ.get("FITCARD_FUZZ_SECONDS", "180")) if NIGHTLY else 1.5
HERE = Path(__file__).parents[2] / "catalog"
SLOWEST_S = 2.0
"""Processor time that one input may take, since a busy machine takes any other; without the limits of the reader some take
minutes."""

leaves = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20)
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=10), inner), max_leaves=20
)


def mutated(original: bytes) -> st.SearchStrategy[bytes]:
    """A real file with some stretches of it replaced, dropped or doubled."""
    place = st.integers(0, max(0, len(original) - 1))
    pieces = st.binary(max_size=12) | st.sampled_from(
        [b"", b"[" * 200, b"{", b"}", b"-", b"*a", b"&a ", b"1" * 200, b"1e999", b"null", b"\x00", b"\xff\xff\xff\xff", b"\n", b'"', b"\x1b[2J", "\u202e".encode()]
    )  # fmt: skip

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        content = original
        for at, length, piece in edits:
            content = content[:at] + piece + content[at + length :]
        return content

    return st.lists(st.tuples(place, st.integers(0, 40), pieces), min_size=1, max_size=4).map(apply)


def hunt(read: Callable[[Path], object], contents: st.SearchStrategy[bytes], name: str) -> int:
    """Feed `read` with files until the time is up; give how many."""
    tried, until = 0, time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name

        @settings(
            max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )  # fmt: skip
        @given(contents)
        def one(content: bytes) -> None:
            nonlocal tried
            if time.monotonic() > until:
                return
            tried += 1
            path.write_bytes(content)
            began = time.thread_time()
            try:
                read(path)
            except FitcardError as error:
                text = str(error)
                assert text == printable(text)
                assert not isinstance(error, CatalogError) or len(text.splitlines()) == len(error.problems)
            assert time.thread_time() - began < SLOWEST_S

        one()
        # A few at a time: when the time is up, hypothesis still makes all the rest.
        while NIGHTLY and time.monotonic() < until:
            one()
    if NIGHTLY:
        print(f"\n{name}: {tried:,} inputs", flush=True)
    return tried


def real_file(*names: str) -> bytes:
    return (HERE.joinpath(*names)).read_bytes()


def read_both_ways(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    parse_yaml(text, path)
    compose(text, path)


def test_yaml_that_nobody_wrote() -> None:
    """Any text, the text of any data, and spoilt files of each hand-written kind."""
    model = real_file("models/google/siglip-so400m-patch14-384.yaml")
    hunt(
        read_both_ways,
        st.text().map(lambda text: text.encode("utf-8", "replace")) | mutated(real_file("quantizations.yaml")),
        "a.yaml",
    )
    hunt(lambda path: read_record(Model, path), mutated(model), "model.yaml")
    hunt(read_gpus, mutated(real_file("gpus/nvidia-ada.yaml")), "gpus.yaml")
    hunt(
        lambda path: read_record(PublishedFile, path),
        mutated(real_file("published/google/siglip-so400m-patch14-384.yaml")),
        "published.yaml",
    )


def some_run() -> bytes:
    """A file with one real run: quick to read, and each of its bytes is as likely to change as any."""
    runs: list[Any] = [*read_runs(HERE / "runs/h100-sxm/BAAI/bge-base-en-v1.5.yaml")]
    return json.dumps({"runs": [runs[0].model_dump(mode="json", exclude_none=True)]}, indent=1).encode()


def test_runs_that_nobody_ran() -> None:
    """Spoilt records, and any data at any place of one: also with the right key, which is checked after all the rest."""
    original = json.loads(some_run())

    def replaced(change: tuple[list[str], Any]) -> bytes:
        data = json.loads(json.dumps(original))
        inner: Any = data["runs"][0]
        for name in change[0][:-1]:
            inner = inner[name] if isinstance(inner.get(name), dict) else inner
        inner[change[0][-1]] = change[1]
        return json.dumps(data).encode()

    run = original["runs"][0]
    places = [[name] for name in run] + [
        [name, key] for name in run if isinstance(run[name], dict) for key in run[name]
    ]
    hunt(read_runs, mutated(some_run()) | st.tuples(st.sampled_from(places), values).map(replaced), "runs.yaml")


def test_traces_that_nobody_made() -> None:
    trace = real_file("traces/BAAI/bge-small-en-v1.5.json")
    hunt(read_trace, mutated(trace) | values.map(lambda value: json.dumps(value).encode()), "trace.json")


def test_configurations_that_nobody_published() -> None:
    config = b'{"model_type": "siglip", "vision_config": {"hidden_size": 1152, "layers": [1, 2, 3]}}'
    hunt(from_path, mutated(config) | values.map(lambda value: json.dumps(value).encode()), "config.json")


def test_answers_that_no_hub_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spoilt answers, status line and headers included, from a server that sends the bytes as they are and hangs up."""
    body = b'{"model_type": "siglip", "vision_config": {"hidden_size": 1152}}'
    answer = b"HTTP/1.0 200 OK\r\nX-Repo-Commit: " + b"0" * 40 + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    sent = [answer]

    class Hub(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(sent[0])

    def read(path: Path) -> None:
        sent[0] = path.read_bytes()
        from_hub("org/name")

    with socketserver.TCPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert from_hub("org/name").values["model_type"] == "siglip"
        try:
            hunt(read, mutated(answer), "answer")
        finally:
            server.shutdown()
            thread.join()


TIMM = (
    b"model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size,param_count\n"
    b"vit_so400m_patch14_siglip_384,133.5,7.4,256,384,428.23\nvit_base_patch16_siglip_384,1000,1,256,384,93\n"
)
BENCH = json.dumps([{
    "build_commit": "abc", "build_number": 1, "gpu_info": "NVIDIA GeForce RTX 4090", "model_filename": "bge-base-en-v1.5-f16.gguf",
    "model_type": "bert 109M F16", "n_prompt": 512, "n_gen": 0, "avg_ts": 80000.5, "n_gpu_layers": 99, "model_n_params": 109482240,
}]).encode()  # fmt: skip
OPTIMUM = json.dumps({
    "config": {"backend": {"library": "transformers", "model": "BAAI/bge-base-en-v1.5", "torch_dtype": "float16", "device": "cuda", "device_ids": "0"},
               "scenario": {"input_shapes": {"batch_size": 8, "sequence_length": 512}}, "environment": {"gpu": ["NVIDIA GeForce RTX 4090"]}},
    "report": {"forward": {"memory": None, "latency": {"mean": 1}, "throughput": {"value": 100.0, "unit": "samples/s"}}},
}).encode()  # fmt: skip
EVAL = b"- dataset:\n    id: org/data\n    task_id: default\n  value: 83.1\n  notes: zero-shot\n"


@pytest.mark.parametrize("format", FORMATS)
def test_results_that_nobody_measured(format: str, real: Catalog) -> None:
    """Spoilt files of each tool whose results can be imported: rows become records or reasons."""
    content, name = {
        "timm": (TIMM, "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv"), "llama-bench": (BENCH, "bench.json"),
        "optimum-benchmark": (OPTIMUM, "benchmark.json"), "eval-results": (EVAL, "eval.yaml"),
    }[format]  # fmt: skip
    url = "https://huggingface.co/google/siglip-so400m-patch14-384/blob/" + "0" * 40 + f"/{name}"
    source = Source(title="t", publisher="p", url=url, read="2026-11-01")

    def read(path: Path) -> None:
        found = plan(real, path, source, format=format)
        assert all(row.where == printable(row.where) for row in found.unmapped)

    hunt(read, mutated(content), name)


def test_gguf_headers_that_nobody_wrote(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.gguf").read_bytes()
    hunt(read_gguf_header, mutated(whole) | st.binary().map(lambda rest: b"GGUF\3\0\0\0" + rest), "a.gguf")


@settings(max_examples=100_000 if NIGHTLY else 300, deadline=None, database=None)
@given(st.text())
def test_ids_are_ascii_and_lead_nowhere(text: str) -> None:
    """What is an id is safe as the name of a file, in an address and on a terminal."""
    if is_id(text):
        assert text.isascii() and text.isprintable()
        assert not set(text) & set("/\\:?#% '\"")
        assert ".." not in text and text[0] not in ".-"
    assert printable(printable(text)) == printable(text)
    assert printable(text).replace("\n", "").isprintable()


@settings(max_examples=100_000 if NIGHTLY else 300, deadline=None, database=None)
@given(st.text(alphabet=st.sampled_from("javscript:&#58;x\t\n\x01 /JAVA&colon;&Tab;"), max_size=30))
def test_no_scheme_hides(text: str) -> None:
    """Whatever is put between its letters, an address that a browser would take for code is refused."""
    bare = "".join(c for c in text if c.isprintable() and not c.isspace()).lower()
    if bare.startswith("javascript:"):
        assert forbidden_scheme(text) == "javascript"


@pytest.mark.parametrize(
    "target",
    [
        "java&#115;cript:x",
        "javascript&colon;x",
        "java&Tab;script:x",
        "&#x6A;avascript:x",
        "java&amp;#115;cript:x",
        " java\tscript:x",
    ],
)
def test_no_scheme_hides_in_entities(target: str) -> None:
    """Browsers decode them before they look for the scheme, and one may spell another."""
    assert forbidden_scheme(target) == "javascript"
