"""The files of a catalog: every one is found, whatever else lies there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fitcard.catalog.storage.hashing import UNREADABLE, catalog_digests


def test_every_file_is_found_and_nothing_else(tmp_path: Path) -> None:
    """Links to folders are not followed, so none leads round in circles; one that leads nowhere hides no other file."""
    large = b"x" * 300_000
    contents = {
        "speed.yaml": b"1", "models/org/a.yaml": b"2", "models/org/z.yaml": large, "models/other/deep/er/b.yaml": b"", "runs/card/org/a.yaml": b"4",
        "runs/card/org.b/a.yaml": b"5",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "models/org/.hidden.yaml").write_bytes(b"no")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.yaml").write_bytes(b"no")
    (tmp_path / "models/org/m-round").symlink_to(tmp_path / "models", target_is_directory=True)
    (tmp_path / "models/org/m-loop.yaml").symlink_to("m-loop.yaml")
    (tmp_path / "models/org/m-linked.yaml").symlink_to("a.yaml")
    found = catalog_digests(tmp_path)
    wanted = {name: hashlib.sha256(content).hexdigest()[:32] for name, content in contents.items()}
    linked = {"models/org/m-loop.yaml": UNREADABLE, "models/org/m-linked.yaml": wanted["models/org/a.yaml"]}
    assert found == wanted | linked
    assert list(found) == sorted(found, key=lambda name: name.split("/"))
