# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Charts as inline SVG for a page of any width.

Marks are drawn in a square of 100 by 100 units that is stretched to the width there is; strokes and text keep their
size. `report.css` says how the classes look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from recipes.evaluation.report.html import joined, number, span, tag


@dataclass
class Axis:
    """
    The range of a chart in one direction.

    Args:
        low, high (`float`): what stands at its ends.
        ticks (list of `float`): where numbers are written.
        label (`str`): what it measures, with the unit.
        logarithmic (`bool`).
        show (callable): a tick as text.
    """

    low: float
    high: float
    ticks: Sequence[float]
    label: str
    logarithmic: bool = False
    show: Callable[[float], str] = "{:g}".format

    def at(self, value: float) -> float:
        """Return the place of a value, from 0 to 100."""
        low, high, value = (np.log10(x) if self.logarithmic else x for x in (self.low, self.high, value))
        return round(float(np.clip(100 * (value - low) / (high - low), 0, 100)), 2)


def unit_axis(label: str) -> Axis:
    return Axis(0, 1, (0, 0.25, 0.5, 0.75, 1), label)


def decades(values: Sequence[float], label: str, show: Callable[[float], str] = "{:g}".format) -> Axis:
    """A logarithmic axis of whole decades around the values."""
    low, high = int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values))))
    high = max(high, low + 1)
    return Axis(10.0**low, 10.0**high, [10.0**i for i in range(low, high + 1)], label, True, show)


def hour_axis(last: float) -> Axis:
    step = next((step for step in (1, 2, 4, 6, 12, 24, 48, 96, 192) if last / step <= 5), 384)
    return Axis(0, last, np.arange(0, last + 1e-9, step).tolist(), "hours since ICU admission")


@dataclass
class Row:
    """
    One line of a chart.

    Args:
        name (`str`): what it is about; `detail` stands below in small print.
        marks (`Markup`): its drawing, and `spoken` that in words.
        value (`Markup` or `str`): the number, beside the drawing.
    """

    name: str
    marks: Markup
    spoken: str
    value: Markup | str
    detail: str = ""


def row_chart(caption, groups: dict[str, list[Row]], axis: Axis, reference: float | None = None, key="") -> Markup:
    """
    Rows of drawings over one axis, with the names before and the numbers behind them.

    Args:
        caption (`str` or `Markup`): what the chart shows.
        groups (`dict`): heading -> its rows; a heading may be empty.
        reference (`float`, *optional*): where a line goes down through all rows.
        key (`Markup`, *optional*): what the colours mean.
    """
    grid = [_path(f"M{axis.at(tick)} 0V100", "grid") for tick in axis.ticks]
    line = [] if reference is None else [_path(f"M{axis.at(reference)} 0V100", "reference")]

    def row(content: Row) -> Markup:
        drawing = _stretched(*grid, *line, content.marks, role="img", aria_label=content.spoken)
        drawing = tag("div", drawing, class_="track")
        name = tag("div", content.name, tag("small", content.detail) if content.detail else "", class_="name")
        return tag("div", name, drawing, tag("div", content.value, class_="value"), class_="row", role="listitem")

    lines = []
    for heading, rows in groups.items():
        lines.append(tag("h4", heading) if heading else "")
        lines.append(tag("div", *map(row, rows), role="list"))
    ticks = [tag("text", axis.show(t), x=f"{axis.at(t)}%", y=14, text_anchor="middle") for t in axis.ticks]
    label = tag("text", axis.label, x="50%", y=32, text_anchor="middle")
    foot = tag("div", tag("div"), tag("svg", *ticks, label, class_="ticks"), tag("div"), class_="row")
    foot = tag("div", foot, aria_hidden="true")
    return tag("figure", tag("figcaption", caption), key, tag("div", *lines, foot, class_="rows"))


def bar(value: float, interval: Sequence[float] | None, axis: Axis) -> Markup:
    """A bar from 0, with a whisker for the interval."""
    return tag("rect", x=0, y=22, width=axis.at(value), height=56, class_="bar") + _whisker(interval, axis)


def dot(value: float, interval: Sequence[float] | None, axis: Axis) -> Markup:
    """A dot with a whisker for the interval."""
    return _whisker(interval, axis) + _path(f"M{axis.at(value)} 50h0", "dot")


def _whisker(interval: Sequence[float] | None, axis: Axis) -> Markup:
    if not interval:
        return Markup("")
    low, high = (axis.at(x) for x in interval)
    return _path(f"M{low} 50H{high}M{low} 34V66M{high} 34V66", "whisker")


def stacked(counts: dict[str, int]) -> Markup:
    """One bar that is cut by shares of the sum; a count's name is its class."""
    total, at, parts = sum(counts.values()), 0.0, []
    for name, count in counts.items():
        width = 100 * count / total if total else 0.0
        parts.append(tag("rect", x=round(at, 2), y=18, width=round(width, 2), height=64, class_=name))
        at += width
    return joined(parts)


def cells(values: Sequence[float], highest: float, width: float, axis: Axis, titles: Sequence[str]) -> Markup:
    """
    One row of a heat map, cells side by side from 0; grey where there is no value.

    Args:
        values (list of `float`): NaN = none; `highest` has the darkest shade.
        width (`float`): of a cell, in the axis's unit.
        titles (list of `str`): text on hovering over a cell.
    """
    parts = []
    for i, (value, title) in enumerate(zip(values, titles, strict=True)):
        start, end = axis.at(i * width), axis.at((i + 1) * width)
        place = {"x": start, "y": 4, "width": round(end - start, 2), "height": 92}
        looks = {"class_": "gap"} if np.isnan(value) else {"fill": shade(value / highest if highest else 0)}
        parts.append(tag("rect", tag("title", title), **place, **looks))
    return joined(parts)


LIGHTEST, DARKEST = (231, 240, 247), (8, 48, 107)


def shade(share: float) -> str:
    """Light to dark blue: the darker the more, with or without colour vision."""
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(LIGHTEST, DARKEST, strict=True))


@dataclass
class Point:
    """A point of [`xy_chart`]: its place, the interval of `y`, and a short text beside it."""

    x: float
    y: float
    interval: Sequence[float] | None = None
    text: str = ""


def xy_chart(
    caption: str, points: Sequence[Point], x: Axis, y: Axis, spoken: str, reliability: bool = False
) -> Markup:
    """
    Points with the intervals of their height.

    Args:
        spoken (`str`): the chart in words.
        reliability (`bool`): whether to join the points and to draw the line on which both axes are equal.
    """
    marks = [_path(f"M{x.at(t)} 0V100", "grid") for t in x.ticks]
    marks += [_path(f"M0 {_down(y, t)}H100", "grid") for t in y.ticks]
    if reliability:
        marks.append(_path("M0 100L100 0", "reference"))
        marks.append(_path("M" + "L".join(f"{x.at(p.x)} {_down(y, p.y)}" for p in points), "thin"))
    for p in points:
        if p.interval:
            marks.append(_path(f"M{x.at(p.x)} {_down(y, p.interval[0])}V{_down(y, p.interval[1])}", "whisker"))
        marks.append(_path(f"M{x.at(p.x)} {_down(y, p.y)}h0", "dot"))
    texts = [tag("text", p.text, x=f"{x.at(p.x)}%", y=f"{_down(y, p.y)}%", dx=8, dy=-6) for p in points if p.text]
    texts.append(tag("text", x.label, x="50%", y="100%", dy=34, text_anchor="middle"))
    return tag(
        "figure",
        tag("figcaption", caption),
        tag("div", y.label, class_="over", aria_hidden="true"),
        _plot(marks, [*_ticks(x, y), *texts], spoken),
        class_="square",
    )


def series_panel(channel: dict, hours: np.ndarray, values: np.ndarray, x: Axis) -> Markup:
    """
    The measurements of one channel as points: the reference range shaded, values outside of it larger and vermilion,
    the line broken where six hours or more went without a measurement.

    Args:
        channel (`dict`): `name`, `unit`, `low`, `high`.
        hours, values (arrays of shape `(T,)`, T at least 1): the measurements of this channel.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = float(values.min()), float(values.max())
    margin = 0.1 * max(high - low, 0.05 * max(abs(low), abs(high)), 1e-3)
    y = Axis(low - margin, high + margin, (), channel["unit"])
    y.ticks = [t for t in MaxNLocator(3).tick_values(y.low, y.high) if y.low <= t <= y.high]
    top, bottom = _down(y, channel["high"]), _down(y, channel["low"])
    outside = (values < channel["low"]) | (values > channel["high"])
    places = [f"{x.at(hour)} {_down(y, value)}" for hour, value in zip(hours, values, strict=True)]
    runs = np.split(np.arange(len(hours)), np.flatnonzero(np.diff(hours) >= GAP_HOURS) + 1)
    marks = [
        tag("rect", x=0, y=top, width=100, height=round(bottom - top, 2), class_="band"),
        _path("".join("M" + "L".join(places[i] for i in run) for run in runs), "thin"),
        *(
            _path("".join(f"M{places[i]}h0" for i in np.flatnonzero(which)), name)
            for which, name in ((~outside, "inside"), (outside, "outside"))
            if which.any()
        ),
    ]
    unit = "" if channel["unit"] == channel["name"] else f" ({channel['unit']})"
    spoken = (
        f"{channel['name']}{unit}: {len(values)} values from {low:g} to {high:g}, {int(outside.sum())} outside of the "
        f"reference range {channel['low']:g} to {channel['high']:g}"
    )
    return tag("figure", tag("figcaption", channel["name"] + unit), _plot(marks, _ticks(x, y), spoken))


GAP_HOURS = 6


def _plot(marks: Iterable[Markup], texts: Iterable[Markup], spoken: str) -> Markup:
    """Stretched marks, with text over and around them that is not."""
    return tag("div", tag("svg", _stretched(*marks), *texts, role="img", aria_label=spoken), class_="plot")


def _ticks(x: Axis, y: Axis) -> list[Markup]:
    below = [tag("text", x.show(t), x=f"{x.at(t)}%", y="100%", dy=16, text_anchor="middle") for t in x.ticks]
    return below + [tag("text", y.show(t), x=0, y=f"{_down(y, t)}%", dx=-6, dy=4, text_anchor="end") for t in y.ticks]


def _stretched(*marks: Markup, **attributes) -> Markup:
    return tag("svg", *marks, viewBox="0 0 100 100", preserveAspectRatio="none", **attributes)


def _path(d: str, kind: str) -> Markup:
    return tag("path", d=d, class_=kind)


def _down(axis: Axis, value: float) -> float:
    return round(100 - axis.at(value), 2)


def spoken_estimate(name: str, value: float | None, interval: Sequence[float] | None) -> str:
    """A figure in words, for those who do not see the chart."""
    return f"{name} {number(value)}" + (f", 95% interval {span(interval)}" if interval else "")
