"""Serving the site while it is edited: one process watches and builds, another serves, and pages ask it when to load again.

The built files hold nothing of this: the script that asks is put into pages as they are sent.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from fitcard.catalog.errors import FitcardError
from fitcard.site.generator.build import build
from fitcard.site.generator.engine.manifest import NAME
from fitcard.site.generator.engine.sources import ROOT, code, configuration

INTERVAL_S = 0.2
"""Between two looks at the files; longer where there are so many that looking takes more than a tenth of it."""
PATIENCE_S = 25
"""How long a question for news is left open."""
REQUEST_S = 10.0
"""Within which a request must have come whole, and each part of an answer be taken."""
CONNECTIONS = 64
"""At once; every open page keeps one, on which it waits for news."""
ENDING_S = 10.0
"""For the builder to put its files in order."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:\d+)?")
ASK, ASKER = "/.fitcard-news", "/.fitcard-news.js"
_SCRIPT = b"""(async () => {
  const version = new URL(document.currentScript.src).search;
  for (;;) {
    try { if (await (await fetch("/.fitcard-news" + version)).text() === "new") location.reload(); }
    catch { await new Promise(later => setTimeout(later, 1000)); }
  }
})();
"""
_WAIT = (
    b"<!doctype html><title>fitcard</title><p>The site is being built; if this stays, look at the terminal.</p></body>"
)


def serve(address: str, target: Path | None, catalog: Path | None) -> None:
    """Serve the site at `address` (`host:port`) and keep it current until interrupted.

    Outside a checkout a site that is there is served as it is, since the templates are part of the checkout. Raises
    FitcardError for an address that cannot be had, and where there is neither a checkout nor a site.
    """
    host, _, port = address.rpartition(":")
    host = host or "127.0.0.1"
    folder = (target or ROOT / "build/site").resolve()
    if not (folder / NAME).is_file():
        configuration()
    try:
        server = _Server(host, int(port), folder)
    except (OSError, ValueError, OverflowError) as error:
        raise FitcardError(f"cannot serve at {address}: {error}; give another --address") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serving {folder} at http://{host}:{server.server_port}/", flush=True)
    try:
        try:
            configuration()
        except FitcardError as error:
            print(f"{error}; the site is served as it is", file=sys.stderr, flush=True)
            threading.Event().wait()
        _keep_current(folder, catalog)
    finally:
        server.shutdown()
        server.server_close()


def _keep_current(folder: Path, catalog: Path | None) -> None:
    """Have another process watch and build, and start it again when code that did not run has been edited."""
    command = [sys.executable, "-m", "fitcard", *(["--catalog", str(catalog.resolve())] if catalog else [])]
    command += ["build", "--watch", "--output", str(folder)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    while True:
        before = _signature(_watched(catalog))
        with subprocess.Popen(command, env=environment) as builder:
            try:
                code = builder.wait()
            except BaseException:
                builder.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    builder.wait(ENDING_S)
                builder.kill()
                raise
        if code in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM):
            break
        while _signature(_watched(catalog)) == before:
            time.sleep(INTERVAL_S)


def watch(target: Path | None, catalog: Path | None, explain: bool) -> None:
    """Build now and after every edit, until interrupted or left alone. When our own code was edited, begin again with the new."""
    started_with, parent = code(ROOT), os.getppid()
    while os.getppid() == parent:
        before = _signature(_watched(catalog))
        if code(ROOT) != started_with:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        try:
            _, report = build(target, catalog)
            report.tell(explain)
        except FitcardError as error:
            print(f"{error}\nthe site stays as it was", file=sys.stderr, flush=True)
        while os.getppid() == parent:
            began = time.monotonic()
            if _signature(_watched(catalog)) != before:
                break
            time.sleep(max(INTERVAL_S, 10 * (time.monotonic() - began)))


def _watched(catalog: Path | None) -> Iterator[Path]:
    yield from _code()
    yield catalog or ROOT / "catalog"
    yield ROOT / "site/theme"
    yield ROOT / "site/docs"


def _code() -> Iterator[Path]:
    yield from (ROOT / "mkdocs.yml", ROOT / "src", ROOT / "catalog", ROOT / "advisor", ROOT / "site/generator")


def _signature(places: Iterator[Path]) -> dict[str, tuple[int, int, int]]:
    """What can be seen of files without reading them; reading is for the build."""
    states: dict[str, tuple[int, int, int]] = {}
    for place in places:
        names = (
            [str(place)]
            if place.is_file()
            else [f"{where}/{name}" for where, _, files in os.walk(place) for name in files]
        )
        for name in names:
            if not name.endswith((".pyc", ".tmp", ".lock")):
                with contextlib.suppress(OSError):
                    state = os.stat(name)  # noqa: PTH116 - thousands of files, five times a second
                    states[name] = (state.st_mtime_ns, state.st_size, state.st_ino)
    return states


class _Server(ThreadingHTTPServer):
    """A server for one machine: it answers to its own names, and nobody can keep all of its connections."""

    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, folder: Path) -> None:
        bare = host.removeprefix("[").removesuffix("]")
        self.address_family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        self.names = {"localhost", "127.0.0.1", "[::1]", host.lower()}
        self.free = threading.BoundedSemaphore(CONNECTIONS)
        self.unread: dict[socket.socket, float] = {}
        """Connections whose request has not come whole, and since when."""
        super().__init__((bare, port), partial(_Handler, directory=str(folder)))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or close it where there are too many."""
        if not self.free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self.unread[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no thread left
            self._over(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._over(request)

    def _over(self, request: socket.socket) -> None:
        self.unread.pop(request, None)
        self.free.release()

    def service_actions(self) -> None:
        """Twice a second: end what dripped in for too long."""
        late = time.monotonic() - REQUEST_S
        for request in [request for request, began in list(self.unread.items()) if began < late]:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever closes a connection early is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    """Serves files of the site, with the script in every page."""

    timeout = REQUEST_S
    server: _Server

    def parse_request(self) -> bool:
        """Whether there is a request for this server: pages of other names, which lead here by way of DNS, get none."""
        if not super().parse_request():
            return False
        self.server.unread.pop(self.connection, None)
        host = _HOST.fullmatch(self.headers.get("Host", "").strip().lower())
        name = host[1] if host else ""
        try:
            urlsplit(self.path)
        except ValueError:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", b"This is no address.\n")
            return False
        if name in self.server.names or name == self.connection.getsockname()[0]:
            return True
        self._send(
            HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"This server answers to localhost and its own address.\n"
        )
        return False

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == ASK:
            return self._send(HTTPStatus.OK, "text/plain", self._news(address.query))
        if address.path == ASKER:
            return self._send(HTTPStatus.OK, "text/javascript", _SCRIPT)
        return super().do_GET()

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self._head(status, kind, content)
        self.wfile.write(content)

    def _head(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def send_head(self) -> BytesIO | BinaryIO | None:
        """A page with the script, or the file as it is."""
        version = self._version()
        path = Path(self.translate_path(self.path))
        if path.is_dir() and urlsplit(self.path).path.endswith("/"):
            path /= "index.html"
        status = HTTPStatus.OK
        if not path.exists():
            status, path = HTTPStatus.NOT_FOUND, Path(self.directory) / "404.html"
        if path.suffix != ".html":
            return super().send_head()
        try:
            content = path.read_bytes()
        except OSError:
            status, content = HTTPStatus.SERVICE_UNAVAILABLE, _WAIT
        # A file of its own, since pages forbid scripts inside them.
        content = content.replace(b"</body>", f'<script src="{ASKER}?{version}"></script></body>'.encode())
        self._head(status, "text/html", content)
        return BytesIO(content)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""

    def _version(self) -> str:
        """Another one for each generation of the site."""
        try:
            state = (Path(self.directory) / NAME).stat()
        except OSError:
            return "none"
        return f"{state.st_ino}-{state.st_mtime_ns}"

    def _news(self, version: str) -> bytes:
        """`new` as soon as there is another site than the one that the page is of, or `same` after a while."""
        until = time.monotonic() + PATIENCE_S
        while self._version() == version and time.monotonic() < until:
            time.sleep(0.05)
        return b"same" if self._version() == version else b"new"
