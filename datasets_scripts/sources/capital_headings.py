# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find headings in capitals or Title Case right before their text, without a mark between."""

import re
from collections.abc import Iterator

from datasets_scripts.sources.heading_places import Heading, is_parted, is_shouting, is_table_head, start_of_phrase
from datasets_scripts.sources.heading_words import (
    CORE,
    COURSE,
    FIRST,
    LATER,
    SURE,
    WORD,
    meaning_of,
    plain,
    style_of,
    tables,
)


_FOLLOWING = re.compile(r"[ \t]*[\])*_]*[ \t]*(\S?)")
_CAPITAL = re.compile(r"(?<![A-Za-z])[A-Z][A-Za-z]*")


def in_capitals(text: str) -> Iterator[Heading]:
    """Find the headings in capitals or Title Case right before their text."""
    known = tables()
    bold, first = known["bold"] | known["bold_capitals"], known["first_words"]
    for match in _CAPITAL.finditer(text):
        word = match[0].lower()
        if word not in bold and word not in first:
            continue
        if word in known["bold_capitals" if match[0].isupper() else "bold"]:
            yield from _later_run(text, match)
        if word in first:
            yield from _known_phrase(text, match)


def _later_run(text: str, match: re.Match) -> Iterator[Heading]:
    """Find "Hospital Course Treated with …", "PLAN Home": capital words up to one that tells of later sections."""
    start, count = _first_of_run(text, match)
    if (begin := start_of_phrase(text, start, match.end())) > start:
        start, count = begin, len(WORD.findall(text, begin, match.end()))
    run, caps = text[start : match.end()], match[0].isupper()
    meaning, (end, section) = meaning_of(run), _longest_phrase(text, start)
    if meaning is None or not meaning.is_later or (end >= match.end() and section not in (None, LATER, COURSE)):
        return
    if (caps and is_shouting(text, start)) or plain(run).split()[0] in tables()["complaint_words"]:
        return
    if is_table_head(text, start):
        return
    following = _FOLLOWING.match(text, match.end())[1]
    goes_on = following == "" or following.isupper() or following.isdigit() or following in "-*#•"
    parted, at_line = is_parted(text, start)
    if caps and count == 1:
        fits = parted
    elif count == 1 and not _CAPITAL.match(text, match.end() + 1):
        fits = at_line and (goes_on or match[0].lower() in ("dispo", "dx"))
    else:
        fits = caps or parted or (goes_on and match[0].lower() in CORE)
    if fits:
        yield Heading(start, match.end(), meaning.section, meaning.role, weak=not caps or count == 1)


def _first_of_run(text: str, match: re.Match) -> tuple[int, int]:
    """Return where the capital words before and with `match` begin, and their number."""
    start, count = match.start(), 1
    before = list(WORD.finditer(text, max(0, start - 60), start))
    for word in reversed(before[-5:]):
        gap = text[word.end() : start]
        capital = word[0].isupper() if match[0].isupper() else word[0][0].isupper()
        abbreviated = match[0].isupper() or not word[0].isupper() or len(word[0]) <= 5
        if not (re.fullmatch(r" ?[/&,\-(]? ?", gap) and abbreviated) or not (
            capital or word[0].lower() in tables()["small_words"]
        ):
            break
        start, count = (word.start(), count + 1) if capital else (start, count)
        if not capital:
            break
    return start, count


def _known_phrase(text: str, match: re.Match) -> Iterator[Heading]:
    """Find "HISTORY OF PRESENT ILLNESS Three days of …", "ALLERGIES Penicillin": a known phrase before its text."""
    end, section = _longest_phrase(text, match.start())
    if section is None:
        return
    head, shouting = text[match.start() : end], is_shouting(text, match.start())
    (parted, at_line), meaning = is_parted(text, match.start()), meaning_of(head)
    quiet, several = style_of(head) == "caps" and not shouting, len(plain(head).split()) > 1
    if meaning.is_later:
        if several and (quiet or (parted and not shouting) or not CORE.isdisjoint(plain(head).split())):
            yield Heading(match.start(), end, section, meaning.role)
    elif (quiet and (parted or several)) or (several and (at_line if shouting else parted)):
        sure = parted and quiet and several and meaning.role == SURE
        yield Heading(match.start(), end, section, SURE if sure else FIRST, weak=not sure)


def _longest_phrase(text: str, start: int) -> tuple[int, str | None]:
    """Return the end and the section of the longest known heading that begins here in capitals or Title Case."""
    words = list(WORD.finditer(text, start, start + 60))[:6]
    names, sections = [word[0].lower() for word in words], tables()["sections"]
    for count in range(len(words), 0, -1):
        head = text[start : words[count - 1].end()]
        section = sections.get(plain(head) if names[0] in ("d", "dc", "f") else " ".join(names[:count]))
        if section is not None and style_of(head) in ("caps", "title") and not re.search(r"[.:;\n]", head):
            return words[count - 1].end(), section
    return start, None
