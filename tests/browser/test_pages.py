"""Every kind of page in a real Chromium: accessible, readable at 320 px, quiet, and whole without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe, AxeResults
from playwright.sync_api import Browser, Page

from fitcard.catalog import Catalog
from tests.nightly import NIGHTLY
from tests.sample import SO400M

PAGES = {
    "home": "",
    "model": "models/google/siglip-so400m-patch14-384/",
    "text model without runs": "models/sentence-transformers/all-MiniLM-L6-v2/",
    "card": "gpus/rtx-4090/",
    "unified memory": "gpus/apple-m4-max-40-core-64gb/",
    "models": "models/",
    "cards": "gpus/",
    "quantizations": "quantizations/",
    "quantization": "quantizations/Q4_K_M/",
    "compare": "compare/?models=google/siglip-so400m-patch14-384,facebook/dinov2-base",
    "search": "search/?q=siglip",
    "accuracy": "accuracy/",
    "numbers": "numbers/",
    "changes": "changes/",
    "policy": "policy/",
    "contribute": "contribute/",
    "data": "data/",
    "run": "",  # the newest one, filled in by `path_of`
}
SEEN_AS: tuple[tuple[int, Literal["light", "dark"]], ...] = (
    (1280, "light"),
    (1280, "dark"),
    (320, "dark"),
    (320, "light"),
)
"""Widths and colour schemes, each but the first one change from the one before."""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def path_of(name: str, catalog: Catalog) -> str:
    if name == "run":
        return f"runs/{catalog.run_index[-1].key}/"
    return PAGES[name]


def opened(
    browser: Browser, address: str, width: int = 1280, scheme: str = "light", script: bool = True
) -> tuple[Page, list[str]]:
    """The page, and all that it wrote to the console or loaded from elsewhere."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=script,
    )  # fmt: skip
    page = context.new_page()
    noise: list[str] = []
    own = "/".join(address.split("/")[:3])
    page.on("request", lambda request: None if request.url.startswith(own) else noise.append(request.url))
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.goto(address, wait_until="networkidle")
    return page, noise


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_the_page_is_quiet(name: str, browser: Browser, served: str, sample: Catalog) -> None:
    """WCAG 2.2 AA and best practices, contrast and target size included, light and dark, wide and narrow. No request leaves
    the site, nothing is written to the console, and at 320 px nothing but tables in their frames scrolls sideways."""
    check(*opened(browser, served + path_of(name, sample)))


@pytest.mark.parametrize("path", ["", f"models/{SO400M}/", "gpus/rtx-4090/"])
def test_axe_finds_nothing_on_pages_of_all_the_data(path: str, browser: Browser, served_real: str) -> None:
    """The same of the longest pages, with every GPU and quantization on them."""
    check(*opened(browser, served_real + path))


CONTRAST = ["color-contrast", "link-in-text-block"]
"""The rules that look at colours. They take four fifths of axe's time."""
ONE_OF_EACH_LOOK = """() => {
  const numbers = new Map(), looks = new Map();
  const look = (element, above) => {
    const style = getComputedStyle(element);
    const said = [above, element.tagName, element.className, style.color, style.backgroundColor, style.backgroundImage,
      style.opacity, style.fontSize, style.fontWeight, style.textDecorationLine].join();
    if (!numbers.has(said)) numbers.set(said, numbers.size);
    return numbers.get(said);
  };
  const visit = (element, above) => {
    const mine = look(element, above);
    const speaks = element.matches("input, select, textarea, button")
      || [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (speaks && !looks.has(mine) && element.checkVisibility({visibilityProperty: true}) && element.getClientRects().length)
      looks.set(mine, element);
    for (const child of element.children) visit(child, mine);
  };
  visit(document.body, -1);
  return [...looks.values()];
}"""
"""The first visible of all elements with text that look the same, and whose ancestors do."""


def check(page: Page, noise: list[str]) -> None:
    """By day each width is looked at in one scheme by all rules but those of colours, for which the other scheme is the same page;
    and colours in both, on one element of each look. By night every rule looks at everything."""
    page.evaluate(Axe().axe_script)
    for at, (width, scheme) in enumerate(SEEN_AS):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        where = f"{width} px, {scheme}"
        everything = {"type": "tag", "values": TAGS}
        if NIGHTLY:
            assert faults(page, everything) == "", where
            continue
        assert faults(page, {"type": "rule", "values": CONTRAST}, f"{{include: ({ONE_OF_EACH_LOOK})()}}") == "", where
        if at % 2 == 0:
            assert faults(page, everything, rules={rule: {"enabled": False} for rule in CONTRAST}) == "", where
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre') && e.getBoundingClientRect().right > 321)"
        ".map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"
    )
    assert outside == []
    assert noise == []
    page.context.close()


def test_a_colour_that_is_wrong_in_one_place_and_scheme_is_found(browser: Browser, served: str) -> None:
    page, _ = opened(browser, f"{served}gpus/")
    page.evaluate("document.querySelector('tbody tr:last-of-type td:nth-of-type(2)').style.color = '#333'")
    with pytest.raises(AssertionError, match=r"(?s)1280 px, dark.*color-contrast"):
        check(page, [])
    page.context.close()


def faults(page: Page, only: Mapping[str, object], where: str = "document", **options: object) -> str:
    """What axe reports."""
    told = json.dumps({"runOnly": only, "resultTypes": ["violations"], "elementRef": False, **options})
    found = AxeResults(page.evaluate(f"axe.run({where}, {told})"))
    return str(found.generate_report()) if found.violations_count else ""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("compare", "search")])
def test_nothing_moves_while_the_page_loads(
    name: str, width: int, browser: Browser, trickling: str, sample: Catalog
) -> None:
    """No layout shift, as the browser itself counts them, however slowly the page comes: the head, the columns of a table and
    what scripts show have their places before the rest has arrived."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.add_init_script(
        "window.shift = 0; window.moved = []; new PerformanceObserver(l => { for (const e of l.getEntries()) { window.shift += e.value;"
        " for (const s of e.sources) window.moved.push((s.node?.outerHTML ?? s.node?.textContent ?? '').slice(0, 80)); } })"
        ".observe({type: 'layout-shift', buffered: true});"
    )
    page.goto(trickling + path_of(name, sample), wait_until="load")
    page.wait_for_timeout(100)  # what the last paint moved is reported after it
    assert page.evaluate("window.shift") < 0.001, page.evaluate("window.moved")
    context.close()


def test_everything_is_there_without_javascript(browser: Browser, served: str, sample: Catalog) -> None:
    page, _ = opened(browser, served + PAGES["model"], script=False)
    for heading in (
        "Quantization variants",
        "What fits in how much memory",
        "Hardware that runs this",
        "Frequently asked",
    ):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    assert page.locator("#hardware-table tbody tr").count() == len(sample.gpus)
    assert not page.locator("form:visible").count()  # what needs a script is not shown
    page.context.close()


def test_the_keyboard_reaches_the_content_first(browser: Browser, served: str) -> None:
    """The first stop of the Tab key skips the navigation."""
    page, _ = opened(browser, served + PAGES["model"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url.endswith("#content"))
    page.context.close()


def test_pages_opened_as_files_are_styled(browser: Browser, site: Path) -> None:
    """The strict policy for content must not keep a page's own style and script from a person who opens the folder."""
    page, noise = opened(browser, (site / "index.html").as_uri())
    assert page.evaluate("getComputedStyle(document.querySelector('header.top')).borderBottomWidth") == "1px"
    assert page.locator("[data-chooser]").is_visible()
    assert [line for line in noise if not line.startswith("file:")] == []
    page.context.close()
