"""What importing a file would record: each of its rows is new, on record already, or unmapped with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import FitcardError, listed, printable, shorten, shown
from fitcard.catalog.gpu_names import SHOWN
from fitcard.catalog.host import slug
from fitcard.catalog.importers import eval_results, llama_bench, optimum, timm
from fitcard.catalog.importers.row import Accuracy, File, ImportedSpeed, Row, Unmapped, read_json
from fitcard.catalog.linters.published import speed_fault
from fitcard.catalog.names import find_gpu, gpu_index
from fitcard.catalog.reader import read_text
from fitcard.catalog.schema.model import Claim
from fitcard.catalog.schema.published import PublishedFile, PublishedSpeed
from fitcard.catalog.schema.record import Source

FORMATS: dict[str, ModuleType] = {
    "timm": timm,
    "optimum-benchmark": optimum,
    "llama-bench": llama_bench,
    "eval-results": eval_results,
}
PARAMETERS_WITHIN = 0.01
"""A tool counts a head or a pooling layer more or less than the catalog; another model differs by more."""
_COMMIT = re.compile(r"/[0-9a-f]{40}(?=/)")


@dataclass(frozen=True)
class Mapped:
    """A row as the record that it is, or would be."""

    model: str
    speed: PublishedSpeed
    on_record: bool


@dataclass(frozen=True)
class Claimed:
    """A row as a claim of a model, but for its unit, which no file states."""

    model: str
    claim: Claim
    on_record: bool


@dataclass(frozen=True)
class Plan:
    """The rows of one file."""

    format: str
    key: str
    """The short name of the source in the files that it is added to."""
    source: Source
    mapped: tuple[Mapped, ...]
    claims: tuple[Claimed, ...]
    unmapped: tuple[Unmapped, ...]

    @property
    def new(self) -> dict[str, tuple[PublishedSpeed, ...]]:
        """The speeds to add, by model."""
        speeds: dict[str, list[PublishedSpeed]] = {}
        for row in self.mapped:
            if not row.on_record:
                speeds.setdefault(row.model, []).append(row.speed)
        return {model: tuple(mine) for model, mine in speeds.items()}


def plan(catalog: Catalog, path: Path, source: Source, *, format: str | None = None, gpu: str | None = None) -> Plan:
    """What importing the file at `path` would record.

    `format` is a key of `FORMATS`, recognised from the content by default; `gpu` is the card as typed, for files that name none.
    Raises FitcardError for a file of no known format, a damaged one, and a `gpu` that is not the one in the file.
    """
    text = read_text(path).removeprefix("\ufeff")
    name = format or _recognised(text, path)
    card = find_gpu(catalog, gpu) if gpu else None
    if card and card not in catalog.gpus:
        raise FitcardError(f"published figures are of cards, and {card} is known from runs alone")
    rows: list[Row] = list(FORMATS[name].read(catalog, File(path, text, source.url)))
    if not rows:
        raise FitcardError(f"{shown(path)}: has no rows")
    key = _source_key(name, source.title)
    return _sorted(catalog, rows, name, key, source, card)


def _recognised(text: str, path: Path) -> str:
    for name, module in FORMATS.items():
        if module.fits(text):
            return name
    if text.lstrip()[:1] in ("[", "{"):
        read_json(path, text)  # a damaged file is none of them either, and is better called that
    known = ", ".join(module.TITLE for module in FORMATS.values())
    raise FitcardError(f"{shown(path)}: is in none of the formats that can be imported: {known}; --format overrides")


def _sorted(catalog: Catalog, rows: Iterable[Row], name: str, key: str, source: Source, card: str | None) -> Plan:
    mapped: list[Mapped] = []
    claims: list[Claimed] = []
    unmapped: list[Unmapped] = []
    records: dict[str, Records] = {}
    gpus = Gpus(catalog)
    for row in rows:
        if isinstance(row, Accuracy):
            claims.append(_claim(catalog, row, key, source))
            continue
        if isinstance(row, Unmapped):
            unmapped.append(Unmapped(printable(row.where), printable(row.reason)))
            continue
        made = _placed(catalog, gpus, row, key, card)
        if isinstance(made, Unmapped):
            unmapped.append(made)
            continue
        if row.model not in records:
            records[row.model] = Records(catalog.published.get(row.model))
        other = records[row.model].find(made, source.url)
        if other is not None and other.per_second != made.per_second:
            reason = f"is on record with another figure ({other.per_second:g} a second): mend the record, or the file"
            unmapped.append(Unmapped(row.where, reason))
            continue
        mapped.append(Mapped(row.model, made, other is not None))
        records[row.model].add(made, source.url)
    return Plan(name, key, source, tuple(mapped), tuple(claims), tuple(unmapped))


class Gpus:
    """The GPUs that a file names, each looked up once."""

    def __init__(self, catalog: Catalog) -> None:
        self._names = gpu_index(catalog)
        self._by_name: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """The id of the GPU with this very name; None where none or several have it."""
        if name not in self._by_name:
            self._by_name[name] = self._names.one(name)
        return self._by_name[name]

    def unknown(self, name: str) -> str:
        """Why there is no GPU of this name."""
        several = self._names.called(name)
        if len(several) > 1:
            return f"{name} is the name of {len(several)} GPUs ({listed(several, SHOWN)}); give --gpu"
        return f"no card of the catalog is called {name}; give --gpu"


def _placed(catalog: Catalog, gpus: Gpus, row: ImportedSpeed, key: str, card: str | None) -> PublishedSpeed | Unmapped:
    """The record of a row, or why the advisor could not use it."""
    named = gpus.find(row.gpu) if row.gpu else None
    if card and named and card != named:
        raise FitcardError(f"--gpu is {card}, but {row.where} was measured on {named} ({row.gpu}): leave --gpu out")
    gpu = card or named
    trace = catalog.trace_index[row.model]
    if row.component not in trace.components:
        return Unmapped(row.where, f"is of a component that {row.model} does not have ({row.component})")
    phase = catalog.traces[row.model].phase(row.component)
    if gpu is None:
        return Unmapped(row.where, gpus.unknown(row.gpu) if row.gpu else "names no card; give --gpu")
    if row.image_size != phase.image_size:
        return Unmapped(
            row.where, f"was measured at {row.image_size} px, and {row.model} is known at {phase.image_size} px"
        )
    if row.text_tokens != phase.text_tokens:
        reason = f"was measured with texts of {row.text_tokens} tokens, and {row.model} is known at {phase.text_tokens}"
        return Unmapped(row.where, reason)
    ours = trace.parameters[row.component]
    if row.parameters and abs(row.parameters / ours - 1) > PARAMETERS_WITHIN:
        counts = f"{row.parameters / 1e6:.2f} million parameters there, {ours / 1e6:.2f} million here"
        return Unmapped(row.where, f"is not the model that its name says: {counts}")
    try:
        speed = PublishedSpeed(
            gpu=gpu, component=row.component, quantization=row.quantization, mode=row.mode, batch=row.batch, image_size=row.image_size,
            text_tokens=row.text_tokens, per_second=row.per_second, autocast=row.autocast, channels_last=row.channels_last,
            runtime=row.runtime, settings=row.settings, where=row.where, source=key,
        )  # fmt: skip
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        return Unmapped(row.where, f"{place} cannot be recorded: {fault['msg']} (got {shorten(fault['input'])})")
    if impossible := speed_fault(catalog, row.model, speed):
        return Unmapped(row.where, " ".join(impossible))
    return speed


class Records:
    """The speeds of one model that are on record, each with the address of its source."""

    def __init__(self, file: PublishedFile | None) -> None:
        self._by_words: dict[tuple[object, ...], list[tuple[PublishedSpeed, str]]] = {}
        for speed in file.speeds if file else ():
            self.add(speed, file.sources[speed.source].url)  # type: ignore[union-attr]

    def add(self, speed: PublishedSpeed, url: str) -> None:
        """Put one more on record."""
        self._by_words.setdefault(_words(speed), []).append((speed, url))

    def find(self, speed: PublishedSpeed, url: str) -> PublishedSpeed | None:
        """The same measurement: of the same file, in the same words but for the figure and the row's name.

        A file at another commit is the same file as long as the figure is the same; with another figure it is a new measurement.
        """
        for other, address in self._by_words.get(_words(speed), ()):
            if address == url or (_bare(address) == _bare(url) and other.per_second == speed.per_second):
                return other
        return None


def _words(speed: PublishedSpeed) -> tuple[object, ...]:
    return tuple(speed.model_dump(exclude={"per_second", "where", "source"}).values())


def _bare(url: str) -> str:
    """An address without the commit in it."""
    return _COMMIT.sub("", url)


def _claim(catalog: Catalog, row: Accuracy, key: str, source: Source) -> Claimed:
    model = catalog.models[row.model]
    known = any(
        claim.value == row.value and claim.source in model.sources and _bare(model.sources[claim.source].url) == _bare(source.url)
        for claim in model.claims
    )  # fmt: skip
    claim = Claim(key=row.key, what=row.what, value=row.value, unit="not stated", where=row.where, source=key)
    return Claimed(row.model, claim, known)


def _source_key(format: str, title: str) -> str:
    """A short name for a source: `timm-amp-nchw-pt240-cu124-rtx4090` for timm's file of that name."""
    stem = re.sub(r"\.(csv|json|jsonl|yaml|yml)\Z", "", title.strip()).removeprefix("benchmark-infer-")
    return slug(f"{format} {stem}")[:80].strip("-")


def unpinned(url: str) -> str | None:
    """What is wrong with the address of a source; None where nothing is.

    A file on GitHub or on the Hugging Face hub changes, so its address must hold the commit that was read.
    """
    if not re.fullmatch(r"https?://[^\s<>\"']+", url):
        return "is no address: it begins with https:// and holds no space or quote"
    site = re.match(r"https?://(www\.)?(github\.com|raw\.githubusercontent\.com|huggingface\.co|hf\.co)/", url)
    discussed = re.search(r"/(issues|pull|discussions)/\d+", url)
    if site and not discussed and not _COMMIT.search(url):
        return (
            "is not pinned: the file there can change. Press y on its page on GitHub, or open it in the history of the hub, "
            "and take that address, which holds the commit (/blob/ and 40 digits)"
        )
    return None
