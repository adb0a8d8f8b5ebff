# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Negation in sentences, and statements about relatives.

Source: the triggers, scopes and terminations follow NegEx (Chapman W. W. et al., "A Simple
Algorithm for Identifying Negated Findings and Diseases in Discharge Summaries", J Biomed Inform 34, 301-310, 2001);
the lists are this project's own.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache

from .lists_clinragen import OF_A_KIND, is_beyond_negation, is_unclear
from .phrases_clinragen import any_of, compiled, compiled_words
from .plans_clinragen import is_not_done, is_planned


_CONSIDERED = re.compile(r"considered,? (?:but|and|yet|then|however)\b")  # later words still refer to the finding
_THAT = compiled_words(
    r"that (?:the )?(?:patient|pt|he|she|they) (?:has|had|have|is|was|\w+s|\w+ed)(?: had)?"
)  # "denies that he had"

# Triggers before a finding: it is absent. Pseudo-triggers are matched first, as "not ruled out" negates nothing.
_PSEUDO = compiled_words(r"""
    (?:not|never|cannot be|can ?not be|could not be|can't be|hasn't been|not been
    |not yet) (?:fully |entirely |yet |be )?(?:ruled out|excluded)
    |(?:cannot|can't|could not|does not|do not|did not|(?:un|not )able to) (?:fully )?(?:rule out|exclude)|not only
    |no one (?:witnessed|saw)
    |(?:ordered|done|sent|planned|obtained|film|scan|ct|cta|mri|echo|tests?|testing|studies
    |imaging)(?: to| to help) (?:rule out|exclude)
    |(?:not|never|nor|cannot|can't|doesn't|don't|didn't)(?: \w+)? den(?:y|ied|ying)|no (?:lack|absence|denial) of
    |(?:not|never|isn't|wasn't) (?:absent|negative(?: for)?|free (?:of|from)|without)|never without|with or without
    |(?:unable|not able|cannot|can't|could not|difficult)(?: to)? \w+(?: \w+)? without
    |(?:initially|at first|originally) den(?:y|ies|ied|ying)|no doubt
    |(?:not|never)(?: been| yet| fully)* (?:vaccinated|immuni[sz]ed) (?:against|for)
    |(?:no|not|nothing|never) (?:much )?(?:more|less|worse|better) than|without (?:a )?doubt|not certain(?:ly)?
    |no (?:further |significant |interval |acute |real |major |clinical )*(?:change|increase|improvement|worsening)
    |without (?:difficulty|improvement|relief|change)|no (?:relief|better)
    |not (?:been |yet |fully |well |completely |adequately |entirely )*(?:improv\w+|resolv\w+|controlled|relieved
    |changed|treated|worse\w*|better|increas\w+|decreas\w+|related|associated|exacerbated|aggravated|subsid\w+
    |disappear\w+
    |gone|over|stopp\w+|abat\w+|settl\w+)
    |not (?:been |yet )*(?:needed|required|necessary|warranted|pursued|started|initiated)(?=,| for\b)
    |(?:no|without) (?:\w+ ){0,3}?(?:cause|source|etiology|aetiology|explanation|trigger|precipitant|reason|origin
    |focus|culprit)s?
    (?: (?:was |were |is |yet |ever )*(?:found|identified|seen|known|given|established|determined|located))?
    (?: of| for| to explain| behind)(?! (?:concern|infection|alarm))
    |(?:no|not|never|without|w/o) (?:(?!no\b|not\b|evidence\b|signs?\b)\w+ ){0,4}?(?:anticoag\w*|a/c|tpa|lysis
    |thrombolys\w+
    |interventions?|treatments?|therap\w+|meds?|medications?|antibiotics?|abx|surgery|surgical options?|operation
    |drugs?
    |heparin|coumadin|warfarin|steroids?|diuretics?|antiarrhythmics?|aspirin|reperfusion
    |thrombectomy)(?: \w+){0,3}? for
    |(?:no|not|never|without|den(?:y|ies|ied)|hasn't|lack of) (?:\w+ ){0,2}?(?:resolution|improvement|recover(?:y|ed
    |ing)?
    |remission|cessation) (?:of|in|from)
    |no missed|did(?: not|n't) take(?! any)|(?:not|never) (?:been |always |fully )?(?:complian|adheren)\w+ (?:with
    |to)|no-show (?:to|for)
    """)
_BEFORE = compiled_words(r"""
    no|not|none|nothing|nil|zero|never|nor|neither|ø|denie[sd]|deny(?:ing)?|denial of|without|w/o(?:ut)?
    |r/o(?:'?d)?(?= for\b)
    |absence of|lack(?:s|ed|ing)?(?: of)?|neg(?:ative)? for|free (?:of|from)|rule[sd] out|exclud(?:e[sd]|ing)|declines
    |(?:(?:can|could|may|might|would|will|does|did|helps?|reliably|effectively)(?: to)?
    |(?:normal|negative|clear|flat|low)\b[^,;:.]{0,60}) (?:rule out|exclude)
    |unremarkable for|non-?contributory for|(?:cannot|can't|could not|does not|did not) recall(?: any)?
    |nobody (?:observed|saw|noted|witnessed|noticed|reported)|neg(?:ative)? (?:including|incl|to include)
    |fail(?:s|ed) to (?:show|reveal|demonstrate)|doesn't|didn't|isn't|wasn't|hasn't
    |argues? against|speaks? against|(?:evidence|points?|counts?) against
    |unlikely to (?:be|have|reflect|represent)|less likely|rather than|instead of|sans|devoid of|clear of|yet to
    |refut(?:es?|ed|ing)|disput(?:es?|ed|ing)|disclaim(?:s|ed|ing)?|disavow(?:s|ed|ing)?|spared
    |negat(?:es?|ed|ing)|repudiat(?:es?|ed|ing)|escaped|ruling out|exclusion of
    |doubt(?:s|ed|ful)?(?: for)?|neg(?:ative)? (?!except|save|other)(?:\w+ ){1,2}for
    |(?:low|little|minimal) (?:clinical )?(?:suspicion|concern|likelihood|probability|evidence|index of suspicion)
    (?: of| for| that)|little to suggest
    |unable to (?:find|appreciate|elicit|demonstrate|identify|detect|hear|feel|palpate|see)
    |(?:(?<=\bhad )|(?<=\bhas )|(?<=\bwith )|(?<=\band )|(?<![\w:.)/+-])(?<![\w:.)/+-] ))0(?= )
    (?! (?:day|hour|hr|h|min\w*|sec\w*|x|mg|mcg|ml|l|cc|unit|to|of|out|on|in|at|and|or|by|am|pm|degrees?|cm|mm|point
    |station)s?\b)
    |(?:(?<=\bros )|(?<=\bcxr )|(?<=\bct )|(?<=\bmri )|(?<=\btte )|(?<![\w)-])(?<![\w)] ))neg(?:ative)?(?= )
    (?! (?:[\W\d]|for\b|x\b|except|save|other|[^,;:]{0,40}\b(?:ct|cta|mri|cxr|echo|tte|tee|eeg|ekg|ecg|lp|ua|scan
    |imaging|film|us|doppler\w*|ultrasound|cultures?|cx|bcx|ucx|trop\w*|enzymes|tests?|testing|work-?up|studies|panel
    |screen|swab|pcr|fobt|guaiac|hcg|tox\w*|pressure|inspiratory|balance|fluid|inotrop\w*|today|exam|review|systems?|ros|predictive)\b))
    """)
_JUST_BEFORE = re.compile(
    r"\b(?:absent|unlikely|improbable) (?!(?:on|in|at|from|over|bilaterally|to|is|was|that)\b)"
    r"((?:(?!and\b|or\b)\w+ ){0,3})$"
)
_NEGATIVE_FIRST = re.compile(r"(?:^|[,;:])\s*neg(?:ative)? (?!for|pressure|inspiratory|balance|fluid|inotrop)[^,;:]*$")
# Triggers after a finding: it is absent. "X and Y are absent" negates both, "X and Y absent" the last.
_ABSENT = r"""
    absent|denied|neg|negative|r/o'?d|(?<!not )excluded|(?<!not )ruled out|unlikely|improbable|less likely
    |never(?! (?:quite|fully|really|completely|far|goes|leaves|stops|lets|left|went|stopped))
    |not (?:present|seen|found|reported|noted|evident|detected|isolated|likely|supported|suggested|indicated)
    |not (?:appreciated|elicited|observed|palpated|heard|felt|palpable|audible|visible|described|endorsed|identified
    |visualized|demonstrated|documented|recorded|mentioned|confirmed|diagnosed|established)
    |(?:could not|couldn't|cannot|can't) be (?:appreciated|elicited|observed|palpated|heard|felt|seen|found|detected
    |identified|visualized|demonstrated|reproduced)|dismissed|discounted|refuted|avoided|averted|lacking|missing|nowhere
    |not an? (?:complaint|feature|issue|problem|concern|finding)
"""
# A treatment that the patient does not get; the words are beside it, as "declined" has other meanings.
_REFUSED = re.compile(
    r"\b(?:refus(?:es|ed|ing)|declin(?:es|ed|ing)) (?:[\w-]+ or )?"
    r"(?:(?:the|an?|any|all|of|his|her|further|to (?:have|undergo|start|take|receive|get)) )*$"
)
_STILL_ON = compiled_words("unable to|not able to|(?:could|can|did)(?:not|n't| not)|fail\\w*|yet to|difficulty")
_DECLINED = re.compile(
    r"[\w-]+(?: (?:\w+ ){0,2}(?:offered(?: and| but)?|and|but))?,? declined(?=\s*(?:$|[.,;)]|by\b))"
)
_OFF = re.compile(r"\boff (?:(?:the|of|all|his|her|mechanical|supplemental|home) )*$")
_TREATMENT = re.compile(
    r"\w*(?:dialysis|ventilat\w+|vent|pressors?|oxygen|o2|[cb]i?pap|sedation|antibiotics?|heparin|coumadin|warfarin"
    r"|insulin|steroids?|diuretics?|anticoagulation|drips?|crrt|cvvhd?)\b"
)
_NOT_NEEDED = re.compile(
    r" (?:refused|(?:is|was|were|are|has been|had been) (?:refused|declined)"
    r"|(?:(?:is|was|were|are|has been|had been) )?not (?:yet )?(?:been )?(?:needed|required|necessary|warranted"
    r"|pursued|started|initiated))\b"
)
_FREE = re.compile(r"[ -]free\b(?! (?:of|from|air|fluid|water|flap|wall|t3|t4|text)\b)")
_AFTER = re.compile(
    r"^[\w\s/\-()]{0,40}?"
    + any_of(
        r"""
        x{10,} (?:was |is |then |later |ultimately )*(?:excluded|ruled out|unlikely|dismissed|rejected|not)
        |(?:is|was|has been|been|being) (?:not|no longer|absent|denied|negative|excluded|ruled out|unlikely|never
        |neither)
        |(?:did|does|do|has|have|had) (?:not|never) (?:occur(?:red)?|develop(?:ed)?|happen(?:ed)?|appear(?:ed)?)
        |isn't|wasn't|
        """
        + _ABSENT
    )
)
_AFTER_ALL = re.compile(
    r"^[\w\s/\-(),]{0,60}?"
    + any_of(r"""
    (?:are|were|have been) (?:both |all )?(?:not|no longer|absent|denied|negative|excluded|ruled out|unlikely|never
    |neither)
    |aren't|weren't
    """)
)
# "X, Y, and Z denied" negates all three
_AFTER_LIST = re.compile(
    r"^(?:, [\w \-/]{1,30}){0,8}, (?:and|or) [\w \-/]{1,30} (?:all )?(?:denied|absent|negative)\s*$"
)
_ANY_ABSENT = re.compile(any_of(_ABSENT))
# "No urine output suggests X" negates urine output, but "no finding suggests X" negates X.
_GENERIC = """
    evidence finding findings feature features sign signs imaging result results symptom symptoms test tests data value
    values clue clues study studies nothing none
"""
_AFTER_A_FINDING = "".join(rf"(?<!\b{word}{joint} )" for word in _GENERIC.split() for joint in ("", " that", " to"))
_ENDS = re.compile(
    r"[;:.!?\n]| [-–—]{1,2} |"
    + any_of(
        rf"""
        but|however|although|though|yet|despite|in spite of|in the setting of|except(?: for)?|nevertheless
        |still(?! (?:lacking|absent|missing|not|no)\b)
        |whereas|while|(?<!not )(?<!never )(?<!been )report(?:s|ed|ing)?
        |complain(?:s|ed|ing)?|endors(?:es|ed|ing)|admits?|admitted (?:to|with|for)|positive for|presents|present with
        |(?<=, )pos(?:itive)?
        |presented|presenting|p/w|until|(?<!not )(?<!never )(?<!been )(?<!yet )(?<!was )(?<!were )found to (?:have|be)
        |transferred (?:with|for)|(?:and|,|who|she|he|patient|pt) (?:has|had|is|was|does have|now|notes|noted|developed
        |describes|described)|developed|experienc(?:es|ed)
        |(?<= )(?:he|she) (?!denies\b|does\b)\w+s\b
        |(?:supported|suggested|indicated|confirmed|explained|implied) by
        |(?:,|and) with(?! no)|secondary to|because(?: of)?|due to|owing to|caused by
        |apart from|other than|aside from|save(?: for| on)?|for fear of|excepting|barring|only|rather
        |is (?:more )?likely
        |{_AFTER_A_FINDING}(?:point(?:s|ed|ing)? to|suggest(?:s|ed|ing|ive)?(?: of)?|favou?rs?|supports?|fits?
        |indicates?|(?:is|are) (?:consistent|compatible|in keeping) with)
        """,
    )
    + r"|, and an? |, (?!who\b|which\b|that\b)\w+ (?:with(?! no\b)|are|is|was|were|has|have|shows?) "
    + r"|, (?=(?:is|was|has|had|now|reports?|shows?|showed|reveals?|revealed|demonstrates?|demonstrated)\b)"
)
_NEXT_FINDING = re.compile(r",| and | or ")
_KIN = """
    (?:(?:step-?)?(?:fa|mo)thers?(?! of (?:\\d|one|two|three|four|five))|(?:step-?)?(?:brother|sister|son|daughter)s?
    |parents?|siblings?|uncles?|aunts?|cousins?|nephews?|nieces?|in-laws?|co-?workers?|classmates?
    |grand\\w+|wife|husband|spouse|roommate|relatives?|family members?|moms?)
    (?: of (?:(?:the|this|our) )?(?:patient|pt|client|resident))?
"""
# people who are often bystanders: only what they are said to have is theirs
_OTHERS = """
    (?:fianc[eé]e?s?|(?:girl|boy)-?friends?|partners?|(?:best |close )?friends?|significant others?|neighbou?rs?
    |caregivers?|caretakers?|colleagues?|(?:house|flat)mates?|children|dad)
    (?: of (?:(?:the|this|our) )?(?:patient|pt|client|resident))?
"""
_RELATIVE = compiled_words(
    _KIN
    + r"""
    |(?<!social and )(?<!personal or )(?<!personal and )family history(?: of| is)?
    |in (?:the|his|her) family|familial|fh[x]?|maternal|paternal
    |"""
    + _OTHERS
    + r"""
    (?:: (?:one|two|both|all))?(?:,? who)?(?: (?:also|both|all|recently|just|now|currently|reportedly))*[ ]
    (?:(?:has|have|had)(?! (?:been )?(?:not(?:ic)?ed|seen|found|heard|called|asked|told|brought|concerns?
    |questions?)\b)
    |(?:is|are|was|were)(?! (?:here|there|present|aware|at|in|with|en|not|able|unable|the|updated|informed|notified
    |called|asked|told|concerned|worried|visiting|by|bringing|driving)\b)
    |w(?=/)|with|dx|diagnosed|died|suffer(?:s|ed|ing)|contracted|tested|sick|ill|hospitali[sz]ed|admitted)
    """
)
_INFORMANT = compiled_words(
    rf"""
    (?:{_KIN}|family)(?: also| who)? (?:reports?|reported|states?|stated|notes?|noted|says|said|den(?:y|ies|ied)
    |noticed|found|describes?|called|brought|adds?|added|confirms?|confirmed|witnessed|endorses?|is concerned
    |thinks?|thought|feels|felt that|believes?|believed|worries|is worried|saw|heard|observed|observes|mentions?
    |mentioned|recalls?|recalled|insists?|tells|told|gives|gave|provides?|provided|helps?|at (?:the )?bedside|visits?
    |visited|arrived|came|most)
    |(?:worr(?:ies|ied)|concern(?:s|ed)|alarm(?:s|ed)|told|tells|asked|updated|called|with)
    [ ](?:his |her |the )(?:{_KIN})
    (?!,? who\b| (?:with|has|had)\b)
    |(?:per|according to|brought (?:in )?by|lives with|from|by) (?:his |her |the |patient's )?(?:{_KIN})
    (?!,? who\b| (?:with|has|had)\b)
    |(?:per|from|by) (?:his |her |the |an? |patient's )?{_OTHERS}(?!,? who\b)
    """
)
OWN = compiled_words("patient|pt|he|she|himself|herself|personal")
_RISK = compiled_words(r"""
    risk (?:of|for|factors? (?:for|of))|at risk|risks?(?=,)|risks? (?:and|including|were|such)|risks of
    |potential complications?|call (?:your|the|his|her|if|us|md|911)|come back|seek (?:medical|care)
    |return (?:to (?:the )?(?:ed|er|hospital|clinic|emergency)|for|if)|hold (?:[\w-]+ ){0,3}for|notify
    |educat(?:ed|ion)|counsel+(?:ed|ing)|instructed|warned|taught|worried|afraid|fears?
    |advised (?:to|of|about|on)|told to|reminded
    |(?:she|he|patient|pt|family) (?:is|was|are|were) (?:concerned|anxious) (?:about|that)|avoid(?:s|ed|ing)?
    |warning signs|return precautions|prn(?=\s)|as needed for|consider(?:ing)?
    |allerg(?:ies|y|ic) to|adverse reactions?|advance directives?
    |predispos\w+ to|(?:prophyla\w+|ppx)(?: against| for)?(?!,)
    |screen(?:ing|ed)?(?! ?:| (?:questions?|questionnaire|form|tool|exam))(?: for)?|monitor(?:ing|ed)? for
    |watch(?:ed|ing)? for
    |(?<!able )to (?:rule out|exclude)|to (?:prevent|avoid)|prevent(?:s|ing|ion)?(?: of)?
    |vaccin\w+ (?:against|for)|if|should
    |(?<!negative )work-?up (?:of|for)|evaluat(?:e|ed|ion) for|tested for|whether|could (?:lead to|cause)
    |may (?:lead to|cause)|concern for future|progress(?:ion)? to|leads? to(?! (?:the )?diagnosis)
    """)
_RISK_AFTER = re.compile(
    r"^[\w\s\-]{0,12}?"
    + any_of(r"""
    risk|prophylaxis|ppx|screen(?:ing)?|vaccin\w+|protocol|risk factors?|code|alert|team|scale|precautions|pads
    |education|curve|chart
    """)
)


@lru_cache(maxsize=2**12)  # a sentence is looked up for each of its findings
def _may_negate(sentence: str) -> bool:
    return any(pattern.search(sentence) for pattern in (_BEFORE, _ANY_ABSENT, _FREE, _ANY_NOT_GIVEN))


@lru_cache(maxsize=2**12)
def _may_be_about_relatives(sentence: str) -> bool:
    return bool(_RELATIVE.search(sentence))


def is_negated(sentence: str, start: int, end: int) -> bool:
    """Return whether a lower-case sentence negates the span."""
    if not _may_negate(sentence):
        return False
    before, after = sentence[:start], sentence[end:]
    if _NOT_NEEDED.match(sentence, end) or _is_refused(before, sentence, start):
        return True
    masked = _THAT.sub(_masked, _PSEUDO.sub(lambda match: ";" * len(match[0]), before))
    trigger = _last(_BEFORE, masked)
    if trigger is not None and _governs(masked, trigger.end()):
        if not is_beyond_negation(sentence, trigger.span(), start, end):
            return True
        masked = masked[: trigger.start()] + "x" * (start - trigger.start())
    absent = _JUST_BEFORE.search(masked)
    if (absent and not _ENDS.search(absent[1])) or _NEGATIVE_FIRST.search(masked) or _FREE.match(sentence, end):
        return True
    after = _CONSIDERED.sub(_masked, after)
    stop = _ENDS.search(after)
    rest = after[: stop.start() if stop else len(after)]
    near = _NEXT_FINDING.split(rest, maxsplit=1)[0]
    return _is_denied_after(_AFTER, near) or any(
        _is_denied_after(pattern, rest) for pattern in (_AFTER_ALL, _AFTER_LIST)
    )


_ANY_NOT_GIVEN = re.compile(r"\b(?:refus|declin|off )")


def _is_refused(before: str, sentence: str, start: int) -> bool:
    """Return whether the treatment at `start` is refused, or over: "off pressors"."""
    near = before[-60:]
    is_off = _OFF.search(near) and not _STILL_ON.search(near)
    if _TREATMENT.match(sentence, start) and (is_off or _DECLINED.match(sentence, start)):
        return True
    return bool(_REFUSED.search(near))


def _governs(before: str, trigger: int) -> bool:
    """Return whether the scope of a trigger that ends at `trigger` reaches the end of `before`."""
    verb = _DENIED_VERB.match(before, trigger)  # "not complaining of", "no reports of"
    if _REFERS_BACK.match(before, trigger) or _SINCE.search(before, trigger):
        return False
    return not _ENDS.search(before, verb.end() if verb else trigger)


_SINCE = re.compile(r"\b(?:since|after|prior to|following)\b[^,]*$")  # "no angina since the bypass"
_DENIED_VERB = re.compile(
    r"(?: (?:been|any|further|recent|recently|currently|clearly|really|otherwise))*(?: in (?:the|this|her|his) \w+)?"
    r"(?: to)? (?:report|complain|endors|admit|experienc|present|develop|suggest|favou?r|point|indicat|support)\w*\b"
    r"(?: to)?"
)


def _is_denied_after(pattern: re.Pattern, after: str) -> bool:
    return bool(pattern.search(after)) and not (_PSEUDO.search(after) or OF_A_KIND.search(after))


def _masked(match: re.Match) -> str:
    return "x" * len(match[0])


_REFERS_BACK = re.compile(r"(?: reported)?\s*[,)]")  # "fever denied, rash"


def _last(pattern: re.Pattern, text: str) -> re.Match | None:
    """Return the last match of a pattern."""
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def is_about_relatives(sentence: str, start: int) -> bool:
    """Return whether the text at `start` of a lower-case sentence is about the patient's family."""
    if not _may_be_about_relatives(sentence):
        return False
    if _IN_FAMILY.match(sentence, start):
        return True
    before = _INFORMANT.sub(_masked, _KIN_CLAUSE.split(sentence[:start])[-1])
    relative = _last(_RELATIVE, before)
    return relative is not None and not OWN.search(before, relative.end())


_IN_FAMILY = re.compile(  # "no goiter in the family"
    r"[\w\s/-]{0,40}?\b(?:(?:in|of) (?:the|his|her) (?:(?:immediate|close) )?family\b"
    r"(?! (?:room|meeting|practice|medicine))"
    r"|on (?:the|his|her) (?:mother|father|maternal|paternal)(?:'s)? side)"
)
_KIN_CLAUSE = re.compile(r"[;.\n]|,? but ")


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Return the spans of the sentences of a text, and of the lines and items of a note."""
    return [match.span() for match in _SENTENCE.finditer(text)]


_SENTENCE = re.compile(r"(?:[^.;\n!?]|\.(?=\d))+")


def is_uncertain(sentence: str, start: int, end: int) -> bool:
    """Return whether the span of a lower-case sentence is a risk or a plan."""
    clause = _CLAUSE.split(sentence[:start])[-1]
    after = sentence[end:]
    return bool(
        _RISK.search(clause)
        or _RISK_AFTER.search(after)
        or is_planned(sentence, start, end)
        or is_not_done(sentence, start, end)
        or is_unclear(sentence, start)
    )


_CLAUSE = re.compile(r";|, (?:but|and|however) | (?:owing|due) to | because of | given ")
# "Hematemesis: unknown", "gait could not be assessed", "COPD: N/A", "Diabetes: borderline"
NOT_KNOWN = compiled(r"""
    (?: (?:history|hx|status|use))?
    \s*(?:[:=|?–-]+\s*)?[\[(<]?(?:is |are |was |were )?
    (?:(?:unknown|unclear|deferred|undetermined|undocumented
    |not (?:assessed|asked|tested|examined|evaluated|checked|performed|obtained|documented|recorded|known|applicable
    |available|specified|entered|stated|charted|answered|filled|on file)
    |(?:patient |pt )?(?:unsure|not sure)|no (?:data|info(?:rmation)?|record|entry)(?: available| found)?)\b
    (?! (?!at|on|by|due|as|because|in|if|whether)\w)
    |n/a\b
    |unable to (?:assess|obtain|test|examine|evaluate|determine)
    |(?:could not|cannot|can't) be (?:assessed|obtained|tested|examined|evaluated|determined))
    |\s*[:=|–-]+\s*[\[(<]?(?:(?:na|uta|n\.a\.?|pending|tbd|blank|empty|pre-?(?:diabet|hypertens)\w*|borderline
    |gestational|impaired glucose tolerance
    |at risk|high risk|-{2,9}|_{2,9})(?: only)?[\])>]?(?=\s*(?:[.,;)\n]|$)))
    |(?: (?:stool|urine|serum|blood|antigen|ag|pcr|serology|cultures?|cx|test|toxin|biopsy)){0,3}[ ]
    (?:is |are )?(?:still )?pending\b(?! \w)
    """)


def is_suspected(sentence: str, start: int, end: int) -> bool:
    """
    Return whether the span of a lower-case sentence is only suspected: "concern for PE", "PE?", "PE is possible".
    """
    before = sentence[max(start - 200, 0) : start]
    return bool(
        _SUSPECTED.search(before[-60:])
        or _SUSPECTED_AFTER.match(sentence, end)
        or _NOT_EXCLUDED.match(sentence, end)
        or _DIFFERENTIAL.search(before)
        or _PURPOSE.search(before[-80:])
    )


# an item of a differential diagnosis, but not what it is made for: "the differential for dyspnea includes CHF"
_DIFFERENTIAL = compiled(r"""
    (?:\b(?:d+dx|possible (?:causes?|etiologies|diagnoses)|potential (?:causes?|etiolog\w+|diagnos[ei]s)|possibilities
    |(?<!with )(?<!cell )(?<!manual )(?<!wbc )(?<!cbc )differential(?: diagnos[ei]s)?|(?:etiolog\w+
    |causes) (?:considered|includ\w+)
    |considerations?)\b(?: (?:for|of) [^:;.\n]{0,60}?(?:\b(?:is|are|was|remains?|includ\w+)\b|:))?(?! (?:for|of)\b)
    |\bconsider )(?:(?!\b(?:but|however|found|confirmed|most likely|favou?r\w*|ruled)\b)[^;\n])*$
    """)
# what a study is ordered to find
_PURPOSE = compiled(r"""
    \b(?:look(?:ing|s|ed)? for|search(?:ing|ed)? for|assess(?:ing)? for|check(?:ing|ed)? for|(?:eval|evaluate|assess)
    (?: (?:for|of|possible|interval change,?|any))*|(?:ct|cta|mri|mra|cxr|echo|tte|tee|ultrasound|us|scan|x-ray
    |imaging|study|film)
    (?: (?:requested|ordered|obtained|done|sent))? (?:re:?|to evaluate(?: for)?|for\??)|question:)
    [ ](?:(?:an?|the|any|acute|new|possible|his|her|of|and|or|[\w-]+,) ){0,4}$
    """)
_NOT_EXCLUDED = compiled(r"""
    (?: (?:is|was|has))? ?(?:cannot|can not|can't|could not|couldn't|not|has not|hasn't)(?: (?:yet|been|be|fully
    |entirely
    |completely|definitively|reliably))* (?:excluded|ruled out)\b
    """)


_SUSPECTED = re.compile(
    r"(?:\b(?:rule[- ]out|r/o|exclude|concern(?:ing|ed|s)? (?:for|about)|suspicio\w+ (?:of|for)|suspect(?:ed|s|ing)?"
    r"|possibl[ey]"
    r"|question of|queried|query|worr\w+ (?:about|for)|(?:may|might|could) (?:have|be|represent|reflect)|presumed"
    r"|(?:thought|felt|believed|assumed) to have"
    r"|(?:can ?not|can't|could not|couldn't|unable to|not able to|(?:does|did|do) not|doesn't|difficult to)"
    r" (?:fully |entirely |completely )?(?:exclude|rule out)"
    r"|vs\.?|versus)|\?) ?(?:(?:an?|the|acute|of|new) )*$"
)
_SUSPECTED_AFTER = re.compile(
    r" ?\?| (?:r/o|rule[- ]out)\b(?!'?d| by)|,? (?:(?:is|are|was|were|remains?|has been"
    r"|being) (?:strongly |also |still )?)?"
    r"(?:suspected|considered(?!,)|possible|queried|in question|questionable|a (?:possibility|concern|consideration)"
    r"|(?:also |still |high(?:er)? |low(?:er)? |first |last )?on the differential|(?:versus|vs\.?)(?: |$))"
    r"|[ \t]*[:=(–-]+[ \t]*(?:possible|probable|suspected|likely|presumed|questionable)(?=\s*(?:$|[.,;)\n]))"
)
