# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Causes that a note gives for a sign: "hypotension due to propofol" is no sign of shock."""

from __future__ import annotations

from .clinical_clinragen import PHENOTYPES
from .phrases_clinragen import compiled, lowered


# Shock, respiratory and renal failure, sepsis and the like come of many diseases: "hypoxia due to embolism" is a sign
# of respiratory failure, although the two are not linked. Only what is no disease takes a sign of theirs away.
_CCS_OF_MANY_CAUSES = {2, 55, 131, 134, 153, 157, 238, 249}
OF_MANY_CAUSES = frozenset(p["name"] for p in PHENOTYPES if p["ccs"] in _CCS_OF_MANY_CAUSES)
_HARMLESS = compiled(r"""
    \b(?:sedat\w*|propofol|precedex|dexmedetomidine|midazolam|versed|fentanyl|morphine|dilaudid|hydromorphone|opi\w+
    |narcotics?|benzo\w*|ativan|anesthe\w+|anaesthe\w+|induction|epidural|nitro\w*|anti-?hypertensive\w*
    |beta[ -]?block\w*
    |metoprolol|lisinopril|diltiazem|diuresis|over-?diuresis|medications?|meds?|drugs?|intoxicat\w+|alcohol|etoh
    |pain|anxi\w+|panic\w*|agitation|exertion|activity|turning|position\w*|cough\w*|sucti\w+|orthosta\w*|postural
    |permissive|asymptomatic|vaso-?vagal|vagal|intra-?dialytic|dialysis|hd|iatrogenic|post-?prandial|cuff|artifact\w*
    |transfusion reaction|atelectasis|seizures?|post-?ictal|dementia|hypoglyc\w+|iron|bismuth|pepto\w*|beets?
    |nose-?bleeds?
    |epistaxis|swallowed|kinked|clamped|crying|fever|heat|vaccin\w+|neuroleptic|serotonin|tumou?rs?|cancer
    |malignan\w+|bell'?s|hyperventilat\w+|mask|probe|nail polish|cold (?:hands|fingers))\b
    """)
# what "from" gives beside causes: a value, a time, a place
_NO_CAUSE = r"""
    (?! (?:\d|~|<|>|(?:the |his |her |an? )?(?:base-?line|previous|prior|yesterday|today|last|admission|arrival|home
    |osh
    |outside|ed|er|or|pacu|floor|icu|ward|nursing|rehab|snf|hospital|left|right|upper|lower|mid|neck|back|rest|before|time
    |morning|night|onset|start|mouth|nose|rectum|wound|stoma|ett|trach|line|site|incision|drain|tube|where|which|what|this
    |that|these|high|low|sbp|one|two|three|several)\b))
"""
_OWING_TO = compiled(rf"""
    [ ,(:=–-]{{0,3}}(?:(?:is|are|was|were|which|and|felt|thought|believed|considered|presumed|appears?|seems?|likely
    |most
    |probably|presumably|clearly|mostly|largely|mainly|all|solely|be|being|to|again|overnight|today|this|am|pm|morning
    |episodes?|elevation|at|that|time|new|today's),? ){{0,6}}
    (?:due to|d/t|2/2|2°(?: to)?|secondary to|caused by|because of|attribut(?:ed|able) to|explained by|related to
    |owing to|as a (?:result|consequence|side effect) of|(?:triggered|induced|precipitated) by|in (?:the )?setting of
    |i/s/o|from{_NO_CAUSE}|(?:after|following|with|on)(?= (?:an? |some |the |oral |her
    |his )?(?:overdose|sedati\w+|propofol|intubation|induction|anesthe\w+|iron|bismuth|pepto\w*
    |glucose (?:of )?[1-5]\d\b
    |hypoglyc\w+)))
    [ ](?P<cause>[^.,;:\n()]+)
    """)
_IS = compiled(r"""
    (?:(?:,| is| was|:| -| =|\() ?)(?P<cause>(?:gerd|reflux|musculo-?skeletal|msk|costochondritis|chest wall
    |non-?cardi\w+
    |positional|anxiety|panic|foley (?:kinked|clamped|clogged|blocked)|kinked foley|beets|bell'?s palsy|iron)\b
    [^.,;:\n()]*)
    """)
# words before a sign that name its cause, or its kind
_KIND = compiled(r"""
    \b(?P<cause>non-?cardio?\w*|neurogenic|negative[- ]pressure|re-?expansion|hepatic|hypoglyc\w+|myxedema|orthostatic
    |postural|intra-?dialytic|permissive|asymptomatic|vaso-?vagal|iatrogenic|post-?prandial|malignant|chylous|pancreatic
    |musculo-?skeletal|msk|chest wall|todd'?s|post-?ictal|congenital|drug[- ]induced|dependent) (?:left |right )?$
    """)
_CARDIAC_WHEEZE = compiled(r"cardiac wheez|wheez\w+[ ,(]+cardiac")
_PALSY = compiled(r"\bbell'?s palsy\b[^.;\n]*$")


def given_cause(note: str, start: int, end: int) -> str | None:
    """Return the cause that a note gives for the sign at the span, in lower case; `None` if it gives none."""
    before, after = lowered(note[max(start - 60, 0) : start]), lowered(note[end : end + 160])
    for match in (_KIND.search(before), _OWING_TO.match(after), _IS.match(after)):
        if match is not None:
            return match["cause"]
    sign = lowered(note[start:end])
    if _CARDIAC_WHEEZE.search(before[-8:] + sign + after[:12]):
        return "cardiac"
    return "bell's palsy" if sign.startswith("facial") and _PALSY.search(before) else None


def is_harmless(cause: str) -> bool:
    """Return whether a cause in lower case is a drug, a circumstance, or another that is no disease of many signs."""
    return bool(_HARMLESS.search(cause))


__all__ = ["OF_MANY_CAUSES", "given_cause", "is_harmless"]
