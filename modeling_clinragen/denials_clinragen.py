# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Diagnoses that a note denies by a name of the whole disease: "no COPD", "ruled out for MI". Its findings are no reason
for such a diagnosis. "No STEMI" or "no active GI bleed" deny one kind or one moment of a disease only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .note_claims_clinragen import DiagnosisFinder
from .phrases_clinragen import compiled, compiled_words, lowered
from .remembered_clinragen import Remembered
from .withdrawn_clinragen import is_correction


# names of a whole disease, in groups of the same meaning; the first of each is looked for among a diagnosis's names
_WHOLE = (
    ("acute renal failure", "acute kidney injury", "acute kidney failure", "aki", "arf", "renal failure"),
    ("stroke", "cva", "cerebrovascular accident"),
    ("myocardial infarction", "mi", "ami", "acute mi", "acute myocardial infarction", "heart attack", "acs",
     "acute coronary syndrome"),
    ("gastrointestinal bleeding", "gi bleed", "gi bleeding", "gib", "gastrointestinal hemorrhage", "gi hemorrhage"),
    ("pneumonia", "pna"),
    ("respiratory failure", "acute respiratory failure"),
    ("sepsis", "septicemia"),
    ("shock", "circulatory shock"),
    ("chronic kidney disease", "ckd"),
    ("copd", "chronic obstructive pulmonary disease"),
    ("coronary artery disease", "cad", "coronary disease"),
    ("diabetes", "diabetes mellitus", "dm"),
    ("hypertension", "htn", "high blood pressure"),
    ("arrhythmia", "arrhythmias", "dysrhythmia", "dysrhythmias"),
    ("heart failure", "congestive heart failure", "chf"),
    ("liver disease", "liver failure"),
)  # fmt: skip
_IN_PART = compiled(r"""
    \b(?:no|not|never|without|w/o|den(?:y|ies|ied)|neg(?:ative)?)\b(?:(?! but )[^.;])*
    \b(?:history|hx|h/o|prior|previous|past|known|active|further|more|recurrent|ongoing|new|current|recent|frank
    |worsening|increased|gross|overt|obvious|significant|chronic|family)\b[^.;]*$
    """)
_PART_AFTER = compiled(r"""
    \s*(?:exacerbation|flare|decompensation|recurrence|progression|history|crisis|symptom|sx\b|signs?\b|meds?\b|medic
    |drugs?\b|treatment|therapy|event|episode|work-?up|admission|hospitali)
    """)
# a denial of one moment: "no shock overnight", "no MI on the admission ECG", but not "now ruled out for MI"
_MOMENT = r"""
    overnight|yesterday|today|tonight|until|till|so far|to date|yet|currently|now|initial(?:ly)?|at first|admission
    |arrival|presentation|baseline|earlier|last|this (?:morning|am|pm|afternoon|evening|shift|week)|at (?:this|present
    |the) ?\w*|previous(?:ly)?|since|before|prior|during|at home|on (?:hd|day|pod) ?#?\d|hd ?#?\d|day ?#?\d
"""
_MOMENT_AFTER, _MOMENT_BEFORE = compiled(rf"[^.,;:\n]{{0,40}}?\b(?:{_MOMENT})\b"), compiled_words(_MOMENT)
_RULED_OUT = r"\b(?:rule[sd]? out|r/o'?d|excluded|never|correct\w+|final\w*|addend\w+|definite\w*|revised)\b"
_FINAL, _FINAL_AFTER = re.compile(_RULED_OUT), re.compile(r"[^.;,\n]{0,30}?" + _RULED_OUT)
_CLAUSE = re.compile(r"[.;,]")
_MAX_NOTES = 2**7


class DenialFinder:
    """
    Find the diagnoses that a note denies, and affirms nowhere.

    Args:
        names (`dict`): diagnosis -> its name, its short name, and its other names.
    """

    def __init__(self, names: dict[str, list[str]]):
        self.find = DiagnosisFinder({disease: _whole_names(known) for disease, known in names.items()})
        self._found: dict[str, frozenset[str]] = Remembered(self._denied, _MAX_NOTES)

    def __call__(self, note: str) -> frozenset[str]:
        """Return the diagnoses that a note, as texts are read for look-up, denies."""
        return self._found[note]

    def _denied(self, note: str) -> frozenset[str]:
        lower, denied, affirmed = lowered(note), set(), set()
        for mention in self.find(note):
            if mention.says == "argues":
                affirmed |= mention.labels
            elif mention.says == "denies" and _is_whole(lower, mention.start, mention.end):
                denied |= mention.labels
                if is_correction(lower, mention.start):
                    affirmed -= mention.labels
        return frozenset(denied - affirmed)


def _whole_names(names: Iterable[str]) -> list[str]:
    known = [name.lower() for name in names]
    groups = [group for group in _WHOLE if group[0] in known]
    return list(dict.fromkeys([*known[:2], *(name for group in groups for name in group)]))


def _is_whole(lower: str, start: int, end: int) -> bool:
    """Return whether a denial is of the disease at any time, not of a new, an active, a former or a present one."""
    line = lower[max(lower.rfind("\n", 0, start) + 1, start - 60) : start]
    if _IN_PART.search(line) or _PART_AFTER.match(lower, end):
        return False
    clause = _CLAUSE.split(line)[-1]
    is_of_moment = _MOMENT_AFTER.match(lower, end) or _MOMENT_BEFORE.search(clause)
    return not is_of_moment or bool(_FINAL.search(clause) or _FINAL_AFTER.match(lower, end))


__all__ = ["DenialFinder"]
