"""What executes variants: torch, llama.cpp, ONNX Runtime and the like."""

from typing import Annotated

from pydantic import Field, ValidationError, WithJsonSchema

from fitcard.catalog.schema.record import UNVERIFIED, Count, Record, Slug, Text


class Libraries(Record):
    """Bytes that an engine's own libraries take on top of torch's; null where that is not known."""

    cpu_bytes: Count | None
    """Of main memory, where a processor runs the model."""
    gpu_bytes: Count | None
    """Of a GPU's memory."""
    why: Text
    """What takes them."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""

    def bytes_on(self, vendor: str) -> int:
        """The bytes on a vendor's devices (`CPU` for a processor); what is not known counts as nothing."""
        return (self.cpu_bytes if vendor == "CPU" else self.gpu_bytes) or 0


class Engine(Record):
    """What executes variants."""

    id: Annotated[str, WithJsonSchema(None, mode="validation")] = ""
    """Its key under `engines:`, filled in on loading: documents hold it, and nobody writes it."""
    words: Text
    """What it is, for pages."""
    backend: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The module of `profiler/backends` that writes, loads and describes its variants; for language models a folder of
    `profiler`."""
    libraries: Libraries
    """What its own libraries take."""
    float32_without_bf16: bool
    """Whether activations are float32 on processors that do not multiply BF16 natively."""
    exports_graph: bool
    """Whether it runs a graph exported for any batch, which cannot hold a loop over the items of one batch."""


NO_ENGINE = Engine.model_construct(
    words="not known",
    backend="none",
    libraries=Libraries.model_construct(cpu_bytes=None, gpu_bytes=None, why="not known", source=UNVERIFIED),
    float32_without_bf16=False,
    exports_graph=False,
)
"""What a label has whose engine is faulty; nothing is ever asked of it, as such a catalog does not load."""


def engine_from(key: str, fields: object) -> Engine:
    """The engine that these fields describe; an empty one where they are faulty, which is told once, of the engine
    itself."""
    try:
        return Engine.model_validate({"id": key, **fields} if isinstance(fields, dict) else fields)
    except ValidationError:
        return NO_ENGINE
