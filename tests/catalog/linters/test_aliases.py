"""Names that several answer to."""

from __future__ import annotations

import re

from fitcard.catalog.linters import aliases
from tests.catalog.linters.conftest import Plant

ADA = "gpus/nvidia-ada.yaml"
MODEL = "models/google/siglip-base-patch16-384.yaml"


def test_an_alias_of_two_cards(plant: Plant) -> None:
    """Spelled otherwise, but the same to whoever types it; both cards are named, at each of them."""
    lines = plant(aliases, ADA, 'aliases: ["4090", ', 'aliases: ["4090", "geforce-rtx4080", ', after="\n  rtx-4090:\n")
    (line,) = [line for line in lines if "rtx-4090.aliases" in line]
    message = "'geforce-rtx4080' is a name of rtx-4080, rtx-4090: an alias must mean one of them alone"
    assert re.fullmatch(rf"{ADA}:\d+: gpus\.rtx-4090\.aliases\.1: {message}", line)


def test_an_alias_that_differs_by_words_of_maker_and_kind(plant: Plant) -> None:
    """Names are compared as they are looked up: without those words, and with the memory."""
    lines = plant(
        aliases, ADA, 'aliases: ["4090", ', 'aliases: ["4090", "NVIDIA RTX 4080 GPU", ', after="\n  rtx-4090:\n"
    )
    assert any("'NVIDIA RTX 4080 GPU' is a name of rtx-4080, rtx-4090" in line for line in lines)


def test_an_alias_of_two_models(plant: Plant) -> None:
    lines = plant(aliases, MODEL, "aliases: [", "aliases: [siglip so400m, ")
    names = "google/siglip-base-patch16-384, google/siglip-so400m-patch14-384"
    message = rf"'siglip so400m' is a name of {names}: an alias must mean one of them alone"
    assert sorted(re.sub(r":\d+:", ":", line) for line in lines) == [
        f"{MODEL}: aliases.0: {message}",
        f"models/google/siglip-so400m-patch14-384.yaml: aliases.1: {message}",
    ]
