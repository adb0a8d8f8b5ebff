# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Treatments and tests that a note only plans, or makes depend on a condition ("will need dialysis", "EGD planned"), that
were not done ("EGD cancelled", "intubation was avoided"), or whose result was normal ("EGD normal").
"""

from __future__ import annotations

import re

from .phrases_clinragen import compiled, compiled_words


_PLANNED_BEFORE = compiled(r"""
    \b(?:(?:will|may|might) (?:likely |probably |also |eventually |then )*
    (?:need|require|start|begin|initiate|get|undergo|proceed (?:with|to)
    |be (?:started|given|placed|intubated|transfused|taken|scheduled)(?: on| for)?)
    |plan(?:s|ned|ning)? (?:is )?(?:for|to(?! \w+ (?:off|down)\b))|low threshold (?:to|for)|scheduled for|awaiting
    |(?:discuss(?:ed|ing)?|offered|recommended|considering|candidate for|declin(?:es|ed)|refus(?:es|ed))
    |type and (?:cross|screen)(?:match)?(?:ed)?)\b[^,;:]{0,40}$
    """)
# orders for later, wishes, and what did not happen
_ORDERED = compiled(r"""
    \b(?:(?:call|page|notify|inform|alert|contact) (?:the )?(?:ho|md|np|pa|rn|doctor|physician|provider|intern|resident
    |team
    |house officer|on-?call)(?: (?:for|of|if|with))?|beware of|unless|should|had (?:he|she|the patient|they) not
    |(?:dnr|dni|full code|molst|polst|code status)\b[^.;\n]{0,30}?\b(?:ok(?:ay)?|trial|accepts?|allow\w*|wants?|but)
    |(?:patient|pt|he|she|family|would)(?: \w+)? (?:accept|want|allow)(?: a)?(?: trial)?
    |(?:patient's )?wishes|keep|cross-?match(?:ed)?|transfuse)\b[^.;:\n]{0,60}$
    """)
# "labetalol for SBP > 160" is an order, "norepinephrine for MAP > 65" has a goal
_THRESHOLD = compiled(r"""
    [^.;\n]{0,30}?\b(?:for|if|when|once|only if|prn(?: for)?) (?:\w+ )?(?:
    (?:sbp|dbp|bp|hr|rr|temp|t|k|mg|glucose|bg|fsbg|plts?)(?: (?:is|rises?|above|greater))* ?(?:>|≥|above|over
    |greater than)
    |(?:map|sbp|dbp|bp|hr|spo2|sats?|o2 sat|uop|urine output|hgb|hb|hct|plts?|k|mg|gcs|cvp|ci|svo2|glucose|bg)
    (?: (?:is|falls?|drops?|below|less))* ?(?:<|≤|below|under|less than))
    |[ ](?:units? )?to keep (?:\w+ )?(?:hgb|hb|hct|plts?)\b
    """)
_PLANNED_AFTER = re.compile(
    r"[^.;:\n]{0,30}?,? (?:but |which |and )?(?:the )?(?:family|patient|pt|he|she|daughter|son|wife|husband|hcp)"
    r" (?:has |have |was |were |is |are )?(?:declin\w+|refus\w+|(?:does|did) not (?:want|wish|agree))"
    r"|[\w\s/\-]{0,12}?\b(?:planned|discussed|scheduled|postponed|offered|tomorrow"
    r"|if (?:no |not |needed|necessary|indicated|unable|worse\w*|persist\w*|fail\w*"
    r"|(?:[\w/]+ ){1,3}?(?:[<>≤≥]|below|above|under|over|rises?|falls?|drops?|worsens?|fails?|improves?|persists?"
    r"|continues?|remains?|needed)))"
)


# a procedure that is prepared, agreed to, or kept away
_WAITED_FOR = compiled(r"""
    \b(?:npo(?: \w+){0,3}? for|consent\w* (?:signed |obtained )?(?:for|to)|prep(?:ped|ping)? for|pending|await\w*
    |hold(?:ing)? for
    |would (?:\w+ )?(?:accept|want|consider|agree to|consent to|benefit from)|ok(?:ay)? (?:to|for|with)|agree(?:s|d
    |able) to
    |amenable to|willing to|back-?up|stand-?by|avoid(?:s|ed|ing)?|avert(?:ed)?|threshold for|trigger for|(?:book
    |list)ed for
    |refer(?:red|ral) for|eval(?:uation|uated)? for|request(?:ed|ing)?|(?:cards|cardiology|gi|ir|renal|nephrology
    |surgery
    |thoracics|ent|pulm|team) to (?:do|perform|place|see for)|tentative|potential|anticipat\w+|cancel+ed|deferr\w*
    |postpone\w*|instead of|in lieu of|to avoid|aborted|failed to get|unable to (?:perform|do|complete|obtain|get))
    [ ](?:(?:an?|the|his|her|for|further|repeat|possible|urgent|emergent|elective) ){0,3}$
    """)
_PROCEDURE = compiled_words(r"""
    \w*(?:scopy|plasty|centesis|ectomy|ostomy|otomy|desis|version|graphy|ablation|dialysis|filtration|intubat\w+
    |ventilat\w+|transfus\w+)|egds?|ercp|caths?|catheteri[sz]ation|pci|cabg|bypass|stents?|biops(?:y|ies)|surgery
    |operation|re-?operation|pacemaker|pacing|icd|aicd|iabp|balloon pump|ecmo|crrt|cvvhd?f?|hd|trach|bi-?pap|cpap|niv
    |stress test|upper endoscopy|endoscopy|chest tube|pigtail|line|blood(?: products?)?|prbcs?
    |packed red (?:blood )?cells|debridement|amputation|renal replacement therapy|drain|drainage
    """)
_NOT_DONE = compiled_words(r"""
    (?:\w+ ){0,2}?[ :,(–-]{0,3}(?:(?:is|was|were|are|has|have|been|be|had|still|currently|being|now|again|narrowly
    |successfully|ultimately|then|but|to be) ){0,4}
    (?:(?:not|never) (?:yet )?(?:been )?(?:done|performed|obtained|possible|feasible|tolerated|attempted
    |indicated|completed|undertaken|pursued|available|scheduled|carried out|successful|able|a candidate)
    |cancel+ed|pending|avoided|averted|aborted|deferred|postponed|awaited|rescheduled|held off|on hold
    |unsuccessful|threshold|next week|to follow|tbd|\?\?
    |if (?:needed|necessary|worse))
    """)
_DIAGNOSTIC = compiled_words(r"""
    \w*(?:scopy|graphy)|egds?|esophagogastroduodenoscopy|ercp|caths?|catheteri[sz]ation|biops(?:y|ies)|stress test
    |scope
    """)
_NORMAL = compiled(r"""
    (?:\s*\([^()\n]{0,20}\))?(?: (?:today|yesterday|overnight|here|at osh|done|on \w+|in \w+|was|were|is|with|which
    |that|and
    |showed|shows|showing|revealed|reveals|revealing|demonstrated|demonstrating|found|returned|came back|read as
    |results?|completely|grossly|entirely|essentially|reportedly|of the \w+)\b){0,6}[ :,=–-]{0,3}
    (?:(?:normal|clean|unremarkable|negative|benign|patent|clear|wnl|within normal limits|non-?obstructive
    |no (?:significant |obstructive |flow-limiting |evidence of )?(?:abnormalit\w+|obstructive disease|disease|cad
    |coronary disease|coronary artery disease|stenos[ie]s|lesions?|blockages?|findings|pathology|ischemia|malignancy))
    (?: (?:coronar\w+|coronary arteries|arteries|vessels|study|exam\w*|mucosa|anatomy|findings|results?|tissue
    |airways?|cords
    |lung|parenchyma|disease|cad|for (?:ischemia|malignancy|bleed\w*|cad)))?)(?=\s*(?:$|[.;,\n)]|and\b|per\b))
    """)
_TAP, _DRY = (
    re.compile(r"\w*centesis\b"),
    compiled(r"""
    [ :,–-]{1,3}(?:(?:was|were|attempted|with|but|unsuccessful|showed|and) ){0,3}(?:dry|no (?:fluid|ascites|tap
    |effusion))\b
    """),
)


_LATER = re.compile(r" (?:in (?:the )?(?:am|a\.m\.|morning)|tomorrow|tonight)(?=\s*(?:$|[.;,)\n]|(?:with|if|at)\b))")
_UNDER_WAY = compiled(r"ed\b|dialysis|filtration")


def is_not_done(sentence: str, start: int, end: int) -> bool:
    """Return whether the procedure at the span of a lower-case sentence was not done, or was done for nothing."""
    if not _PROCEDURE.search(sentence, start, end):
        return False
    if _WAITED_FOR.search(sentence[max(start - 80, 0) : start]) or _NOT_DONE.match(sentence, end):
        return True
    if _LATER.match(sentence, end) and not _UNDER_WAY.search(sentence, start, end):
        return True
    if _DIAGNOSTIC.search(sentence, start, end) and _NORMAL.match(sentence, end):
        return True
    return bool(_TAP.search(sentence, start, end) and _DRY.match(sentence, end))


def is_planned(sentence: str, start: int, end: int) -> bool:
    """Return whether the span of a lower-case sentence is only planned, or depends on a condition."""
    before = sentence[max(start - 80, 0) : start]
    return bool(
        _PLANNED_BEFORE.search(before)
        or _ORDERED.search(before)
        or _PLANNED_AFTER.match(sentence, end)
        or _THRESHOLD.match(sentence, end)
    )


__all__ = ["is_not_done", "is_planned"]
