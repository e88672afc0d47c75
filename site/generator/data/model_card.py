"""A model's card for the Hugging Face hub: README.md with metadata, to put beside a variant that somebody uploads.

The metadata are those that huggingface_hub reads (https://huggingface.co/docs/hub/model-cards). Left out is what the catalog
does not know: languages; and `model-index`, since each result in one asks for a data set, and bytes and images per
second have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import yaml

from fitcard.advisor.evidence import good_runs
from fitcard.advisor.run_band import flagged
from fitcard.catalog import Catalog
from fitcard.catalog.prose import fill
from fitcard.catalog.schema.components import COMPONENTS
from fitcard.catalog.schema.record import UNVERIFIED
from fitcard.catalog.schema.run import recorder
from fitcard.site.generator.data import api
from fitcard.site.generator.engine.output import Asset
from fitcard.site.generator.text import gb, rate

_PIPELINES = {
    "zero-shot image classification": "zero-shot-image-classification",
    "image embedding": "image-feature-extraction",
    "image feature extraction": "image-feature-extraction",
    "text embedding": "feature-extraction",
    "text similarity": "sentence-similarity",
}
"""The hub's names of tasks, by those of the catalog."""


def of_model(catalog: Catalog, key: str) -> Iterator[Asset]:
    """The card of a model."""
    yield Asset(f"models/{key}/README.md", partial(card, catalog, key))


def card(catalog: Catalog, key: str) -> bytes:
    """The whole README.md."""
    head = yaml.safe_dump(metadata(catalog, key), allow_unicode=True, sort_keys=False, width=1000)
    return f"---\n{head}---\n\n{_body(catalog, key)}\n".encode()


def metadata(catalog: Catalog, key: str) -> dict[str, Any]:
    """What the hub reads."""
    model = catalog.models[key]
    fields: dict[str, Any] = {}
    licence = model.license.id.lower()
    if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        fields["license"] = licence
    else:  # the hub takes a name of one's own only beside `other`
        fields |= {"license": "other", "license_name": model.license.id}
        if model.license.source != UNVERIFIED:
            fields["license_link"] = model.sources[model.license.source].url
    fields["library_name"] = "transformers"
    if pipeline := next((_PIPELINES[task] for task in model.tasks if task in _PIPELINES), None):
        fields["pipeline_tag"] = pipeline
    tags = (_tag(word) for word in (model.family, *model.tasks))
    fields["tags"] = ["fitcard", *dict.fromkeys(tag for tag in tags if tag)]
    fields["base_model"] = key
    return fields


def _tag(word: str) -> str:
    return re.sub(r"[^\w.+]+", "-", word.lower()).strip("-")


def _body(catalog: Catalog, key: str) -> str:
    model, trace = catalog.models[key], catalog.traces[key]
    lines = [f"# {_text(model.name)}", "", _prose(fill(model.verdict, catalog, key)), "", _prose(fill(model.overview, catalog, key)).strip(), ""]  # fmt: skip
    lines += ["## Size", "", "| Component | Parameters | Multiply-adds per item |", "|---|--:|--:|"]
    lines += [
        f"| {COMPONENTS[phase.component].title} | {trace.parameters(phase.component):,} | {phase.multiply_adds():,} |"
        for phase in trace.phases
    ]
    lines += [
        "", "## Variants", "",
        "Files are measured where a run wrote one; everything else is predicted from the model's tensors and operations, exactly for sizes. "
        "Memory is what an NVIDIA GPU needs at batch 1, runtime included, or the runtime that alone serves the label.", "",
        "| Component | Quantization | Bits per weight | File | Evidence | Weights in memory | Memory needed (predicted) |",
        "|---|---|--:|--:|---|--:|--:|",
    ]  # fmt: skip
    lines += [
        f"| {COMPONENTS[v.component].title} | {_text(v.quantization)} | {v.bits_per_weight:.2f} | {gb(v.file_bytes, 3)} | {v.file_evidence or 'not known'} "
        f"| {gb(v.weights_bytes, 3)} | {gb(v.required_bytes, 3)} |"
        for v in api.variants(catalog, key)
    ]
    lines += ["", *_measured(catalog, key)]
    lines += ["## Licence", "", f"{_text(model.license.id)}, commercial use: {model.license.commercial_use}. {_text(model.license.conditions)}", ""]  # fmt: skip
    lines += ["## Sources", ""]
    lines += [f"- {_text(s.title)}, {_text(s.publisher)}: <{s.url}> (read {s.read})" for s in model.sources.values()]
    lines += [
        "",
        f"Written by fitcard {api.VERSION} from data under CC BY 4.0. Facts last reviewed on {model.reviewed}.",
    ]
    return "\n".join(lines)


def _measured(catalog: Catalog, key: str) -> Iterator[str]:
    """Every batch of the newest good run of each variant and device that is within its band, or a sentence."""
    doubted = flagged(catalog, key)
    good = [run for run in reversed(good_runs(catalog, key)) if run.key not in doubted]
    newest = {(r.machine.device, r.component, r.quantization, r.mode): r for r in good}
    yield "## Measured"
    yield ""
    if not newest:
        yield "Nobody has run this model with fitcard yet."
        yield ""
        return
    yield "| Device | Component | Quantization | Mode | Batch | Memory | Throughput | Recorded | Run |"
    yield "|---|---|---|---|--:|--:|--:|---|---|"
    order = list(catalog.every_label)
    for (_, _, label, mode), run in sorted(
        newest.items(), key=lambda item: (item[0][0], item[0][1], order.index(item[0][2]), item[0][3])
    ):
        for speed in run.speed:
            memory = run.batch_memory(speed.batch)
            yield (
                f"| {_text(run.machine.device_name)} | {COMPONENTS[run.component].title} | {_text(label)} | {mode} | {speed.batch} "
                f"| {gb(memory.total_bytes if memory else None)} | {rate(speed.per_second)} {COMPONENTS[run.component].unit} | {_text(recorder(run.recorded_by))} | {run.key} |"
            )
        for times in run.generation.times if run.generation else ():
            how = f"reads {times.tokens:,}" if times.phase == "prefill" else f"writes after {times.depth:,}"
            yield (
                f"| {_text(run.machine.device_name)} | {COMPONENTS[run.component].title} | {_text(label)} | {how} | 1 "
                f"| {gb(run.generation.allocated.total_bytes if run.generation else None)} | {rate(times.per_second)} tokens/s | {_text(recorder(run.recorded_by))} | {run.key} |"
            )
    yield ""


def _text(text: str) -> str:
    """Text on one line that Markdown takes for nothing but text."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)


def _prose(text: str) -> str:
    """Markdown of the catalog, in which HTML is text, and links go to the web or nowhere."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"\]\((?!\s*https?://)[^)]*\)", "]", plain)
