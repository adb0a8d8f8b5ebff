# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Coordinates of the charts that `templates/charts.html` draws.

Coordinates run from 0 to 100 in both directions, from the left and, as in SVG, from the top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modeling_clinragen.clinical_clinragen import range_text, usual_limits


GAP_HOURS = 6
LIGHTEST, DARKEST = (231, 240, 247), (8, 48, 107)


@dataclass
class Axis:
    """
    The range of a chart in one direction.

    Args:
        low, high (`float`): the values at its ends.
        ticks (list of `float`): the values with labels.
        label (`str`): what it measures, with the unit.
        logarithmic (`bool`).
        show (callable): tick -> text.
    """

    low: float
    high: float
    ticks: Sequence[float]
    label: str
    logarithmic: bool = False
    show: Callable[[float], str] = "{:g}".format

    def at(self, value: float) -> float:
        """Return the place of a value from the low end."""
        low, high, value = (np.log10(x) if self.logarithmic else x for x in (self.low, self.high, value))
        return round(float(np.clip(100 * (value - low) / (high - low), 0, 100)), 2)

    def down(self, value: float) -> float:
        """Return the place of a value from the high end."""
        return round(100 - self.at(value), 2)


def unit_axis(label: str) -> Axis:
    return Axis(0, 1, (0, 0.25, 0.5, 0.75, 1), label)


def decades(values: Sequence[float], label: str, show: Callable[[float], str] = "{:g}".format) -> Axis:
    """Return a logarithmic axis of whole decades around the values."""
    low, high = int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values))))
    high = max(high, low + 1)
    return Axis(10.0**low, 10.0**high, [10.0**i for i in range(low, high + 1)], label, True, show)


def hour_axis(last: float) -> Axis:
    step = next((step for step in (1, 2, 4, 6, 12, 24, 48, 96, 192) if last / step <= 5), 384)
    return Axis(0, last, np.arange(0, last + 1e-9, step).tolist(), "hours since ICU admission")


@dataclass
class Point:
    """A point of a chart: its place, the interval of `y`, and a short text beside it."""

    x: float
    y: float
    interval: Sequence[float] | None = None
    text: str = ""


def shares(counts: dict[str, int]) -> list[tuple[str, float, float]]:
    """Return name, start and width of each part of a bar that is divided by shares of the sum."""
    total, at, parts = sum(counts.values()), 0.0, []
    for name, count in counts.items():
        width = 100 * count / total if total else 0.0
        parts.append((name, round(at, 2), round(width, 2)))
        at += width
    return parts


def heat_cells(values: Sequence[float], highest: float, width: float, axis: Axis) -> list[dict]:
    """
    Return the cells of one row of a heat map, side by side from 0.

    Args:
        values (list of `float`): NaN = missing; `highest` has the darkest shade.
        width (`float`): of a cell, in the axis's unit.

    Returns:
        list of `dict`: `start` and `end` in the axis's unit, `value`, place `x` and `width`, and `fill`, a colour that
        is `None` where there is no value.
    """
    cells = []
    for i, value in enumerate(values):
        start, end = i * width, (i + 1) * width
        x = axis.at(start)
        fill = None if np.isnan(value) else shade(value / highest if highest else 0)
        place = {"x": x, "width": round(axis.at(end) - x, 2)}
        cells.append({"start": start, "end": end, "value": value, "fill": fill, **place})
    return cells


def shade(share: float) -> str:
    """Return a light to dark blue: the darker the higher, readable with any colour vision."""
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(LIGHTEST, DARKEST, strict=True))


def series_panel(channel: dict, hours: np.ndarray, values: np.ndarray, x: Axis) -> dict:
    """
    Return the parts of a chart of one channel's measurements.

    Args:
        channel (`dict`): `name`, `unit`, `low`, `high` (`None` where there is no limit).
        hours, values (arrays of shape `(T,)`, T at least 1): the measurements of this channel.

    Returns:
        `dict`: `channel`, both axes `x` and `y`, the `low` and `high` value, `count` and `count_outside` of the
        values, `band_top` and `band_height` of the reference range, its limits as text (`range`, empty for a channel
        without any), and paths: `line`, broken where six hours or more
        went without a measurement, and the points `inside` and `outside` of the reference range.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = float(values.min()), float(values.max())
    margin = 0.1 * max(high - low, 0.05 * max(abs(low), abs(high)), 1e-3)
    y = Axis(low - margin, high + margin, (), channel["unit"])
    y.ticks = [t for t in MaxNLocator(3).tick_values(y.low, y.high) if y.low <= t <= y.high]
    usual_low, usual_high = usual_limits(channel)
    top, bottom = y.down(usual_high), y.down(usual_low)
    outside = (values < usual_low) | (values > usual_high)
    places = [f"{x.at(hour)} {y.down(value)}" for hour, value in zip(hours, values, strict=True)]
    runs = np.split(np.arange(len(hours)), np.flatnonzero(np.diff(hours) >= GAP_HOURS) + 1)
    return {
        "channel": channel,
        "x": x,
        "y": y,
        "low": low,
        "high": high,
        "count": len(values),
        "count_outside": int(outside.sum()),
        "band_top": top,
        "band_height": round(bottom - top, 2),
        "range": range_text(channel),
        "line": "".join("M" + "L".join(places[i] for i in run) for run in runs),
        "inside": "".join(f"M{places[i]}h0" for i in np.flatnonzero(~outside)),
        "outside": "".join(f"M{places[i]}h0" for i in np.flatnonzero(outside)),
    }
