"""Texts that are still to be written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fitcard.catalog import CatalogError, load
from fitcard.catalog.linters import unwritten
from tests.catalog.linters.conftest import Plant

MODEL = "models/google/siglip-base-patch16-384.yaml"
CARDS = "gpus/nvidia-ada.yaml"


def test_a_text_of_a_model(plant: Plant) -> None:
    (line,) = plant(unwritten, MODEL, "family: SigLIP\n", 'family: "TO WRITE: its nearest relatives"\n')
    assert re.fullmatch(rf"{MODEL}:\d+: family: is still to be written: its nearest relatives", line)


def test_a_figure_of_a_card_which_is_no_card_until_then(plant: Plant) -> None:
    """The file loads, with the other cards in it; loading alone would say that units must be a whole number."""
    begun = '    memory_gib: "TO WRITE: rtx-4060 has 8"\n    units: "TO WRITE: SMs"\n    sources: {}\n'
    lines = plant(
        unwritten, CARDS, "gpus:\n", f"gpus:\n  rtx-4055:\n    name: GeForce RTX 4055\n    segment: desktop\n{begun}"
    )
    assert [re.sub(r":\d+:", ":", line) for line in lines] == [
        f"{CARDS}: gpus.rtx-4055.memory_gib: is still to be written: rtx-4060 has 8",
        f"{CARDS}: gpus.rtx-4055.units: is still to be written: SMs",
    ]


@pytest.mark.parametrize(
    "cards", ["- {name: 'TO WRITE: x'}\n  - {name: 'TO WRITE: y'}", "'TO WRITE: x'", "{x: 'TO WRITE: y'}"]
)
def test_texts_where_no_card_can_be(cards: str, copied: Path) -> None:
    """A file of another shape is said to be one, and never a traceback."""
    (copied / "gpus/new.yaml").write_text(
        f"vendor: NVIDIA\ngeneration: X\nreviewed: 2026-11-23\nsources: {{}}\ngpus:\n  {cards}\n"
    )
    with pytest.raises(CatalogError, match=r"new\.yaml:\d+: gpus.*: must be a list of `key: value` lines"):
        load(copied)
