# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Discharge summaries, cut at their headings: what was known at admission apart from what came later.

When in doubt a section ends: text about the time after admission must not pass for text about the time before it.
"""

import itertools
import re
from functools import lru_cache

from datasets_scripts.sources.heading_places import Heading
from datasets_scripts.sources.heading_words import (
    AFTER,
    ASIDE,
    COURSE,
    FIRST,
    LATER,
    LISTS,
    OF_EXAM,
    TWICE,
    plain,
    tables,
)
from datasets_scripts.sources.headings import find_headings
from datasets_scripts.sources.line_ends import normalise_lines


NARRATIVE = ("History of present illness", "Past medical history")  # where a summary begins to tell
HISTORIES = ("Past medical history", "Past surgical history", "Social history", "Family history")
EXAMS = ("Physical exam", "Admission labs")
_COLUMNS = re.compile(r"[\t|]| {3}")


@lru_cache(maxsize=4)  # each note view asks for the same document
def split_sections(text: str) -> list[tuple[str, str, str]]:
    """
    Cut a discharge summary at its headings.

    Returns:
        `(section, heading, body)` in order. `section` is the name of an admission section (`note_sections.yaml`),
        `COURSE`, or `LATER` for everything else, with what stands before the first heading; `heading` is as written.
        Together, headings and bodies hold every word of the text.
    """
    text = normalise_lines(text)
    headings = _with_ends_of_columns(text, _without_parts_of_the_course(find_headings(text)))
    sections = [(LATER, "", text[: headings[0].start] if headings else text)]
    later_seen, told = False, False  # of a section after which an exam is no longer that of admission; of the history
    for i, heading in enumerate(headings):
        end = headings[i + 1].start if i + 1 < len(headings) else len(text)
        section = LATER if later_seen and heading.role in (TWICE, FIRST) else heading.section
        name = plain(text[heading.start : heading.end])
        if not (sections[-1][0] in HISTORIES and name in tables()["parts_of_history"]):
            later_seen |= heading.role in (AFTER, OF_EXAM) or (heading.role == LISTS and told)
        told |= section in NARRATIVE
        sections.append((section, text[heading.start : heading.end], text[heading.end : end]))
    return sections


def _without_parts_of_the_course(headings: list[Heading]) -> list[Heading]:
    """Leave out the weakly marked headings inside of a hospital course, such as its problems, and those of no exam."""
    kept: list[Heading] = []
    for heading in headings:
        section = kept[-1].section if kept else LATER
        if not (heading.weak and section == COURSE) and (heading.role != OF_EXAM or section in EXAMS):
            kept.append(heading)
    return kept


def _with_ends_of_columns(text: str, headings: list[Heading]) -> list[Heading]:
    """Add the end of each line that has columns of which one is a later section: below, their texts mix."""
    ended: list[Heading] = []
    starts = [heading.start for heading in headings[1:]] + [len(text)]
    for heading, following in zip(headings, starts, strict=False):
        ended.append(heading)
        end = text.find("\n", heading.end, following)
        if not heading.is_later and end >= 0 and _has_later_column(text, ended[-6:], end):
            ended.append(Heading(end, end, LATER, ASIDE))
    return ended


def _has_later_column(text: str, headings: list[Heading], end: int) -> bool:
    """Return whether the last heading's line holds a later section that may continue below; "Sex: F" does not."""
    line = text.rfind("\n", headings[0].start, headings[-1].start) + 1 or headings[0].start
    if not _COLUMNS.search(text, line, end):
        return False
    return any(
        heading.start >= line
        and heading.is_later
        and (heading.role != ASIDE or not text[heading.end : after.start].strip())
        for heading, after in itertools.pairwise(headings)
    )
