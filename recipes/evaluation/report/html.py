# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Templates of the page, which escape their values, and the format of figures and their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recipes.evaluation.report.charts import shares, unit_axis


FOLDER = Path(__file__).with_name("templates")
NAMES = yaml.safe_load((FOLDER / "names.yaml").read_text(encoding="utf-8"))


def number(value: float | int | None) -> str:
    """Return a figure as the page writes it: counts with separators, others with three digits."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}".replace("-", "−")


def span(interval: Sequence[float] | None) -> str:
    """Return a 95% interval as text; empty without one."""
    return " to ".join(map(number, interval)) if interval else ""


def named(figure: str) -> str:
    """Return the name of a figure for readers."""
    return NAMES.get(figure, figure.replace("_", " ").replace("bertscore", "BERTScore"))


TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"number": number, "span": span, "named": named}
TEMPLATES.globals |= {"shares": shares, "unit_axis": unit_axis}


def render(template: str, **values) -> str:
    """Return a filled template; a section without content is empty."""
    return TEMPLATES.get_template(f"{template}.html").render(values).strip()
