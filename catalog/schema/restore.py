"""Values from JSON that was written from checked ones, without checking them again.

Pydantic builds a validator for each class that it checks. That takes a quarter of the time of a short answer, in which nothing
is read but what was checked before.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

T = TypeVar("T")
_Converter = Callable[[Any], Any]


def plain_text(value: object) -> str:
    """A value as JSON, from which `restore` makes it again. Named tuples and dataclasses become lists."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Path):
        return str(value)
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def restore(kind: type[T], data: Any) -> T:
    """The value of type `kind` that `data`, as JSON gives it, was written from."""
    convert = _converter(kind)  # type: ignore[arg-type]  # every type can be a key
    value: T = convert(data) if convert else data
    return value


@cache
def _converter(annotation: Any) -> _Converter | None:
    """What makes a value of a type from JSON's; None where they are the same."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in (float, Path):
        return annotation  # type: ignore[no-any-return]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _model(annotation)
    if dataclasses.is_dataclass(annotation):
        return _row(annotation, [field.name for field in dataclasses.fields(annotation)])
    if fields := getattr(annotation, "_fields", None):
        return _row(annotation, fields)
    if origin is Annotated:
        return _converter(args[0])
    if origin is tuple and args[-1] is not ...:
        return _items(tuple, [_converter(arg) for arg in args])
    if origin in (tuple, list):
        item = _converter(args[0])
        return (lambda value: origin(map(item, value))) if item else origin
    if origin is dict:
        entry = _converter(args[1])
        return (lambda value: {key: entry(each) for key, each in value.items()}) if entry else None
    if origin in (Union, UnionType):
        return _union(args)
    return None


def _model(kind: type[BaseModel]) -> _Converter:
    fields = [
        (name, _converter(field.annotation), _default(field))  # type: ignore[arg-type]  # every type can be a key
        for name, field in kind.model_fields.items()
    ]

    def convert(data: dict[str, Any]) -> Any:
        record = kind.__new__(kind)  # what model_construct does, without looking for aliases and factories each time
        values = {
            name: default if name not in data else each(data[name]) if each else data[name]
            for name, each, default in fields
        }
        slots = {"dict": values, "pydantic_fields_set": set(data), "pydantic_extra": None, "pydantic_private": None}
        for slot, value in slots.items():
            object.__setattr__(record, f"__{slot}__", value)
        return record

    return convert


def _default(field: Any) -> Any:
    """A field's default, which all records may share since they are frozen."""
    factory = field.default_factory
    return restore(factory, {}) if isinstance(factory, type) else field.get_default(call_default_factory=True)


def _row(kind: Any, fields: Sequence[str]) -> _Converter:
    hints = get_type_hints(kind)
    return _items(lambda values: kind(*values), [_converter(hints[name]) for name in fields])


def _items(kind: _Converter, converters: Sequence[_Converter | None]) -> _Converter:
    """What makes a value of a list with items of several types."""
    needed = [(at, convert) for at, convert in enumerate(converters) if convert]

    def convert(items: list[Any]) -> Any:
        for at, each in needed:
            items[at] = each(items[at])
        return kind(items)

    return convert


def _union(types: tuple[Any, ...]) -> _Converter | None:
    """Of a union, one type at most is a list, a record or a mapping; a number that may be whole stays as it is."""
    others = [type_ for type_ in types if type_ is not type(None)]
    if len(others) == 1:
        only = _converter(others[0])
        return only and (lambda value: None if value is None else only(value))
    structured = [each for type_ in others if type_ is not float and (each := _converter(type_))]
    if not structured:
        return None
    [convert] = structured
    return lambda value: convert(value) if isinstance(value, list | dict) else value
