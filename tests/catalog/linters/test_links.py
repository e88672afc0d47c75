"""Addresses."""

from __future__ import annotations

import re

import pytest

from fitcard.catalog.linters import links
from tests.catalog.linters.conftest import Plant

MODEL = "models/google/siglip-base-patch16-384.yaml"
PAPER = "Paper: https://arxiv.org/abs/2303.15343\n"


def test_a_link_to_nowhere(plant: Plant) -> None:
    (line,) = plant(links, MODEL, PAPER, "Paper: https://arxiv/abs/2303.15343\n")
    message = r"has no host that the public can reach \(got https://arxiv/abs/2303\.15343\)"
    assert re.fullmatch(rf"{MODEL}:\d+: links\.Paper: {message}", line)


def test_a_link_that_is_there_twice(plant: Plant) -> None:
    (line,) = plant(links, MODEL, PAPER, f"{PAPER}  Publication: https://arxiv.org/abs/2303.15343\n")
    message = r"is the address of 'Paper' too \(got https://arxiv\.org/abs/2303\.15343\)"
    assert re.fullmatch(rf"{MODEL}:\d+: links\.Publication: {message}", line)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://huggingface.co/google/siglip", None),
        ("https://en.wikipedia.org/wiki/Ada_(microarchitecture)", None),
        ("https://localhost/x", "has no host that the public can reach"),
        ("https://127.0.0.1/x", "has no host that the public can reach"),
        ("https://example.com/x", "is an example's address"),
        ("https://someone@github.com/x", "has a user or a port in it, which public pages need not"),
        ("https://github.com:99999/x", "is no address: Port out of range 0-65535"),
        ("https://github.com/x).", "ends with the sentence's punctuation"),
        ("https://a.com/x?utm_source=b&c=d", "says who came from where (utm_source): leave that out"),
    ],
)
def test_what_is_wrong_with_an_address(url: str, fault: str | None) -> None:
    assert links.address_fault(url) == fault
