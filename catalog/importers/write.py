"""Adding records to hand-written YAML: text is inserted and nothing else is touched, not even a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fitcard.catalog.errors import CatalogError, FitcardError, Problem, shown
from fitcard.catalog.importers.plan import FORMATS, Claimed, Plan, Records
from fitcard.catalog.reader import read_text
from fitcard.catalog.schema.published import PublishedFile, PublishedSpeed
from fitcard.catalog.schema.record import validate
from fitcard.catalog.storage.writer import locked, write_atomically
from fitcard.catalog.yaml_file import compose, parse_yaml

READ_BACK = 200
"""New records that are read back as YAML before they are written; 20,000 would take most of the time of an import."""
_PLAIN = re.compile(r"[A-Za-z][\w./()+-]*(?:,? [\w./()+-]+)*", re.ASCII)
"""Texts that need no quotes, unless they are one of the words that YAML 1.1 reads as something else; others are tried."""
_WORDS_OF_YAML = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])


def write(root: Path, plan: Plan) -> list[Path]:
    """Add the new speeds of a plan to the files under `root` (the catalog's folder), and return those files.

    Raises CatalogError, before anything is written, when a file is damaged or written in a way that cannot be added to.
    """
    paths = {model: root / "published" / f"{model}.yaml" for model in plan.new}
    new = plan.new
    before = {path: read_text(path) if path.exists() else None for path in paths.values()}
    after = {path: _added(path, before[path], plan, new[model]) for model, path in paths.items()}
    written: list[Path] = []
    for model, path in paths.items():
        try:
            with locked(path.parent):
                now = read_text(path) if path.exists() else None
                text = after[path] if now == before[path] else _added(path, now, plan, new[model])
                if text is not None:
                    write_atomically(path, text.encode())
                    written.append(path)
        except OSError as error:
            raise FitcardError(
                f"{shown(path)}: {error.strerror}; {len(written)} of {len(paths)} files are written, whole, and the others are as they "
                "were. Make room and run the same command again: what is on record is not added twice"
            ) from None
    return written


def _added(path: Path, text: str | None, plan: Plan, speeds: Sequence[PublishedSpeed]) -> str | None:
    """The text of the file with the speeds added, where it now has `text` (None: there is no file).

    None where it has them all, since somebody else may have been quicker.
    """
    if text is None:
        return _new_file(path, plan, speeds)
    file = _check(text, path)
    records = Records(file)
    fresh = [speed for speed in speeds if records.find(speed, plan.source.url) is None]
    if not fresh:
        return None
    urls = {source.url: key for key, source in file.sources.items()}
    key = urls.get(plan.source.url) or _free(plan.key, file.sources)
    fresh = [speed if speed.source == key else speed.model_copy(update={"source": key}) for speed in fresh]
    root = compose(text, path)
    sources, entries = _block(root, "sources", path), _block(root, "speeds", path)
    head = [] if plan.source.url in urls else [(_end(sources), _source(key, plan, sources.start_mark.column))]
    dated = text
    if file.reviewed < plan.source.read:  # whoever reads a source for the file reviews it
        dated = re.sub(r"^(reviewed:\s*)\S+", rf"\g<1>{plan.source.read}", text, count=1, flags=re.MULTILINE)

    def with_speeds(some: Sequence[PublishedSpeed]) -> str:
        items = [line for speed in some for line in _item(speed, entries.start_mark.column)]
        return _inserted(dated, [(_end(entries), items), *head])

    few = _few(fresh)
    whole = _check(with_speeds(few), path)
    before = {name: source for name, source in whole.sources.items() if name in file.sources}
    assert whole.speeds == (*file.speeds, *few) and before == file.sources  # else something was put in the wrong place
    return with_speeds(fresh)


def _new_file(path: Path, plan: Plan, speeds: Sequence[PublishedSpeed]) -> str:
    comment = FORMATS[plan.format].COMMENT
    head = [
        "# yaml-language-server: $schema=../../schema/published.json", *(["#", f"# {comment}"] if comment else []),
        f"reviewed: {plan.source.read}", "sources:", *_source(plan.key, plan, 2), "speeds:",
    ]  # fmt: skip

    def with_speeds(some: Sequence[PublishedSpeed]) -> str:
        return "\n".join([*head, *(line for speed in some for line in _item(speed, 2))]) + "\n"

    few = _few(speeds)
    assert _check(with_speeds(few), path).speeds == tuple(few)
    return with_speeds(speeds)


def _few(speeds: Sequence[PublishedSpeed]) -> list[PublishedSpeed]:
    """Those that are read back before anything is written: all, or the first and last of many, which go to the same place."""
    return list(speeds) if len(speeds) <= READ_BACK else [*speeds[: READ_BACK // 2], *speeds[-READ_BACK // 2 :]]


def _check(text: str, path: Path) -> PublishedFile:
    return validate(PublishedFile, *_data(text, path))


def _data(text: str, path: Path) -> tuple[Any, Path, Any]:
    data, lines = parse_yaml(text, path)
    return data, path, lines


def _free(key: str, taken: Mapping[str, Any]) -> str:
    """`key`, or with a number where another source has it."""
    number = 2
    name = key
    while name in taken:
        name, number = f"{key}-{number}", number + 1
    return name


def _block(root: yaml.Node, name: str, path: Path) -> yaml.CollectionNode:
    """The mapping or list under a key of the file, written an entry a line."""
    assert isinstance(root, yaml.MappingNode)
    node = next(value for key, value in root.value if key.value == name)
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        message = "is written in braces or brackets: write it an entry a line, so that entries can be added"
        raise CatalogError([Problem(path, node.start_mark.line + 1, name, message)])
    return node


def _end(node: yaml.Node) -> int:
    """The number of the line after the last one that belongs to a node, counted from 0; comments below it do not."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last: yaml.Node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
        return _end(last)
    line: int = node.end_mark.line
    column: int = node.end_mark.column
    return line + (column > 0)  # text in several lines ends where the next line begins


def _inserted(text: str, inserts: Sequence[tuple[int, Sequence[str]]]) -> str:
    """`text` with lines put before the lines of those numbers."""
    rows = text.split("\n")
    ending = "\r" if text.split("\n", 1)[0].endswith("\r") else ""
    for number, lines in sorted(inserts, reverse=True):
        rows[number:number] = [line + ending for line in lines]
        if number == len(rows) - len(lines):  # the file did not end with a line break
            rows.append("")
    return "\n".join(rows)


def _source(key: str, plan: Plan, indent: int) -> list[str]:
    """A source in YAML."""
    fields = plan.source.model_dump(exclude_defaults=True)
    return [
        f"{' ' * indent}{key}:",
        *(f"{' ' * (indent + 2)}{name}: {scalar(value)}" for name, value in fields.items()),
    ]


def _item(record: PublishedSpeed, indent: int) -> list[str]:
    """An entry of a list in YAML, without what is as it is by default."""
    fields = record.model_dump(exclude_defaults=True)
    rows = [f"{name}: {scalar(value)}" for name, value in fields.items()]
    return [f"{' ' * indent}{'- ' if number == 0 else '  '}{row}" for number, row in enumerate(rows)]


def scalar(value: object) -> str:
    """A number, a truth value or a text in YAML, so that our reader gives it back; texts without quotes where that works."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else f"{value:.12f}"  # readers disagree on 1e-05
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    try:
        plain = parse_yaml(f"key: {text}\n", Path("text"))[0] == {"key": text}
    except CatalogError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def claim_text(plan: Plan, claims: Sequence[Claimed]) -> str:
    """What to add to a model's file by hand: the unit is left empty, and the file does not load before somebody fills it in."""
    rows = [
        f"  - {{key: {row.claim.key}, what: {json.dumps(row.claim.what, ensure_ascii=False)}, value: {scalar(row.claim.value)}, unit: , "
        f"where: {json.dumps(row.claim.where, ensure_ascii=False)}, source: {plan.key}}}"
        for row in claims
    ]
    return "\n".join(["claims:", *rows, "sources:", *_source(plan.key, plan, 2)])
