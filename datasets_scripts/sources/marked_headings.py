# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find headings before a colon, a dash or a full stop."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from datasets_scripts.sources.heading_places import (
    WINDOW,
    Heading,
    is_shouting,
    is_unknown,
    start_of,
    start_of_phrase,
    with_marks,
)
from datasets_scripts.sources.heading_words import (
    AFTER,
    ASIDE,
    COURSE,
    LATER,
    MAX_HEADING_WORDS,
    WORD,
    Meaning,
    meaning_of,
    plain,
    style_of,
    tables,
)


_LOWER_WORD = re.compile(r"[a-z][a-z']*")
_DASHES = re.compile(r"[-\u2013\u2014=>]+[ \t]*")
_COMMA = re.compile(r"(?<=[A-Z]),(?=[A-Z0-9])")  # of transcriptions, whose line ends became commas
_STOP = re.compile(r"\.(?=[\s,]|$)")


class Place(NamedTuple):
    """A place for a heading: `text[start:stop]`; `at_line`: only marks and numbers are before it on its line."""

    text: str
    start: int
    stop: int
    at_line: bool


def before_separators(text: str) -> Iterator[Heading]:
    """Find the headings before a colon, a dash or a full stop."""
    vocabulary, lowered = tables()["vocabulary"], _lowered(text)
    for kind, stop, end in _separators(text, lowered):
        low = max(0, stop - WINDOW)
        names = _LOWER_WORD.findall(lowered, low, stop)
        known = not vocabulary.isdisjoint(names[-MAX_HEADING_WORDS:])
        if not known and (kind != "colon" or not _may_be_unknown(text, low, stop)):
            continue
        start, at_line = start_of(text, low, stop)
        begin = start_of_phrase(text, start, stop, at_line) if kind != "stop" else start
        start, at_line = begin, at_line and begin == start
        head = text[start:stop] if start > low or low == 0 else ""
        meaning = meaning_of(head)
        if meaning is None and kind != "colon":
            continue
        style = style_of(head)
        if meaning and FITS[kind](Place(text, start, stop, at_line), meaning, style):
            if meaning.num_known < meaning.num_words:  # "Past medical history of asthma and:"
                end = list(WORD.finditer(text, start, stop))[meaning.num_known - 1].end()
            weak = not at_line and style not in ("caps", "title")
            yield Heading(with_marks(text, start) if at_line else start, end, meaning.section, meaning.role, weak)
        elif meaning is None and kind == "colon" and _is_unknown_heading(text, start, head, style, at_line):
            yield Heading(start, end, LATER, ASIDE, weak=True)
        elif known and kind == "colon":
            yield from _at_the_end(text, low, stop, names)


def _may_be_unknown(text: str, low: int, stop: int) -> bool:
    return text[stop - 1 : stop].isupper() or "\n\n" in text[low:stop] or "#" in text[low:stop]


def _lowered(text: str) -> str:
    """Return a text in lower case, letter by letter."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _separators(text: str, lowered: str) -> Iterator[tuple[str, int, int]]:
    """Find colons but those of "5:30", dashes but those of "X-ray", commas for line ends, full stops: kind, span."""
    stop = text.find(":")
    while stop >= 0:
        if not (text[stop - 1 : stop].isdigit() and text[stop + 1 : stop + 2].isdigit()):
            yield "colon", stop, stop + 1
        stop = text.find(":", stop + 1)
    for match in _DASHES.finditer(text):
        before, dashes = text[match.start() - 1 : match.start()], match[0]
        if before.isspace() or dashes[-1] in " \t" or dashes[0] in "\u2013\u2014" or dashes[1:2] in ("-", "="):
            begin = match.start() - (before in (" ", "\t"))
            if text[begin - 1 : begin].strip():
                yield "dash", begin, match.end()
    for match in _COMMA.finditer(text):
        yield "dash", match.start(), match.end()
    endings = tables()["endings"]
    for match in _STOP.finditer(text):
        last = lowered[max(0, match.start() - 20) : match.start()].split()[-1:]
        if last and last[0] in endings:
            yield "stop", match.start(), match.end()


def _fits_colon(place: Place, meaning: Meaning, style: str) -> bool:
    words = plain(place.text[place.start : place.stop]).split()
    if (meaning.exact or style in ("caps", "title")) and " ".join(words) not in tables()["alone"]:
        return meaning.num_words <= MAX_HEADING_WORDS
    alone = place.at_line and place.text[place.stop + 1 : place.stop + 3].lstrip(" \t*_")[:1] in ("", "\n")
    if meaning.listed or meaning.exact:
        return alone
    if meaning.is_later and not _is_heading_of_sentence(meaning, words):
        return False
    if meaning.is_later and not meaning.strong and not tables()["telling_words"].isdisjoint(words):
        return False  # "Labs notable for:", in the emergency room
    if place.at_line and style == "sentence":
        return meaning.num_words <= MAX_HEADING_WORDS
    if not meaning.strong:
        return meaning.is_later and meaning.num_words <= (3 if style == "sentence" else 2 if place.at_line else 0)
    return meaning.num_words <= (6 if alone or style == "sentence" else 4 if place.at_line else 3)


def _fits_dash(place: Place, meaning: Meaning, style: str) -> bool:
    spelled = style in ("caps", "title")
    short = meaning.num_words <= (6 if meaning.strong or spelled else 3)
    fuzzy = meaning.is_later and (meaning.strong or place.at_line) and short and not meaning.listed
    told = style == "sentence" and meaning.is_later and meaning.num_words > 1 and meaning.strong
    if plain(place.text[place.start : place.stop]) in tables()["alone"]:
        return False
    return (spelled or place.at_line or told) and (meaning.exact or fuzzy)


def _fits_stop(place: Place, meaning: Meaning, style: str) -> bool:
    several, told = meaning.num_words > 1, not is_shouting(place.text, place.start)
    if several and meaning.exact:
        return style in ("caps", "title") or place.at_line
    return style == "caps" and meaning.strong and not meaning.listed and told and (several or meaning.exact)


FITS = {"colon": _fits_colon, "dash": _fits_dash, "stop": _fits_stop}


def _is_unknown_heading(text: str, start: int, head: str, style: str, at_line: bool) -> bool:
    """Return whether "GROSS DESCRIPTION:", "# Sepsis:" or "Clinical Trajectory:" after an empty line is one."""
    if at_line and text[max(0, start - 2) : start].strip() == "#":
        return tables()["exam_words"].isdisjoint(plain(head).split())
    if " " not in head or not is_unknown(head):
        return False
    if style == "caps":
        return not is_shouting(text, start)
    return style == "title" and at_line and text[max(0, start - 20) : start].rstrip(" \t*#").endswith("\n\n")


def _is_heading_of_sentence(meaning: Meaning, words: list[str]) -> bool:
    """Return whether "His discharge medications were:" begins a section; "A course of steroids was given:" not."""
    return (
        words[0] not in tables()["sentence_words"]
        or meaning.section == COURSE
        or not {"discharge", "diagnosis", "diagnoses", "assessment"}.isdisjoint(words)
    )


def _at_the_end(text: str, low: int, stop: int, names: list[str]) -> Iterator[Heading]:
    """Find a heading that ends the words before a colon without anything that parts it from them."""
    known, names = tables(), names[-7:]
    if names[-1] not in known["last_words"] and known["strong"].isdisjoint(names):
        return
    words = list(WORD.finditer(text, low, stop))[-7:]
    if text[words[-1].end() : stop].strip(" \t*_'\"])"):
        return
    for i, word in enumerate(words):
        head = text[word.start() : stop]
        if "\n\n" in head or re.search(r"[.;:!?]\s", head):
            continue
        meaning, style = meaning_of(head), style_of(head)
        if meaning is None:
            continue
        later, spelled = meaning.is_later, style in ("caps", "title")
        enough = meaning.num_words >= 2 or (spelled and meaning.strong)
        if not enough or not (spelled or (later and meaning.exact)):
            continue
        if not later and known["strong"] & set(names[max(0, i - 4) : i]):
            meaning = meaning._replace(section=LATER, role=AFTER)
        yield Heading(word.start(), stop + 1, meaning.section, meaning.role)
        return
