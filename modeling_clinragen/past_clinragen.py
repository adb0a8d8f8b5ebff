# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Recognise what is past or lasts: an event that a note dates back or gives as history, and a chronic disease under a
heading of the past, are no signs of an acute disease of this stay.
"""

from __future__ import annotations

from functools import lru_cache

from .clinical_clinragen import PHENOTYPES
from .phrases_clinragen import compiled


_ACUTE_CCS = {2, 55, 100, 109, 122, 130, 131, 153, 157, 238, 249}
ACUTE = frozenset(phenotype["name"] for phenotype in PHENOTYPES if phenotype["ccs"] in _ACUTE_CCS)
# what happens once, unlike a disease that stays: "history of stroke" against "history of cirrhosis"
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
    |last (?:month|year)\b|in the (?:remote |distant )?past\b))
    """)
_TOLD_AS_PAST = compiled(r"""
    (?:\b(?:history of|hx of|h/o|hx)\b:?
    (?:(?!\b(?:who|now|present\w*|admi\w*|with|here|for|today|currently|acute)\b)[^.;:\n]){0,80}
    |\b(?:prior|previous|old|remote|past) (?:[\w-]+ ){0,2})$
    """)


# what lasts, and explains an acute disease only where the patient came with it
_LASTING = compiled(r"""
    asthma|\bcopd\b|chronic obstructive|emphysema|heart failure|\bchf\b|coronary artery disease|\bcad\b
    |restrictive (?:lung|pulmonary)
    """)
_PAST_HEADING = compiled(r"\s*(?:past|pmhx?\b|medical history|social|family)[^:\n]*:")


def is_past_event(note: str, start: int, end: int) -> bool:
    """Return whether what stands at `start` to `end` of a note is an event of the past, or background."""
    lower = _lowered(note)
    if _LASTING.search(lower[start:end]):
        return bool(_PAST_HEADING.match(lower, lower.rfind("\n", 0, start) + 1, start))
    if not _EVENT.search(lower[start:end]):
        return False
    line = lower[max(lower.rfind("\n", 0, start) + 1, start - 100) : start]
    return bool(_DATED.match(lower[end : end + 80]) or _TOLD_AS_PAST.search(line))


@lru_cache(maxsize=8)
def _lowered(note: str) -> str:
    return note.lower()


def places_of(note: str, text: str) -> list[tuple[int, int]]:
    """Return where a text stands in a note as words of its own."""
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
    """Return whether a note states a finding only as an event of the past, wherever it stands."""
    places = places_of(note, text)
    return bool(places) and all(is_past_event(note, *place) for place in places)
