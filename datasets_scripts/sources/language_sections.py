# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Discharge summaries of another language, cut at the headings that its file lists.

When in doubt a section ends: also at a heading that is in no list, since it may be that of a diagnosis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from datasets_scripts.sources.heading_words import LATER
from datasets_scripts.sources.line_ends import normalise_lines
from modeling_clinragen.language_clinragen import pattern_of


MOST_WORDS = 6  # of a heading that is in no list
_LEAD = r"^[-*#•=_ \t]*(?:\d{1,3}[.)][ \t]*)?"
_LABEL = re.compile(rf"(?m){_LEAD}(?P<name>[^\W\d_][^\n:.;!?]{{0,80}}?)[ \t*_]{{0,9}}:(?!\d)")
_LONE = re.compile(rf"(?m){_LEAD}(?P<name>[^\W\d_][^\n:.;!?,]{{0,80}}?)[ \t*_=]{{0,9}}$")


class Section(NamedTuple):
    """A part of a summary: its name, or `LATER`; its heading, as written; its text; `known` if a list has it."""

    name: str
    heading: str
    body: str
    known: bool


class _Heading(NamedTuple):
    start: int
    end: int
    name: str
    known: bool
    ends_all: bool


@dataclass(frozen=True)
class SectionHeadings:
    """
    Headings of a language; one that ends in `*` stands for any ending.

    Args:
        summaries (`tuple`): words in the kind of a document that is written at discharge.
        sections (`tuple`): names of sections about the time up to admission, each with its headings.
        ends (`tuple`): headings that end a section.
        after (`tuple`): headings that end it, and after which all is of the time after admission.
        parts (`tuple`): labels that are no headings, but stand within a section.
    """

    summaries: tuple[str, ...] = ()
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ends: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    _patterns: dict = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self):
        named = {name: _any_of(headings) for name, headings in self.sections}
        self._patterns.update(
            summaries=re.compile("|".join(map(re.escape, self.summaries)) or r"(?!)", re.IGNORECASE),
            admission={
                name: re.compile(rf"(?:{_LEAD}|(?<=[.;!?|\t])[ \t]{{1,9}}){any_of}[ \t*_]{{0,9}}(?::|$)", FLAGS)
                for name, any_of in named.items()
            },
            parts=re.compile(_any_of(self.parts), FLAGS),
            **{name: _later(getattr(self, name)) for name in ("ends", "after")},
        )

    def is_summary(self, kind: str | None, text: str | None, has_hour: bool) -> bool:
        """Return whether a document is written at discharge: by its kind, or if of no known time by its headings."""
        if self._patterns["summaries"].search(kind or ""):
            return True
        return not has_hour and any(self._patterns[name].search(text or "") for name in ("ends", "after"))

    def split(self, text: str) -> list[Section]:
        """
        Cut a summary at its headings.

        Returns:
            [`Section`] in order; together, headings and bodies hold every word of the text.
        """
        return _split(self, text)

    def _headings(self, text: str) -> list[_Heading]:
        found = [
            _Heading(*_span(match), LATER, True, name == "after")
            for name in ("ends", "after")
            for match in self._patterns[name].finditer(text)
        ]
        for name, pattern in self._patterns["admission"].items():
            found += [_Heading(*_span(match), name, True, False) for match in pattern.finditer(text)]
        found += [_Heading(start, end, LATER, False, False) for start, end in self._unknown(text)]
        ordered = sorted(found, key=lambda heading: (heading.start, not heading.known, -heading.end))
        kept: list[_Heading] = []
        for heading in ordered:
            if not kept or heading.start >= kept[-1].end:
                kept.append(heading)
        return kept

    def _unknown(self, text: str):
        """Yield what looks like a heading and is in no list: a label, a short line alone after an empty line."""
        for match in _LABEL.finditer(text):
            name = match["name"].strip()
            if len(name.split()) <= MOST_WORDS and not self._patterns["parts"].fullmatch(name):
                yield match.start("name"), match.end()
        for match in _LONE.finditer(text):
            before = text[max(0, match.start() - 200) : match.start()].rstrip(" \t")
            alone = before.endswith("\n\n") and not before.rstrip().endswith(":")
            if len(match["name"].split()) <= MOST_WORDS and (alone or match["name"].isupper()):
                yield match.start("name"), match.end()


FLAGS = re.IGNORECASE | re.MULTILINE


def _any_of(headings: tuple[str, ...]) -> str:
    patterns = [pattern_of(heading) for heading in sorted(headings, key=len, reverse=True)]
    return rf"(?:{'|'.join(patterns)})" if patterns else r"(?!)"


def _later(headings: tuple[str, ...]) -> re.Pattern:
    """A later heading counts where a line begins with it, whatever follows, and anywhere before a colon."""
    any_of = _any_of(headings)
    return re.compile(rf"{_LEAD}{any_of}[ \t*_]{{0,9}}:?|{any_of}[ \t*_]{{0,9}}:", FLAGS)


def _span(match: re.Match) -> tuple[int, int]:
    """Return start and end of a heading, without the marks before it."""
    start = match.start()
    while not match.string[start].isalnum():
        start += 1
    return start, match.end()


@lru_cache(maxsize=4)  # each note view asks for the same document
def _split(headings: SectionHeadings, text: str) -> list[Section]:
    text = normalise_lines(text)
    found = headings._headings(text)
    sections = [Section(LATER, "", text[: found[0].start] if found else text, True)]
    over = False
    for i, heading in enumerate(found):
        end = found[i + 1].start if i + 1 < len(found) else len(text)
        over |= heading.ends_all
        name = LATER if over else heading.name
        sections.append(Section(name, text[heading.start : heading.end], text[heading.end : end], heading.known))
    return sections
