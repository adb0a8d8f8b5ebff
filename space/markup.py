# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Elements of HTML and SVG that escape what they are given, and numbers as the page writes them."""

from markupsafe import Markup, escape


def tag(name: str, /, *children, **attributes) -> Markup:
    """
    One element.

    Args:
        children: elements, or anything else, which is written as text and escaped.
        attributes: an underscore at the end is dropped (`class_`), others become hyphens; `None` leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(escape(child) for child in children)}</{name}>")


def joined(parts) -> Markup:
    """Parts one after the other; what is no element is escaped."""
    return Markup("").join(parts)


def percent(share: float) -> str:
    """A probability as it is written everywhere on the page; never as certain."""
    if share < 0.001:
        return "<0.1%"
    if share > 0.999:
        return ">99.9%"
    return f"{100 * share:.1f}%"


def counted(number: int, word: str, plural: str | None = None) -> str:
    return f"{number} {word if number == 1 else plural or word + 's'}"
