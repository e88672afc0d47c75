"""The JSON Schemas that editors complete and explain with: `make schema` writes them.

They are made from the same classes that check the files, and a test keeps the written ones fresh.
"""

from __future__ import annotations

import json
from typing import Any

from fitcard.catalog.loader import HERE
from fitcard.catalog.schema.gpu import GpuFile
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.quantization import Quantizations
from fitcard.catalog.schema.record import Record
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.signers import SignersFile
from fitcard.catalog.schema.speed import SpeedFile
from fitcard.catalog.schema.waivers import ExceptionsFile
from fitcard.catalog.storage.writer import write_atomically

FILES: dict[str, type[Record]] = {
    "model": Model,
    "gpus": GpuFile,
    "quantizations": Quantizations,
    "published": PublishedFile,
    "runtimes": Runtimes,
    "matmul": MatmulFile,
    "speed": SpeedFile,
    "exceptions": ExceptionsFile,
    "signers": SignersFile,
}


def schemas() -> dict[str, str]:
    """File name and text of every schema."""
    return {f"{name}.json": _text(kind.model_json_schema()) for name, kind in FILES.items()}


def _text(schema: dict[str, Any]) -> str:
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1, ensure_ascii=False)
        + "\n"
    )


def main() -> None:
    """Write all schemas into catalog/schema."""
    for name, text in schemas().items():
        write_atomically(HERE / "schema" / name, text.encode())


if __name__ == "__main__":
    main()
