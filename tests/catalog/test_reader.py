"""Hostile files: one line that says what is allowed, in little time and memory, whatever reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fitcard.catalog import CatalogError, FitcardError, load
from fitcard.catalog import configuration as configurations
from fitcard.catalog.configuration import from_hub, from_path
from fitcard.catalog.importers.row import json_of
from fitcard.catalog.parse import read_runs, read_trace
from fitcard.catalog.reader import MAX_DEPTH, load_json, read_bytes, read_text
from fitcard.catalog.yaml_file import compose, parse_yaml, read_yaml
from tests.conftest import Cli

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1000))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "a named pipe": (fifo, "is a named pipe and not a file: put the file itself there"),
    "a device": (zeros, "is a device and not a file: put the file itself there"),
    "a folder": (Path.mkdir, "is a folder and not a file: put the file itself there"),
    "a terabyte": (huge, r"is too large: 1,099,511,627,776 bytes or more, and at most [\d,]+ are read"),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("read", [read_yaml, read_runs, read_trace, from_path, read_text])
def test_what_is_no_file_is_refused_at_once(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    """No reader waits for a pipe, or reads a device or a terabyte."""
    make, message = SPECIAL[name]
    path = tmp_path / "there"
    make(path)
    if read is from_path and name == "a folder":
        path, message = path / "config.json", "cannot be read: No such file or directory"
    began = time.monotonic()
    with pytest.raises(CatalogError, match=rf"there(/config\.json)?:1: {message}"):
        read(path)
    assert time.monotonic() - began < 2


def test_a_file_of_proc_is_read_to_its_end() -> None:
    """It says that it is empty, so its size proves nothing; the limit holds all the same."""
    assert read_bytes(Path("/proc/self/status")).startswith(b"Name:")
    with pytest.raises(CatalogError, match="is too large"):
        read_bytes(Path("/proc/self/status"), 10)


DEEP = {
    "lists": "[" * 100_000,
    "closed lists": "[" * 100_000 + "]" * 100_000,
    "mappings": '{"a":' * 100_000,
    "lists behind a text with brackets": '{"a": "]]]]\\"]]]]", "b": ' + "[" * 100_000 + "]" * 100_000 + "}",
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("read", [read_yaml, read_runs, read_trace, from_path])
def test_brackets_without_end(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    """100,000 of them killed the process with a segmentation fault in YAML, and with a RecursionError in JSON."""
    path = tmp_path / "deep.json"
    path.write_text(DEEP[name])
    began = time.monotonic()
    with pytest.raises(CatalogError, match=r"deep\.json:1: is nested too deeply"):
        read(path)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", ["- " * 100_000, "? " * 100_000, "a: " + "{a: " * 100_000])
def test_nested_blocks_without_end(text: str, tmp_path: Path) -> None:
    for read in (parse_yaml, compose):
        with pytest.raises(CatalogError, match="is nested too deeply"):
            read(text, tmp_path / "deep.yaml")


def test_depth_that_is_allowed() -> None:
    """Brackets inside texts count for nothing, and the last level that is allowed is read."""
    assert load_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, "a")
    assert load_json(json.dumps({"a": "[" * 1000, "b": '"[[\\"' * 1000}), "a")
    with pytest.raises(CatalogError):
        load_json("[" * 2 * MAX_DEPTH + "]" * 2 * MAX_DEPTH, "a")


@pytest.mark.parametrize("text", [BOMB, CHAIN], ids=["bomb", "chain"])
def test_aliases_that_explode(text: str) -> None:
    """Nine levels of nine aliases are 387 million values; a chain of a thousand is a thousand levels."""
    began = time.monotonic()
    with pytest.raises(
        CatalogError, match=r"a\.yaml:\d+: (holds too many values, those that aliases|is nested too deep)"
    ):
        parse_yaml(text, Path("a.yaml"))
    assert time.monotonic() - began < 2


def test_aliases_that_are_honest() -> None:
    """An alias stands for the last value of its name before it, also where a value that holds it is repeated later."""
    text = "one: &x 1\nlist: &l [*x, {a: *x}]\ntwo: &x 2\nagain: *l\nlast: *x\n"
    data, lines = parse_yaml(text, Path("a.yaml"))
    assert data == {"one": 1, "list": [1, {"a": 1}], "two": 2, "again": [1, {"a": 1}], "last": 2}
    assert lines["again", 1, "a"] == 2
    for wrong in ("a: *x\n", "a: &x [*x]\n"):
        with pytest.raises(CatalogError, match=r"a\.yaml:1: is not well-formed YAML: no value before it is called 'x'"):
            parse_yaml(wrong, Path("a.yaml"))


@pytest.mark.parametrize("text", ["[" + "1" * 5000 + "]", "[-1e999]", "[NaN]", '{"a":\n -Infinity}'])
def test_numbers_without_measure_in_json(text: str) -> None:
    """A 5,000-digit integer was a traceback; NaN is not JSON, though Python reads it."""
    with pytest.raises(
        CatalogError, match=rf"a:{1 + text.count(chr(10))}: holds a number that is not finite or too long"
    ):
        load_json(text, "a")
    assert json_of(text) is None


def test_a_long_number_in_yaml() -> None:
    with pytest.raises(CatalogError, match=r"a\.yaml:2: holds a number of more than 100 digits"):
        parse_yaml(f"b: 1\na: {'1' * 5000}\n", Path("a.yaml"))


def test_honest_numbers() -> None:
    data = [1e99, -1e-300, 2**63, 0.1234567890123456789]
    assert load_json(json.dumps(data), "a") == data


MEASURE = """
import sys, time
from pathlib import Path
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.parse import read_runs, read_trace
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import read_record
began = time.process_time()
for read in (read_runs, read_trace, lambda path: read_record(PublishedFile, path)):
    try:
        read(Path(sys.argv[1]))
    except FitcardError as error:
        # Not ru_maxrss, which begins with what the process had that this one was forked from.
        peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(str(error).count(chr(10)), time.process_time() - began, peak)
"""

FLAT = {
    "empty lists": '{"runs":[' + "[]," * 5_000_000 + "[]]}",
    "empty records": '{"runs":[' + "{}," * 200_000 + "{}]}",
    "records without anything": '{"speeds":[' + "{}," * 40_000 + "{}]}",
    "quotes": '"' * 8_000_000,
    "escaped quotes": '"' + '\\"' * 4_000_000,
    "one text": '"' + "x" * 20_000_000 + '"',
}


@pytest.mark.parametrize("name", FLAT)
def test_large_files_take_little_time_and_memory(name: str, tmp_path: Path) -> None:
    """Each of three readers refuses it, all together in six seconds and 200 MB."""
    path = tmp_path / "large.json"
    path.write_text(FLAT[name])
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    rows = [row.split() for row in done.stdout.splitlines()]
    assert len(rows) == 3, done.stderr
    assert float(rows[-1][1]) < 6
    assert int(rows[-1][2]) < 200_000  # kB


class _Hub(BaseHTTPRequestHandler):
    """Endless answers, and some that come byte by byte."""

    def do_GET(self) -> None:
        if "header" in self.path:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            self._drip(b"X-A: ")
        self.send_response(200)
        self.end_headers()
        if "drip" in self.path:
            self._drip(b"{")
        try:
            for _ in range(200 if "endless" in self.path else 1):
                self.wfile.write(b"[" * 100_000)
        except OSError:
            pass

    def _drip(self, begin: bytes) -> None:
        try:
            self.wfile.write(begin)
            for _ in range(100):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hub() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("org/endless", r"is longer than 4,194,304 bytes: that is no configuration"),
        ("org/drip", r"The Hugging Face hub took longer than 1 seconds: try again later"),
        ("org/header", r"The Hugging Face hub took longer than 1 seconds: try again later"),
        ("org/deep", r"config\.json:1: is nested too deeply"),
    ],
)
def test_a_hub_that_does_not_stop(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer has an end in bytes and in seconds, headers included."""
    monkeypatch.setattr(configurations, "HUB_SECONDS", 1.0)
    with hub() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        began = time.monotonic()
        with pytest.raises(FitcardError, match=message):
            from_hub(name)
        assert time.monotonic() - began < 2


MODEL = "models/google/siglip-so400m-patch14-384.yaml"


def test_what_a_link_leads_to_outside_is_never_shown(copied: Path, tmp_path: Path, cli: Cli) -> None:
    """`check` on somebody's pull request must not print a line of the machine's own files."""
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: hunter2\n")
    (copied / MODEL).unlink()
    (copied / MODEL).symlink_to(secret)
    done = cli("check", catalog=copied)
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    assert "password" not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"{MODEL}:1: is a link to a place outside the catalog: put the file itself there")


def test_a_folder_that_is_a_link_out(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/diary.yaml").write_text("dear: diary\n")
    (copied / "runs").rmdir()
    (copied / "runs").symlink_to(tmp_path / "private", target_is_directory=True)
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert str(caught.value).endswith("runs:1: is a link to a place outside the catalog: put the file itself there")


def test_a_link_inside_is_as_good_as_the_file(copied: Path) -> None:
    path = copied / "published/google/siglip-so400m-patch14-384.yaml"
    path.rename(copied / "published/google/kept.yaml")
    path.symlink_to("kept.yaml")
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert [problem.message for problem in caught.value.problems] == [
        "belongs to no model: delete it, or add the model"
    ]


def test_a_pipe_in_the_catalog_hangs_nothing(copied: Path, cli: Cli) -> None:
    """`check`, `fit` and `build` say which file it is."""
    (copied / MODEL).unlink()
    os.mkfifo(copied / MODEL)
    for words in (("check",), ("fit", "so400m", "--gpu", "4090"), ("build", "--output", str(copied.parent / "out"))):
        done = cli(*words, catalog=copied)
        assert done.returncode == 1
        assert done.stderr.strip().endswith(f"{MODEL}:1: is a named pipe and not a file: put the file itself there")
