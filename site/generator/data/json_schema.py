"""The JSON Schema of the API, which the site publishes as api/v1/schema.json: `make schema` writes it into site/docs."""

from __future__ import annotations

import json

from fitcard.catalog.storage.writer import write_atomically
from fitcard.site.generator.data.documents import schema
from fitcard.site.generator.engine.sources import documents_folder

SCHEMA_PATH = documents_folder() / "api/v1/schema.json"


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_atomically(SCHEMA_PATH, schema_text().encode())
