# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Parts of a clause with separate statements about its channel, and words that no pattern reads.

"Was normal until hour 8, then 152 at hour 12" is about two times; "never cleared and was still 5" negates one
statement and affirms another. A number is called wrong only if the words before it were understood: see [`read_part`].
"""

from __future__ import annotations

import re
from functools import cache

from . import wordings_clinragen as wordings
from .phrases_clinragen import compiled, compiled_words
from .wordings_clinragen import (
    AFTER_HOURS,
    AT_HOUR,
    BETWEEN_HOURS,
    FIRST_HOURS,
    FIRST_VALUE,
    LAST_HOURS,
    LAST_VALUE,
    NORMAL,
    NOT,
    NOW,
)


_JOINT = re.compile(r"\s*,\s*(?:(?:and|but|then|although|though|yet)\s+)*|\s+(?:and|but|yet|although|though)\s+")
_SPANS_OF_TIME = (BETWEEN_HOURS, FIRST_HOURS, AFTER_HOURS, LAST_HOURS)
_PREDICATE = compiled(r"""
    (?:(?:it|which|this|he|she)\s)?(?:still\s)?(?:is|was|were|are|has|have|had|did|does|do|remain\w*|stay\w*|never|not|no
    |without|rose|fell|dropped|went|came)\b
    """)
_BECAME = re.compile(r"(?:has |had |have )?(?:since )?(?:became|become|turned|developed)\b")
_STATES = re.compile(rf"\d|{NORMAL.pattern}")


def segments(words: str) -> list[str]:
    """Split a clause in lower case where a statement about another time, or a negated one, begins or ends."""
    parts, since = [], 0
    for joint in _JOINT.finditer(words):
        left, right = words[since : joint.start()], words[joint.end() :]
        if _of_other_times(left, right) or _negated_apart(left, right):
            parts.append(left)
            since = joint.end()
    return [*parts, words[since:]]


def _of_other_times(left: str, right: str) -> bool:
    """Return whether two parts are about two times; numbers with an hour each are read together."""
    if not (_timed(left) and _timed(right)):
        return False
    return any(p.search(part) for part in (left, right) for p in _SPANS_OF_TIME) or not (
        _numbered(left) and _numbered(right)
    )


def _timed(part: str) -> bool:
    return bool(_BECAME.match(part)) or any(
        pattern.search(part) for pattern in (AT_HOUR, FIRST_VALUE, LAST_VALUE, NOW, *_SPANS_OF_TIME)
    )


def _numbered(part: str) -> bool:
    for pattern in (AT_HOUR, *_SPANS_OF_TIME):
        part = pattern.sub(" ", part)
    return bool(re.search(r"\d", part))


def _negated_apart(left: str, right: str) -> bool:
    """Return whether one of two parts is negated and the other makes a statement of its own."""
    if bool(NOT.search(left)) == bool(NOT.search(right)) or not _PREDICATE.match(right):
        return False
    stated = left if NOT.search(right) else right
    return bool(_STATES.search(stated))


# ---- unread words

_HARMLESS = compiled_words(r"""
    at (?:his|her|their|the) baseline
    |(?!respond|avoid|miss|target|exclud|prevent|fail|receiv|requir|need|tak|averag|exceed|weigh|lack|aim|bleed|deny
    |denied|omit|hid)[a-z]+(?:ed|ing)
    |eases|settles|slips|climbs|falls|rises|drops|dips|sinks|spent|kept|met|lost|exhibits?|demonstrates?|displays?
    |reveals?|registers?|shows|accumulation|an?|the|his|her|their|its|this|that|it|he|she|they|patient|pt|is|are|was
    |were|be|been|being|has|have|had|did|does|do|not|no|never|ever|of|at|to|in|on|by|for|with|and|or|as|than|from|into
    |but|then|over|since|until|before|after|during|while|when|per|there|between|around|all|any|each|every|both|most
    |about|only|just|also|still|even|again|very|quite|too|rather|up|down|back|off|\w+ly|beats?|breaths?|minutes?
    |degrees?|values?|readings?|levels?|results?|numbers?|measurements?|counts?|rates?|recorded|measured|noted|found
    |seen|charted|documented|observed|reported|recheck\w*|check\w*|repeat\w*|shows?|showed|showing|became|becomes?
    |turned|lay|lies|sat|sits|sitting|read|reads|runs?|running|ran|held|holding|hover\w*|rang\w+|var(?:y|ied|ies)
    |fluctuat\w*|span\w*|swung|oscillat\w*|low|mid|upper|high|early|late|reach\w*|hit|touch\w*|dip\w*|spik\w*|crash\w*
    |peak\w*|plateau\w*|trend\w*|remain\w*|stay\w*|go|goes|went|gone|going|came|come|coming|got|gets?|doubl\w+|tripl\w+
    |halv\w+|respond\w*(?! to\b)|return\w*|wean\w*|clear\w*|respectively|changes?|drifts?|movements?|improvements?
    |increases?|decreases?|variations?|(?:over|under)?correct\w*|therapeutic|negative|positive|well|controlled|better
    |worse|today|tonight|overnight|mornings?|nights?|evenings?|afternoons?|am|pm|days?|shift|hours?|times?|once|now
    |later|icu|ward|er|ed|floor|triage|admission|arrival|presentation|discharge|admit\w*|presented|arrived|line|cuff
    |rectal|oral|axillary|arterial|venous|capillary|serum|blood|normal|abnormal|already|a lot|midway|middle|rock
    |gas(?:es)?|samples?|\w+teens|teens|\w+ties|singles?|double|triple|digits|figures|open|closed|intact|mild|moderate
    |severe|profound|marked|slight|new|old|good|great|bad|same|next|second|third|half|quarter|present
    """)
# a treatment in between: "improved with esmolol to 96"
_ASIDE = compiled(r"""
    \b(?:with|after|on|despite|following|in spite of|under|off|using|via|by|during|in response to|because of)\s
    (?:(?!\d)[\w-]+(?:\s|(?=,))){1,5}?(?=(?:is|was|were|has|had|to|up|down|remain\w*|stay\w*|improv\w*|rose|fell|dropped|and)
    \b|,)
    """)
_NUMBER = re.compile(r"\d[\d.,/]*\s?(?:'?s\b|[a-z°µ/%^]+/[a-z\d]+|mmhg|bpm|kg|lbs?|kpa|°?[cf]\b)?")


@cache
def _patterns() -> tuple[re.Pattern, ...]:
    return tuple(p for p in vars(wordings).values() if isinstance(p, re.Pattern))


_OTHER = re.compile(r"(?:[,;(]|\b(?:and|with))\s*(?:(?:an?|the|his|her)\s+)?$")
_OTHER_NUMBER = re.compile(r"[a-z][a-z'-]*(?: [a-z]+){0,2}?\s?(?:[:=]|of|was|is|at)?\s?\d")


def read_part(words: str) -> tuple[str, bool] | None:
    """
    Return the words before the first unread word on the way to a clause's last number, and whether that word names
    another measurement with its own number, "8, AG 28"; `None` if all words are read.

    Args:
        words (`str`): in lower case, from the channel's name on, with the name blanked.
    """
    values = words
    for pattern in wordings.SPOKEN_HOURS:
        values = pattern.sub(wordings.blank, values)
    numbers = list(re.finditer(r"\d[\d.]*", values))
    unread = None
    if numbers:  # some words are read only with the number after them, "slid to 80", others only without it
        without, with_it = (_without_read_words(words[:end]) for end in numbers[-1].span())
        unread = _UNREAD_WORD.search("".join(a if b != " " else " " for a, b in zip(without, with_it, strict=False)))
    if unread is None:
        return None
    before = words[: unread.start()]
    return before, bool(_OTHER.search(before) and _OTHER_NUMBER.match(words, unread.start()))


def negations_of_other_things(words: str, finding_end: int | None = None) -> list[tuple[int, int]]:
    """
    Return the spans of negations of other things after a statement: "improved to 146 without insulin", "8.0, no
    bleeding".

    Args:
        words (`str`): in lower case, with the channel's name blanked.
        finding_end (`int`, *optional*): the end of a finding, which is a statement by itself.
    """
    return [
        match.span()
        for match in _NEGATED_THING.finditer(words)
        if (_STATES.search(words[: match.start()]) or (finding_end is not None and finding_end <= match.start()))
        and _unread(match[1])
    ]


MAY_NEGATE_OTHERS = re.compile(r"\b(?:without|no|off)\s")
_NEGATED_THING = re.compile(
    r"\b(?:without|no|off)\s{1,2}((?:(?:any|further|an?|the|more|additional|need for)\s)*"
    r"[a-z][\w-]*)"
)


_UNREAD_WORD = re.compile(r"[a-z][a-z'-]+")
_CUT_WORD = re.compile(r"[a-z]{2}")


def _unread(words: str) -> re.Match | None:
    """Return the first word that no pattern reads, and that may change the statement of a clause."""
    return _UNREAD_WORD.search(_without_read_words(words))


def _without_read_words(words: str) -> str:
    """Blank the words that any pattern reads."""
    left = words
    for pattern in (_NUMBER, _HARMLESS, _ASIDE, *_patterns()):
        for match in pattern.finditer(words):
            if _CUT_WORD.search(words[max(0, match.start() - 1) : match.start() + 1]) or _CUT_WORD.search(
                words[max(0, match.end() - 1) : match.end() + 1]
            ):
                continue  # the "or" of "norepinephrine"
            left = left[: match.start()] + " " * len(match[0]) + left[match.end() :]
    return left
