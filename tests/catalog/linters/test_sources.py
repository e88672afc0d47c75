"""Sources of files."""

from __future__ import annotations

import re

import pytest

from fitcard.catalog.linters import sources
from tests.catalog.linters.conftest import Plant

MODEL = "models/google/siglip-base-patch16-384.yaml"
CARDS = "gpus/nvidia-ada.yaml"
NEW = "sources:\n  new: {title: New, publisher: Somebody, url: %s, read: 2026-11-23}\n"


def test_a_source_that_no_fact_names(plant: Plant) -> None:
    (line,) = plant(sources, CARDS, "sources:\n", NEW % "https://www.nvidia.com/x.pdf")
    assert re.fullmatch(rf"{CARDS}:\d+: sources\.new: is named by no fact of this file: name it, or delete it", line)


def test_a_file_of_a_repository_without_its_commit(plant: Plant) -> None:
    url = "https://github.com/huggingface/transformers/blob/main/README.md"
    lines = plant(sources, MODEL, "\nsources:\n", "\n" + NEW % url)
    message = rf"changes with main: give the address with the commit of 40 digits in it \(got {url}\)"
    assert re.fullmatch(rf"{MODEL}:\d+: sources\.new\.url: {message}", lines[1])


def test_a_source_that_is_there_twice(plant: Plant) -> None:
    text = "  other: {title: 'NVIDIA Ada GPU Architecture, v2.02 (Appendices A, B and D)', publisher: NVIDIA, read: 2026-11-23, url: https://images.nvidia.com/aem-dam/Solutions/Data-Center/l4/nvidia-ada-gpu-architecture-whitepaper-V2.02.pdf}\n"
    lines = plant(sources, CARDS, "  wikipedia:\n", f"{text}  wikipedia:\n")
    assert re.match(rf"{CARDS}:\d+: sources\.other: is the document 'ada-whitepaper' again: keep one \(got ", lines[1])


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"https://github.com/a/b/blob/{'0' * 40}/c.md", None),
        (f"https://raw.githubusercontent.com/a/b/{'0' * 40}/c.md", None),
        ("https://github.com/a/b", None),
        ("https://github.com/a/b/issues/1", None),
        ("https://github.com/a/b/tree/v1.0/c", "v1.0"),
        ("https://github.com/a/b/blob/0123456/c.md", "0123456"),
        ("https://raw.githubusercontent.com/a/b/main/c.md", "main"),
        ("https://raw.githubusercontent.com/a/b/refs/heads/main/c.md", "main"),
    ],
)
def test_what_moves(url: str, fault: str | None) -> None:
    expected = f"changes with {fault}: give the address with the commit of 40 digits in it" if fault else None
    assert sources.moving(url) == expected


def test_a_search_is_no_document() -> None:
    assert sources.moving("https://github.com/search?q=x&type=code") == (
        "is a search and not the document that it found"
    )


def test_every_way_of_naming_a_source() -> None:
    record = {
        "license": {"source": "a"}, "released_source": "b", "claims": [{"source": "c"}],
        "gpus": {"x": {"sources": {"d": ["units"]}}}, "labels": {"y": {"sources": ["e"]}},
    }  # fmt: skip
    assert set(sources.named(record)) == set("abcde")
