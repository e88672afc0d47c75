"""The JSON Schemas that editors complete and explain with: `make schema` writes them.

They are made from the same classes that check the files, and a test keeps the written ones fresh.
"""

from __future__ import annotations

import json
from typing import Any

from catalog.exceptions import ExceptionsFile
from catalog.gpu import GpuFile
from catalog.loading import HERE
from catalog.matmul import MatmulFile
from catalog.model import Model
from catalog.published import PublishedFile
from catalog.quantization import Quantizations
from catalog.record import Record
from catalog.runtimes import Runtimes
from catalog.speed import SpeedFile
from catalog.store import write_atomically

FILES: dict[str, type[Record]] = {
    "model": Model,
    "gpus": GpuFile,
    "quantizations": Quantizations,
    "published": PublishedFile,
    "runtimes": Runtimes,
    "matmul": MatmulFile,
    "speed": SpeedFile,
    "exceptions": ExceptionsFile,
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
