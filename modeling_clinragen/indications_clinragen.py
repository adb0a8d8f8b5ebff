# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Reasons that a note gives for a treatment: "insulin for hyperkalemia" is no sign of diabetes."""

from __future__ import annotations

from .phrases_clinragen import compiled, lowered


_FOR = compiled(r"""
    (?: (?!and\b|or\b|but\b|with\b|to\b|for\b)[\w/%.+-]+){0,5}? ?\(?
    (?:for|prn|to (?:treat|control|reverse|correct|lower|help(?: with)?)|2/2|due to|because of)
    [ ](?P<reason>[^.,;:\n()]+)
    """)
# what is no disease: times, goals, and effects that the drug has in each of its uses
_NO_REASON = compiled(r"""
    (?:(?:the|a|an|now|his|her|this|that|possible|concern|presumed|empiric\w*|broad|better|further|ongoing|next|last|past
    |several|few|many|total|course|treatment|management|coverage|\d[\d.]*|one|two|three|four|five|six|seven|ten|days?|hours?
    |hrs?|weeks?|months?|years?|minutes?|more|than|x|of|to|and|or|dose|doses|support|goal|map|sbp|bp|blood|pressure|hr|rate
    |control|rhythm|low|high|hypotension|diuresis|home|use|maintenance|at|in|on|per|time|being|long|term|some|effect)
    [\s<>/-]*)+
    """)


# what procedures are done for without the disease that they are a sign of
_ELECTIVE = compiled(r"""
    (?:(?:the|an?|his|her|elective|planned|this|upcoming) )*(?:surgery|procedure|operation|or|case|mri|imaging|scan
    |transport
    |anesthesia|(?:(?:hemodynamic|close|bp|blood pressure) )?monitoring|peg(?: \w+)?|foreign body|dysphagia|biopsy)\b
    """)


def is_elective(reason: str) -> bool:
    """Return whether a reason is an operation, a test or the like, not a disease."""
    return bool(_ELECTIVE.match(reason))


def other_reason(note: str, end: int) -> str | None:
    """
    Return what a note says that the treatment which ends at `end` is for, in lower case; `None` if it says nothing, or
    only for how long and to what goal.
    """
    match = _FOR.match(lowered(note[end : end + 120]))
    if match is None or _NO_REASON.fullmatch(match["reason"]):
        return None
    return match["reason"]


__all__ = ["is_elective", "other_reason"]
