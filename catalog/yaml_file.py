"""Reading one YAML file strictly, with the line of every value.

PyYAML speaks YAML 1.1, where `no` is False, `1:30` is 90, a bare date is a date object, a key given twice silently wins, and
`80e9` is text. None of that is wanted in a catalog that people edit by hand, so only the YAML 1.2 core types are
resolved here, and a key given twice is an error.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitcard.catalog.errors import CatalogError, Problem, shorten

if TYPE_CHECKING:
    import yaml

Location = tuple[str | int, ...]
Lines = dict[Location, int]

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?\Z")


def read_text(path: Path) -> str:
    """The file as UTF-8 text. Raises CatalogError for a file that is missing, empty or not text."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise _problem(path, 1, f"is not UTF-8 text (byte {error.start} cannot be read): restore the file") from None
    except OSError as error:
        raise _problem(path, 1, f"cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise _problem(
            path, text.count("\n", 0, text.index("\0")) + 1, "is not text (it holds a NUL byte): restore the file"
        )
    if not text.strip():
        raise _problem(path, 1, "is empty: fill it in or delete it")
    return text


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """The file's data, and the 1-based line on which each value begins. Raises CatalogError for what is not well-formed YAML."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, path: Path) -> tuple[Any, Lines]:
    """The data in `text`, which is or will be the file at `path`, and the 1-based line on which each value begins.

    Raises CatalogError with the line for anything that is not well-formed YAML.
    """
    node = compose(text, path)
    lines: Lines = {}
    problems: list[Problem] = []
    data = _construct(node, (), lines, problems, path)
    if problems:
        raise CatalogError(problems)
    return data, lines


def compose(text: str, path: Path) -> yaml.Node:
    """The nodes of a YAML text, which know where they stand in it; `path` is for messages."""
    import yaml  # only here: most commands find every file in the cache

    try:
        node: yaml.Node | None = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "\t" in "".join(text.splitlines()[line - 1 : line]):
            what = "a tab character: YAML is indented with spaces"
        raise _problem(path, line, f"is not well-formed YAML: {what}") from None
    if node is None:
        raise _problem(path, 1, "holds nothing but comments: fill it in or delete it")
    return node


def line_of(lines: Lines, location: Location) -> int:
    """The line of the value at `location`, or of the nearest thing around it that is in the file."""
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location, 1)


def _construct(node: yaml.Node, at: Location, lines: Lines, problems: list[Problem], path: Path) -> Any:
    import yaml

    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                key = str(getattr(key_node, "value", key))
            if key in result:
                line = key_node.start_mark.line + 1
                first = lines[(*at, key)]
                problems.append(
                    Problem(path, line, _dotted((*at, key)), f"is given twice (first on line {first}): keep one")
                )
                continue
            result[key] = _construct(value_node, (*at, key), lines, problems, path)
            lines[(*at, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(child, (*at, index), lines, problems, path) for index, child in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node)


def _scalar(node: yaml.ScalarNode) -> Any:
    """The value of a scalar under the YAML 1.2 core schema; quoted or block text is always text."""
    text = str(node.value)
    if node.style:  # "" or None is plain
        return text
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text


def hint(value: object) -> str:
    """What to do about a value of the wrong type, where YAML itself is the likely trap."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value):
        number = float(value)
        written = f"{number:.0f}" if number.is_integer() and abs(number) < 1e18 else repr(number)
        return f"; YAML readers disagree on {shorten(value)}: write {written}"
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9][0-9_,.]*", value):
        return "; write it without quotes, commas or underscores"
    if isinstance(value, bool | int | float):
        return "; put it in quotes if text is meant"
    return ""


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _problem(path: Path, line: int, message: str) -> CatalogError:
    return CatalogError([Problem(path, line, "", message)])
