# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Words that leave the statement of a clause open: hedges, exceptions, other times and places, and unread
comparisons.

Each of these words can reverse a statement. A clause with one of them contradicts nothing.
"""

from __future__ import annotations

import re

from .changes_clinragen import MULTIPLE, THAN_AT
from .phrases_clinragen import compiled, compiled_words
from .wordings_clinragen import BOUND, NO_MORE_THAN, NOT, NUMERALS, ONLY_FIRST, PSEUDO_NOT, RANGE, blank


EXCEPTION = compiled_words(r"""
    apart from|except(?:ing|ion|ions)?|other than|aside from|save for|barring|but for|besides|excluding|outside of
    |bar (?:one|two|the|a)|not counting|all but|otherwise
    """)
_HEDGE = compiled_words(r"""
    may|might|would|should|possibl[ey]|probabl[ey]|perhaps|maybe|presum\w+|suspect\w*|quer(?:y|ied)|questionable
    |unclear|uncertain|doubtful|likely|expected|anticipated|seem\w*|potential\w*|appears? to|supposed\w*|compensat\w+
    |until(?! (?:hour |\d|discharge|(?:the )?(?:end|very end)))
    |no more than(?! \d)
    |if|unless|whether|borderline
    |(?:near|nearly|almost|high|low|fairly|relatively|reasonably|close to|approach\w*)[\s-]normal
    |rather than|instead of|as opposed to|only (?:when|while|if|after|before|during|at|on|the)
    |(?:half|a third|a quarter|quarters|two thirds) of (?:the |all |his |her )?(?:readings|values|checks|measurements
    |time|day|stay)
    """)
_ELSEWHERE = compiled_words(r"""
    at home|in clinic|outpatient|pre-?hospital|outside hospital|osh|en route|in the (?:field|ambulance)|(?:by|per) ems
    |(?:prior to|before) (?:admission|arrival|transfer|coming)|previously|in the past|historically|yesterday|tomorrow
    |(?:last|previous|prior) (?:year|month|week|admission|visit|stay|hospitali[sz]ation|night)
    |(?:days?|weeks?|months?|years?) (?:ago|earlier|before|prior)|usual(?:ly)?|normally|normal for (?:him|her|them)
    """)
_THAN = re.compile(r"\bthan\b")
_READ_THAN = compiled(rf"""
    (?<!worse )(?<!better )\bthan\b(?=\s*(?:about |around |approximately |the |an? |~)*
    (?:\d|once\b|half of\b|a? ?(?:third|quarter) of\b|twice\b|(?:{"|".join(NUMERALS)})\b
    |{RANGE}|normal|usual|room air|(?:low |mid|high |upper )*\w+ies\b))
    """)
_NO_MORE_THAN_NUMBER = re.compile(rf"{NO_MORE_THAN.pattern}(?=\s*(?:about |the )?\S*\d)")
_READ = (
    ONLY_FIRST,
    PSEUDO_NOT,
    MULTIPLE,
    BOUND,
    *(pattern for pattern, _ in THAN_AT),
    _READ_THAN,
    _NO_MORE_THAN_NUMBER,
)
_COURSE = compiled(r"\b(?:had|has|have) (?:\w+ly |since |now |been |also |not |already )*([a-z]+(?:ed|en|one))\b")
_KNOWN_COURSE = compiled(r"""
    (?:noted|seen|recorded|documented|observed|found|measured|reported|charted|been|developed|remained|stayed|occurred
    |appeared|presented|persisted|resolved|subsided|improved|worsened|settled|recovered|cleared|normali[sz]ed|corrected
    |abated|eased|elevated|raised|continued|returned|recurred|reached|peaked|spiked|become|fallen|risen)\b
    """)
_NEITHER = re.compile(r"\b(?:neither|nor)\b")


def leaves_open(words: str, finding: bool = False) -> bool:
    """
    Return whether a clause has a word that may reverse its statement.

    "Possibly", "at home before admission", "lower than the day before", "not without", "the fever had lysed".

    Args:
        words (`str`): the clause in lower case, without the channel's name.
        finding (`bool`): whether it is about a finding, which an unknown verb such as "lysed" may end.
    """
    if finding and any(not _KNOWN_COURSE.match(words, course.start(1)) for course in _COURSE.finditer(words)):
        return True
    for pattern in _READ:
        words = pattern.sub(blank, words)
    if _HEDGE.search(words) or _ELSEWHERE.search(words) or _THAN.search(words):
        return True
    return len(NOT.findall(words)) > 1 and not _NEITHER.search(words)


__all__ = ["EXCEPTION", "leaves_open"]
