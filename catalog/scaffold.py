"""Files begun for somebody to finish: what `fitcard add` writes.

What is still to be written begins with TO WRITE and says what it shall be; `fitcard check` lists that, and no site is built with
it. What a configuration says, or what a GPU shares with another of its generation, is filled in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from fitcard.catalog.configuration import HUB, Configuration
from fitcard.catalog.errors import FitcardError, shown
from fitcard.catalog.reader import read_text
from fitcard.catalog.schema.gpu import Gpu, GpuSpec
from fitcard.catalog.schema.model import Model
from fitcard.catalog.schema.record import TO_WRITE, UNVERIFIED, validate
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.storage.writer import locked, trace_bytes, write_atomically
from fitcard.catalog.yaml_file import line_of, parse_yaml

_MODEL = """\
# yaml-language-server: $schema=../../schema/model.json
#
# Begun by `fitcard add` on {day}. `fitcard check` lists what is still to be written; CONTRIBUTING.md shows a whole file.
name: {name}  # as people call it
aliases: []  # other ways to type it; the id and the name work anyway
verdict: "{todo} one sentence, who should take it and who should not"
tasks: ["{todo} what it is for, such as image embedding"]
family: "{todo} the name that it shares with its nearest relatives, such as SigLIP"
license:
  id: "{todo} SPDX identifier in the hub's spelling, such as apache-2.0, or the hub's own"
  commercial_use: not known  # or allowed, not allowed, restricted
  conditions: "{todo} what the licence asks for, in a sentence"
  source: {unverified}  # or a key of `sources:` below, once somebody has read it there
# released: {day}
# released_source: {unverified}
{context}config:
  # As far as it differs from the defaults of model_type {kind}.
{config}config_source: {source}
# Prose is Markdown. A number that the data hold is a placeholder, such as {{total_parameters}}; CONTRIBUTING.md lists them.
overview: |
  {todo} what it is, how it was made, what it does well and what it is not for
strengths: ["{todo} what its users praise"]
weaknesses: ["{todo} what its users complain about"]
# claims:  # results that others published; prose names one as {{claim.imagenet}}
#   - {{key: imagenet, what: ImageNet-1k zero-shot top-1, value: 78.49, unit: "%", where: "the row in the table", source: results}}
# used_by:
#   - {{name: A model that contains this one, how: Its configuration names this checkpoint., source: results}}
# successor: org/name
# links: {{Paper: "https://arxiv.org/abs/..."}}
# usage: |
#   model = AutoModel.from_pretrained("{key}")
reviewed: {day}
reviewed_by: "{todo} your name"
{sources}"""
_HUB_SOURCE = """\
sources:
  hub:
    title: {title}
    publisher: {publisher}
    url: {hub}/{key}/blob/{commit}/config.json
    read: {day}
"""
_PLAIN = re.compile(r"[A-Za-z][\w./-]*( [\w./-]+)*")
_NO_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Words that one YAML reader or another takes for something else than text."""


def model_text(
    path: Path, key: str, config: dict[str, Any], configuration: Configuration, trace: Trace, day: str
) -> str:
    """The file of a model, to be finished; `config` is what of `configuration` differs from the defaults of its model_type.

    Raises FitcardError for a configuration that a catalog file cannot say.
    """
    text_tokens = max((phase.text_tokens or 0 for phase in trace.phases), default=0)
    pinned = configuration.model_id == key and configuration.commit is not None
    sources = _HUB_SOURCE.format(
        title=flow(f"{key}, config.json"), publisher=flow(f"{key.split('/')[0]} on Hugging Face"), hub=HUB, key=key,
        commit=configuration.commit, day=day,
    )  # fmt: skip
    text = _MODEL.format(
        day=day, name=flow(key.split("/")[1]), todo=TO_WRITE, unverified=UNVERIFIED,
        context=f"context_tokens: {text_tokens}  # as configured; fewer where its makers say so\n" if text_tokens else "",
        kind=config["model_type"], config="".join(f"  {flow(name)}: {flow(value)}\n" for name, value in config.items()),
        source="hub" if pinned else f"{UNVERIFIED}  # or a key of `sources:`, once one says where it can be read", key=key,
        sources=sources if pinned else "sources: {}\n",
    )  # fmt: skip
    data, lines = parse_yaml(text, path)
    if validate(Model, data, path, lines).config != config:
        raise FitcardError(
            f"{configuration.where} holds something that a catalog file cannot say, such as an infinite number"
        )
    return text


def flow(value: Any) -> str:
    """A value on one line of YAML, as every reader of YAML understands it."""
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value).items()
        return "{" + ", ".join(f"{flow(name)}: {flow(item)}" for name, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in cast(Sequence[Any], value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NO_TEXT:
        return value
    text = json.dumps(value, ensure_ascii=False)
    # 1e-06 is a number in JSON, and text in YAML.
    return re.sub(r"^(-?\d+)(e)", r"\1.0\2", text) if isinstance(value, float) else text


def add_model(root: Path, key: str, text: str, trace: Trace) -> tuple[Path, Path]:
    """Write the file of a new model and its trace under the catalog `root`, and give the paths of both.

    Raises FitcardError, and writes nothing, where either is there already. Two who add at the same time take turns.
    """
    path, traced = root / "models" / f"{key}.yaml", root / "traces" / f"{key}.json"
    content = trace_bytes(trace)
    with locked(root / "models"):
        if path.exists():
            raise FitcardError(f"{shown(path)} is there already: edit it, or delete it first")
        # The trace comes first: one that was left alone, by a crash between the two, is taken up by the same command.
        if traced.exists() and traced.read_bytes() != content:
            raise FitcardError(f"{shown(traced)} is there already, of another model: delete it first")
        write_atomically(traced, content)
        write_atomically(path, text.encode())
    return path, traced


def gpu_entry(key: str, like: Gpu) -> list[str]:
    """The lines of a GPU, to be finished, without their indentation. It shares the kind of unit and the segment of `like`."""
    spec = like.spec
    rows = [
        f"{key}:",
        f"  # Begun by `fitcard add` like {like.id}. Write what you read in a source and delete the lines of what you did not find;",
        "  # then list each figure under every source that states it.",
        f"  name: {_to_write(f'what its maker calls it, such as {spec.name}')}",
        "  aliases: []  # other ways to type it, as text: numbers need quotes",
        f"  segment: {spec.segment}  # or another: desktop, laptop, workstation, datacenter, integrated; decides the reserve",
    ]
    if spec.unit_rates:
        rows.append(f"  unit_rates: {spec.unit_rates}  # a key of `unit_rates:` above")
    if spec.unified_memory:
        rows.append("  unified_memory: true")
    stated = [name for name in GpuSpec.model_fields if name in spec.figures and name != "published_tflops"]
    for name, value in ((name, getattr(spec, name)) for name in stated):
        had = f"{value:g}" if isinstance(value, float) else value
        rows.append(f"  {name}: {_to_write(f'{like.id} has {had}')}")
    return [
        *rows,
        "  # published_tflops: {fp32: 1.5, fp16: 3.0}  # what its maker prints, dense; optional",
        "  sources:",
        f"    {UNVERIFIED}: []  # beside it, or instead: a key of `sources:` above with the figures that it states",
    ]


def add_gpu(path: Path, key: str, like: Gpu) -> int:
    """Write a GPU to be finished behind `like` in the file at `path`, and give the line on which it begins.

    Every byte that was there stays. Raises FitcardError, and writes nothing, where that cannot be done.
    """
    with locked(path.parent):
        text, line = with_gpu(read_text(path), path, key, like)
        write_atomically(path, text.encode())
    return line


def with_gpu(text: str, path: Path, key: str, like: Gpu) -> tuple[str, int]:
    """The text of the file with the GPU begun in it, and the line on which it begins."""
    data, lines = parse_yaml(text, path)
    rows = text.split("\n")
    at = line_of(lines, ("gpus", like.id)) - 1
    column = _indent(rows[at])
    end = at + 1
    while end < len(rows) and (_aside(rows[end]) or _indent(rows[end]) > column):
        end += 1
    while _aside(rows[end - 1]) and _indent(rows[end - 1]) <= column:  # blank lines, and comments on what follows
        end -= 1
    ending = "\r" if rows[at].endswith("\r") else ""
    entry = [" " * column + row + ending for row in gpu_entry(key, like)]
    longer = "\n".join([*rows[:end], *entry, *rows[end:]])
    new, new_lines = parse_yaml(longer, path)
    # The text was cut by its indentation; what a reader of YAML makes of it decides.
    added = new["gpus"].pop(key, None)
    if added is None or key in data["gpus"] or new != data:
        raise FitcardError(
            f"{shown(path)} is laid out in a way that no GPU can be put behind {like.id}: write it in by hand"
        )
    return longer, line_of(new_lines, ("gpus", key))


def _to_write(what: str) -> str:
    return json.dumps(f"{TO_WRITE} {what}", ensure_ascii=False)


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip(" "))


def _aside(row: str) -> bool:
    """Whether a line is blank or a comment."""
    return not row.strip() or row.lstrip().startswith("#")
