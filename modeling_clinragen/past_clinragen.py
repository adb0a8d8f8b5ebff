# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Recognise past events and background diseases: an event that a note dates in the past or gives as history, and a
chronic disease in a section such as "past history", are no signs of an acute disease of this stay.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .clinical_clinragen import PHENOTYPES
from .phrases_clinragen import compiled, lowered


_ACUTE_CCS = {2, 55, 100, 109, 122, 130, 131, 153, 157, 238, 249}
ACUTE = frozenset(phenotype["name"] for phenotype in PHENOTYPES if phenotype["ccs"] in _ACUTE_CCS)
# events, unlike lasting diseases: "history of stroke" against "history of cirrhosis"
_EVENT = compiled(r"""
    infarct|stroke|\bcva\b|cerebrovascular|\btias?\b|ischemic attack|embol|arrest|attack|stent|\bpci\b|ptca
    |intervention|bleed|hemorrhag|haemorrhag|hematoma|transfusion|sepsis|septic|pneumonia|shock|trauma|overdose
    |operat|surgery|cabg|bypass|graft|endarterectomy|replacement|pneumothorax|effusion|respiratory failure
    |kidney injury|fracture|anaphyla|stemi\b|\b(?:a?mi|aki|gib|pna|uti|sah|pe)\b
    """)
_DATED = compiled(r"""
    (?:\(s\))?[^;,.\n(]{0,30}?
    (?:\s*[-–,(] *(?:remote\b|date unknown|within (?:the )?(?:past |last )?\d+ (?:year|month|yr|mo)
    |(?:in )?(?:19|20)\d\d\b)
    | (?:(?:in )?(?:19|20)\d\d\b|(?:\w+ )?(?:years?|yrs?|months?) (?:ago|earlier|before|prior)\b
    |last (?:month|year|spring|summer|fall|autumn|winter)\b|in the (?:remote |distant )?past\b
    |at (?:the )?age (?:of )?\d|at [3-9]\d(?=\s*(?:$|[.,;)\n]))|in (?:childhood|infancy|adolescence|youth
    |early adulthood)\b
    |in (?:his|her|their) (?:early |mid-?|late )?(?:\d\d'?s|teens|twenties|thirties|forties|fifties|sixties|seventies
    |youth)\b
    |as an? (?:child|infant|teen\w*|kid|youth|adolescent|baby|young \w+)\b|(?:\w+ )?(?:years?|yrs?|months?
    |decades?) back\b
    |(?:in )?\d{1,2}/(?:19|20)\d\d\b|'\d\d\b|back in\b|(?:during|on|at) (?:an? |his |her |the )?(?:previous|prior|last
    |earlier)
    [ ](?:hospital\w*|admission|stay)|last (?:19|20)\d\d\b))
    """)
_GIVEN_AS_HISTORY = compiled(r"""
    (?:\b(?:(?:ever )?since (?:his|her|the|their|a)|(?:\w+ )?(?:years?|months?|yrs?) (?:after|since|from|post) (?:his
    |her|the|an?|their)?
    |(?:the )?year of (?:his|her|the)|post-?|readmitted (?:after|following)(?: \w+){0,3}? (?:for|with)
    |index admission was for
    |(?:at|during) (?:his |her |the )?(?:last|prior|previous) (?:admission|hospitali[sz]ation|stay)(?: in \w+)?,?
    (?: (?:he|she|pt|patient|they))?(?: (?:had|was (?:treated|admitted) (?:for|with)))?
    |(?:last|prior|previous) (?:admission|hospitali[sz]ation|stay):?(?: (?:was )?for)?
    |discharged [^.;\n]{0,20}?(?:ago|last (?:week|month|year)) (?:after|following|for|with)) ?(?:an?
    |the )?(?:[\w-]+ ){0,1}
    |\b(?:history of|hx of|h/o|hx)\b:?
    (?:(?!\b(?:who|now|present\w*|admi\w*|with|here|for|today|currently|acute)\b)[^.;:\n]){0,80}
    |\b(?:pmhx?|past (?:medical )?history|medical history|co-?morbid\w+|background)\b:?
    (?: (?:is |was |also )?(?:significant|notable|remarkable|positive|pertinent|includ\w+|of|for|with)(?: (?:for
    |of))?\b)?
    (?:(?!\b(?:who|now|present\w*|admi\w*|with|here|for|today|currently|acute|p/w|found|developed
    |transfer\w*)\b)[^.;:\n]){0,80}
    |\b(?:prior|previous|last|earlier) (?:hospital\w* )?(?:admissions?|hospitali[sz]ations?|stays?) (?:for|with|due to)
    [ ](?:[\w-]+ ){0,2}|\b(?:recently|previously) (?:hospitali[sz]ed|admitted|treated|intubated) (?:for
    |with) (?:[\w-]+ ){0,2}
    |\b(?:prior|previous(?:ly)?|old|remote|past) (?:[\w-]+ ){0,2})$
    """)


# "s/p CVA" is history, but "admitted s/p MI" and "day 2 s/p MI" speak of this stay, as do operations and arrests
_STATUS_POST = compiled(
    r"(?:s/p|status post|post) (?:(?:remote|old|prior|left|right|l|r|mca|ischemic|multiple|a) ){0,2}$"
)
_OF_THIS_STAY = compiled(r"\b(?:admi\w*|transfer\w*|present\w*|now|today|acute\w*|day|pod|hd|this|new)\b[^.;\n]*$")
_SHORT_EVENT = compiled(r"\b(?:cva|stroke|tia|mi|myocardial infarction|pneumonia|pna|gi bleed|gib|sepsis|aki|uti)s?\b")


# chronic diseases, which explain an acute disease only if they are not background
_CHRONIC = compiled(r"""
    asthma|\bcopd\b|chronic obstructive|emphysema|heart failure|\bchf\b|coronary artery disease|\bcad\b
    |restrictive (?:lung|pulmonary)
    """)
# lasting, too, but the diagnosis head reads them even there: they make an acute injury more likely
_KIDNEYS = compiled(r"(?:renal|kidney) (?:failure|insufficiency|dysfunction|impairment|disease)|\b(?:ckd|cri|crf)\b")
# treatments and deficits of the past, which the diagnosis head reads as well
_EARLIER = compiled(r"""
    intubat|tracheo|chest tube|thoracotomy|thoracentesis|\bptca\b|amputation|dialysis|\bcvvhd?f?\b|pericardiocentesis
    """)
_OF_OLD_BEFORE = compiled(r"""
    (?:\b(?:residual|baseline|(?<!acute on )chronic|long-?standing|old|pre-?existing|lifelong|congenital
    |post-?stroke) (?:[\w-]+ ){0,2}
    |\b(?:home|nightly|nocturnal|osa (?:on|with)|non-?complian\w+ with(?: home)?) (?:bi-?pap or )?)$
    """)
_AT_HOME = compiled(r"""
    (?: machine| mask)?(?: (?:at home|nightly|qhs|nocturnal\w*|for (?:osa|sleep apnea)|at bedtime))\b
    """)
_MASK = re.compile(r"[cb]i?-?pap|non-?invasive ventilation|niv")
_FOR_SLEEP = re.compile(
    r"(?:\bosa|sleep apnea)\b[ ,:(/–-]*(?:(?:on|with|uses?|w/) (?:\w+ )?)?$|\b(?:uses|wears|chronically on) $"
)
_OF_OLD_AFTER = compiled(r"""
    [^,;.\n]{0,30}?(?:\bat baseline\b|(?:since|from) (?:birth|childhood)\b|\(old\)|\b(?:is|was) (?:chronic|baseline|old
    |lifelong)\b|, chronic\b|\blifelong\b|\bfrom (?:an? )?(?:old|prior|previous|remote)\b)
    """)
_PAST_HEADING = re.compile(
    r"(?m)^[ \t]*(?:(?:past|background"
    r"|pmhx?\b|medical history|social|family|co-?morbid|significant (?:medical )?history"
    r"|(?:resolved|inactive|old|prior|previous) (?:problem|diagnos|condition|issue)|problem list \((?:resolved"
    r"|inactive)"
    r"|hx(?=:))[^:\n]*:[ \t]*|(?:past (?:medical |surgical )?(?:history|hx)|pmhx?|medical history)[ \t]*$)"
)
_HEADING = re.compile(r"[a-z][a-z /&()-]{1,60}:")
_SECTION_END = re.compile(rf"\n[ \t]*\n|\n{_HEADING.pattern}|\Z")
_LINE_END = re.compile(r"\n|\Z")
_SPACE = re.compile(r"\s*")
_LONGEST_ABBREVIATION = 5  # letters


def is_past_event(note: str, start: int, end: int) -> bool:
    """Return whether the span of a note is an event of the past, or a background disease."""
    lower = _lowered(note)
    if _CHRONIC.search(lower[start:end]):
        return _is_in_history(note, start)
    if not _EVENT.search(lower[start:end]):
        return False
    line = lower[max(lower.rfind("\n", 0, start) + 1, start - 100) : start]
    return _is_dated(lower, line, end) or _is_status_post(lower[start:end], line)


def _is_dated(lower: str, line: str, end: int) -> bool:
    return bool(_DATED.match(lower[end : end + 80]) or _GIVEN_AS_HISTORY.search(line))


def _is_status_post(text: str, line: str) -> bool:
    after = _STATUS_POST.search(line)
    return bool(after and _SHORT_EVENT.fullmatch(text) and not _OF_THIS_STAY.search(line, 0, after.start()))


def _is_in_history(note: str, start: int) -> bool:
    return any(first <= start < last for first, last in _past_histories(note))


@lru_cache(maxsize=8)
def _past_histories(note: str) -> list[tuple[int, int]]:
    """Return the spans of past, social and family history: a line, or the paragraph below its heading."""
    lower, found = _lowered(note), []
    for heading in _PAST_HEADING.finditer(lower):
        body = _SPACE.match(lower, heading.end()).end()
        if "\n" not in lower[heading.end() : body]:
            found.append((body, _LINE_END.search(lower, body).start()))
        elif not _HEADING.match(lower, body):
            found.append((body, _SECTION_END.search(lower, body).start()))
    return found


_lowered = lru_cache(maxsize=8)(lowered)


def places_of(note: str, text: str) -> list[tuple[int, int]]:
    """Return the spans of a text in a note, as whole words; only an abbreviation needs its capitals."""
    if not (text.isupper() and len(text) <= _LONGEST_ABBREVIATION):
        note, text = _lowered(note), lowered(text)
    places, start = [], note.find(text)
    while start >= 0:
        end = start + len(text)
        if not (start and _is_letter(note[start - 1])) and not (end < len(note) and _is_letter(note[end])):
            places.append((start, end))
        start = note.find(text, end if places and places[-1] == (start, end) else start + 1)
    return places


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def is_only_past(note: str, text: str) -> bool:
    """Return whether every mention of a finding in a note is an event of the past, or a background disease."""
    places = places_of(note, text)
    return bool(places) and all(is_past_event(note, *place) for place in places)


def is_only_history(note: str, text: str) -> bool:
    """Return whether every mention of a finding in a note belongs to the history, see [`is_history`]."""
    places = places_of(note, text)
    return bool(places) and all(is_history(note, *place) for place in places)


def is_history(note: str, start: int, end: int) -> bool:
    """
    Return whether the span of a note is no sign of an acute disease: an event or a treatment of the past, failing
    kidneys in the history, an old deficit, or a treatment at home.
    """
    lower = _lowered(note)
    text, line = lower[start:end], lower[max(lower.rfind("\n", 0, start) + 1, start - 100) : start]
    if _OF_OLD_BEFORE.search(line) or _OF_OLD_AFTER.match(lower, end) or is_past_event(note, start, end):
        return True
    if _MASK.fullmatch(text) and (_AT_HOME.match(lower, end) or _FOR_SLEEP.search(line)):
        return True
    if any(pattern.search(text) for pattern in (_EVENT, _EARLIER, _KIDNEYS)) and _is_in_history(note, start):
        return True
    return bool(_EARLIER.search(text)) and _is_dated(lower, line, end)
