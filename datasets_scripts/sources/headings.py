# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Find the headings of a discharge summary: alone on a line, before a colon or a dash, or inside a line.

A heading of later sections is found more readily than one of admission sections: a text that ends too early loses
words, one that ends too late tells what a model is to find.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from datasets_scripts.sources.capital_headings import in_capitals
from datasets_scripts.sources.heading_places import Heading
from datasets_scripts.sources.heading_words import AFTER, LATER, OF_EXAM
from datasets_scripts.sources.lone_headings import alone
from datasets_scripts.sources.marked_headings import before_separators


_SIGNS = re.compile(
    r"(?:^|\n|[.!?][ \t])[ \t]{0,8}(?P<sign>A:(?=[ \t\n])|P:(?=[ \t\n])(?![ \t]{0,4}\d)"
    r"|(?:[Oo]n|[Aa]t|[Bb]y|[Uu]pon) (?:the )?(?:day|time|date) of (?:his |her )?discharge\b"
    r"|(?:[Tt]he )?[Hh]ospital course (?:was|is|has|included|consisted|began)\b"
    r"|(?<=\n)(?:hospital course|discharge (?:diagnos[ei]s|medications|exam|condition)|assessment and plan) "
    r"|(?:(?:Hospital|M?ICU|SICU|CCU|Floor|Ward|Postoperative|Post-op|Clinical) course|Assessment and plan"
    r"|(?:Discharge|D/C) (?:diagnos[ei]s|dx|medications|meds|(?:physical )?exam|labs|vitals|condition|disposition"
    r"|instructions|plan)|(?:Final|Principal) diagnos[ei]s) (?!from |at |of ))"
)
_IN_EXAM = re.compile(
    r"(?:^|\n|[.!?;][ \t])[ \t]{0,8}"
    r"(?P<sign>(?:[Oo]n|[Aa]t|[Uu]pon|[Pp]rior to|[Bb]efore) (?:the )?(?:discharge|d/c|dc)\b)"
)
_OF_DISCHARGE = re.compile(
    r"\W{0,6}(?:(?:up)?on|at|prior to|before|of|day of|time of) (?:the |his |her )?(?:time |day |date |moment )?"
    r"(?:of |to )?(?:the |his |her )?(?:discharge|d/c|dc|transfer)\b",
    re.IGNORECASE,
)


def find_headings(text: str) -> list[Heading]:
    """Return the headings of a text whose line ends are newlines, in order and apart from each other."""
    found = [*before_separators(text), *alone(text), *_signs(text)]
    covered = sorted((heading.start, heading.end) for heading in found)
    found += (heading for heading in in_capitals(text) if not _is_covered(heading, covered))
    return _apart(_turned(text, heading) for heading in found)


def _is_covered(heading: Heading, covered: list[tuple[int, int]]) -> bool:
    i = bisect_right(covered, (heading.start, heading.start)) - 1
    return any(start < heading.end and heading.start < end for start, end in covered[max(i, 0) : i + 2])


def _turned(text: str, heading: Heading) -> Heading:
    """Return an exam "At discharge, …" as the later section that it is."""
    if heading.is_later or not _OF_DISCHARGE.match(text, heading.end):
        return heading
    return heading._replace(section=LATER, role=AFTER)


def _apart(headings: Iterable[Heading]) -> list[Heading]:
    """Order headings; of two that overlap the first stays, as a later section if one of them is."""
    apart: list[Heading] = []
    for heading in sorted(headings, key=lambda h: (h.start, not h.is_later, h.weak, -h.end)):
        if not apart or heading.start >= apart[-1].end:
            apart.append(heading)
        elif heading.is_later and not apart[-1].is_later:
            apart[-1] = apart[-1]._replace(section=heading.section, role=heading.role)
    return apart


def _signs(text: str) -> Iterator[Heading]:
    """Find "A:" and "P:" of a note by problems, and sentences that begin to tell of the hospital course."""
    for match in _SIGNS.finditer(text):
        yield Heading(match.start("sign"), match.end("sign"), LATER, AFTER, weak=True)
    for match in _IN_EXAM.finditer(text):
        yield Heading(match.start("sign"), match.end("sign"), LATER, OF_EXAM, weak=True)
