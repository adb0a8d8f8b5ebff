# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The layout of a note: lines that only the width of a page has broken, doubled blanks, and blanks of other kinds, which
separate nothing. The readers look for words beside each other: "no⏎pneumonia" is "no pneumonia".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .phrases_clinragen import compiled


# tabs and line breaks separate fields, and stay
_BLANKS = str.maketrans(dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\xa0\u1680\u202f\u205f\u3000\ufeff", " "))
_BLANKS |= str.maketrans(dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "))
_BREAK = re.compile(r"[ \t]*\n[ \t]*(?=[^\s])")
_DOUBLED = re.compile(r"(?<=[A-Za-z,]) {2}(?=[a-z])|(?<=[a-z,])\t(?=[a-z])")
_BULLET = re.compile(r"(?:[-*•·–+]\s|[•·]|\d+[.)](?:\s|$)|\[|\()")
_LABEL = re.compile(r"[A-Za-z][\w /&()'.-]{0,40}:")
# a line that ends so goes on, however short it is
_GOES_ON = compiled(r"""
    (?:[/]|\b(?:or|and|nor|of|the|with|without|for|an|no|not|den(?:y|ies|ied)|any|his|her|their|was|were|is|are|has|had
    |been|to|by|from|as|than|due|that|which|who|evidence|no hx|no history|s/p|status post|since|if|w/|very|ruled|rule
    |r/o
    |negative for|positive for|secondary|because|likely))$
    """)
_VALUE = re.compile(r"[:|=\t] *(?:no|not|any|denie[sd]|has|had)$|^\S+ *(?:no|not|any)$")  # "Cough: no"
_JOINS = (" or", " and", " nor", " of", " the", " with", " without", " for", " an", ",", "/")  # before a capital, too
_MIN_LINE = 40  # characters of a line that the page may have broken
_MIN_WORDS = 3  # before a tab that is a blank


def plain_blanks(text: str) -> str:
    """Return a text of the same length with blanks of all kinds as spaces; tabs and line breaks stay."""
    return text.translate(_BLANKS)


def joints(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of soft line breaks, with the blanks around them, and of doubled blanks, in order."""
    found = [match.span() for match in _BREAK.finditer(text) if _is_soft(text, *match.span())]
    found += [
        match.span() for match in _DOUBLED.finditer(text) if text[match.start()] != "\t" or _is_prose(text, match)
    ]
    yield from sorted(found)


def unwrapped(text: str) -> str:
    """Return a text of the same length with soft line breaks as spaces."""
    letters = list(plain_blanks(text))
    for start, end in joints(text):
        letters[start:end] = [" " if letter == "\n" else letter for letter in letters[start:end]]
    return "".join(letters)


def _is_prose(text: str, tab: re.Match) -> bool:
    """Return whether a tab stands in a sentence, not between two fields."""
    start, end = text.rfind("\n", 0, tab.start()) + 1, text.find("\n", tab.end())
    line = text[start : end if end >= 0 else len(text)]
    return line.count("\t") == 1 and len(text[start : tab.start()].split()) >= _MIN_WORDS


def _is_soft(text: str, start: int, end: int) -> bool:
    """Return whether a line break stands within a sentence."""
    before = text[text.rfind("\n", 0, start) + 1 : start].strip()
    stop = text.find("\n", end)
    line = text[end : stop if stop >= 0 else len(text)]
    if text.count("\n", start, end) > 1 or not before or _BULLET.match(line) or _LABEL.match(line):
        return False
    if not (line[0].islower() or line[0].isdigit() or not re.search("[a-z]", before + line)):
        return before.lower().endswith(_JOINS)
    if _GOES_ON.search(before.lower()) and not _VALUE.search(before.lower()):
        return True
    return len(before) >= _MIN_LINE and (before[-1].isalnum() or before[-1] in ",)")


__all__ = ["joints", "plain_blanks", "unwrapped"]
