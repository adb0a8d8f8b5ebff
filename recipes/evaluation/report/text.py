# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures and tables as text, for the terminal and for Markdown files."""

from collections.abc import Iterable, Sequence


def decimals(value: float | None, digits: int = 2) -> str:
    """Return a figure with its digits; a dash for one that is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))
