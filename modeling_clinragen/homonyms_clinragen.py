# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for a disease that mean something else in a phrase: "stroke volume", "diabetes insipidus"."""

from __future__ import annotations

import re
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
    |(?:guaifenesin|robitussin|mucinex|delsym|tussin)[ -]dm
    |(?:family|wife|husband|mother|father|son|daughter|parents|spouse) (?:is |are |was |were )?(?:still )?in shock
    |(?:well|poorly|equally|adequately)[ -]ventilated|(?:g|j|ng|og|peg|gj)-?(?:tube|t)? (?:is
    |was )?(?:to )?vent(?:ed|ing)?
    |breast stroke|rescue breathing|(?:bypass|balloon) pump off
    |(?:mediastinal|routine|(?:post-?op(?:erative)?|surgical)) chest tubes?
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
    |smoking (?:status|cessation)|neglected (?!side)\w+|neglects? to|paced (?:the|around|up|about|him|her)\w*
    |vented to|vent hernia|shock trauma|in shock (?:about|over|at (?:the|his|her))|dm (?:syrup|prn|cough)
    |cough (?:syrup|drops?|medicine|lozenges?|hygiene)|smokes (?:crack|marijuana|weed|cannabis|pot|meth\w*|hookah)
    |drinks (?:(?:\d+|one|two|three|several|daily|plenty of|lots of|cups? of|some|\w+ cups of) )*
    (?:coffee|tea|water|milk|juice|soda|ensure|fluids|liquids)
    |chest tubes? (?:x ?\d )?(?:post|s/p|after) (?:cabg|op\w*|cardiac|avr|mvr|surgery)
    |shocked (?:by|at|to (?:hear|learn|see))|septic tank|vent drain|(?:dopamine|insulin) (?:receptor|agonist
    |antagonist)s?
    |ventilation[ -/]+perfusion(?: (?:scan|lung scan))?|v/q scan|ventilated room|collapsed veins?|cad[ -]cam
    |unresponsive to (?:narcan|naloxone|prompts)|(?:pneumonia|pna|sepsis) (?:score|core measures?|vaccin\w+|clinic)
    |(?:copd|chf|heart failure|stroke) core measures?
    |stroke: nihss 0|jvd (?:is |was )?(?:flat|not (?:elevated|raised|distended))|gallop horse
    |(?:vancomycin|lactulose) enema|sodium bicarbonate (?:mouthwash|mouth ?rinse|swish\w*)|smok\w+ (?:marijuana
    |cannabis|weed|salmon)
    |(?:has-?bled|cha2?ds2?-?(?:vas?c?\w*)?)(?: score)?(?: of)? \d ?\([^()\n]{0,60}
    |indwelling (?:urinary )?(?:catheter:? )?\(?foley
    """)


@lru_cache(maxsize=64)  # a note is looked up for each of its terms
def _places(lower: str) -> list[tuple[int, int]]:
    return [match.span() for pattern in (_BEFORE, _AFTER) for match in pattern.finditer(lower)]


# words of one entry of a form, which mean a finding beside its name only
_BESIDE = {
    "poor": re.compile(r"(?:perfusion|circulation|turgor|pulses?|refill|extremit\w+|skin)[ \w:=-]{0,20}$"),
    "irregular": re.compile(
        r"(?:rhythm|pulse|heart|rate|\bhr\b|\brr\b|s1|s2|beats?|\bcor\b|\bcvs?\b|cardiac|tele\w*|e[ck]g|ventricular)"
        r"[ \w:=-]{0,20}$"
    ),
}
_GOES_ON = re.compile(
    r" (?:perfusion|circulation|skin|turgor|capillary|peripheral|rhythm|pulse|heart|rate|hr\b|s1|beat|rr\b)"
)


def names_something_else(lower: str, start: int, end: int) -> bool:
    """
    Return whether the span of a lower-case text is part of a longer name for something else, or "poor" or "irregular"
    of something else.
    """
    beside = _BESIDE.get(lower[start:end])
    if beside is not None and not beside.search(lower[max(start - 40, 0) : start]):
        return not _GOES_ON.match(lower, end)
    return any(first <= start and end <= last and last - first > end - start for first, last in _places(lower))
