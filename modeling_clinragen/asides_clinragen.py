# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Asides: parts of a note that name diseases and drugs, but state nothing of the patient's illness. They are allergies,
susceptibilities of an organism, instructions for later, side effects, teaching, consent, beliefs, and occupations.
"""

from __future__ import annotations

import re

from .forms_clinragen import below
from .phrases_clinragen import any_of, compiled, compiled_words, unfolded


# ---- headings

_START = r"(?m)(?:^[ \t]*|(?<=[.;] ))"
_ALLERGIES = re.compile(
    _START
    + unfolded(r"""
    (?:(?:(?:drug|medication|medicine|med|food|environmental|known|current|reported|all) )*(?:allerg(?:y|ies|ens?)
    |adrs?|(?:adverse|drug|adverse drug) reactions?
    |intolerances?)\b[^:\n.;]{0,30}|all|(?:prior |known )?reactions? to [\w /-]{2,30})
    [ \t]*:[ \t]*([^\n]*)
    """)
)
_ALLERGIES_ABOVE = re.compile(  # a heading without a colon
    r"(?m)^[ \t]*(?:(?:drug|medication|known) )*(?:allergies|adverse (?:drug )?reactions|intolerances)[ \t]*()$"
)
_ONE_SENTENCE = r"((?:[^.\n]|\.(?=\d))*)"
_ALLERGIC = re.compile(
    _START
    + r"(?:(?:drug|medication|known|all) )*allergies[ \t]+(?:(?:include[sd]?|are|of|[-–—])[ \t]|"
    + r"(?!(?:reviewed|updated|verified|confirmed|noted|and|or|as|per|were|to|none|unknown|nkda|with)\b)(?=[a-z]))"
    + _ONE_SENTENCE
)
_SUSCEPTIBILITIES = re.compile(
    r"\b(?:sensitivit(?:y|ies)|susceptibilit(?:y|ies)|resistances?|sensi?s?)[ \t]*:[ \t]*" + _ONE_SENTENCE
)
_OCCUPATION = re.compile(_START + r"(?:occupation|job|profession|employment)[ \t]*:[ \t]*([^.;\n]*)")
_INSTRUCTIONS = re.compile(
    r"(?m)"
    + any_of(r"""
    return (?:to|if|for|with|here|immediately|precautions)|call (?:your|the|us|if|for|911|dr|md|pcp|ho|with|back|a)
    |notify|seek|contact (?:your|the|us|a|pcp|dr|md)|come back|go to the (?:nearest |closest )?(?:ed|er|emergency)
    |symptoms (?:to report|to watch)|signs to watch|report(?! of| from| to)(?= any|:| if| the following)
    |(?:warning|danger) signs|red flags|(?:when|reasons) to (?:call|return|seek|worry)|watch (?:out )?for
    |(?:side|adverse)[- ]effects?
    """)
    + r"[^\n.;:]{0,80}?(?::|\b(?:if|for|with|have|has|develop|experience|notice|following|(?<=any )of|include))"
    + r"[ \t]*(?:\n[ \t]*(?=\n\s*(?:[-*•·]|\d[.)])))?()$"
)
_RISKS = re.compile(
    _START
    + r"(?:the )?(?:risks?|(?:potential|possible) complications?|risks and (?:benefits|complications))"
    + r"\b[^:\n.;]{0,40}:[ \t]*([^\n]*)"
)
_HEADINGS = (_RISKS, _ALLERGIES, _ALLERGIES_ABOVE, _ALLERGIC, _SUSCEPTIBILITIES, _OCCUPATION, _INSTRUCTIONS)


def asides(text: str) -> list[tuple[int, int]]:
    """Return the spans of a lower-case text under headings of asides."""
    return [span for headings in _HEADINGS for span in below(headings, text)]


# ---- within a sentence

_CLAUSE = re.compile(r"(?<!\bre)[;:]|, (?:but|and|however) ")
_TOLD = compiled_words(r"""
    (?:call|contact)(?: (?:your|us|the|our|a|back|pcp|md|911)(?: (?!received)[\w']+){0,3})? with(?= )
    |go to (?:the |your )?(?:nearest|closest) (?:[\w']+ ){0,3}with(?= )|return (?:immediately|promptly)
    |(?:be alert|look out) for|in (?:the )?(?:case|event) of
    |(?:side|adverse)[- ]effects?(?: of [\w-]+)?(?: (?:include[sd]?|are|were|such as))(?= )
    |(?:can|might) (?:cause|lead to)
    |you (?:may|might|can|could|will|should) (?:also |still |then )?(?:experience|notice|feel|develop
    |have|expect|see|get)
    |expect (?:some|a little|mild|any)|(?:can|should|to) expect|(?:normal|common|usual) to (?:have|feel|see|notice)
    |report any|contraindicat\w+ (?:in|with)
    |teaching (?:done|given|provided|completed|reinforced|on|about|re(?=\W)|regarding|of|for)
    |(?:leaflet|handout|pamphlet|brochure|booklet|video)s? (?:on|about|re|regarding|for)
    |(?:review|discuss|explain|teach)\w* (?:the )?(?:s/s|(?:warning |early )?signs|symptoms)
    |risks? incl\w*|risks?/benefits?(?:/alternatives?)?|risks?(?= \()|r/b/a|consent(?:ed|s)? (?:for|to)
    |(?:googled|read (?:up )?(?:about|on)|looked up)
    |i (?:think|believe|bet|might|may) (?:that )?(?:i )?(?:have|had|am having|might have|may have)
    """)
_TOLD_HEADING = re.compile(
    r"\b(?:(?:side|adverse)[- ]effects(?: of [\w-]+)?|(?:teaching|education|consent|risks)(?: \w+){0,2})[ ]?:[^.;\n]*$"
)
_BELIEVES = re.compile(
    any_of(r"""
    (?:patient|pt|he|she|family|wife|husband|daughter|son|mother|father|parents|friend) (?:\w+ )?
    (?:believ(?:es?|ed)|thinks?|thought|(?:feels?|felt)(?: like)?|(?:is|was|are|were) (?:convinced|certain|sure)
    |wonder(?:s|ed)?|assum(?:es?|ed)|insist(?:s|ed)?) (?:that |if |whether )?(?:he|she|they|it|this)
    """)
    + r"(?: (?:had|has|have|is|was|may|might|been|having|probably))+(?: an?| another| the)? $"
)
_AT_WORK = re.compile(
    r"\b(?:(?:works?|worked|working|employed|volunteer(?:s|ed|ing)?|participat(?:es|ed|ing)) (?:as|in|at|for|on|with)"
    r"|retired|former|(?:he|she|patient|pt) (?:is|was) an?)"
    r"(?: (?!(?:with|w|has|who|and|had|presents?|presenting|admitted|until"
    r"|since|after|due|because|from|despite|but|on|here|now|h|hx|s)\b)[\w-]+){0,5} $"
)
_OF_WORK = re.compile(
    r" (?:\w+ )?(?:nurse|technician|tech|unit|cent(?:er|re)|researcher|educator|coordinator|clinic|ward|registry"
    r"|society|camp|association|foundation|trainer|specialist|lab|research|group|charity|hotline|patients"
    r"|program)\b(?! patient)"
)
_SIGNS_OF = re.compile(r"\b(?:s/s|signs|symptoms)(?: (?:and|&) (?:signs|symptoms))? of (?:\w+ )?$")
_TAUGHT = re.compile(r"[\w\s]{0,20}\b(?:reviewed|explained|taught|discussed)\b")
_TAUGHT_OF = re.compile(r" (?:teaching|handout|leaflet|pamphlet|brochure|booklet|video)\b(?! (?:hospital|service))")
_MAY_FOLLOW = re.compile(
    r"[\w\s]{0,15}?\b(?:(?:may|might|can) (?:also )?(?:occur|happen)|(?:is|are) (?:to be )?expected)\b"
)
_NOT_TOLERATED = re.compile(
    r"\b(?:intoleran(?:t|ces?) (?:of|to|for)|(?:unable|not able) to tolerate|(?:cannot|can't) tolerate"
    r"|hypersensitivity to|allergic reactions? to)(?: [\w-]+(?:,| or| and)){0,3} (?:[\w-]+ )?$"
)
_OF_ALLERGY = re.compile(
    r"(?:(?:/| and | or )[\w-]+)?:?[ -](?:(?:gi|drug|severe|mild) )?(?:allerg(?:y|ies|ic)"
    r"|intoleran(?:t|ces?))\b(?! to\b)"
)
_ALLERGEN = re.compile(
    r"\b(?:pcns?|penicillins?|sulfas?|bactrim|codeine|(?:iv )?contrast|shellfish|latex|iodine|peanuts?|eggs?)"
    r" ?(?:-{1,2}>|=>|→|\() ?(?:\w+ )?$"
)
_LISTED = re.compile(r"\b(?:pcns?|penicillins?|sulfas?|codeine|(?:iv )?contrast|shellfish|latex) ?[:=-] ?$")
_REACTION = re.compile(r"anaphyla|angioedema")
_CONTAMINANT = re.compile(r"(?: in (?:the )?\w+)?[ ,(:-]{1,3}(?:\w+ ){0,2}contamina(?:nt|tion|ted)\b")

_ANTIBIOTIC = compiled(r"""
    (?:[\w-]+ )?\w*(?:cillin|cef|ceph|penem|floxacin|m[yi]cin|cycline|conazole|vanc|bactam|zosyn|aztreonam|linezolid
    |rifamp|bactrim|trimethoprim|colistin|furantoin|antibiotic)
    """)
_GRADE = r"(?:s|r|i|susceptible|resistant|sensitive|intermediate)"
_GRADED = re.compile(
    rf"\s?[\s:=(-]{{1,40}}(?:[<>=≤≥]{{1,2}} ?)?(?:\d[\d./]* ?)?{_GRADE}(?=\s*[,;.)\n]|\s*$|\s+[\w-]+\s+{_GRADE}\b)"
    r"|[ -](?:resistan(?:t|ce)|sensitiv(?:e|ity)|susceptib\w+|intermediate)\b|\s*:?\s*mic\b"
)
_ORGANISM_IS = re.compile(
    r"\b(?:sensitive|susceptible|resistan(?:t|ce)|sensitivity|sens|intermediate|[sri])(?: only| also)? to"
    r"(?: (?!(?:started|switched|on|given|changed|narrowed|now|treated|placed|continued|with|received|so|was|were)\b)"
    r"[\w/-]+,?){0,8} $"
)


def is_aside(sentence: str, start: int, end: int) -> bool:
    """Return whether the span of a lower-case sentence is an aside: "works in a dialysis unit", "cefepime S"."""
    before = sentence[max(start - 200, 0) : start]
    near, clause = before[-80:], _CLAUSE.split(before)[-1]
    if _TOLD.search(clause) or _TOLD_HEADING.search(before):
        return True
    if any(pattern.search(near) for pattern in (_BELIEVES, _NOT_TOLERATED, _ALLERGEN)):
        return True
    if any(pattern.match(sentence, end) for pattern in (_OF_ALLERGY, _CONTAMINANT, _TAUGHT_OF, _MAY_FOLLOW)):
        return True
    if _REACTION.match(sentence, start) and _LISTED.search(near):
        return True
    if _AT_WORK.search(near) and _OF_WORK.match(sentence, end):
        return True
    if _SIGNS_OF.search(near) and _TAUGHT.match(sentence, end):
        return True
    return bool(_ANTIBIOTIC.match(sentence, start, end)) and bool(
        _GRADED.match(sentence, end) or _ORGANISM_IS.search(near)
    )


__all__ = ["asides", "is_aside"]
