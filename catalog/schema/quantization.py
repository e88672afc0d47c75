"""What a quantization's label means: which tensor becomes which type, and how many bytes that makes.

`tensor_type` is the one function that decides. The advisor uses it to say how large a variant is; the profiler uses
it to make the variant, and then counts what it really made.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from fitcard.catalog.schema.engine import NO_ENGINE, Engine, engine_from
from fitcard.catalog.schema.gguf_form import gguf_form
from fitcard.catalog.schema.gpu import NumberType
from fitcard.catalog.schema.layers import LayerMemory, LayerSpeed
from fitcard.catalog.schema.record import (
    MEASURED,
    UNVERIFIED,
    Count,
    Date,
    Many,
    Record,
    Slug,
    Sources,
    Text,
)
from fitcard.catalog.schema.rule import Rule, applies, is_for
from fitcard.catalog.schema.tensor_types import PLAIN, TENSOR_TYPES, TensorTypeName, tensor_bytes
from fitcard.catalog.schema.trace import Component, Tensor, Trace

Format = Literal["safetensors", "gguf", "onnx"]
EngineKey = Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
LLAMA_CPP = "llama.cpp"
"""The engine of language models."""


class Requirements(Record):
    """What hardware must have for the runtime to serve this label. Empty means any."""

    nvidia_compute_capability: Annotated[float, Field(ge=1)] | None = None
    """The lowest that works."""
    vendors: Many[Text] = ()
    """The only vendors whose devices the runtime serves here."""
    why: Text | None = None
    """The reason, in a sentence."""
    source: Slug | None = None
    """Where that was read: a key of `sources:`."""


class Storage(Record):
    """What a label makes of tensors, whatever executes it."""

    name: Text
    """The label as people write it."""
    aliases: Many[Text] = ()
    """What else people call it; a word that several labels share (8bit) names none of them alone."""
    format: Format
    """The format of its file."""
    summary: Text
    """What a person should know before picking it."""
    weight_type: TensorTypeName
    """The type of every weight matrix that no rule names."""
    rules: Many[Rule] = ()
    """Tensors that get another type; the first that fits decides."""
    language_rules: Many[Rule] | None = None
    """The same for the tensors of a language model; null where `rules` hold for these too."""
    importance_matrix: bool = False
    """Whether llama.cpp makes it only with an importance matrix, so that these are the rules with one."""
    other_type: TensorTypeName
    """The type of tensors of two or more dimensions that are never quantized (patch embedding, packed attention
    weights)."""
    vector_type: TensorTypeName
    """The type of one-dimensional tensors (norms, biases) and position embeddings."""
    fallbacks: dict[TensorTypeName, TensorTypeName] = {}
    """What a type becomes for rows that it cannot hold."""
    last_resort: TensorTypeName | None = None
    """What a tensor becomes whose rows the fallback cannot hold either."""
    sources: Many[Slug] = ()
    """Where all this was read: keys of `sources:`."""


class Quantization(Storage):
    """One label, and how its engine runs it."""

    runtime: EngineKey
    """What executes it: a key of `engines:`."""
    engine: Engine = NO_ENGINE
    """That engine, filled in on loading."""
    plain: bool
    """Whether its weights are multiplied as they are stored, so that no layer is quantized."""
    multiplies_in: NumberType
    """The type in which its matrix products are computed on a GPU."""
    multiplies_in_eager: NumberType
    """The same in eager mode, where libraries may fall back to another type."""
    rounds_activations: bool
    """Whether activations are rounded to few bits too, as they come."""
    unpacks: Literal["nothing", "matrix", "chunks"]
    """What is alive as plain numbers while a layer multiplies: its whole matrix, or the matrix and a chunk in float32
    besides."""
    memory: LayerMemory
    """What its layers need in memory for a moment."""
    speed: LayerSpeed
    """What its layers take in time."""
    held_bits: Literal[16, 32] = 16
    """How wide a number of a tensor that is not packed is in memory while it runs, and every activation."""
    requires: Requirements = Field(default_factory=Requirements)
    """The hardware that it needs."""


_OWN_BUFFERS = LayerMemory.model_construct(
    cpu_bytes_per_output=None,
    gpu_bytes_per_output=None,
    cpu_weight_copies=None,
    why="its buffers say it",
    source=MEASURED,
)
_OWN_SPEED = LayerSpeed.model_construct(
    layer_host_s=None, layer_bytes_per_output=None, unpack_bytes_per_weight=None, why="runs say it", source=MEASURED
)


class Quantizations(Record):
    """The file `quantizations.yaml`, best fidelity first."""

    reviewed: Date
    """The day on which somebody last held the file to its sources."""
    sources: Sources
    """The documents that this was read in, by the short keys that name them."""
    engines: dict[EngineKey, Engine]
    """What executes labels, by the short keys that name it."""
    quantizations: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Quantization]
    """The labels."""
    language_quantizations: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Storage] = {}
    """Labels that are for language models alone, which llama.cpp runs."""

    @cached_property
    def for_language(self) -> dict[str, Quantization]:
        """The labels that llama.cpp runs language models in, most bits first. The types are the label's; all else is
        llama.cpp's own."""
        every: dict[str, Storage] = {key: one for key, one in self.quantizations.items() if one.format == "gguf"}
        every |= self.language_quantizations
        engine = self.engines.get(LLAMA_CPP, NO_ENGINE)
        bits = {key: TENSOR_TYPES[one.weight_type].bits_per_weight for key, one in every.items()}
        return {
            key: Quantization.model_construct(
                **{name: getattr(one, name) for name in Storage.model_fields},
                runtime=LLAMA_CPP,
                engine=engine,
                plain=one.weight_type in PLAIN,
                multiplies_in="fp16",
                multiplies_in_eager="fp16",
                rounds_activations=False,
                unpacks="nothing",
                memory=_OWN_BUFFERS,
                speed=_OWN_SPEED,
                held_bits=16,
                requires=Requirements(),
            )
            for key, one in sorted(every.items(), key=lambda item: -bits[item[0]])
        }

    @model_validator(mode="after")
    def _sources_known(self) -> Self:
        sources = {*self.sources, MEASURED, UNVERIFIED}
        for name, engine in self.engines.items():
            if engine.libraries.source not in sources:
                raise ValueError(f"engines.{name}.libraries.source: no source {engine.libraries.source} in this file")
        for label, quantization in self.quantizations.items():
            used = {
                *quantization.sources,
                quantization.requires.source,
                quantization.memory.source,
                quantization.speed.source,
            }
            if unknown := sorted(used - sources - {None}, key=str):
                raise ValueError(f"quantizations.{label}: no source {', '.join(map(str, unknown))} in this file")
        for label, storage in self.language_quantizations.items():
            if missing := sorted(set(storage.sources) - sources):
                raise ValueError(f"language_quantizations.{label}: no source {', '.join(missing)} in this file")
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_engines(cls, data: Any) -> Any:
        """The file with each label's engine beside its name, so that a label says all of itself."""
        labels, listed = (data.get(name) for name in ("quantizations", "engines")) if isinstance(data, dict) else (0, 0)
        if not (isinstance(labels, dict) and isinstance(listed, dict)):
            return data
        engines = {key: engine_from(key, fields) for key, fields in listed.items()}
        filled = dict[Any, Any]()
        for label, fields in labels.items():
            name = fields.get("runtime") if isinstance(fields, dict) else None
            if isinstance(name, str) and name not in engines:
                raise ValueError(
                    f"quantizations.{label}.runtime: no engine {name} under `engines:` (there are: {', '.join(engines)})"
                )
            filled[label] = {**fields, "engine": engines[name]} if isinstance(name, str) else fields
        return {
            **data,
            "engines": listed | {key: one for key, one in engines.items() if one.id},
            "quantizations": filled,
        }

    def unverified(self) -> tuple[str, ...]:
        """The amounts that rest on nobody's document or measurement."""
        sources = {f"engines.{name}.libraries": engine.libraries.source for name, engine in self.engines.items()}
        sources |= {f"{label}.memory": one.memory.source for label, one in self.quantizations.items()}
        sources |= {f"{label}.speed": one.speed.source for label, one in self.quantizations.items()}
        return tuple(name for name, source in sources.items() if source == UNVERIFIED)


def tensor_type(quantization: Storage, tensor: Tensor, place: int | None) -> str:
    """The type that `tensor` gets in `quantization`; `place` is which of its layers it is, if it is one of a stack.

    Raises ValueError for a label that has no type for such rows.
    """
    if len(tensor.shape) < 2:
        return quantization.vector_type
    row = tensor.shape[-1]
    rule = next((rule for rule in _rules(quantization, tensor) if applies(rule, tensor, place)), None)
    if rule is not None:
        label_fits = TENSOR_TYPES[quantization.weight_type].holds(row)
        own = rule.type or quantization.weight_type
        first = rule.unless_row_fits if rule.unless_row_fits and not label_fits else own
    elif tensor.role == "position_embedding":
        return quantization.vector_type
    elif tensor.kind not in ("linear", "embedding"):
        return quantization.other_type
    else:
        first = quantization.weight_type
    if TENSOR_TYPES[first].holds(row):
        return first
    fallback = quantization.fallbacks.get(first)
    if fallback and TENSOR_TYPES[fallback].holds(row):
        return fallback
    if quantization.last_resort is None:
        raise ValueError(f"{quantization.name} has no type for rows of {row}")
    return quantization.last_resort


def _rules(quantization: Storage, tensor: Tensor) -> tuple[Rule, ...]:
    if tensor.component == "language" and quantization.language_rules is not None:
        return quantization.language_rules
    return quantization.rules


class CensusRow(Record):
    """How many tensors became one type, and what they hold."""

    tensors: Count
    elements: Count
    bytes: Count


Census = dict[str, CensusRow]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a variant, as its file holds it."""

    name: str
    shape: tuple[int, ...]
    type: str
    tensor: Tensor

    @property
    def bytes(self) -> int:
        return tensor_bytes(self.type, self.shape)


def types_of(quantization: Storage, tensor: Tensor) -> list[str]:
    """The type that each layer of a tensor gets; of one that is in no numbered stack, its own."""
    if _by_layer(quantization, tensor):
        each = tensor.count // (tensor.layers or 1)
        return [tensor_type(quantization, tensor, place) for place in range(tensor.layers or 1) for _ in range(each)]
    return [tensor_type(quantization, tensor, 0 if tensor.layers else None)] * tensor.count


def stored_tensors(quantization: Storage, tensors: Iterable[Tensor]) -> Iterator[StoredTensor]:
    """Every single tensor of a variant with the type that it gets."""
    for tensor in _as_stored(quantization, tensors):
        for (name, _), type_name in zip(tensor.each(), types_of(quantization, tensor), strict=True):
            yield StoredTensor(name, tensor.shape, type_name, tensor)


def _as_stored(quantization: Storage, tensors: Iterable[Tensor]) -> Iterable[Tensor]:
    return gguf_form(tensors) if quantization.format == "gguf" else tensors


class Typed(NamedTuple):
    """Layers of a tensor that get the same type."""

    type: str
    tensor: Tensor
    layers: Sequence[int]
    """Their numbers; one where the tensor is in no numbered stack."""
    bytes: int
    """Of one of them, as the file holds it."""

    @property
    def times(self) -> int:
        """How many there are."""
        return len(self.layers)


def typed_tensors(quantization: Storage, tensors: Iterable[Tensor]) -> list[Typed]:
    """The types that each tensor gets, with the layers that get them: the same as `stored_tensors`, together."""
    typed: list[Typed] = []
    for tensor in _as_stored(quantization, tensors):
        if not _by_layer(quantization, tensor):
            name = tensor_type(quantization, tensor, 0 if tensor.layers else None)
            typed.append(Typed(name, tensor, range(tensor.count), tensor_bytes(name, tensor.shape)))
            continue
        layers: dict[str, list[int]] = {}
        for layer, name in enumerate(types_of(quantization, tensor)):
            layers.setdefault(name, []).append(layer)
        typed += [Typed(name, tensor, mine, tensor_bytes(name, tensor.shape)) for name, mine in layers.items()]
    return typed


@lru_cache(maxsize=512)
def typed_of(trace: Trace, component: Component, quantization: Quantization) -> list[Typed]:
    """The same of a component of a model. Its file, its weights in memory and its census all follow from it."""
    return typed_tensors(quantization, trace.tensors_of(component))


def _by_layer(quantization: Storage, tensor: Tensor) -> bool:
    """Whether some layers of a tensor may get another type than others."""
    return tensor.layers is not None and any(
        rule.layers != "all" and is_for(rule, tensor) for rule in _rules(quantization, tensor)
    )


def census(stored: Iterable[tuple[str, int, int]]) -> Census:
    """Count (type, elements, bytes) of tensors by type, the largest share of the bytes first."""
    return _census((name, elements, size, 1) for name, elements, size in stored)


def _census(stored: Iterable[tuple[str, int, int, int]]) -> Census:
    rows: dict[str, tuple[int, int, int]] = {}
    for type_name, elements, size, times in stored:
        count, total, held = rows.get(type_name, (0, 0, 0))
        rows[type_name] = (count + times, total + times * elements, held + times * size)
    ordered = sorted(rows.items(), key=lambda item: (-item[1][2], item[0]))
    return {name: CensusRow(tensors=row[0], elements=row[1], bytes=row[2]) for name, row in ordered}


def predicted_census(quantization: Storage, tensors: Iterable[Tensor]) -> Census:
    """The census that the label's rule predicts for `tensors`."""
    return census_of(typed_tensors(quantization, tensors))


def census_of(typed: Iterable[Typed]) -> Census:
    """The census of tensors whose types are known."""
    return _census((row.type, row.tensor.elements, row.bytes, row.times) for row in typed)


def bits_per_weight(counted: Census) -> float:
    """Bits of storage for each parameter, norms and biases included."""
    return sum(row.bytes for row in counted.values()) * 8 / sum(row.elements for row in counted.values())


def held_bytes(quantization: Quantization, tensors: Iterable[Tensor]) -> int:
    """Bytes of weights in memory while the variant runs: packed types stay packed, the rest is held in `held_bits`."""
    return sum(
        size * count for size, count in held_tensors(typed_tensors(quantization, tensors), quantization.held_bits)
    )


def held_tensors(typed: Iterable[Typed], bits: int) -> list[tuple[int, int]]:
    """Bytes of each weight in memory where those that are not packed are held in `bits`, and how many there are of
    it."""
    width = bits // 8
    return [(row.bytes if TENSOR_TYPES[row.type].packed else row.tensor.elements * width, row.times) for row in typed]
