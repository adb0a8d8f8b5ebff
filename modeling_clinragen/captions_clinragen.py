# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The anomaly caption of a record: how often each channel left its usual limits."""

import numpy as np

from .clinical_clinragen import range_text, usual_limits, with_unit


UNMEASURED = "not measured"
PARTLY_TEXT, ONLY_TEXT = "measured partly as text", "not measured as a number"


def describe_anomalies(lab_values, channels, unmeasured: str = UNMEASURED, unread=None) -> str:
    """
    Write the anomaly caption of a record, from its measured values only.

    Args:
        lab_values (array of shape `(T, num_input_channels)`): measured values, NaN = not measured.
        channels (`list[dict]`): `name`, `unit`, `decimals`, `low` and `high` (the usual limits, which are themselves
            normal) and, optionally, `normal`, the word for it. For a channel without limits, the range is stated.
        unmeasured (`str`): the words for a channel without a value; in the paper's release
            `"normal all the time"`.
        unread (bool array of shape `(num_input_channels,)`, *optional*): channels with results that are not numbers,
            such as "hemolyzed"; these are not called normal all the time.

    Returns:
        `str`: one clause per channel, as in "Heart Rate is higher than normal 2 times and lower than normal 1 time,
        pH is not measured."

    Source: arXiv 2411.07611 and its release. Differs from it: counts in digits, and separate words for unmeasured
    channels and for results that are not numbers.
    """
    values = np.asarray(lab_values, dtype=float).reshape(-1, len(channels))
    texts = np.zeros(len(channels), dtype=bool) if unread is None else unread
    clauses = []
    for channel, column, has_text in zip(channels, values.T, texts, strict=True):
        if np.isnan(column).all():
            finding = ONLY_TEXT if has_text else unmeasured
        else:
            normal = _range(channel, column) or f"{normal_word(channel)} all the time"
            finding = _anomalies(channel, column) or (PARTLY_TEXT if has_text else normal)
        clauses.append(f"{channel['name']} is {finding}")
    return ", ".join(clauses) + "."


def normal_word(channel: dict) -> str:
    return channel.get("normal") or "normal"


def _anomalies(channel: dict, column: np.ndarray) -> str:
    """Count the values beyond the usual limits; empty if there are none."""
    low, high = usual_limits(channel)
    counts = {"higher": (column > high).sum(), "lower": (column < low).sum()}
    return " and ".join(f"{word} than {normal_word(channel)} {times(n)}" for word, n in counts.items() if n)


def _range(channel: dict, column: np.ndarray) -> str:
    """Return the range of the values of a channel without limits; empty for other channels."""
    if range_text(channel):
        return ""
    least, most = (f"{value:.{channel.get('decimals', 1)}f}" for value in (np.nanmin(column), np.nanmax(column)))
    return with_unit(channel, least if least == most else f"between {least} and {most}")


def times(count: int) -> str:
    return f"{count} time" if count == 1 else f"{count} times"
