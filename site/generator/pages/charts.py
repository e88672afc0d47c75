"""Charts as plain geometry: what goes where. The templates draw it, and every number also stands in a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 92, 12, 34
"""Margins; the right one holds the names at the ends of the lines."""


@dataclass(frozen=True)
class Mark:
    """One line of a grid with its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One series: its path, and its name at the path's end."""

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]
    """Places of the points with what they say."""
    end_y: float


@dataclass(frozen=True)
class Chart:
    """Lines over two logarithmic axes."""

    lines: tuple[Line, ...]
    x_marks: tuple[Mark, ...]
    y_marks: tuple[Mark, ...]
    x_name: str
    y_name: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def line_chart(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    y_marks: Sequence[float],
    x_name: str,
    y_name: str,
    title: Callable[[str, float, float], str],
) -> Chart | None:
    """Series of (x, y) over logarithmic axes, a mark at each x that occurs and at each of `y_marks`; None without points.

    `title` says a point in words, from the name of its series, x and y.
    """
    xs = sorted({x for _, points in series for x, _ in points})
    ys = [y for _, points in series for _, y in points]
    if not xs:
        return None
    marks = [mark for mark in y_marks if min(ys) * 0.7 <= mark <= max(ys) * 1.4]
    low, high = min([*ys, *marks]) * 0.9, max([*ys, *marks]) * 1.1

    def at_x(x: float) -> float:
        span = math.log(xs[-1] / xs[0]) or 1.0
        return round(LEFT + math.log(x / xs[0]) / span * (WIDTH - LEFT - RIGHT), 1)

    def at_y(y: float) -> float:
        return round(HEIGHT - BOTTOM - math.log(y / low) / math.log(high / low) * (HEIGHT - TOP - BOTTOM), 1)

    lines: list[Line] = []
    ends: list[float] = []
    for name, points in sorted(series, key=lambda one: -one[1][-1][1]):
        places = [(at_x(x), at_y(y), title(name, x, y)) for x, y in points]
        path = "M" + "L".join(f"{x} {y}" for x, y, _ in places)
        end = max([places[-1][1], *(other + 14 for other in ends)])  # names must not lie on each other
        ends.append(end)
        lines.append(Line(name, path, tuple(places), end))
    x_marks = tuple(Mark(at_x(x), f"{x:g}") for x in xs)
    return Chart(tuple(lines), x_marks, tuple(Mark(at_y(y), f"{y:g}") for y in marks), x_name, y_name)


@dataclass(frozen=True)
class Bar:
    """A bar in percent of the longest, with the interval that it may end in."""

    width: float
    low: float | None
    high: float | None


def bars(values: Sequence[tuple[float, float | None, float | None]]) -> list[Bar]:
    """Bars for (value, low, high), the longest interval or value filling the whole width."""
    longest = max((max(value, high or 0.0) for value, _, high in values), default=1.0) or 1.0

    def share(value: float | None) -> float | None:
        return None if value is None else round(100 * value / longest, 2)

    return [Bar(share(value) or 0.0, share(low), share(high)) for value, low, high in values]


def spread(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values, evenly spaced, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
