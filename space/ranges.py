# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Reference ranges in words, with the source of each (`ranges.json`, the table of docs/data.md)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np


PUBLISHED = json.loads((Path(__file__).parent / "ranges.json").read_text(encoding="utf-8"))
LIMITS = ("low", "high", "clearly_low", "clearly_high")
OWN = "limits of this model"  # for channels with limits other than the published ones


def usual_limits(channel: dict) -> tuple[float, float]:
    """Return the bounds of the reference range, infinite where there is none on that side."""
    low, high = channel.get("low"), channel.get("high")
    return -math.inf if low is None else low, math.inf if high is None else high


def clear_limits(channel: dict) -> list[tuple[str, float]]:
    """Return the limits beyond which guidelines agree, each with its side, if they differ from the usual ones."""
    sides = (("below", "clearly_low", "low"), ("above", "clearly_high", "high"))
    given = [(side, channel.get(clear), channel.get(usual)) for side, clear, usual in sides]
    return [(side, clear) for side, clear, usual in given if clear not in (None, usual)]


def unit(channel: dict) -> str:
    """Return the unit with a space before it; empty for pH and for a fraction, which have none."""
    return "" if channel["unit"] in (channel["name"], "fraction") else f" {channel['unit']}"


def range_text(channel: dict) -> str:
    """Write the reference range, as in "60 to 100 /min"; empty without one."""
    low, high = channel.get("low"), channel.get("high")
    if low is None and high is None:
        return ""
    words = f"at most {high:g}" if low is None else f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
    return words + unit(channel)


def short_range(channel: dict) -> str:
    """Write the reference range for a chart, as in "60–100" or "≥ 94"; empty without one."""
    low, high = channel.get("low"), channel.get("high")
    if low is None and high is None:
        return ""
    return f"≤ {high:g}" if low is None else f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"


def full_range(channel: dict) -> str:
    """Write the reference range and the clear limits; empty without a range."""
    clear = [f"{side} {limit:g}" for side, limit in clear_limits(channel)]
    return range_text(channel) + (f"; clearly {' or '.join(clear)}" if clear else "")


def source(channel: dict) -> str:
    """Return where the limits come from; empty without a range."""
    if not range_text(channel):
        return ""
    published = PUBLISHED.get(channel["name"])
    same = published and all(channel.get(name) == published[name] for name in LIMITS)
    return published["source"] if same else OWN


def borderline(channel: dict, values: np.ndarray, direction: str | None) -> bool:
    """Return whether values exceed the reference range on a side (`high` or `low`), but not the clear limit there."""
    (low, high), clear = usual_limits(channel), dict(clear_limits(channel))
    if direction == "high" and "above" in clear:
        return bool((values > high).any() and not (values > clear["above"]).any())
    if direction == "low" and "below" in clear:
        return bool((values < low).any() and not (values < clear["below"]).any())
    return False


def position(channel: dict, value: float) -> str:
    """Return the position of a value: `"above"` or `"below"` the reference range, or `"inside"`, bounds included."""
    low, high = usual_limits(channel)
    if value > high:
        return "above"
    return "below" if value < low else "inside"
