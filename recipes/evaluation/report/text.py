# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures and tables as text, for the terminal and for Markdown files."""

from collections.abc import Iterable, Sequence


# Verdict of an argument -> its words before the names of the diagnoses.
ARGUMENTS = {
    "linked": "the knowledge links it with",
    "unlinked": "the knowledge does not link it with",
    "unknown": "the knowledge does not know it as a finding of",
}


def decimals(value: float | None, digits: int = 2) -> str:
    """Return a figure with fixed decimals; a dash if it is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def limits(channel: dict) -> str:
    """Return the normal range of a channel; a dash if it has none."""
    low, high = channel.get("low"), channel.get("high")
    if low is None and high is None:
        return "–"
    if low is None:
        return f"to {high:g}"
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))
