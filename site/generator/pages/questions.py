"""The questions that people ask of a model, answered from the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fitcard.advisor import fit
from fitcard.advisor.language_memory import DEFAULT
from fitcard.advisor.memory import terms_of
from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog
from fitcard.catalog.file_format import variant_bytes
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.quantization import bits_per_weight, predicted_census
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.workload import Variant
from fitcard.site.generator.pages.language import language_facts
from fitcard.site.generator.pages.variants import held_of
from fitcard.site.generator.text import gb

_COMMERCIAL_USE = {
    "allowed": "Yes.",
    "not allowed": "No.",
    "restricted": "It depends.",
    "not known": "That is not known.",
}


@dataclass(frozen=True)
class Question:
    """A question with its answer, and where the answer comes from."""

    question: str
    answer: str
    evidence: str


def questions(catalog: Catalog, key: str) -> Sequence[Question]:
    """The questions about one model."""
    asked = [_minimum_memory(catalog, key), _commercial_use(catalog, key), _context_length(catalog, key)]
    if "Q4_K_M" in catalog.labels_of(fit.default_component(catalog, key)):
        asked.append(_four_bits(catalog, key))
    return asked


def _minimum_memory(catalog: Catalog, key: str) -> Question:
    question = f"What's the minimum VRAM to run {catalog.models[key].name}?"
    if not any(gpu.vendor == "NVIDIA" for gpu in catalog.gpu_index.values()):
        return Question(question, "The catalog holds no GPU to answer this for.", "predicted")
    component = fit.default_component(catalog, key)
    required = {
        label: held_of(catalog, key, component, label).needed_bytes
        for label, quantization in catalog.labels_of(component).items()
        if "NVIDIA" in (quantization.requires.vendors or ("NVIDIA",))
    }
    least = min(required, key=lambda label: required[label])
    default = next((label for label in ("BF16", "Q8_0") if label in required), least)
    title = COMPONENTS[component].title.lower()
    usual = f"with a context of {DEFAULT.context_tokens:,} tokens" if component == "language" else "at batch 1"
    text = f"The {title} needs {gb(required[default])} in {default} {usual}, everything included"
    if least != default:
        text += f"; the least is {gb(required[least])}, as {least}"
    text += ". "
    if component != "all" and "all" in catalog.traces[key].components():
        whole = terms_of(catalog, Variant(key, "all", default), "NVIDIA").need(1).required_bytes
        text += f"With every component loaded, {default} needs {gb(whole)}. "
    return Question(question, text + _smallest_gpu(catalog, key), "predicted from the trace and the tensor rule")


def _smallest_gpu(catalog: Catalog, key: str) -> str:
    fitting = [gpu for gpu, pick in picks(catalog, key).items() if pick.best and pick.best.verdict == "fits"]
    if not fitting:
        return "No GPU in the catalog has that much."
    smallest = catalog.gpus[fitting[0]]  # GPUs come by memory
    described = f"the {smallest.name} with {smallest.spec.memory_gib:g} GiB"
    if len(fitting) == len(catalog.gpus):
        return f"Every GPU in the catalog down to the smallest, {described}, runs it."
    return f"The smallest GPU in the catalog that runs it is {described}."


def _commercial_use(catalog: Catalog, key: str) -> Question:
    model, licence = catalog.models[key], catalog.models[key].license
    return Question(
        f"Can I use {model.name} commercially?",
        f"{_COMMERCIAL_USE[licence.commercial_use]} The licence is {licence.id}. {licence.conditions}",
        "not verified" if licence.source == UNVERIFIED else model.sources[licence.source].title,
    )


def _context_length(catalog: Catalog, key: str) -> Question:
    model = catalog.models[key]
    inputs = [f"{model.context_tokens} text tokens"] if model.context_tokens else []
    inputs += [
        f"one image of {phase.image_size} × {phase.image_size} pixels, which becomes {phase.image_tokens} patches"
        for phase in catalog.traces[key].phases
        if phase.component == "vision"
    ]
    length = " and ".join(inputs) or "That is not known"
    facts = language_facts(catalog, key)
    kind = "It is an encoder: there is no conversation, and no memory of earlier inputs."
    if facts:
        kind = f"Each 1,024 tokens take {facts.cache_bytes / 1e6:,.0f} MB of memory in F16, besides the weights."
        if facts.longest_context and facts.longest_context != model.context_tokens:
            kind += f" Its configuration has positions for {facts.longest_context:,}."
    return Question(
        f"What's the context length of {model.name}?",
        f"{length[0].upper()}{length[1:]}. {kind}",
        "the model's configuration and trace",
    )


def _four_bits(catalog: Catalog, key: str) -> Question:
    """Whether the most popular label does what people expect of it here."""
    component = fit.default_component(catalog, key)
    census = predicted_census(catalog.labels_of(component)["Q4_K_M"], catalog.traces[key].tensors_of(component))
    bits, total = bits_per_weight(census), sum(row.bytes for row in census.values())
    parts = ", ".join(f"{name} {row.bytes / total:.0%}" for name, row in census.items())
    size = variant_bytes(catalog, Variant(key, component, "Q4_K_M"))
    honest = "Almost" if bits < 5.6 else "No"
    return Question(
        "Is Q4_K_M really four bits here?",
        f"{honest}: {bits:.2f} bits for each parameter, {gb(size)} for the {COMPONENTS[component].title.lower()}. "
        f"By bytes it is {parts}. The label names a recipe; what a tensor becomes depends on the length of its rows.",
        "computed with llama.cpp's rule, and counted in the file where a run exists",
    )
