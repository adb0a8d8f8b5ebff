# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Discharge summaries, cut at their headings: what was known at admission apart from what came later.

A heading stands at the beginning of a line and ends with a colon or with the line. When in doubt a section ends: text
about the time after admission must not pass for text about the time before it.
"""

import re
from functools import cache, lru_cache
from pathlib import Path


COURSE = "Brief hospital course"
LATER = ""
MAX_HEADING_WORDS = 8

# Marks before a heading ("#", "**", "3."), the heading, and a colon or the end of the line.
_LINE = re.compile(
    r"^[ \t]*(?:[#*=_\-]+[ \t]*|\d{1,2}[.)][ \t]*)?([A-Za-z][A-Za-z/&,\-'() ]{1,70}?)[ \t*_=]*(?:(:)[*_]*|$)",
    re.MULTILINE,
)


@lru_cache(maxsize=4)  # each note view asks for the same document
def split_sections(text: str) -> list[tuple[str, str, str]]:
    """
    Cut a discharge summary at its headings.

    Returns:
        `(section, heading, body)` in order. `section` is the name of an admission section (`note_sections.yaml`),
        `COURSE`, or `LATER` for everything else, with what stands before the first heading; `heading` is as written.
        Together, headings and bodies hold every word of the text.
    """
    cuts = []
    for match in _LINE.finditer(text):
        section = section_of(match[1], with_colon=match[2] is not None)
        if section is not None:
            cuts.append((match, section))
    sections = [(LATER, "", text[: cuts[0][0].start()] if cuts else text)]
    for i, (match, section) in enumerate(cuts):
        end = cuts[i + 1][0].start() if i + 1 < len(cuts) else len(text)
        sections.append((section, match[1].strip(), text[match.end() : end]))
    return sections


def section_of(heading: str, with_colon: bool = True) -> str | None:
    """Return the section that a line opens, `None` where it is no heading."""
    plain = " ".join(re.findall(r"[a-z]+", heading.lower()))
    words = plain.split()
    known = tables()
    if plain in known["sections"]:
        return known["sections"][plain]
    # Without a colon only capitals tell a heading that is not known to the letter from a sentence.
    if len(words) > MAX_HEADING_WORDS or not (heading[0].isupper() if with_colon else heading.isupper()):
        return None
    if any(f" {course} " in f" {plain} " for course in known["course"]):
        return COURSE
    return LATER if known["later_words"] & set(words) else None


@cache
def tables() -> dict:
    """Return `note_sections.yaml`: headings with their section, and the words that tell of one."""
    import yaml  # a command reads its note view before anything is imported

    raw = yaml.safe_load(Path(__file__).with_name("note_sections.yaml").read_text(encoding="utf-8"))
    sections = {heading: name for name, headings in raw["admission"].items() for heading in headings}
    sections |= dict.fromkeys(raw["later"], LATER) | dict.fromkeys(raw["course"], COURSE)
    words = {"later_words": set(raw["later_words"]), "stop_words": set(raw["stop_words"].split())}
    return {"sections": sections, "course": raw["course"], **words}
