# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for a disease that mean something else in a phrase: "stroke volume", "diabetes insipidus"."""

from __future__ import annotations

from functools import lru_cache

from .phrases_clinragen import compiled_words


_BEFORE = compiled_words(r"""
    (?:pulmonary|portal|ocular|intraocular|intra-?cranial|intra-?abdominal|abdominal|venous)
    (?: arterial)? hypertension|portal htn|pulm(?:onary)?\.? htn|heat stroke|code stroke|cta? pe
    |white coat hypertension|gestational diabetes|pre-?diabetes|pre-?diabetic|sinus arrhythmia
    |(?:culture|electric|electrical|insulin|thermal|icd|dccv|\d+ ?j(?:oules?)?|one|single|s/p (?:\d+|a)) shocks?
    |(?:received|delivered|gave|given|defibrillator)(?: an?| one| two| three| (?:in)?appropriate)* shocks?
    |\d+ shocks|(?:gastric|jejun\w+|ileal|intestinal|biliary|femor\w+|fem-?(?:pop|fem|tib)|axillo\w+|aorto\w+
    |cardiopulmonary|on|off) bypass
    |(?:ureter(?:al|ic)|urethral|biliary|bile duct|pancreatic|esophageal|tracheal|bronchial|colonic|iliac|femoral
    |carotid) stents?(?: placement)?
    |(?:hay|rheumatic|scarlet|dengue|yellow|typhoid|valley) fever|(?:elder|self|child|medical)[ -]neglect
    |(?:rll|lll|rul|lul|rml|lobe|lobar|vertebral|compression|ivc) collapse
    |encourag\w+ (?:to )?cough(?:ing)?|(?:gag and|weak|strong|good) cough
    |(?:pupils?|borders?|margins?|menses|periods?|shape|contour) irregular
    """)
_AFTER = compiled_words(r"""
    diabetes insipidus|(?:dysrhythmia|rhythm|arrhythmia) regular|(?:stroke|shock) (?:prevention|prophylaxis)
    |strokes? (?:volume|work|index|code|unit|alert|team|scale|protocol|center|clinic|service)
    |shock(?:ing)?[ -]?(?:waves?|liver|index|able)|shocks? (?:delivered|given|advised|x ?\d)
    |(?:sepsis|septic|stemi|cva) (?:alert|protocol|bundle|screen(?:ing)?|work-?up|code|rule[- ]out)
    |pneumonia (?:vaccine|vaccination|prophylaxis|shot)|pneumonia severity index
    |(?:cva|costovertebral(?: angle)?) tender(?:ness)?|coma (?:scale|score)
    |pacs? (?:removed|placed|inserted|in place|numbers|readings|line|catheter|port)
    |unresponsive to (?:fluids?|lasix|diuretics?|diuresis|treatment|therapy|antibiotics|medical|conservative|pressors)
    |septic (?:arthritis|joint|abortion|bursitis)|cough (?:and gag|reflex|assist|suppressant)
    |smoking (?:status|cessation)|neglect(?:ed|s) to|paced (?:the|around|up|about|him|her)\w*
    |poor (?!perfusion|skin turgor|capillary|peripheral)\w+|irregular (?!rhythm|pulse|heart|rate|hr|s1|beat|rr)\w+
    """)


@lru_cache(maxsize=64)  # a note is looked up for each of its terms
def _places(lower: str) -> list[tuple[int, int]]:
    return [match.span() for pattern in (_BEFORE, _AFTER) for match in pattern.finditer(lower)]


def names_something_else(lower: str, start: int, end: int) -> bool:
    """Return whether the span of a lower-case text is part of a longer name for something else."""
    return any(first <= start and end <= last and last - first > end - start for first, last in _places(lower))
