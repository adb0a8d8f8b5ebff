# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Drift: how records differ from those that a model was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator


LARGE_SHIFT = 0.5  # of a mean, in standard deviations of the training records
LARGE_CHANGE = 0.1  # of a share
CHANCE = 3.0  # standard errors


def drift(before: dict, now: dict) -> list[dict]:
    """
    Compare two descriptions of records, as [`input_statistics`] gives them.

    Returns:
        For notes, each channel and each diagnosis one `dict` or two: `what`; `kind`, `share` of the records or `mean`;
        `before` and `now`; the difference `by`, for a mean in standard deviations of the training records; and whether
        it is `large`: more than half a standard deviation, or a tenth of the records, and more than chance explains.
    """
    numbers = before["records"], now["records"]
    found = [*_spreads("words of the note", before["note_words"], now["note_words"], numbers)]
    for name, spread in before["channels"].items():
        if name in now["channels"]:
            found += _spreads(name, spread, now["channels"][name], numbers)
    for label, share in before.get("prevalence", {}).items():
        if label in now.get("prevalence", {}):
            found.append(_share(label, share, now["prevalence"][label], numbers))
    return found


def _spreads(what: str, before: dict, now: dict, numbers: tuple[int, int]) -> Iterator[dict]:
    yield _share(what, before["share"], now["share"], numbers)
    if before["std"] and now["std"] is not None:
        by = (now["mean"] - before["mean"]) / before["std"]
        known = [
            max(share * number, 1) for share, number in zip((before["share"], now["share"]), numbers, strict=True)
        ]
        error = math.sqrt(1 / known[0] + (now["std"] / before["std"]) ** 2 / known[1])
        yield _row(what, "mean", before["mean"], now["mean"], by, LARGE_SHIFT, error)


def _share(what: str, before: float, now: float, numbers: tuple[int, int]) -> dict:
    pooled = (before * numbers[0] + now * numbers[1]) / sum(numbers)
    error = math.sqrt(pooled * (1 - pooled) * (1 / numbers[0] + 1 / numbers[1]))
    return _row(what, "share", before, now, now - before, LARGE_CHANGE, error)


def _row(what: str, kind: str, before: float, now: float, by: float, least: float, error: float) -> dict:
    large = abs(by) > least and abs(by) > CHANCE * error
    return {"what": what, "kind": kind, "before": before, "now": now, "by": by, "large": large}
