"""The JSON Schemas that editors read are those of the classes that check."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from fitcard.catalog.loader import HERE


def test_the_written_schemas_are_fresh() -> None:
    """Made in a process of its own, since only that one reads the explanations of fields."""
    program = "import json; from fitcard.catalog.json_schema import schemas; print(json.dumps(schemas()))"
    environment = {**os.environ, "FITCARD_FIELD_DOCS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    written = {path.name: path.read_text() for path in (HERE / "schema").glob("*.json")}
    assert written == json.loads(done.stdout), "run `make schema`"


def test_every_key_is_explained() -> None:
    """What an editor shows beside a key, in every kind of file."""
    for path in (HERE / "schema").glob("*.json"):
        schema = json.loads(path.read_text())
        for kind in (schema, *schema.get("$defs", {}).values()):
            missing = [key for key, value in kind.get("properties", {}).items() if not value.get("description")]
            assert missing == [], f"{path.name}, {kind['title']}"


def test_every_data_file_names_the_schema_that_it_follows() -> None:
    for path in [
        *HERE.glob("*.yaml"),
        *(HERE / "models").rglob("*.yaml"),
        *(HERE / "gpus").glob("*.yaml"),
        *(HERE / "published").rglob("*.yaml"),
    ]:
        found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert found, path
        assert (path.parent / found[1]).resolve().is_file(), path
