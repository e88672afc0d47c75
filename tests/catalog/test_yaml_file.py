"""YAML 1.1's traps do not reach the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fitcard.catalog.yaml_file import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("off", "off"), ("1:30", "1:30"), ("2024-01-08", "2024-01-08"), ("80e9", "80e9"),
        ("0x10", "0x10"), ("1_000", "1_000"), ("true", True), ("~", None), ("12", 12), ("-3", -3), ("1.5", 1.5), ("1.0e+3", 1000.0),
        ('"12"', "12"), ("'true'", "true"),
    ],
)  # fmt: skip
def test_only_core_types_are_resolved(text: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"key: {text}\n")
    data, lines = read_yaml(path)
    assert data == {"key": value}
    assert type(data["key"]) is type(value)
    assert lines["key",] == 1


def test_lines_of_nested_values(tmp_path: Path) -> None:
    """Every key and list item is known by its line."""
    path = tmp_path / "a.yaml"
    path.write_text("# comment\na:\n  b: 1\n  c:\n    - x\n    - y\n")
    _, lines = read_yaml(path)
    assert (lines["a", "b"], lines["a", "c"], lines["a", "c", 1]) == (3, 4, 6)
