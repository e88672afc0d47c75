"""Names as people type them."""

from __future__ import annotations

import pytest

from fitcard.catalog import Catalog, UnknownName
from fitcard.catalog.names import find_gpu, find_model, find_quantization


@pytest.mark.parametrize(
    ("typed", "card"),
    [
        ("4090", "rtx-4090"), ("RTX 4090", "rtx-4090"), ("rtx4090", "rtx-4090"), ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("RTX 3080 12GB", "rtx-3080-12gb"), ("RTX 3080 10GB", "rtx-3080"), ("4060", "rtx-4060"), ("4060 laptop", "rtx-4060-laptop"),
        ("7900 XTX", "rx-7900-xtx"), ("H100", "h100-sxm"), ("b580", "arc-b580"), ("M4 Max", "apple-m4-max-40-core-64gb"),
    ],
)  # fmt: skip
def test_cards(typed: str, card: str, real: Catalog) -> None:
    assert find_gpu(real, typed) == card


def test_models_and_quantizations(real: Catalog) -> None:
    assert find_model(real, "siglip so400m") == "google/siglip-so400m-patch14-384"
    assert find_model(real, "google/siglip-so400m-patch14-384") == "google/siglip-so400m-patch14-384"
    assert find_model(real, "clip 336") == "openai/clip-vit-large-patch14-336"
    assert find_quantization(real, "q4_k_m") == "Q4_K_M"


def test_every_id_name_and_alias_finds_its_own_card(real: Catalog) -> None:
    """An alias that two cards share would be an error for whoever types it."""
    for key, card in real.gpus.items():
        for typed in (key, card.name, *card.spec.aliases):
            assert find_gpu(real, typed) == key


def test_an_ambiguous_name_lists_the_candidates(real: Catalog) -> None:
    with pytest.raises(UnknownName, match=r"'Radeon' fits several: .*rx-7600.*Type more of the name"):
        find_gpu(real, "Radeon")


@pytest.mark.parametrize("typed", ["", "   ", "§§", "x" * 500])
def test_nonsense_is_an_error_of_one_line(typed: str, real: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        find_gpu(real, typed)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
