"""The base of every record in the catalog, and the one place where records are validated with line numbers."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from fitcard.catalog.errors import CatalogError, Problem, shorten
from fitcard.catalog.yaml_file import Lines, Location, hint, line_of, read_yaml


class Record(BaseModel):
    """A frozen record: unknown keys are errors, numbers are numbers, text is text."""

    # Reading the docstrings of fields means parsing the source of every class, so only `make schema`, which needs them, pays
    # for it; validators are built when they are first needed, which is never where a checked catalog was kept.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, defer_build=True, allow_inf_nan=False,
        use_attribute_docstrings=bool(os.environ.get("FITCARD_FIELD_DOCS")),
    )  # fmt: skip

    def __hash__(self) -> int:
        """By identity: the loader gives one object for one content, and what follows from a record is kept by it. Equality stays by
        fields, so two records made apart may be equal and still be two keys."""
        return object.__hash__(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced, without what the original has worked out of them and kept."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            for name in vars(copied).keys() - type(self).model_fields.keys():
                del vars(copied)[name]
        return copied


def _to_tuple(value: object) -> object:
    """YAML and JSON have lists only; records are frozen, so they keep tuples."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


T = TypeVar("T")
Many = Annotated[tuple[T, ...], BeforeValidator(_to_tuple)]
"""A list in the file, a tuple in memory."""
Written = Annotated[tuple[T, ...], Field(fail_fast=True), BeforeValidator(_to_tuple)]
"""The same, of a list that a program wrote: nobody mends such a list by hand, so its first fault is enough."""

_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""Control characters but for tab and line breaks, and those that turn the direction of writing round."""
_INVISIBLE = r"\t\n\r\u00ad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f"
"""What a name has no use for besides: other lines, and characters of no width."""
TEXT = rf"^[^{_CONTROL}]+$"
NAME = rf"^[^{_CONTROL}{_INVISIBLE}]+$"
ID = r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
ID_RULE = "letters a to z, digits, `_`, `-` and single `.` between them, beginning with a letter or a digit"
_ID = re.compile(ID)
URL = r"^https?://[!#-&(-;=?-~]+$"
_FORMS = {
    TEXT: "holds a control character, or one that turns the direction of writing round: delete it",
    NAME: "is no name: it holds a control character, a line break, or a character that cannot be seen: delete it",
    ID: f"is no id: {ID_RULE}",
    URL: "is no address: it begins with https:// and holds neither a space, a quote nor a letter that is not ASCII",
}
"""What a text of the wrong form is told, by the pattern that it does not have."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=TEXT)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NAME)]
"""How something is called, on one line."""
Id = Annotated[str, StringConstraints(max_length=200, pattern=ID)]
"""What something is called by in addresses and file names. ASCII alone, so that no letter looks like another."""
Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Url = Annotated[str, StringConstraints(pattern=URL)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
MOST_PIXELS = 1 << 16
"""Along one side of an image: 65,536."""
MOST_TOKENS = 1 << 27
"""In one text. No model reads a hundred million."""
Batch = Annotated[int, Field(ge=1, le=1 << 20)]
"""Items at once; a million is more than any GPU holds."""

UNVERIFIED = "unverified"
"""The source key of a figure that somebody remembers and nobody has read; `fitcard check` counts these."""

MEASURED = "measured"
"""The source key of an amount that our own runs show."""

TO_WRITE = "TO WRITE:"
"""How a text begins that `fitcard add` left for somebody to write; the rest of it says what."""


class Source(Record):
    """Where a figure was read."""

    title: Text
    """The document's own title."""
    publisher: Text
    """Who published it."""
    url: Url
    """Where it is; for a file in a repository, the address with the commit in it."""
    read: Date
    """The day on which it was read."""
    license: Text | None = None
    """The licence under which it was published, as an SPDX identifier or in its publisher's words."""
    note: Text | None = None
    """How it was read, when not at that address itself, and anything a checker should know."""


Sources = dict[Slug, Source]
"""The sources of one file, under the short keys by which its facts name them."""

R = TypeVar("R", bound=BaseModel)


def is_id(text: str) -> bool:
    """Whether `text` is one part of an id, as a file or folder of the catalog may be called."""
    return len(text) <= 200 and _ID.fullmatch(text) is not None


MOST_FAULTS = 1000
"""Faults of one record that are listed; more than that are those of another kind of file."""


def validate(kind: type[R], data: object, path: Path, lines: Lines) -> R:
    """`data` as a record of `kind`. Raises CatalogError with one line for each fault."""
    if not isinstance(data, Mapping):
        message = f"must be a list of `key: value` lines (got {shorten(data)})"
        raise CatalogError([Problem(path, 1, "", message)])
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        if (count := error.error_count()) > MOST_FAULTS:
            message = f"has {count:,} faults: this is another kind of file; compare it with its neighbours"
            raise CatalogError([Problem(path, 1, "", message)]) from None
        problems = [_problem(fault, path, lines) for fault in error.errors(include_url=False)]
        raise CatalogError(problems) from None


def read_record(kind: type[R], path: Path) -> tuple[R, Lines]:
    """The one record that the YAML file at `path` holds, and the lines of its values."""
    data, lines = read_yaml(path)
    return validate(kind, data, path, lines), lines


_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a list of `key: value` lines",
    "model_type": "must be a list of `key: value` lines",
}


def _problem(fault: Mapping[str, Any], path: Path, lines: Lines) -> Problem:
    kind, location = str(fault["type"]), tuple(fault["loc"])
    # Pydantic names the branch of a union, or the key of a mapping, as parts of the location; only what stands in the file helps.
    at = tuple(part for part in location if part != "[key]" and not str(part).startswith("function-"))
    got = fault.get("input")
    message = _MESSAGES.get(kind, str(fault["msg"]).removeprefix("Value error, "))
    if kind == "value_error":
        # A check of a whole file says itself where: `gpus.rtx-4090: bandwidth ...`.
        where, colon, rest = message.partition(": ")
        inside = tuple(where.split("."))
        if colon and " " not in where and at + inside in lines:
            at, message = at + inside, rest
        shown = ""
    elif kind == "missing" or kind == "extra_forbidden":
        shown = ""
    elif kind == "string_pattern_mismatch":
        pattern = str(fault["ctx"]["pattern"])
        message, shown = _FORMS.get(pattern, f"has the wrong form, expected {pattern}"), f" (got {shorten(got)})"
    else:
        shown = f" (got {shorten(got)})"
    advice = hint(got) if kind in {"string_type", "int_type", "float_type", "float_parsing"} else ""
    return Problem(path, line_of(lines, at), ".".join(map(str, at)), message + shown + advice)


def texts_to_write(value: Any, at: Location = ()) -> Iterator[tuple[Location, str]]:
    """Where in `value` texts are still to be written, and what each shall say."""
    if isinstance(value, Mapping):
        for key, item in cast(Mapping[str, Any], value).items():
            yield from texts_to_write(item, (*at, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast(Sequence[Any], value)):
            yield from texts_to_write(item, (*at, index))
    elif isinstance(value, str) and value.startswith(TO_WRITE):
        yield at, value.removeprefix(TO_WRITE).strip()


def check_sources(figures: set[str], listed: Mapping[str, tuple[str, ...]], sources: set[str]) -> None:
    """Raise ValueError unless every figure stands under a source, and every source and figure named is there.

    The sources of a record say which figures each one states: `{data-sheet: [memory_gib, units], unverified: [bus]}`.
    """
    for key in listed:
        if key != UNVERIFIED and key not in sources:
            raise ValueError(
                f"source {key!r} is not under `sources:` of this file (there are: {', '.join(sorted(sources)) or 'none'})"
            )
    named = {figure for names in listed.values() for figure in names}
    if missing := sorted(figures - named):
        raise ValueError(f"no source for {', '.join(missing)}: name one, or list them under `{UNVERIFIED}`")
    if unknown := sorted(named - figures):
        raise ValueError(f"a source is given for {', '.join(unknown)}, which this record does not state")


__all__ = [
    "ID_RULE",
    "MEASURED",
    "TO_WRITE",
    "UNVERIFIED",
    "Count",
    "Date",
    "Id",
    "Many",
    "Name",
    "NotNegative",
    "Positive",
    "Record",
    "Slug",
    "Source",
    "Sources",
    "Text",
    "Url",
    "Written",
    "check_sources",
    "is_id",
    "read_record",
    "texts_to_write",
    "validate",
]
