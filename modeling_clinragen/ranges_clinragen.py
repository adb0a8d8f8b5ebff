# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Values compared with the two limits of a channel: `True`, `False`, or `None` where conventions differ.

Beyond the clear limit, "high" and "low" hold; within the usual limit they do not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .clinical_clinragen import clear_limits, usual_limits


Truth = bool | None


def beyond(channel: dict, values: np.ndarray, direction: str, clearly: bool = False) -> np.ndarray:
    """Mark the values above (`"high"`) or below (`"low"`) the usual, or the clear, limit."""
    low, high = clear_limits(channel) if clearly else usual_limits(channel)
    return values > high if direction == "high" else values < low


def has_limit(channel: dict, direction: str) -> bool:
    low, high = usual_limits(channel)
    return bool(np.isfinite(high if direction == "high" else low))


def any_beyond(channel: dict, values: np.ndarray, direction: str) -> Truth:
    """Return whether any value is "high" or "low"; `None` if the channel has no such limit."""
    if not len(values):
        return False
    if not has_limit(channel, direction):
        return None
    if beyond(channel, values, direction, clearly=True).any():
        return True
    return None if beyond(channel, values, direction).any() else False


def all_beyond(channel: dict, values: np.ndarray, direction: str) -> Truth:
    """Return whether every value is "high" or "low"."""
    if not len(values):
        return False
    if not has_limit(channel, direction):
        return None
    if beyond(channel, values, direction, clearly=True).all():
        return True
    return None if beyond(channel, values, direction).all() else False


def all_normal(channel: dict, values: np.ndarray) -> Truth:
    """Return whether every value is normal; `None` for a channel without limits, such as weight."""
    sides = [side for side in ("high", "low") if has_limit(channel, side)]
    if not len(values):
        return False
    return every(negation(any_beyond(channel, values, side)) for side in sides) if sides else None


def negation(truth: Truth) -> Truth:
    return None if truth is None else not truth


def every(truths: Iterable[Truth]) -> Truth:
    """Return whether all hold: `False` if any is `False`, else `None` if any is `None`."""
    truths = list(truths)
    if False in truths:
        return False
    return None if None in truths else True


def some(truths: Iterable[Truth]) -> Truth:
    """Return whether at least one holds."""
    return negation(every(negation(truth) for truth in truths))
