"""`fitcard serve`: who gets an answer, who is cut off, and how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from fitcard.site.generator import serve as serving
from fitcard.site.generator.engine import publish
from fitcard.site.generator.engine.manifest import NAME
from tests.conftest import ROOT
from tests.test_ending import caught


@pytest.fixture
def server(tmp_path: Path) -> Iterator[serving._Server]:
    """A server of one page."""
    for name in ("index.html", "404.html"):
        (tmp_path / name).write_text("<h1>Here</h1></body>")
    with serving._Server("127.0.0.1", 0, tmp_path) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


def asked(server: serving._Server, host: str, path: str = "/") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_its_own_names_are_answered(host: str, server: serving._Server) -> None:
    assert asked(server, host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1].evil"])  # fmt: skip
def test_other_names_are_not(host: str, server: serving._Server) -> None:
    """A page elsewhere whose name leads here by way of DNS reads nothing, news included."""
    for path in ("/", serving.ASK, serving.ASKER):
        status, text = asked(server, host, path)
        assert status == 421
        assert text.count("\n") == 1
        assert "Here" not in text


def test_the_host_that_was_given_is_answered(tmp_path: Path) -> None:
    with serving._Server("127.0.0.2", 0, tmp_path) as one:
        assert "127.0.0.2" in one.names


def test_a_request_that_never_ends_is_cut_off(server: serving._Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stops and one that drips, while others are answered; and every connection is free again."""
    monkeypatch.setattr(serving._Handler, "timeout", 1.0)
    monkeypatch.setattr(serving, "REQUEST_S", 1.5)
    with contextlib.ExitStack() as stack:
        halves = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 10)) for _ in range(8)
        ]
        for half in halves:
            half.sendall(b"GET / HTTP/1.1\r\n")
        dripping = stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 10))
        began, closed = time.monotonic(), False
        while not closed and time.monotonic() < began + 10:
            with contextlib.suppress(OSError):
                dripping.sendall(b"X")
            dripping.settimeout(0.3)
            try:
                closed = dripping.recv(1) == b""
            except TimeoutError:
                closed = False
            except OSError:
                closed = True
        assert closed
        assert time.monotonic() - began < 5
        assert all(half.recv(1) == b"" for half in halves)
        assert asked(server, "localhost")[0] == 200
    assert server.unread == {}


def test_too_many_connections_are_closed(server: serving._Server) -> None:
    """At the bound the next is closed at once, and taken when others have gone."""
    with contextlib.ExitStack() as stack:
        for _ in range(serving.CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 10))
        end = time.monotonic() + 5
        while len(server.unread) < serving.CONNECTIONS and time.monotonic() < end:
            time.sleep(0.01)
        one_more = stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 10))
        with contextlib.suppress(ConnectionResetError):
            assert one_more.recv(1) == b""
    end = time.monotonic() + 5
    while server.unread and time.monotonic() < end:
        time.sleep(0.01)
    assert asked(server, "localhost")[0] == 200


def test_an_address_that_is_none_is_an_error_of_the_asker(
    server: serving._Server, capfd: pytest.CaptureFixture[str]
) -> None:
    assert asked(server, "localhost", "http://[/")[0] == 400
    assert asked(server, "localhost", "/%00")[0] == 404
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("after", ["at once", "while it builds", "while it serves"])
def test_it_ends_cleanly(number: signal.Signals, code: int, after: str, sample_root: Path, tmp_path: Path) -> None:
    """Its builder with it: no traceback, no half of a site, no process."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "fitcard", "--catalog", str(sample_root), "serve", "--address", "127.0.0.1:0", "--output", str(site)]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout
    if after == "at once":
        while not caught(process.pid, signal.SIGTERM):
            time.sleep(0.002)
    else:
        assert process.stdout.readline().startswith("serving ")
        end = time.monotonic() + 120
        while not (site if after == "while it serves" else tmp_path / ".site.fresh").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert psutil.wait_procs(children, 5)[1] == []
    assert not (tmp_path / ".site.fresh").exists()


def test_without_a_checkout(tmp_path: Path) -> None:
    """Laid out as a wheel: one line where there is no site; a site that is there is served as it is, which is said."""
    data = shutil.ignore_patterns("traces", "models", "published", "runs", "gpus", "__pycache__")
    shutil.copytree(ROOT / "src/fitcard", tmp_path / "wheel/fitcard", ignore=data)

    def started() -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "fitcard",
            "serve",
            "--address",
            "127.0.0.1:0",
            "--output",
            str(tmp_path / "site"),
        ]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "wheel"), "XDG_CACHE_HOME": str(tmp_path)}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    process = started()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"the website is built from a checkout of fitcard: there is no .*mkdocs\.yml\n", err)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / NAME).touch()
    (tmp_path / "site/index.html").write_text("<h1>Here</h1></body>")
    process = started()
    assert process.stdout
    port = int(process.stdout.readline().rpartition(":")[2].strip("/\n"))
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    assert b"Here" in connection.getresponse().read()
    connection.close()
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert err.endswith("; the site is served as it is\n")


def test_a_signal_while_a_build_clears_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work folder goes even when the program is ended in the middle of removing it."""
    remove, ended = shutil.rmtree, iter((False, True, False))

    def end_once(folder: Path, *, ignore_errors: bool) -> None:
        if next(ended):
            sys.exit(143)
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr("fitcard.site.generator.engine.publish.shutil.rmtree", end_once)
    with pytest.raises(SystemExit), publish.work_folder(tmp_path / "site") as folder:
        (folder / "page.html").write_text("half")
    assert list(tmp_path.iterdir()) == []
