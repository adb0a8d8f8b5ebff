# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A patient's series as small multiples: the coordinates for `templates/series.html`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from markup import counted, macros
from markupsafe import Markup
from ranges import clear_limits, full_range, position, range_text, short_range, source, unit, usual_limits


draw = macros("series.html")
GAP_HOURS = 6  # a gap of this length is shown as missing
FIRST = (  # the order of bedside charts; other channels follow in the model's order
    "Heart Rate", "Systolic blood pressure", "Diastolic blood pressure", "Mean blood pressure", "Respiratory rate",
    "Oxygen saturation", "Fraction inspired oxygen", "Temperature",
)  # fmt: skip


def point_id(channel: int, row: int) -> str:
    """Return the id of the point of a channel (its index) at a row of the series; claims refer to it."""
    return f"point-{channel}-{row}"


def series_panels(channels: list[dict], values: np.ndarray, hours: np.ndarray) -> Markup:
    """
    Draw one panel for each channel that was measured, and name those that were not.

    Args:
        channels (`list[dict]`): `name`, `unit`, `low` and `high` (the reference range, `None` without a limit), if
            wanted `clearly_low` and `clearly_high`, and `decimals`.
        values (array of shape `(T, num_channels)`): NaN = not measured.
        hours (array of shape `(T,)`): hours since ICU admission, increasing.
    """
    measured = ~np.isnan(values)
    if not measured.any():
        return draw.nothing()
    last = max(float(hours[measured.any(axis=1)].max()), 1.0)
    order = sorted(range(len(channels)), key=lambda i: bedside_place(channels[i]["name"]))
    seen = [i for i in order if measured[:, i].any()]
    unseen = [channels[i]["name"] for i in order if i not in seen]
    panels = [_panel(i, channels[i], values[:, i], hours, last) for i in seen]
    return draw.series(panels, unseen, GAP_HOURS, any(clear_limits(channel) for channel in channels))


def bedside_place(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _panel(index: int, channel: dict, column: np.ndarray, hours: np.ndarray, last: float) -> dict:
    """Return the template's data for one channel; `x` and `y` map an hour and a value to coordinates."""
    rows = np.flatnonzero(~np.isnan(column))
    hours, values = hours[rows], column[rows]
    low, high = _range(channel, values)

    def x(hour: float) -> float:
        return round(min(max(100 * hour / last, 0), 100), 2)

    def y(value: float) -> float:
        return round(100 - min(max(100 * (value - low) / (high - low), 0), 100), 2)

    places = np.array([f"{x(hour)} {y(value)}" for hour, value in zip(hours, values, strict=True)])
    runs = np.split(places, np.flatnonzero(np.diff(hours) >= GAP_HOURS) + 1)
    return {
        "channel": channel,
        "x": x,
        "y": y,
        "band": band(channel, y),
        "range": short_range(channel),
        "full_range": full_range(channel),
        "source": source(channel),
        "last": {"number": number(channel, values[-1]), "position": position(channel, values[-1])},
        "clear_at": [y(limit) for _, limit in clear_limits(channel) if low < limit < high],
        "spoken": spoken(channel, values, hours, last),
        "gaps": gaps(hours, last),
        "line": "".join("M" + "L".join(run) for run in runs),
        "ticks": ticks(low, high),
        "hour_ticks": ticks(0, last, most=4),
        "points": [
            {
                "id": point_id(index, row),
                "hour": hour,
                "value": value,
                "number": number(channel, value),
                "position": position(channel, value),
            }
            for row, hour, value in zip(rows, hours, values, strict=True)
        ],
        "summary": [number(channel, value) for value in (values[0], values.min(), values.max(), values[-1])],
    }


def _range(channel: dict, values: np.ndarray) -> tuple[float, float]:
    """Return the bounds of a panel: those of all values, and any limit of the reference range that values exceed."""
    low, high = float(values.min()), float(values.max())
    usual_low, usual_high = usual_limits(channel)
    if high > usual_high:
        low = min(low, usual_high)
    if low < usual_low:
        high = max(high, usual_low)
    missing = max(4 * 10.0 ** -channel.get("decimals", 1) - (high - low), 0)  # no axis finer than the values
    margin = 0.12 * (high - low) + missing / 2
    return low - margin, high + margin


def band(channel: dict, y: Callable[[float], float]) -> tuple[float, float] | None:
    """Return top and height of the reference range in a panel; `None` for a channel without one."""
    low, high = usual_limits(channel)
    return (y(high), round(y(low) - y(high), 2)) if range_text(channel) else None


def number(channel: dict, value: float) -> str:
    return f"{value:.{channel.get('decimals', 1)}f}"


def gaps(hours: np.ndarray, last: float) -> list[tuple[float, float]]:
    """Return the intervals of [`GAP_HOURS`] or more without a measurement, from hour 0 to the last of any channel."""
    edges = [0.0, *hours.tolist(), last]
    return [(start, end) for start, end in itertools.pairwise(edges) if end - start >= GAP_HOURS]


def ticks(low: float, high: float, most: int = 3) -> list[float]:
    """Return round numbers between two bounds, about `most` of them."""
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def spoken(channel: dict, values: np.ndarray, hours: np.ndarray, last: float) -> str:
    """Describe a panel for screen readers."""
    missing = " and ".join(f"from hour {start:.0f} to {end:.0f}" for start, end in gaps(hours, last))
    return (
        f"{channel['name']}: {counted(len(values), 'value')} from {number(channel, values.min())} to "
        f"{number(channel, values.max())}{unit(channel)}{beyond(channel, values)}"
        + (f"; not measured {missing}" if missing else "")
    )


def beyond(channel: dict, values: np.ndarray) -> str:
    """Say how many values lie beyond the reference range; empty without one."""
    low, high = usual_limits(channel)
    counts = {"above": int((values > high).sum()), "below": int((values < low).sum())}
    found = " and ".join(f"{number} {side}" for side, number in counts.items() if number)
    return f", {found or 'all within'} the reference range" if range_text(channel) else ", no reference range"


def measured_words(channel: dict, column: np.ndarray, hours: np.ndarray) -> str:
    """Summarize the measurements of a channel and its reference range; `column` has NaN where nothing was measured."""
    rows = np.flatnonzero(~np.isnan(column))
    if not len(rows):
        return "never measured"
    hours, values = hours[rows], column[rows]
    lowest, highest = (
        f"{number(channel, values[at])}{unit(channel)} (hour {hours[at]:.1f})"
        for at in (values.argmin(), values.argmax())
    )
    known = range_text(channel)
    return f"{counted(len(values), 'value')}, lowest {lowest}, highest {highest}{beyond(channel, values)}" + (
        f" ({known})" if known else ""
    )
