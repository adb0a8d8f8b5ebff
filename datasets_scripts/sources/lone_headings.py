# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find headings alone on a line, or in a cell of a line."""

import re
from collections.abc import Callable, Iterator

from datasets_scripts.sources.heading_places import (
    LINE_MARKS,
    WINDOW,
    Heading,
    is_apart,
    is_shouting,
    is_table_head,
    is_unknown,
)
from datasets_scripts.sources.heading_words import (
    ASIDE,
    COURSE,
    EXAM,
    LABS,
    LATER,
    MAX_HEADING_WORDS,
    MEDS,
    Meaning,
    meaning_of,
    plain,
    style_of,
    tables,
)


_SIGNED = re.compile(
    r"\s*\((?:[^()\n]*\b)?(?:Drs?|Prof|Mr|Mrs|Ms|MD|M\.D|DO|NP|PA|RN)\b[^()\n]*\)"
    r"|\s(?:by|per) (?:Drs?|Prof|Mr|Mrs|Ms)\b[^:\n]*"
)
_CELL = re.compile(r"(?:[^\n\t| ]| {1,2}(?! ))+")


def alone(text: str) -> Iterator[Heading]:
    """Find the headings that stand alone on a line or in a cell."""
    for cell in _short_cells(text):
        head = _SIGNED.sub("", cell[0]).rstrip(" \t*_=~#-:.\"')]")
        head = head[LINE_MARKS.match(head).end() :]
        heading = _lone_heading(text, cell, head) if head[:1].isalpha() and ":" not in head else None
        if heading is not None:
            yield heading


def _short_cells(text: str) -> Iterator[re.Match]:
    """Find the lines, and the columns of lines, that have no more words than a heading."""
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        if line.strip().count(" ") <= MAX_HEADING_WORDS + 2 or "\t" in line or "|" in line or "   " in line:
            for cell in _CELL.finditer(text, start, end):
                if len(cell[0]) <= 2 * WINDOW and cell[0].strip().count(" ") <= MAX_HEADING_WORDS + 2:
                    yield cell
        start = end + 1


def _lone_heading(text: str, cell: re.Match, head: str) -> Heading | None:
    """Return the heading that a cell is, `None` where it is none."""
    meaning, ended = meaning_of(head), cell[0].rstrip()[-1]
    if ended != ":" and (meaning is None or is_table_head(head, 0)):
        return None
    style, dot = style_of(head), ended == "." and not cell[0].rstrip().endswith("..")
    if meaning is None:
        unknown = style in ("caps", "title") and is_unknown(head) and is_apart(text, cell)
        return Heading(cell.start(), cell.end(), LATER, ASIDE, weak=True) if unknown else None
    if plain(head) in tables()["alone"]:
        fits = style != "lower" and is_apart(text, cell)
    elif meaning.exact:
        fits = style != "lower" or (meaning.num_words > 1 and (meaning.is_later or is_apart(text, cell)))
    else:
        fits = (
            ended not in ";,"
            and (
                not meaning.listed
                or (style == "caps" and is_apart(text, cell) and not is_shouting(text, cell.start()))
            )
            and _is_short(meaning, style, head, lambda: is_apart(text, cell))
        )
        fits = fits and not (dot and (meaning.num_words > 2 or not meaning.strong or not is_apart(text, cell)))
    fits = fits and meaning.num_words <= MAX_HEADING_WORDS
    return Heading(cell.start(), cell.end(), meaning.section, meaning.role) if fits else None


def _is_short(meaning: Meaning, style: str, head: str, stands_apart: Callable[[], bool]) -> bool:
    """Return whether a line is so short, for its spelling, that it is rather a heading than a part of a sentence."""
    known, words = tables(), plain(head).split()
    if words[0] in known["complaint_words"]:
        return False
    if style in ("caps", "title"):
        return meaning.num_words <= (6 if style == "title" else MAX_HEADING_WORDS)
    if not meaning.is_later or words[0] in known["sentence_words"] or words[-1] in known["stop_words"]:
        return False
    if style == "sentence" and words[0] in EXAM | LABS | MEDS and {"discharge", "transfer"} & set(words):
        return True
    if style == "lower" or not meaning.strong:
        return meaning.num_words <= 3 and (meaning.strong or style == "sentence") and stands_apart()
    told = (
        meaning.section == COURSE
        or words[-1] in known["later_words"]
        or words[:2] in (["course", "on"], ["course", "in"])
    )
    return meaning.num_words <= 3 or (meaning.num_words <= 5 and told and stands_apart())
