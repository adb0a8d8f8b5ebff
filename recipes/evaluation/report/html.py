# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a page: elements that escape what they are given, numbers, tables, and how it all looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup, escape


VOID = ("br", "link", "meta")  # elements that have no end


def tag(name: str, /, *children, **attributes) -> Markup:
    """
    One element of HTML or SVG.

    Args:
        children: elements, or anything else, which is written as text and escaped.
        attributes: an underscore at the end is dropped (`class_`), others become hyphens; `None` leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(escape(child) for child in children)
    return Markup(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{content}</{name}>")


def joined(parts: Iterable) -> Markup:
    """Parts one after the other; what is no element is escaped."""
    return Markup("").join(parts)


def number(value: float | int | None) -> str:
    """A figure as it is written everywhere on the page: counts with separators, others with three digits."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}".replace("-", "−")


def span(interval: Sequence[float] | None) -> str:
    """A 95% interval as text; empty without one."""
    return " to ".join(map(number, interval)) if interval else ""


def estimate(value: float | int | None, interval: Sequence[float] | None) -> Markup:
    """A figure with its interval in small print."""
    return joined([number(value), tag("small", " ", span(interval))] if interval else [number(value)])


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence]) -> Markup:
    """
    A table whose first column names the rows. It scrolls inside of its own box where the window is narrow.

    Args:
        rows (lists): of text, elements or numbers; numbers and elements stand to the right.
    """

    def cell(value, first: bool) -> Markup:
        if first:
            return tag("th", value, scope="row")
        text = isinstance(value, str) and not isinstance(value, Markup)
        return tag("td", value if isinstance(value, str) else number(value), class_=None if text else "number")

    head = tag("tr", *(tag("th", name, scope="col") for name in header))
    body = [tag("tr", *(cell(value, i == 0) for i, value in enumerate(row))) for row in rows]
    inside = tag("table", tag("thead", head), tag("tbody", *body), aria_label=caption)
    box = tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=caption)
    return tag("figure", tag("figcaption", caption), box)


def section(title: str, *content) -> Markup:
    """A section with a heading; nothing where it would be empty."""
    content = [part for part in content if part]
    return tag("section", tag("h2", title), *content, id=anchor(title)) if content else Markup("")


def anchor(title: str) -> str:
    return "-".join(title.lower().split())


def document(title: str, *content) -> Markup:
    """A whole page, which a browser lets load nothing and run nothing (content security policy)."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(STYLE)),
    )
    return Markup("<!doctype html>\n") + tag("html", head, tag("body", *content), lang="en")


POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
