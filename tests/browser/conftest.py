"""A real Chromium, and the built site behind a server of its own, as people meet it."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

PIECES, PAUSE_S = 16, 0.04
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class _Trickling(_Quiet):
    """Sends a page in pieces with pauses in which the browser paints what it has, as over a poor line. The first pieces are cut
    within the head of the page, where every link of the navigation is one of its own."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not self.path.split("?")[0].endswith("/"):
            super().do_GET()
            return
        text = (path / "index.html").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        body = text.index(b"<main")
        cuts = [match.end() for match in re.finditer(rb"</a>", text[:body])]
        # At ends of lines: half a word that is whole a moment later would wrap, which no page can help.
        cuts += [text.find(b"\n", body + (len(text) - body) * piece // PIECES) for piece in range(PIECES)]
        for start, end in pairwise([0, *cuts, len(text)]):
            self.wfile.write(text[start:end])
            time.sleep(PAUSE_S)


def _serving(handler: type[_Quiet], folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """The address at which the built site is served on this machine."""
    yield from _serving(_Quiet, site)


@pytest.fixture(scope="session")
def served_real(real_site: Path) -> Iterator[str]:
    """The address at which the site of the real catalog is served."""
    yield from _serving(_Quiet, real_site)


@pytest.fixture(scope="session")
def trickling(site: Path) -> Iterator[str]:
    """The address at which the built site comes piece by piece."""
    yield from _serving(_Trickling, site)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    assert path, "the browser tests need Chromium: install the package chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()
