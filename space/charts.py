# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A patient's series as small multiples, inline SVG of any width; `style.css` says how the classes look.

Lines lie in a square of 100 by 100 units that is stretched to the width there is; all else stands at percentages and
keeps its form. Each point has the id that [`point_id`] gives, so that a claim can point at it.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from markup import counted, joined, tag
from markupsafe import Markup


GAP_HOURS = 6  # this long without a measurement is shown as missing
MARKS = {"inside": "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "above": "M0-5L5 4H-5Z", "below": "M0 5L5-4H-5Z"}


def point_id(channel: int, row: int) -> str:
    """The id of the point of a channel (its position) at a row of the series."""
    return f"point-{channel}-{row}"


def series_panels(channels: list[dict], values: np.ndarray, hours: np.ndarray) -> Markup:
    """
    One panel for each channel that was measured, and the names of those that were not.

    Args:
        channels (`list[dict]`): `name`, `unit`, `low` and `high` (the reference range), and `decimals`.
        values (array of shape `(T, num_channels)`): NaN = not measured.
        hours (array of shape `(T,)`): hours since ICU admission, increasing.
    """
    measured = ~np.isnan(values)
    if not measured.any():
        return tag("p", "Nothing was measured.", class_="hint")
    last = max(float(hours[measured.any(axis=1)].max()), 1.0)
    seen = [i for i in range(len(channels)) if measured[:, i].any()]
    unseen = [channel["name"] for i, channel in enumerate(channels) if i not in seen]
    return joined(
        [
            HATCH,
            KEY,
            tag("div", *(_panel(i, channels[i], values[:, i], hours, last) for i in seen), class_="panels"),
            tag("p", tag("strong", "Never measured: "), ", ".join(unseen), ".", class_="unmeasured") if unseen else "",
            _table([channels[i] for i in seen], values[:, seen], hours),
        ]
    )


def _mark(kind: str) -> Markup:
    return tag("path", d=MARKS[kind], class_=f"mark {kind}")


def _key(kind: str, words: str) -> Markup:
    picture = tag("svg", _mark(kind), viewBox="-6 -6 12 12", aria_hidden="true")
    return tag("span", picture, words)


KEY = tag(
    "p",
    _key("inside", "in the reference range"),
    _key("above", "above it"),
    _key("below", "below it"),
    tag("span", tag("i", class_="swatch band"), "reference range"),
    tag("span", tag("i", class_="swatch gap"), f"{GAP_HOURS} hours or more without a measurement"),
    class_="key",
)


HATCH = tag(
    "svg",
    tag(
        "pattern",
        tag("path", d="M0 0V5", stroke="#aab6c1", stroke_width=2),
        id="hatch", width=5, height=5, patternUnits="userSpaceOnUse", patternTransform="rotate(45)",
    ),
    width=0, height=0, style="position:absolute", aria_hidden="true",
)  # fmt: skip


def _panel(index: int, channel: dict, values: np.ndarray, hours: np.ndarray, last: float) -> Markup:
    rows = np.flatnonzero(~np.isnan(values))
    low, high = _range(channel, values[rows])

    def x(hour: float) -> float:
        return round(min(max(100 * hour / last, 0), 100), 2)

    def y(value: float) -> float:
        return round(100 - min(max(100 * (value - low) / (high - low), 0), 100), 2)

    top, bottom = y(channel["high"]), y(channel["low"])
    band = tag("rect", x=0, y=f"{top}%", width="100%", height=f"{bottom - top:.2f}%", class_="band")
    missing = [
        tag("rect", _title(f"no measurement from hour {start:.0f} to {end:.0f}"), x=f"{x(start)}%", y=0,
            width=f"{x(end) - x(start):.2f}%", height="100%", class_="gap")
        for start, end in gaps(hours[rows], last)
    ]  # fmt: skip
    runs = np.split(rows, np.flatnonzero(np.diff(hours[rows]) >= GAP_HOURS) + 1)
    line = "".join("M" + "L".join(f"{x(hours[row])} {y(values[row])}" for row in run) for run in runs)
    stretched = tag(
        "svg",
        tag("path", d=line, class_="line"),
        viewBox="0 0 100 100", preserveAspectRatio="none", width="100%", height="100%",
    )  # fmt: skip
    points = [_point(index, channel, row, hours[row], values[row], x, y) for row in rows]
    texts = [
        tag("text", f"{tick:g}", x=0, y=f"{y(tick)}%", dx=-6, dy=4, text_anchor="end") for tick in ticks(low, high)
    ]
    texts += [
        tag("text", f"{tick:g}", x=f"{x(tick)}%", y="100%", dy=15, text_anchor="middle")
        for tick in ticks(0, last, most=4)
    ]
    plot = tag(
        "svg",
        *(band, *missing, stretched, *texts, *points),
        role="img",
        aria_label=spoken(channel, values[rows], hours[rows], last),
    )
    unit = "" if channel["unit"] == channel["name"] else tag("small", channel["unit"])
    return tag(
        "figure", tag("figcaption", channel["name"], " ", unit), tag("div", plot, class_="plot"), class_="panel"
    )


def _point(index: int, channel: dict, row: int, hour: float, value: float, x, y) -> Markup:
    kind = place_of(channel, value)
    words = {"inside": "in the reference range", "above": "above the reference range", "below": "below it"}[kind]
    title = _title(f"hour {hour:.1f}: {number(channel, value)} {channel['unit']}, {words}")
    ring = tag("circle", r=7, class_="ring")
    where = {"x": f"{x(hour)}%", "y": f"{y(value)}%"}
    return tag("svg", title, ring, _mark(kind), **where, overflow="visible", id=point_id(index, row), class_="point")


def _title(words: str) -> Markup:
    return tag("title", words)


def _range(channel: dict, values: np.ndarray) -> tuple[float, float]:
    """What the panel shows: all values, and the bound of the reference range that some of them pass."""
    low, high = float(values.min()), float(values.max())
    if high > channel["high"]:
        low = min(low, channel["high"])
    if low < channel["low"]:
        high = max(high, channel["low"])
    margin = 0.12 * max(high - low, 0.02 * max(abs(low), abs(high)), 1e-3)
    return low - margin, high + margin


def place_of(channel: dict, value: float) -> str:
    """Where a value stands: `"above"` or `"below"` the reference range, or `"inside"`, bounds included."""
    if value > channel["high"]:
        return "above"
    return "below" if value < channel["low"] else "inside"


def number(channel: dict, value: float) -> str:
    return f"{value:.{channel.get('decimals', 1)}f}"


def gaps(hours: np.ndarray, last: float) -> list[tuple[float, float]]:
    """Stretches of [`GAP_HOURS`] or more without a measurement, between hour 0 and the last of any channel."""
    edges = [0.0, *hours.tolist(), last]
    return [(start, end) for start, end in itertools.pairwise(edges) if end - start >= GAP_HOURS]


def ticks(low: float, high: float, most: int = 3) -> list[float]:
    """Round numbers between two bounds, about as many as asked for."""
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def spoken(channel: dict, values: np.ndarray, hours: np.ndarray, last: float) -> str:
    """A panel in words, for those who do not see it."""
    above, below = (values > channel["high"]).sum(), (values < channel["low"]).sum()
    missing = " and ".join(f"from hour {start:.0f} to {end:.0f}" for start, end in gaps(hours, last))
    return (
        f"{channel['name']}: {counted(len(values), 'value')} from {number(channel, values.min())} to "
        f"{number(channel, values.max())} {channel['unit']}, {above} above and {below} below the reference range"
        + (f"; not measured {missing}" if missing else "")
    )


def _table(channels: list[dict], values: np.ndarray, hours: np.ndarray) -> Markup:
    """The series in numbers, for those who do not see them."""
    head = ("channel", "values", "first", "lowest", "highest", "last", "reference range")
    rows = []
    for channel, column in zip(channels, values.T, strict=True):
        found = column[~np.isnan(column)]
        bounds = f"{channel['low']:g} to {channel['high']:g} {channel['unit']}"
        cells = [
            str(len(found)),
            *(number(channel, x) for x in (found[0], found.min(), found.max(), found[-1])),
            bounds,
        ]
        rows.append(tag("tr", tag("th", channel["name"], scope="row"), *(tag("td", cell) for cell in cells)))
    table = tag(
        "table", tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))), tag("tbody", *rows)
    )
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="The series in numbers")
    return tag("details", tag("summary", "The series in numbers"), scroll)
