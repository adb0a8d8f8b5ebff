# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Roles of the numbers of a clause: the channel's values that the words around each number refer to."""

from __future__ import annotations

import itertools
import re

from .numbers_clinragen import Quantity
from .wordings_clinragen import (
    ARROW,
    FALLING,
    FELL_TO,
    FIRST_VALUE,
    FROM,
    LAST_VALUE,
    LATER_VALUE,
    MAXIMUM,
    MEAN,
    MINIMUM,
    RANGING,
    RISING,
    ROSE_TO,
    SEQUENCE_JOINT,
    TO_NUMBER,
)


# after a number, these refer to the next value
_NEXT = re.compile(r"(?:then|subsequently|thereafter)\b(?!\s*(?:$|[,.;)]))")
_STRONG = ("maximum", "minimum", "mean", "rise", "fall")


def set_roles(clause: str, found: list[Quantity], finding_side: str | None = None) -> None:
    """Set the role of each number, from the words around it."""
    cut = _cuts(clause, found)
    for i, quantity in enumerate(found):
        before, after = clause[cut[i] : quantity.start], clause[quantity.end : cut[i + 1]]
        inside = _IN_BRACKETS.search(clause[: quantity.start]) is not None  # its words end at the bracket
        after = after.partition(")")[0] if inside else after
        quantity.role = _role(before, after, clause if len(found) == 1 and not inside else "")
        if quantity.role in ("maximum", "minimum"):
            quantity.place = 0 if _AT_START.match(after) else -1 if _AT_LAST.match(after) else None
        if quantity.role == "any" and "plateau" in before and i == len(found) - 1:
            quantity.role = "last"
        if quantity.role == "any" and finding_side and i == 0 and TO_NUMBER.search(before):
            quantity.role = {"high": "maximum", "low": "minimum"}[finding_side]
        if i:
            between = clause[found[i - 1].end : quantity.start]
            lead = clause[cut[i - 1] : found[i - 1].start]
            from_to = FROM.search(lead) and SEQUENCE_JOINT.search(between) and not _RANGED_FROM.search(lead)
            from_to = from_to or ARROW.fullmatch(between) or _is_later(clause, found, i)
            quantity.linked = bool(from_to) or quantity.role in ("later", "rise", "fall")
        if i == 1 and quantity.linked and found[0].role == "later":
            found[0].role = "any"  # "high then normal, 2.5 to 1.4"
        if quantity.role in ("rise", "fall"):
            quantity.role = "any" if i else {"rise": "maximum", "fall": "minimum"}[quantity.role]


def _is_later(clause: str, found: list[Quantity], i: int) -> bool:
    """Return whether a number is later than the one before: "recovering, 1.8 to 3.1", "14.6, 19.8 the next day"."""
    between = clause[found[i - 1].end : found[i].start]
    if "followed by" in between:
        return True
    if re.fullmatch(r"\s*to\s*", between):
        before = clause[: found[i - 1].start]
        moves = bool(RISING.search(before)) != bool(FALLING.search(before)) and not RANGING.search(before)
        moves |= found[i - 1].number > found[i].number and not RANGING.search(
            before
        )  # ranges begin with the lower number
        return moves or bool(_COURSE_BEFORE.search(before))
    if re.search(r"\b(?:came|come|coming|gone|going|went|trend\w*|drift\w*|since|now)\b.*\bto\s*$", between):
        return True
    following = clause[found[i].end :]
    return bool(_UP_TO.fullmatch(between) and (_NEXT_TIME.match(following)))


_COURSE_BEFORE = re.compile(
    r"\b(?:improv|worsen|recover|deteriorat|rising|falling|increasing|decreasing|climbing)\w*\b[^\d]*$"
)
_UP_TO = re.compile(r"\s*,?\s*(?:and |then |but )?(?:up|down|back)(?: up| down)? to\s*")
_NEXT_TIME = re.compile(r"[^,;\d]*\b(?:next|later|now|today|this|on (?:recheck|repeat)|by|after|at the end|finally)\b")


def _cuts(clause: str, found: list[Quantity]) -> list[int]:
    """Return where the words of each number begin, at the word that joins two numbers, and the end of the clause."""
    cuts = [0]
    for one, other in itertools.pairwise(found):
        joint = re.compile(r"\b(?:and|then|but|before|to|later|into)\b|[,;(]").search(clause, one.end, other.start)
        cuts.append(joint.start() if joint else one.end)
    return [*cuts, len(clause)]


_RANGED_FROM = re.compile(
    r"\b(?:rang|var[iy]|fluctuat|span|swung|swing|oscillat|anywhere|extend)\w*(?: widely)? from\b"
)
_IN_BRACKETS = re.compile(r"\([^()]*$")
_AT_START = re.compile(r"\s?[^\s\d,;]{0,6}\s(?:on|at|upon) (?:icu )?(?:admission|arrival|presentation)\b")
_JUST_NOW, _IS_NOW = (
    re.compile(r"\bnow (?:at |is |of |about |around )*$"),
    re.compile(r"\s?%?\s?now\b(?! (?:down|up))"),
)
_NOW_AT = re.compile(r"\b(?:now|back|currently) (?:down|up) to\s*$")
_COME_TO = re.compile(r"\b(?:down|up|back) to\s*$")
_AT_LAST = re.compile(r"[^,;\d]*\b(?:by the end|at the end|at (?:icu )?discharge|at (?:the )?last)\b")


def _role(before: str, after: str, clause: str) -> str:
    """Return the role of a number by the last cue before it, else the first one after it, else any in the clause."""
    cues = (
        ("maximum", MAXIMUM), ("minimum", MINIMUM), ("first", FIRST_VALUE), ("last", LAST_VALUE),
        ("later", LATER_VALUE), ("mean", MEAN), ("rise", ROSE_TO), ("fall", FELL_TO),
    )  # fmt: skip
    if _NOW_AT.search(before):
        return "later"
    if _JUST_NOW.search(before) or _IS_NOW.match(after):
        return "later"
    if _COME_TO.search(before) and _AT_LAST.match(after):
        return "last"
    found = [(match.end(), role) for role, pattern in cues for match in pattern.finditer(before)]
    if found:
        return max([cue for cue in found if cue[1] in _STRONG] or found)[1]
    for text in (after, clause):
        found = [(match.start(), role) for role, pattern in cues for match in pattern.finditer(text)]
        found = [cue for cue in found if cue[1] != "later" or not _NEXT.match(text, cue[0])]
        if found:
            return min([cue for cue in found if cue[1] in _STRONG] or found)[1]
    return "any"
