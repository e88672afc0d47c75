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
from fitcard.catalog.reader import MAX_DEPTH, MAX_DIGITS, MAX_YAML_BYTES, MAX_YAML_VALUES, read_text, refuse

if TYPE_CHECKING:
    import yaml

Location = tuple[str | int, ...]
Lines = dict[Location, int]

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?\Z")


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """The file's data, and the 1-based line on which each value begins. Raises CatalogError for what is not well-formed YAML."""
    return parse_yaml(read_text(path, MAX_YAML_BYTES), path)


def parse_yaml(text: str, path: Path) -> tuple[Any, Lines]:
    """The data in `text`, which is or will be the file at `path`, and the 1-based line on which each value begins.

    Raises CatalogError with the line for anything that is not well-formed YAML.
    """
    builder = _Builder(_events(text, path), path)
    data = builder.build(())
    if builder.problems:
        raise CatalogError(builder.problems)
    return data, builder.lines


def compose(text: str, path: Path) -> yaml.Node:
    """The nodes of a YAML text, which know where they stand in it; `path` is for messages."""
    import yaml

    _events(text, path)
    node: yaml.Node | None = yaml.compose(text, Loader=_loader())
    assert node is not None  # there are events, so there is a node
    return node


def _loader() -> Any:
    """libyaml's loader, which takes a tenth of the time, where PyYAML was built with it."""
    import yaml  # only here: most commands find every file in the cache

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _events(text: str, path: Path) -> list[yaml.Event]:
    """What the parser sees in the one document of a text, from its first value to its last.

    The parser that makes nodes calls itself for each level and dies of 100,000 brackets; this one gives one event after the
    other, so that counting them ends a file that is too deep or too long.
    """
    import yaml

    events, depth, documents = list[yaml.Event](), 0, 0
    try:
        for event in yaml.parse(text, Loader=_loader()):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    refuse(path, _line(event), "is not well-formed YAML: a second document begins")
            elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                events.append(event)
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > MAX_DEPTH:
                    refuse(path, _line(event), _TOO_DEEP)
                if len(events) > 2 * MAX_YAML_VALUES:
                    refuse(path, _line(event), _TOO_MANY)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "\t" in "".join(text.splitlines()[line - 1 : line]):
            what = "a tab character: YAML is indented with spaces"
        refuse(path, line, f"is not well-formed YAML: {what}")
    if not events:
        refuse(path, 1, "holds nothing but comments: fill it in or delete it")
    return events


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


_TOO_DEEP = f"is nested too deeply: at most {MAX_DEPTH} levels are read"
_TOO_MANY = (
    f"holds too many values, those that aliases repeat included: at most {MAX_YAML_VALUES:,} are read; split the file"
)


def line_of(lines: Lines, location: Location) -> int:
    """The line of the value at `location`, or of the nearest thing around it that is in the file."""
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location, 1)


class _Builder:
    """Builds the data of a document from its events, and notes the line of every value."""

    def __init__(self, events: list[yaml.Event], path: Path) -> None:
        self.events, self.path, self.at, self.values = events, path, 0, 0
        self.lines: Lines = {}
        self.problems: list[Problem] = []
        self.anchors: dict[str, int | None] = {}
        """Where the value of each anchor begins among the events; None while it is being built."""
        self.targets: dict[int, int | None] = {}
        """The same for each alias, by its own place: an anchor may be given to another value later."""
        self.repeats = 0
        """How many aliases the current value is inside of."""

    def build(self, place: Location) -> Any:
        """The value that begins at the current event; `place` is where it belongs."""
        import yaml

        event = self.events[self.at]
        line = _line(event)
        self.values += 1
        if self.values > MAX_YAML_VALUES:
            refuse(self.path, line, _TOO_MANY)
        if len(place) > MAX_DEPTH:
            refuse(self.path, line, _TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            return self._again(str(event.anchor), place, line)
        self.lines[place] = line
        first, anchor = self.at, None if self.repeats else getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = None
        self.at += 1
        if isinstance(event, yaml.ScalarEvent):
            value: Any = self._scalar(event, line)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(place)
        else:
            value = []
            while not isinstance(self.events[self.at], yaml.SequenceEndEvent):
                value.append(self.build((*place, len(value))))
            self.at += 1
        if anchor:
            self.anchors[anchor] = first
        return value

    def _again(self, anchor: str, place: Location, line: int) -> Any:
        """The value that an alias repeats, built again from its events."""
        start, here = self.targets.setdefault(self.at, self.anchors.get(anchor)), self.at
        if start is None:
            refuse(self.path, line, f"is not well-formed YAML: no value before it is called {shorten(anchor)}")
        self.at = start
        self.repeats += 1
        value = self.build(place)
        self.repeats -= 1
        self.at = here + 1
        return value

    def _mapping(self, place: Location) -> dict[str, Any]:
        import yaml

        result: dict[str, Any] = {}
        while not isinstance(event := self.events[self.at], yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                refuse(self.path, line, "has a key that is not plain text: write `key: value`")
            key = str(event.value)
            self.at += 1
            if key in result:
                first = self.lines[(*place, key)]
                message = f"is given twice (first on line {first}): keep one"
                self.problems.append(Problem(self.path, line, _dotted((*place, key)), message))
                self._skip()
                continue
            result[key] = self.build((*place, key))
            self.lines[(*place, key)] = line
        self.at += 1
        return result

    def _skip(self) -> None:
        """Go past one value without building it."""
        import yaml

        depth = 0
        while True:
            event = self.events[self.at]
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            self.at += 1
            if depth == 0:
                return

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        """The value of a scalar under the YAML 1.2 core schema; quoted or block text is always text."""
        text = str(event.value)
        if event.style:  # "" or None is plain
            return text
        if text in _NULL:
            return None
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        if _INT.match(text) or _FLOAT.match(text):
            if len(text) > MAX_DIGITS:
                refuse(self.path, line, f"holds a number of more than {MAX_DIGITS} digits: mend it")
            return int(text) if _INT.match(text) else float(text)
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
