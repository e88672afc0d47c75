"""What scripts add: your card, sorting, filtering, comparing, searching, and links that restore what was seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog

SO400M = "google/siglip-so400m-patch14-384"
MODEL = f"models/{SO400M}/"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_choosing_a_card_changes_the_verdicts(page: Page, served: str, sample: Catalog) -> None:
    """On the home page every model is answered for the card, as the advisor answers; on a model's page its row is told."""
    page.goto(served)
    page.get_by_label("Your GPU").select_option("gtx-1080-ti")
    table = page.locator("[data-chosen] table")
    expect(table.locator("tbody tr")).to_have_count(len(sample.models))
    for model in (SO400M, "facebook/dinov2-base"):
        pick = picks(sample, model)["gtx-1080-ti"].best
        assert pick
        row = table.get_by_role("row", name=sample.models[model].name).first
        expect(row).to_contain_text(pick.quantization)
        expect(row).to_contain_text(
            f"{pick.memory.required_bytes / 1e9:.2f} of {pick.memory.available_bytes / 1e9:.1f} GB"
        )
    page.get_by_label("Your GPU").select_option("rtx-4090")
    best = picks(sample, SO400M)["rtx-4090"].best
    assert best
    expect(page.locator("[data-chosen]")).to_contain_text("GeForce RTX 4090")
    expect(page.locator("[data-chosen] table")).to_contain_text(best.quantization)


def test_the_card_is_remembered_and_stands_in_the_address(page: Page, served: str, sample: Catalog) -> None:
    page.goto(served)
    page.get_by_label("Your GPU").select_option("rtx-3060")
    assert page.url.endswith("?card=rtx-3060")
    page.goto(served + MODEL)
    expect(page.locator("[data-chosen]")).to_contain_text("GeForce RTX 3060")
    best = picks(sample, SO400M)["rtx-3060"].best
    assert best
    expect(page.locator("[data-chosen]")).to_contain_text(
        f"{best.quantization}, {best.memory.required_bytes / 1e9:.2f} of"
    )
    page.goto(f"{served}{MODEL}?card=rtx-4090")  # a link that somebody shared comes before what is remembered
    expect(page.locator("[data-chosen]")).to_contain_text("GeForce RTX 4090")
    assert page.locator("tr.yours").get_attribute("data-card") == "rtx-4090"


def test_a_table_sorts_and_the_link_restores_it(page: Page, served: str, sample: Catalog) -> None:
    page.goto(served + "gpus/")
    power = page.locator("#gpus-table").get_by_role("button", name="Power")
    power.click()
    power.click()
    first = page.locator("#gpus-table tbody tr th").first.text_content()
    most = max(card.spec.board_power_w or 0 for card in sample.gpus.values())
    assert first in [card.spec.name for card in sample.gpus.values() if card.spec.board_power_w == most]
    assert page.locator("#gpus-table th[aria-sort=descending]").text_content() == "Power"
    page.goto(page.url)
    assert page.locator("#gpus-table tbody tr th").first.text_content() == first
    assert page.locator("#gpus-table tbody tr").last.text_content() is not None


def test_filters_count_and_the_link_restores_them(page: Page, served: str, sample: Catalog) -> None:
    page.goto(served + MODEL)
    form = page.locator('form[data-filters="hardware-table"]')
    form.get_by_label("Vendor").select_option("NVIDIA")
    form.get_by_label("Memory from").select_option("48")
    form.get_by_label("Kind").select_option("workstation")
    wanted = [
        card for card in sample.gpus.values()
        if card.vendor == "NVIDIA" and card.spec.memory_gib >= 48 and card.spec.segment == "workstation"
    ]  # fmt: skip
    said = f"{len(wanted)} of {len(sample.gpus)} shown"
    expect(form.locator("output")).to_have_text(said)
    assert page.locator("#hardware-table tbody tr:visible").count() == len(wanted)
    page.goto(page.url)
    expect(form.locator("output")).to_have_text(said)
    form.get_by_role("button", name="Show all").click()
    expect(form.locator("output")).to_have_text(f"{len(sample.gpus)} of {len(sample.gpus)} shown")
    assert "vendor" not in page.url


def test_two_models_side_by_side(page: Page, served: str, sample: Catalog) -> None:
    page.goto(served + "compare/")
    page.get_by_label("Model 1").select_option(SO400M)
    page.get_by_label("Model 2").select_option("facebook/dinov2-base")
    table = page.locator("[data-compared] table")
    expect(table).to_contain_text(f"{sample.traces[SO400M].parameters():,}")
    expect(table).to_contain_text(f"{sample.traces['facebook/dinov2-base'].parameters('vision'):,}")
    kept = page.url
    page.goto(kept)
    expect(page.locator("[data-compared] table thead")).to_contain_text(sample.models["facebook/dinov2-base"].name)


def test_two_cards_side_by_side(page: Page, served: str, sample: Catalog) -> None:
    page.goto(served + "compare/?gpus=rtx-4090,rtx-3060")
    table = page.locator("[data-compared] table")
    expect(table).to_contain_text("24 GiB")
    expect(table).to_contain_text("12 GiB")
    best = picks(sample, SO400M)["rtx-3060"].best
    assert best
    row = table.get_by_role("row", name=sample.models[SO400M].name).first
    expect(row).to_contain_text(f"batches up to {best.max_batch:,}")


def test_search_finds_by_words_and_filters(page: Page, served: str) -> None:
    page.goto(served)
    page.get_by_label("Search models, GPUs and quantizations").fill("so400m")
    page.keyboard.press("Enter")
    found = page.locator("[data-found] li")
    expect(found.first).to_be_visible()
    assert "/search/?q=so400m" in page.url
    expect(page.locator("[data-found]")).to_contain_text("SigLIP SO400M")
    page.get_by_label("Kind").select_option("card")
    page.get_by_label("Words").fill("4090")
    expect(found.first).to_contain_text("RTX 4090")
    page.goto(page.url)
    expect(found.first).to_contain_text("RTX 4090")
    found.first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("RTX 4090")


def test_the_keyboard_alone_sorts_and_chooses(page: Page, served: str) -> None:
    page.goto(served + "models/")
    button = page.locator("#models-table").get_by_role("button", name="Parameters")
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#models-table th[aria-sort=ascending]").text_content() == "Parameters"
    page.get_by_label("Family").focus()
    page.keyboard.type("DINOv2")
    expect(page.locator('form[data-filters="models-table"] output')).to_contain_text("1 of")
