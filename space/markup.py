# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Templates of HTML and SVG that escape the values they are given, and numbers as the page writes them."""

import re
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from jinja2.environment import TemplateModule


def percent(share: float) -> str:
    """Format a probability for the page; never as certain."""
    if share < 0.001:
        return "<0.1%"
    if share > 0.999:
        return ">99.9%"
    return f"{100 * share:.1f}%"


def counted(number: int, word: str, plural: str | None = None) -> str:
    return f"{number} {word if number == 1 else plural or word + 's'}"


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def plain(diagnosis: str) -> str:
    """Return the name of a diagnosis without the brackets at its end."""
    return ASIDE.sub("", diagnosis)


def aside(diagnosis: str) -> str:
    """Return the content of the brackets at the end of a diagnosis; empty without any."""
    return diagnosis[len(plain(diagnosis)) :].strip()


ASIDE = re.compile(r"(?<=\S)\s*\([^()]*\)$")
LAYOUT = re.compile(r"(?<=[>}])\n\s*(?=[<{])")  # line breaks between elements, which the page must not show as spaces
SOURCES = {
    path.name: LAYOUT.sub("", path.read_text(encoding="utf-8")).strip()
    for path in (Path(__file__).parent / "templates").glob("*.html")
}
TEMPLATES = Environment(loader=DictLoader(SOURCES), autoescape=True, undefined=StrictUndefined)
TEMPLATES.filters |= {
    "percent": percent,
    "counted": counted,
    "upper_first": upper_first,
    "plain": plain,
    "aside": aside,
}


def macros(name: str) -> TemplateModule:
    """Return the macros of a template, to be called as functions; each returns `Markup`."""
    return TEMPLATES.get_template(name).module
