"""Serving the site while it is edited: one process watches and builds, another serves, and pages ask it when to load again.

The built files hold nothing of this: the script that asks is put into pages as they are sent.
"""

from __future__ import annotations

import contextlib
import os
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
from fitcard.site.generator.engine.sources import ROOT, code

INTERVAL_S = 0.2
"""Between two looks at the files; longer where there are so many that looking takes more than a tenth of it."""
PATIENCE_S = 25
"""How long a question for news is left open."""
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
    """Serve the site at `address` (`host:port`) and keep it current until interrupted. Raises FitcardError for an address that cannot be had."""
    host, _, port = address.rpartition(":")
    folder = (target or ROOT / "build/site").resolve()
    try:
        server = ThreadingHTTPServer((host or "127.0.0.1", int(port)), partial(_Handler, directory=str(folder)))
    except (OSError, ValueError, OverflowError) as error:
        raise FitcardError(f"cannot serve at {address}: {error}; give another --address") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serving {folder} at http://{host or '127.0.0.1'}:{server.server_port}/", flush=True)
    command = [sys.executable, "-m", "fitcard", *(["--catalog", str(catalog.resolve())] if catalog else [])]
    command += ["build", "--watch", "--output", str(folder)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            before = _signature(_watched(catalog))
            if subprocess.run(command, env=environment, check=False).returncode == 0:
                break
            while _signature(_watched(catalog)) == before:  # code that does not run: wait until it is edited
                time.sleep(INTERVAL_S)
    server.shutdown()


def watch(target: Path | None, catalog: Path | None, explain: bool) -> None:
    """Build now and after every edit, until interrupted or left alone. When our own code was edited, begin again with the new."""
    started_with, parent = code(ROOT), os.getppid()
    with contextlib.suppress(KeyboardInterrupt):
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
    found: dict[str, tuple[int, int, int]] = {}
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
                    found[name] = (state.st_mtime_ns, state.st_size, state.st_ino)
    return found


class _Handler(SimpleHTTPRequestHandler):
    """Serves files of the site, with the script in every page."""

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
