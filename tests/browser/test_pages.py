"""Every kind of page in a real Chromium: accessible, readable at 320 px, quiet, and whole without JavaScript."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from generator.build import build

PAGES = {
    "home": "index.html",
    "model": "models/google/siglip-so400m-patch14-384/index.html",
    "model without runs": "models/openai/clip-vit-large-patch14-336/index.html",
    "card": "gpus/rtx-4090/index.html",
    "unified memory": "gpus/apple-m4-max-40-core-64gb/index.html",
    "models": "models/index.html",
    "cards": "gpus/index.html",
    "numbers": "numbers/index.html",
    "policy": "policy/index.html",
}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site") / "out")[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    assert path, "the browser tests need Chromium: install the package chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


def opened(
    browser: Browser, site: Path, name: str, width: int = 1280, scheme: str = "light", script: bool = True
) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=script,
    )
    page = context.new_page()
    page.goto((site / PAGES[name]).as_uri())
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, width: int, scheme: str, browser: Browser, site: Path) -> None:
    """WCAG 2.2 AA and best practices, contrast and target size included."""
    page = opened(browser, site, name, width, scheme)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}})
    assert found.violations_count == 0, found.generate_report()
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways_at_320_px_but_tables_in_their_frames(name: str, browser: Browser, site: Path) -> None:
    page = opened(browser, site, name, 320)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre') && e.getBoundingClientRect().right > 321)"
        ".map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"
    )
    assert outside == []
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_quiet(name: str, browser: Browser, site: Path) -> None:
    """No request leaves the site and nothing is written to the console."""
    context = browser.new_context()
    page = context.new_page()
    requests: list[str] = []
    messages: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto((site / PAGES[name]).as_uri(), wait_until="networkidle")
    assert messages == []
    assert [url for url in requests if not url.startswith("file:///")] == []
    context.close()


def test_everything_is_there_without_javascript(browser: Browser, site: Path) -> None:
    page = opened(browser, site, "model", script=False)
    for heading in ("Quantization variants", "Hardware that runs this", "Frequently asked"):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    page.context.close()


def test_the_keyboard_reaches_the_content_first(browser: Browser, site: Path) -> None:
    """The first stop of the Tab key skips the navigation."""
    page = opened(browser, site, "model")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.context.close()
