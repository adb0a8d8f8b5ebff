# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Lists after one negation: "no fever, chills, or cough" negates all three, "no murmurs, irregular rhythm" the first.

The items of a negated list are of one kind and have no further description. The list ends before an item that is
measured, persists or changes, is a state ("no edema, mottled") or an abnormal sign, has a place, a date or a grade, is
a disease among symptoms, or is the negated finding in another situation. It and later items are affirmed.
"""

from __future__ import annotations

import itertools
import re

from .phrases_clinragen import any_of, compiled, compiled_words


_COMMA = re.compile(r"[,()]")
_OWN_NO = re.compile(r"(?:^|[,:])\s*(?:no|not|without|never) \w")  # of each item: "no fever, no rash, cough"
_WITHOUT = re.compile(r"\b(?:without|w/o|but (?:no|not))\b")  # "pallor without jaundice, bruising without bleeding"
_OR = re.compile(r"\b(?:or|nor)\b")
_OR_LATER = re.compile(r"(?:,(?!\s*(?:no|not|without|never) )[^,]*?)*?\b(?:or|nor)\b")
_CHANGES = compiled_words(r"""
    persist(?:s|ed|ing)?|continu(?:es|ed|ing)|remains?|worsen(?:s|ed|ing)|increas(?:es|ed|ing)|ongoing|daily
    |improv(?:es|ed|ing)|resolv(?:es|ed|ing)|getting (?:better|worse)|recurr(?:ed|ing|ent)|requir(?:es|ed|ing)
    |tolerating|treated (?:with|for)|well[- ]controlled|unchanged|status post|s/p
    """)
_MEASURED = compiled(r"""
    [a-z)] (?:to |of |up to |at |in )?(?:the )?[<>=~]? ?(?:\d{2,}s?|\d+[./]\d+)\b
    (?! ?(?:x|d|h|wk|mo|yr)?\s?(?:day|week|month|year|hour|time|pound|lb|block|pillow))|[a-z] x ?\d
    """)
_SHOWN = compiled(r"""
    \s(?:is |was |are |were )?(?:present|noted|seen|heard|found|positive|reported|worse|yes|elevated|raised|rising|high
    |low)\b
    """)
# "pain that is not exertional, cough" negates neither
OF_A_KIND = compiled_words(r"""
    not (?:exertional|pleuritic|positional|reproducible|radiating|productive|new|severe|constant|sudden|typical|painful
    |itchy|bloody|purulent|sharp)
    """)
_DISTRESS = re.compile(r"(?: \w+){0,2} distress,")  # "no acute distress, jaundiced" negates the distress alone

# "no" negates nouns: these adjectives are states of the patient, or make the following noun a sign.
_OF_NOUNS = frozenset(["no", "without", "w/o", "w/out", "ø", "nil", "zero", "0", "neg", "negative"])
_NEGATIVE_TEST = re.compile(r"neg(?:ative)? \w.* for")  # "negative workup for"
_STATES = r"""
    alert|agitated|ashen|cachectic|clammy|combative|confused|cool|cold|cyanotic|dehydrated|diaphoretic|disoriented
    |distended|drowsy|dusky|febrile|flushed|frail|hypotensive|hypoxic|icteric|ill[- ]appearing|incontinent|intubated
    |irritable|jaundiced|lethargic|malnourished|mottled|obese|obtunded|pale|responsive|restless|sedated|septic
    |sleepy|somnolent|tachycardic|bradycardic|tachypneic|tender|tired|tremulous|unresponsive|unconscious|weak|wheezy
    |found (?:down|unresponsive)|smoker|non-?smoker
    |\w+(?:thric|mnes(?:t)?ic|phasic|plegic|paretic|ataxic|tensive|pneic|cardic|xemic|oxic|phoretic|volemic|pyretic)
"""
_ABNORMAL = r"""
    abnormal|absent|asymmetric|coarse|decreased|delayed|dilated|diminished|displaced|distant|distended|dull
    |elevated|enlarged|fixed|hyperactive|hypoactive|inverted|irregular(?! heart ?beats?)|muffled|pinpoint|poor
    |prolonged|reduced|rigid|sluggish|tense|thready|unequal|unsteady|weak|widened
"""
_STATE = re.compile(rf"\s*(?:and |also |(?:very|mildly|slightly|more|still|now|but) )*{any_of(_STATES)}")
_GRADED = compiled_words(r"""
    scattered|few|mild|moderate|moderately|severe|severely|small|large|trace|bilateral|bibasilar|left|right|new
    |heavy|occasional|frequent|persistent|recurrent|worse|positive|marked|profound|faint|scant|tiny|copious|massive
    """)  # a finding with a grade or a side is present
_INTACT = compiled(r"(?:clear|soft|supple|benign|normal|intact|warm|dry|equal|reactive|regular|stable)\s*$")
_PREDICATE = compiled(r"""
    \s*(?:and )?(?:left |right |both |his |her |the )*\w+ (?:cold|blue|cool|slurred|deviated|rigid|tense|swollen|weak
    |hoarse|icteric|injected|dusky|mottled|unsteady|irregular|distended|tender|drifts?|droop(?:s|ing)|dilated|fixed
    |sluggish|elevated|rising|falling|low|high)(?=\s*$| (?:and|to|at|in|on|with|bilaterally)\b)
    """)  # "speech slurred", "creatinine rising"
_VERB = compiled(r"""
    \s*(?:and |then |now |also |still |but |was |is )*\b
    (?:found (?:to|down|on|by|in)|noted to|brought|transferred|admitted|started|given|placed|sent|taken|underwent
    |received|developed|became|becomes|moves|withdraws|follows|opens|states|says|takes|uses|drinks|smokes|lives|walks
    |needs|appears|looks|feels|seems|gets|goes|makes
    |on (?:hd|cvvhd?|crrt|dialysis|hemodialysis|pressors|levophed|insulin|bipap|cpap|o2|oxygen|\w+(?:olol|pril|statin
    |phrine)))\b
    """)
# Normal functions and usual measures: if one is missing, other items of the list are not negated with it.
_USUAL = re.compile(
    any_of(r"""
    pulses?|(?:bowel|breath|heart) sounds|(?:urine|urinary) output|urine|responses?|responsive|gag|reflex(?:es)?
    |meds?|medications?|movements?|bm|flatus|appetite|intake|eye opening|respirations?|insurance|past medical history
    |pmhx?|eating|drinking|tolerating \w+|sleeping|moving \w+|following commands|breathing|speaking|walking|voiding
    |complaints?|anticoagulation|dialysis|pressors?|antibiotics|treatments?|therapy|interventions?|surgery|surgeries
    |oriented|alert|awake|arousable|responding|feeling (?:well|good|himself|herself)|interactive|verbal|talking
    |transfusions?|steroids|anticoagulants?|blood thinners|restraints|limitations?|restrictions?|isolation
    """)
    + r"(?: (?:on|in|at|to|overnight|today|since|taken)\b.*)?\s*$"
)
_TROUBLE = compiled_words(
    r"difficulty|trouble|problems?|pain|painful|changes?|issues?|loss|abnormal|increased?|decreased?"
)
_SIGN = re.compile(rf"\s*(?:and )?{any_of(_ABNORMAL)} \w")
_SINCE = re.compile(r"\bsince \w")
_AND = re.compile(rf" and (?={any_of(_STATES)}|{any_of(_ABNORMAL)} \w)")
_ADJECTIVE = re.compile(
    any_of(rf"{_STATES}|{_ABNORMAL}|red|warm|hot|swollen|new|further|longer|more|any|other") + r"\s*$"
)
_PLACED = compiled(r"""
    \bin (?:v\d|leads?\b|(?:the )?(?:inferior|anterior|lateral|septal|precordial)\b)
    |(?:dullness|crackles|rales|rhonchi|wheez\w+|effusion|infiltrate|opacity|consolidation|rub|bruit|edema|murmur)\b
    [^,]*\b(?:bilaterally|throughout|diffusely
    |(?:on|at|in|over) (?:the |both )?(?:[rl]|right|left|bases?|apex|lungs?)\b)
    |\b(?:on|over|in) (?:both|bilateral|(?:the |his |her )?(?:left|right)) \w
    |\bto (?:the )?(?:mid|bases?|apex|apices|knees?|thighs?|shins?|sacrum|ankles?)\b
    |\bago\b|\s-{1,2}\s?\w
    """)
_HISTORY = compiled_words(r"history of|hx|h/o|past|prior|previous|known|comorbid\w*|other|risk")
_PAST = re.compile(r"\s*(?:hx|h/o|s/p|status post|former|ex-|past medical|pmhx?)\b")
_CHRONIC = compiled(r"""
    \s*(?:and |chronic |known |mild |severe )*\b
    (?:hypertension|htn|diabetes|dm2?|t[12]dm|n?iddm|cad|copd|chf|ckd|esrd|hld|hyperlipidemia|dyslipidemia|asthma
    |cirrhosis|gout|hypothyroid\w*|gerd|osa|obesity|pvd|pad|osteoarthritis|bph|dementia|epilepsy|schizophrenia|hiv
    |coronary artery disease|atrial fibrillation|afib)\b
    """)
_ON_TREATMENT = compiled_words("on|with|s/p|treated|since")
_WORD = re.compile(r"[a-z]{3,}")
# "No edema, palmar erythema" may negate both signs, or the first alone: it is unclear.
_SEEN = r"""
    edema|swelling|clubbing|cyanosis|erythema|rash|jaundice|icterus|pallor|petechiae|purpura|ecchymos[ie]s|bruising
    |murmurs?|rubs?|gallops?|crackles|rales|rhonchi|wheez(?:es?|ing)|stridor|bruits?|mass(?:es)?|\w+megaly|ascites
    |asterixis|tremor|guarding|tenderness|lymphadenopathy|angiomat?a?s?|gynecomastia|nystagmus|distension|distention
"""
_UNCLEAR = re.compile(
    rf"\b(?:no|without|w/o) {any_of(_SEEN)}, (?P<item>\w{{2,}}(?:ar|al|ic|ive|ous|ary|ed|er|or) {any_of(_SEEN)})\s*$"
)
# "Wheeze, no stridor, productive cough of white sputum": a described item after a negated one, among present ones.
_DESCRIBED = re.compile(
    r"[a-z][^,;:]{0,60}, (?:no|without|w/o) (?:(?!\b(?:or|and|nor)\b)[^,;:()]){1,40}, (?P<item>(?!(?:no|not|denies) )"
    r"[\w-]+ [\w-]+ (?:of|for|with) (?!(?:the|breath)\b)[\w-]+(?: [\w-]+){0,3})\s*(?=$|[,;])(?![^;]*\bor\b)"
)
_NOTHING = ("no ", "without ", "w/o ")  # both patterns require one of these


def is_beyond_negation(sentence: str, negation: tuple[int, int], start: int, end: int) -> bool:
    """
    Return whether a finding is beyond the scope of a negation, because the negated list ended before it.

    Args:
        sentence (`str`): in lower case.
        negation (`tuple[int, int]`): the span of the trigger.
        start, end (`int`): the span of the finding, after the trigger.
    """
    trigger = negation[1]
    if is_unclear(sentence, start):
        return True
    commas = [m.start() for m in _COMMA.finditer(sentence, trigger, start)]
    if _is_of_the_main_clause(sentence, negation, start):
        return True
    word = sentence[slice(*negation)]
    of_nouns = word in _OF_NOUNS or bool(_NEGATIVE_TEST.fullmatch(word))
    if of_nouns and _is_beyond_and(sentence, trigger, start):
        return True
    if not commas:
        return False
    stop = _COMMA.search(sentence, end)
    last = stop.start() if stop else len(sentence)
    item = sentence[commas[-1] + 1 : last]
    if _DISTRESS.match(sentence, trigger):
        return True
    if _OR.search(item) or _OR_LATER.match(sentence, last):
        return False
    opened = sentence.rfind("(", trigger, start)  # "no vertigo (nystagmus, ataxia present)": count commas from there
    single = sum(comma > opened for comma in commas) <= 1
    if len(_OWN_NO.findall(sentence[: commas[-1]])) > 1 and not _OWN_NO.match(sentence, commas[-1]):
        return True
    if _WITHOUT.search(sentence, end, last):
        return True
    if (single and _SHOWN.match(sentence, end)) or _CHANGES.search(item) or _MEASURED.search(item):
        return True
    if OF_A_KIND.match(sentence, negation[0]) or _VERB.match(item) or _is_missing(sentence[trigger : commas[0]], item):
        return True
    return of_nouns and _list_ends(sentence, negation, commas, last)


def is_unclear(sentence: str, start: int) -> bool:
    """Return whether it is unclear if the finding at `start` is negated: "no edema, palmar erythema"."""
    if ", " not in sentence or not any(word in sentence for word in _NOTHING):
        return False
    unclear = _UNCLEAR.search(sentence)
    if unclear is not None and unclear.start("item") <= start and not _GRADED.match(unclear["item"]):
        return True
    described = _DESCRIBED.search(sentence)
    return described is not None and described.start("item") <= start < described.end("item")


_FIRST = re.compile(r"\s*(?:(?:and|but|so|then|with|given|in|the|because of) )*$")
_AHEAD = frozenset(["without", "w/o", "w/out", "absence of", "no", "lacking", "free of", "free from"])
_FINITE = compiled_words(r"""
    is|are|was|were|has|have|had|does|did|seems?|seemed|appears?|appeared|remains?|remained|became|makes?|made|suggests?
    |suggested|argues?|argued|points?|pointed|can|could|may|might|must|will|would
    """)


def _is_of_the_main_clause(sentence: str, negation: tuple[int, int], start: int) -> bool:
    """Return whether a negating phrase opens the sentence: "in the absence of fever, cough was treated"."""
    lead, word = sentence[: negation[0]], sentence[slice(*negation)]
    if word not in _AHEAD or not _FIRST.fullmatch(lead) or (word == "no" and not lead.strip()):
        return False
    verb = _FINITE.search(sentence, negation[1])
    comma = sentence.rfind(",", negation[1], verb.start()) if verb else -1
    return 0 <= comma < start


def _is_beyond_and(sentence: str, trigger: int, start: int) -> bool:
    """Return whether an "and" ends the scope: "no pulse and dilated pupils", but not "no warm and tender joints"."""
    turn = _AND.search(sentence, trigger, start + 40)
    return turn is not None and turn.end() <= start and not _ADJECTIVE.search(sentence[trigger : turn.start()])


def _list_ends(sentence: str, negation: tuple[int, int], commas: list[int], last: int) -> bool:
    """Return whether an item after the first is not of the kind of the negated list."""
    head = sentence[negation[1] : commas[0]]
    if _ADJECTIVE.search(head):  # "no red, tender joints"
        return False
    among_others = bool(re.search(r",\s*$", sentence[: negation[0]])) and bool(sentence[: negation[0]].strip(" ,"))
    edges = [*commas, last]
    for number, (comma, stop) in enumerate(itertools.pairwise(edges)):
        item = sentence[comma + 1 : stop]
        if (
            (number == 0 and (_SIGN.match(item) or _SINCE.search(item)))
            or _is_chronic(item, head, among_others)
            or _is_repeated(head, item)
        ):
            return True
        if any(pattern.match(item) for pattern in (_STATE, _PAST, _PREDICATE, _VERB)) or _GRADED.match(item.strip()):
            return True
        if any(pattern.search(item) for pattern in (_PLACED, _INTACT, _CHANGES, _MEASURED)):
            return True
    return False


def _is_missing(head: str, item: str) -> bool:
    """Return whether a normal function is negated, and an item is something else: "no bowel sounds, guarding"."""
    return bool(_USUAL.search(head)) and not (
        _USUAL.search(item) or _TROUBLE.search(head) or _OWN_NO.match("," + item)
    )


def _is_chronic(item: str, head: str, among_others: bool) -> bool:
    """Return whether an item is a disease of the patient: treated, or listed among symptoms or other diseases."""
    if not _CHRONIC.match(item):
        return False
    others = not _HISTORY.search(head) and (among_others or not _CHRONIC.search(head))
    return others or bool(_ON_TREATMENT.search(item))


def _is_repeated(head: str, item: str) -> bool:
    """Return whether an item is the negated finding in another situation: "no dyspnea at rest, dyspnea on stairs"."""
    negated, repeated = _WORD.search(head), _WORD.search(item)
    return bool(negated and repeated) and negated[0] == repeated[0] and len(item.split()) > 1
