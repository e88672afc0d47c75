"""The documents of the JSON API, as the classes that write them and give their schema, so that the two cannot differ.

Paths in a document are from the root of the site, so that they mean the same in every document. Sizes are in bytes, and
unknown is null. Within version 1 keys are only added: what reads a document of today reads those of tomorrow.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.json_schema import models_json_schema

from fitcard.advisor.answer import EvidenceKind as Evidence
from fitcard.advisor.choice import Verdict
from fitcard.catalog.schema.gpu import Gpu, NumberType, Segment, UnitRates
from fitcard.catalog.schema.matmul import MatmulFile
from fitcard.catalog.schema.model import Claim, Licence, Model, UsedBy
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.quantization import Census, Format, Quantizations, Requirements
from fitcard.catalog.schema.record import Record, Source
from fitcard.catalog.schema.run import Mode, Run, Status
from fitcard.catalog.schema.trace import Component


class DocumentPart(Record):
    """A part of a document; the docstrings of its fields are the schema's descriptions."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class ApiDocument(DocumentPart):
    """A whole document."""

    schema_version: Literal[1] = 1
    """The first part of the address too: /api/v1/."""


class DataLicence(DocumentPart):
    """The terms of the data, which are those of the catalog."""

    id: Literal["CC-BY-4.0"] = "CC-BY-4.0"
    name: Literal["CC BY 4.0"] = "CC BY 4.0"
    url: Literal["https://creativecommons.org/licenses/by/4.0/"] = "https://creativecommons.org/licenses/by/4.0/"
    attribution: Literal["fitcard"] = "fitcard"
    """Whom to name. Figures of others are facts; each names its source."""


class Counts(DocumentPart):
    """How much there is."""

    models: int
    gpus: int
    quantizations: int
    runs: int
    published: int
    """Throughputs that others measured."""


class Link(DocumentPart):
    """A document of the API, or many of one kind."""

    path: str
    """From the root of the site; {id} and {key} stand for those that the lists give."""
    schema_path: str | None
    """Where in the schema it is described; for a CSV table, where its columns are. Null for what describes others."""
    what: str


class Index(ApiDocument):
    """index.json: where everything is."""

    name: Literal["fitcard"] = "fitcard"
    version: str
    """Of the program that wrote these documents."""
    data_license: DataLicence = DataLicence()
    counts: Counts
    documents: tuple[Link, ...]


class ShortLicence(DocumentPart):
    """Under what a model's weights are."""

    id: str
    """SPDX, or the hub's own."""
    commercial_use: Literal["allowed", "not allowed", "restricted", "not known"]


class ModelFacts(DocumentPart):
    """What the list and a model's own document say of it."""

    id: str
    name: str
    family: str
    tasks: tuple[str, ...]
    summary: str
    """Who should take it, and who should not."""
    released: str | None
    parameters: dict[Component, int]
    """Exact, of the tensors that the component reads; `all` is the whole checkpoint."""
    image_size: int | None
    """Pixels along each side; null where no image goes in."""
    image_tokens: int | None
    """Patches that an image becomes."""
    text_tokens: int | None
    """Tokens of the texts that the numbers here are for; null where no text goes in."""
    context_tokens: int | None
    """The longest text that it reads."""
    multiply_adds: dict[Component, int]
    """Of the matrix operations of one forward pass over one item."""
    run_count: int
    """Runs by fitcard, failed ones included."""
    page: str
    document: str


class ModelEntry(ModelFacts):
    """A model in the list."""

    license: ShortLicence


class ModelList(ApiDocument):
    """models.json: every model in short, by id."""

    models: tuple[ModelEntry, ...]


class GpuEntry(DocumentPart):
    """What the list says of a GPU."""

    id: str
    name: str
    vendor: str
    generation: str
    segment: Segment
    memory_bytes: int
    memory_gib: float
    """As it is sold: 24 for a GPU of 24 GB."""
    available_bytes: int
    """What a program may use of it, by the stated reserve."""
    bandwidth_bytes_per_s: float | None
    rates_flop_per_s: dict[NumberType, float]
    """Dense peaks, a multiply-add counted as 2, 16 bit and FP8 with FP32 accumulate; types that are not known are left out."""
    supports: tuple[NumberType, ...] | None
    """Number types that it multiplies natively; null when not known."""
    compute_capability: str | None
    gfx: str | None
    board_power_w: float | None
    released: str | None
    page: str
    document: str


class GpuList(ApiDocument):
    """gpus.json: every GPU in short, the smallest memory first."""

    gpus: tuple[GpuEntry, ...]


class QuantizationCounts(DocumentPart):
    """How much was measured of a label."""

    runs: int
    models: int
    """Models with a run that worked."""
    published: int


class QuantizationEntry(DocumentPart):
    """One label."""

    label: str
    name: str
    runtime: str
    format: Format
    summary: str
    requirements: Requirements
    counts: QuantizationCounts


class QuantizationList(ApiDocument):
    """quantizations.json: every label, in the order of the pages."""

    quantizations: tuple[QuantizationEntry, ...]
    sources: dict[str, Source]


class RunEntry(DocumentPart):
    """What the list says of a run."""

    key: str
    model: str
    device: str
    component: Component
    quantization: str
    mode: Mode
    status: Status
    measured_at: str
    """UTC."""
    recorded_by: str | None
    """Who contributed it; null for fitcard's own runners."""
    document: str


class RunList(ApiDocument):
    """runs.json: every run in short, oldest first."""

    runs: tuple[RunEntry, ...]


class Throughput(DocumentPart):
    """Items a second, at the batch that is named."""

    per_second: float
    unit: str
    low: float | None
    high: float | None
    """The 80 % interval of a prediction."""
    evidence: Evidence
    record: str | None
    """The key of the run, or the address of the publication; null for a prediction."""
    recorded_by: str | None
    """Who contributed the run; null for what fitcard's own runners measured, and for what is not measured."""
    batch: int
    quantization: str
    mode: Mode


class Fit(DocumentPart):
    """The quantization to pick for a model on a GPU at batch 1; where nothing fits, the one that comes nearest."""

    component: Component
    quantization: str
    verdict: Verdict
    evidence: Evidence
    """Of the memory."""
    required_bytes: int
    available_bytes: int
    max_batch: int
    """0 where nothing fits."""
    speed: Throughput | None
    """The highest that is known of this component on this GPU, whatever the quantization, or else predicted for the pick."""


class GpuRow(Fit):
    """One GPU, on the document of a model."""

    gpu: str
    name: str


class ModelRow(Fit):
    """One model, on the document of a GPU."""

    model: str
    name: str
    tasks: tuple[str, ...]


class VariantEntry(DocumentPart):
    """What a label makes of a component."""

    component: Component
    quantization: str
    bits_per_weight: float
    file_bytes: int | None
    """Null where the size is not known without writing the file, and nobody has."""
    file_evidence: Literal["measured", "predicted"] | None
    weights_bytes: int
    """In memory, packed tensors packed."""
    required_bytes: int
    """All that it needs at batch 1 on an NVIDIA GPU, or on the runtime that alone serves the label."""
    census: Census
    """Tensors, elements and bytes by tensor type, the largest share of the bytes first."""


class ModelDocument(ModelFacts, ApiDocument):
    """models/{id}.json."""

    license: Licence
    default_component: Component
    """The one that the rows are about."""
    variants: tuple[VariantEntry, ...]
    rows: tuple[GpuRow, ...]
    """Every GPU, the smallest memory first."""
    runs: tuple[str, ...]
    """Keys, oldest first."""
    claims: tuple[Claim, ...]
    used_by: tuple[UsedBy, ...]
    sources: dict[str, Source]


class GpuFigure(DocumentPart):
    """A stated figure of a GPU."""

    value: str | float | dict[str, float | None]
    sources: tuple[str, ...]
    """Keys of the sources that state it; none for one that nobody has read."""


class GpuDocument(GpuEntry, ApiDocument):
    """gpus/{id}.json."""

    figures: dict[str, GpuFigure]
    """In the units that the names end in."""
    unverified: tuple[str, ...]
    """Figures that nobody has read in a source."""
    unit_rates: UnitRates | None
    """Operations per unit and clock, from which rates follow that the maker does not print."""
    rows: tuple[ModelRow, ...]
    """Every model, by id."""
    sources: dict[str, Source]


class CatalogDocument(ApiDocument):
    """catalog.json: the whole catalog but for runs and traces, every fact with its source."""

    name: Literal["fitcard"] = "fitcard"
    version: str
    data_license: DataLicence = DataLicence()
    models: dict[str, Model]
    """Facts are filled in where prose has placeholders for them."""
    gpus: dict[str, Gpu]
    quantizations: Quantizations
    published: dict[str, PublishedFile]
    """Throughputs that others measured, by model."""
    matmul: MatmulFile
    """Rates of plain matrix products that others measured."""


KINDS: tuple[type[Record], ...] = (
    Index,
    ModelList,
    ModelDocument,
    GpuList,
    GpuDocument,
    QuantizationList,
    RunList,
    Run,
    CatalogDocument,
)
"""Every kind of document."""


def schema() -> dict[str, Any]:
    """The JSON Schema of all documents: each is one of `$defs`, by the name of its class.

    The docstrings of fields become descriptions only in a process with FITCARD_FIELD_DOCS set, such as that of `make schema`:
    to read them takes longer than all the rest of importing this module.
    """
    _, definitions = models_json_schema([(kind, "serialization") for kind in KINDS], ref_template="#/$defs/{model}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fitcard API, version 1",
        "description": (__doc__ or "").strip(),
        "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in KINDS],
        **definitions,
    }


def written(document: Record) -> bytes:
    """A document as JSON on one line."""
    return document.model_dump_json().encode() + b"\n"
