# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Withdrawn diagnoses: those that a note gives up again ("initially thought to have pneumonia, but CT showed embolism"),
calls wrong ("carries an incorrect diagnosis of COPD") or unlikely ("pneumonia: felt unlikely"), or corrects later.
"""

from __future__ import annotations

import re

from .phrases_clinragen import compiled, compiled_words


_DIAGNOSED = r"(?:dx'?e?d?|diagnos\w+|label\w*|listed|coded|documented|charted|entered|called|identified|treated|read)"
_WRONG = r"(?:incorrect|erroneous|wrong|mistaken|false|inaccurate|spurious|unfounded|questionable)"
_BEFORE = compiled(rf"""
    \b(?:
    (?:erroneous|mistaken|incorrect|wrong)ly \w+(?: (?:as|with|of|for|having))*
    |{_WRONG}(?:ly)? (?:\w+ )?{_DIAGNOSED}(?: (?:of|as|with|for|having|on))*
    |mis-?(?:diagnos\w+|label+\w*|coded|identified|classified|attributed|interpreted|read|taken|dx'?e?d?)
    (?: (?:by|in) \w+)?(?: (?:of|as|with|to|for|having))*
    |mistaken (?:for|as)|over-?diagnos\w+(?: (?:of|as|with))*|inconsistent with|incompatible with
    |(?:not|isn't|wasn't|nothing) (?:really |at all |felt to be |clinically )?(?:in keeping|in line|consistent
    |compatible|typical) (?:with|of|for)|(?:de-?bunked|withdrawn|retracted|revoked|rescinded) (?:\w+ )?(?:of|for)
    |(?:(?:does|do|did) not|doesn't|don't|didn't) (?:feel|think|believe|consider)(?: that)?(?: (?:he|she|it|this
    |the patient
    |pt|they))?(?: (?:has|have|had|is|was|to have|to be|represents?))*
    |disagree[sd]? with(?: (?:the )?(?:diagnosis|dx|label|read) of)?|question(?:s|ed)? the diagnosis of|hard to believe
    [ ](?:this|it|that)(?: (?:is|was))*|(?:not|never|nothing|isn't|wasn't)(?: \w+){{0,3}}? (?:supportive|suggestive) of
    |nothing(?: \w+){{0,3}} suggest(?:s|ed|ing)?|(?:favou?r(?:ed|s)?|more (?:likely|consistent with
    |in keeping with))
    (?:(?!\b(?:over|than)\b)[^.;,\n]){{0,40}} (?:over|than)|(?:preferred|favou?red) over|mimic(?:s|king|ked)?|pseudo-?
    |(?:false(?:ly)?(?:[ -]positive)?|spurious(?:ly)?|erroneously|artifactual(?:ly)?|pseudo)(?:[ -](?:positive
    |elevated|low
    |high))?|(?:called|paged|activated) as|more sensitive for(?: (?:the )?(?:detection|diagnosis) of)?(?: acute)?
    |no longer (?:felt|thought|believed|considered|suspected|concerned)(?: to)?(?: (?:have|be|about|for|represent
    |due to))*
    )(?: (?:an?|the|true|acute|having|been))* $
    """)
# what stands between a disease and the word that takes it back: "pneumonia is now felt to be unlikely"
_LINK = compiled(r"""
    ["'”’)]{0,2}[ \t]{0,12}[-–—:(,=]{0,3}[ \t]{0,12}
    (?:(?:is|are|was|were|has|have|had|been|being|be|to|which|that|it|this|now
    |later|then
    |but|and|thought|felt|deemed|judged|considered|seems?|appears?|appeared|looks|proved|proven|turned out|very
    |highly|quite
    |rather|somewhat|clinically|subsequently|ultimately|eventually|finally|an?|the|diagnosis|dx|listed|entered|charted
    |documented|recorded|coded|added(?: (?:to|on))?|made|(?:(?:on|to|in) )?(?:the |his |her )?(?:problem list|pmh
    |chart|history))[ ]+){0,8}
    """)
_TAKEN_BACK = compiled_words(rf"""
    (?:unlikely|improbable|doubtful|dubious|less likely)(?=\s*(?:[.,;:)\n]|$|(?:given|per|as|based|at|now|in|by|due
    |because|clinically|and|but|since|with|from|considering|this|than|overall|here)\b))|unfounded|(?:in|by|due to
    |an?) (?:error|mistake)|{_WRONG}(?:ly)?
    (?! in \w+ing)(?:(?: \w+)? {_DIAGNOSED})?|retracted|withdrawn(?! (?:from|into|and|affect))
    |abandoned|discarded|disproved|disproven|overturned
    |rescinded|debunked|(?:a )?misdiagnosis|misdiagnosed(?! as)|not (?:correct|accurate|true|real|borne out
    |substantiated)
    |(?:removed|taken|deleted|struck) (?:from|off) (?:the |his |her )?(?:problem list|pmhx?|chart|record|list)
    |inconsistent with|incompatible with
    """)
_NOT_REAL = compiled(r"""
    (?: elevation| rise)?[ ,:(–-]{1,3}(?:(?:is|are|was|were|felt|thought|likely|probably|due|to|be|an?|the|from
    |secondary|most
    |believed|deemed|with|read|reading|by|cuff|lab|motion|tremor|monitor|line|sample|all|of|result) ){0,7}?
    (?:artifact\w*|artefact\w*|hemoly[sz]ed|hemolysis|(?:lab|laboratory|recording|cuff|reading|charting|transcription|measurement
    |monitor|thermometer) (?:error|malfunction)|damp(?:en)?ed waveform|tourniquet(?: effect)?|skin ?fold|contaminat\w+
    |pseudo\w+|spurious|false positive|over-?read(?: as)? normal|nail polish|mimics?\b|criteria (?:are |were )?not met
    |cancel+ed(?: by)?|at the bottom of|less (?:probable|likely)|non-?reactive)
    |[ ]mimics?\b|[ ]criteria (?:are |were )?not met|[^.;\n]{0,20}\b(?:computer|machine) read\b
    """)
_REMOVED = compiled(r"""
    [^.;\n]{0,30}?\b(?:diagnosis|dx|label|entry) (?:was|has been|had been|is) (?:since |later |subsequently |then
    |now )?
    (?:removed|withdrawn|deleted|refuted|dropped|ruled out|abandoned|disproved)\b
    """)
_REVISED = compiled_words(r"""
    (?:revised|changed|amended|updated|corrected|reversed|modified)(?: to\b| in\b)?
    """)
_DIAGNOSIS_OF = compiled(r"""
    \b(?:diagnosis|dx|impression|label|concern|suspicion|thought|possibility) (?:of|for) (?:an? |the |acute )*$
    """)
_BELIEVED = compiled(r"""
    \b(?:(?:initially|originally|first|at first|early on|was|were|been|previously|had)[ ,]+(?:\w+ ){0,2}?
    (?:thought|felt|believed|presumed|assumed|suspected|considered|deemed|worked up|working dx)
    |(?:thought|thinking) (?:of|about)|considered|entertained|worried about
    |(?:initial|original|first|early|admitting|admission|preliminary|working) (?:dx|diagnosis|impression|thought
    |concern
    |suspicion|read|assessment)|(?:initially|originally|first|at first) (?:\w+ )?(?:treated|managed|labell?ed|called
    |read) as|presumed|(?:presented|admitted|transferred|sent) as|thought to be)\b
    (?:(?!\bbut\b|\bhowever\b|\blater\b|\bfound\b|\bturned\b|\bcorrect|\brevis)[^.;\n]){0,60}$
    """)
_DIAGNOSED_FIRST = compiled(r"""
    \b(?:initially|originally|first|at first) (?:\w+ )?(?:diagnosed|dx'?d?|treated|admitted|managed|worked up)
    (?: (?:with|as|for|to))? (?:(?!\bbut\b|\bhowever\b|\blater\b)[^.;\n]){0,40}$
    """)
_TURN = compiled(r"""
    [^.;\n]{0,60}?(?:[.;,]| -+| –| —|\bbut|\band|\bthough|\bwhich|\()? *\b
    (?:but\b|however|later\b|subsequently|turned out|found to (?:have|be)|determined to|proved|proven|ultimately
    |eventually
    |actually|in fact|instead|rather\b|final (?:dx|diagnosis|read|impression)|shown to|ruled out|revised
    |(?:the )?(?:ct|cta|mri|echo|cxr|film|scan|eeg|work-?up|cultures?|enzymes|troponins?|bnp|angiogram)(?: \w+){0,3}
    [ ](?:was|were|is|are|came back) (?:\w+ly )?(?:clear|normal|negative|clean|unremarkable|flat)
    |(?:the )?(?:ct|cta|mri)(?: \w+){0,2} showed (?:clear|no|normal|patent)|now (?:felt
    |thought
    |believed|clear)|(?:ct|mri|echo|cath|eeg|bronch|workup|work-up|cultures?)\w* (?:showed|revealed
    |demonstrated)(?! (?:it|this|that|one)\b))
    (?! (?:worsen\w*|progress\w*|complicated|developed|required))(?![^.\n]{0,40}\b(?:positive|confirm\w*|grew)\b)
    """)
_ENTERTAINED = compiled(r"""
    [ ,]+(?:(?:was|were|is|had been|has been|initially|briefly) )*(?:entertained|considered|suspected|questioned
    |raised|queried
    |feared)\b[^.;\n]{0,30}?\b(?:but|however|though|although|yet)\b[^.;\n]{0,50}?\b(?:negative|normal|clear
    |unremarkable|unlikely
    |excluded|ruled out|not|no|without|improbable|doubtful|alternative|instead|less likely|reassuring)\b
    """)
_CAUSE = re.compile(r"\b(?:due to|from|secondary to|caused by|related to|2/2)\b[^.;\n]*$")
_AS = re.compile(r"\bas\b[^.;\n]*$")
_ONLY_BUT = re.compile(r"[^.;\n]{0,40}?[,;.] *but\b|[^.\n]{0,40}?; *final|[^.;\n]{0,40}?\bturned out")
_CORRECTION = compiled(r"""
    \b(?:correction|corrected|addend\w+|amended|amendment|revised|revision|erratum|over-?read|in retrospect|in fact
    |actually|final (?:dx|diagnosis|read|impression|report)|turned out|disregard|reconsidered|reinterpreted|retract\w*
    |re-?read)\b
    """)
_MAX = 120  # characters before a finding that are read; a turn is looked for as far after it


def is_withdrawn(lower: str, start: int, end: int) -> bool:
    """Return whether a lower-case text gives up, or calls wrong or unlikely, the finding of the span."""
    before = lower[max(start - _MAX, lower.rfind("\n", 0, start) + 1, 0) : start]
    if _BEFORE.search(before):
        return True
    after = _LINK.match(lower, end).end()
    if _TAKEN_BACK.match(lower, after) or (_REVISED.match(lower, after) and _DIAGNOSIS_OF.search(before)):
        return True
    if _NOT_REAL.match(lower, end) or _ENTERTAINED.match(lower, end) or _REMOVED.match(lower, end):
        return True
    rest = lower[end : end + _MAX]
    if _CAUSE.search(before):
        return bool(_BELIEVED.search(before) and _ONLY_BUT.match(rest))
    if _DIAGNOSED_FIRST.search(before) and not _AS.search(before):
        return bool(_ONLY_BUT.match(rest) and _TURN.match(rest))
    return bool(_BELIEVED.search(before) and _TURN.match(rest))


def is_correction(lower: str, start: int) -> bool:
    """Return whether what stands at `start` corrects an earlier statement: "addendum: no pneumonia"."""
    return bool(_CORRECTION.search(lower, max(start - 60, 0), start))


__all__ = ["is_correction", "is_withdrawn"]
