# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find where a heading begins on its line, and whether something parts it from the words around it."""

import re
from typing import NamedTuple

from datasets_scripts.sources.heading_words import (
    CORE,
    COURSE,
    LATER,
    MAX_HEADING_WORDS,
    WORD,
    meaning_of,
    plain,
    style_of,
    tables,
)


WINDOW = 90  # characters before a colon that are looked at
# What parts a heading from the words before it.
_BREAK = re.compile(
    r"[\n\t|~;<>\u2022\u00b7\u25aa\u25cf]|:(?!\d)|[.!?)\]}](?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)[\"']?\s+"
    r"|[.:,;)](?=[A-Z])|\s{2,}"
    r"|\s[-\u2013\u2014*=#]+\s|[-=_*#]{3,}|(?<!\[)\*\*(?!\])"
)
LINE_MARKS = re.compile(r"[\W\d_]*(?:[A-Za-z][.)\]]\s*|[ivxIVX]{1,4}[.)]\s*)?[\W_]*")


class Heading(NamedTuple):
    """A heading at `text[start:end]`; `section` is an admission section, `COURSE` or `LATER`."""

    start: int
    end: int
    section: str
    role: str
    weak: bool = False  # it ends an admission section, but not the hospital course

    @property
    def is_later(self) -> bool:
        return self.section in (LATER, COURSE)


def start_of(text: str, low: int, stop: int) -> tuple[int, bool]:
    """Return where a heading before `stop` begins, and whether only marks and numbers stand before it on its line."""
    start, last = low, stop - 1
    while last > low and not text[last].isalpha():
        last -= 1
    for match in _BREAK.finditer(text, low, last + 1):
        start = match.end()
    start = max(start, text.rfind("\n", low, stop) + 1)
    begin = max(text.rfind(mark, low, start) for mark in "\n\t|") + 1
    at_line = (begin > low or low == 0) and LINE_MARKS.fullmatch(text, begin, start) is not None
    while start < stop and not text[start].isalpha():
        start += 1
    return start, at_line


def start_of_phrase(text: str, start: int, stop: int, at_line: bool = True) -> int:
    """Return where the known heading before `stop` begins; the words before it, as in "COPD Plan", are text."""
    whole = meaning_of(text[start:stop])
    if (whole and whole.exact) or not (whole or text.count(" ", start, stop) >= MAX_HEADING_WORDS):
        return start
    words, known = list(WORD.finditer(text, start, stop)), tables()
    names, first = [word[0].lower() for word in words], len(words)
    for i in range(max(0, len(words) - 7), len(words) - 1):
        head = text[words[i].start() : stop]
        section = known["sections"].get(plain(head))
        spelled = style_of(head) in ("caps", "title") or (section in (LATER, COURSE) and names[-1] in CORE)
        if section is not None and spelled:
            first = i
            break
    if first == len(words):  # "Labs on Discharge"
        while first and names[first - 1] in known["heading_words"]:
            first -= 1
        while first < len(words) - 1 and names[first] in known["small_words"]:
            first += 1
        head = text[words[first].start() : stop] if first < len(words) - (1 if at_line else 0) else ""
        meaning, styles = meaning_of(head), ("caps", "title") if at_line else ("caps", "title", "sentence")
        if not meaning or not (meaning.strong or (meaning.is_later and not at_line)) or style_of(head) not in styles:
            return start
    while first and names[first - 1] in known["modifiers"] and text[words[first - 1].end()] in " /-":
        first -= 1
    return words[first].start() if first and not known["modifiers"].issuperset(names[:first]) else start


def with_marks(text: str, start: int) -> int:
    """Return where the marks before a heading begin: `**`, `3.`, `#`."""
    begin = max(text.rfind(mark, max(0, start - WINDOW), start) for mark in "\n\t|") + 1
    return max(begin, start - WINDOW)


def is_parted(text: str, start: int) -> tuple[bool, bool]:
    """Return whether something parts a word from those before it, and only marks stand before it on its line."""
    low = max(0, start - WINDOW)
    begin, at_line = start_of(text, low, start + 1)
    return begin == start, at_line and begin == start


def is_apart(text: str, cell: re.Match) -> bool:
    """Return whether a cell is marked as a heading, or the line before it is empty or ends a sentence."""
    if cell[0].lstrip()[:1] in tuple("#*_="):
        return True
    before = text[max(0, cell.start() - 200) : cell.start()].rstrip(" \t")
    return not before or before.endswith("\n\n") or before.rstrip()[-1:] in ("", *".:;!?-=~_*")


def is_shouting(text: str, start: int) -> bool:
    """Return whether the text around is in capitals throughout."""
    around = text[max(0, start - 60) : start + 60]
    return sum(map(str.islower, around)) < 10


def is_table_head(text: str, start: int) -> bool:
    """Return whether a line is "Diagnosis Date Noted", the head of a table inside a section."""
    words = plain(text[start : start + WINDOW].partition("\n")[0]).split()
    return len(words) > 1 and tables()["table_words"].issuperset(words)


def is_unknown(head: str) -> bool:
    """Return whether nothing in a heading says that it belongs to the exam or the history."""
    words = plain(head).split()
    return 0 < len(words) <= 6 and max(map(len, words)) >= 5 and not tables()["exam_words"] & set(words)
