"""Records from JSON that was written from checked records, without checking it again.

Pydantic builds a validator for each class that it checks. That takes a quarter of the time of a short answer, in which nothing
is read but what was checked before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

R = TypeVar("R", bound=BaseModel)
_Converter = Callable[[Any], Any]


def restore(kind: type[R], data: Any) -> R:
    """The record of `kind` that `data`, as JSON gives it, was written from."""
    convert = _converter(kind)
    assert convert is not None
    record: R = convert(data)
    return record


@cache
def _converter(annotation: Any) -> _Converter | None:
    """What makes a value of a type from JSON's; None where they are the same."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is float:
        return float
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _model(annotation)
    if origin is Annotated:
        return _converter(args[0])
    if origin is tuple:
        item = _converter(args[0])
        return (lambda value: tuple(map(item, value))) if item else tuple
    if origin is dict:
        entry = _converter(args[1])
        return (lambda value: {key: entry(each) for key, each in value.items()}) if entry else None
    if origin in (Union, UnionType):
        return _union(args)
    return None


def _model(kind: type[BaseModel]) -> _Converter:
    annotations: dict[str, Any] = {name: field.annotation for name, field in kind.model_fields.items()}
    converters = {name: each for name, annotation in annotations.items() if (each := _converter(annotation))}

    def convert(data: dict[str, Any]) -> Any:
        values = {
            name: converters[name](value) if value is not None and name in converters else value
            for name, value in data.items()
        }
        return kind.model_construct(**values)

    return convert


def _union(types: tuple[Any, ...]) -> _Converter | None:
    """Of a union, one type at most is a list, a record or a mapping; a number that may be whole stays as it is."""
    others = [type_ for type_ in types if type_ is not type(None)]
    if len(others) == 1:
        return _converter(others[0])
    structured = [each for type_ in others if type_ is not float and (each := _converter(type_))]
    if not structured:
        return None
    [convert] = structured
    return lambda value: convert(value) if isinstance(value, list | dict) else value
