# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The words of a note or a text that carry findings, and their stems."""

from __future__ import annotations

import re
from functools import lru_cache


# Words that carry no finding: function words, and words about notes.
_GRAMMAR = """
    a about after all also am an and any are as at be been before being both but by can cannot could current
    currently did do does during each for from further had has have having he her here hers him his how i if in
    into is it its just like many may might more most much my no nor not now of on one only or other our out
    over own per s same she should since so some such t than that the their them then there these they this
    those through to too under until up us very via was we were what when where which while who why will with
    within without would you your patient pt note notes noted document documents documented record recorded
    records chart report reports reported reporting describe describes described mention mentions mentioned
    state states stated tell tells say says according complain complains complained complaint present presents
    presented presenting presence evidence finding findings sign signs symptom symptoms clinical clinically
    history known medical past recent recently admission admitted endorse endorses endorsed deny denies denied
    denial absent absence negative lack lacks rule ruled rules exclude excluded excludes confirm confirms
    confirmed part use still appreciated heard described currently noticed observed list lists listed show shows
    showed shown see seen found find reveal reveals revealed include includes including together along overall
    evident apparent established positive picture prior previous previously ago days day week weeks diagnosis diagnoses
    possible possibly suspected suspicion probable presumed give gives
"""
GRAMMAR_WORDS = frozenset(_GRAMMAR.split())
_WORD = re.compile(
    r"(?:short(?:ness)?|difficulty|trouble) (?:of breath|(?:in |with )?breathing)\b|lower extremit(?:y|ies)\b"
    r"|(?:n/v(?:/d)?(?:/f(?:/c)?)?|f/c(?:/ns|/s|/r)*(?:/n/v(?:/d)?)?|b/l|m/r/g|r/m/g|r/g|c/c/e|c/e|w/r/r|r/r/w|g/r|h/a|n/t)(?![a-z0-9/])"
    r"|cva tender(?:ness)?\b"
    r"|pe[ \t]?:|[a-z0-9]+(?:'[a-z]+)?"  # "PE:" is the physical exam
)
_PLAIN_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_MARKS = (
    "/",
    "breath",
    "lower extremit",
    "cva tender",
    "pe:",
    "pe :",
    "pe\t:",
)  # without any of these, all words are plain
# Words of degree, duration and place: a finding is the same finding without them.
_MODIFIERS = """
    acute chronic severe mild moderate marked significant new recent progressive worsening worsened persistent
    intermittent occasional diffuse bilateral left right upper lower some several daily overnight morning
    constant sudden gradual slight slightly mildly severely markedly ongoing active old known home long
    longstanding large small
"""

# Synonyms, and words that negate another word.
_SAME_WORDS = {
    "fever": "febrile pyrexia pyrexial feverish",
    "dyspnea": "dyspneic breathless breathlessness sob",
    "jaundice": "icterus icteric icteru",
    "edema": "edematous",
    "vomit": "emesis",
    "nausea": "nauseated nauseous",
    "hypertension": "htn",
    "diabete": "diabetic dm",
    "cyanosis": "cyanotic",
    "acidosis": "acidotic",
    "confusion": "confused",
    "syncope": "syncopal",
    "wheeze": "wheezy",
    "abdominal": "belly",
    "anxiety": "anxious",
    "bite": "biting bit bitten",
    "bleed": "bled",
    "bradycardia": "brady",
    "calf": "calves",
    "desaturation": "desat desats desatted desatting",
    "cachexia": "cachectic",
    "delirium": "delirious",
    "distend": "distension distention",
    "embolism": "emboli embolus embolic",
    "easy": "easily",
    "epilepsy": "epileptic",
    "exposure": "exposed",
    "fall": "fell fallen",
    "fracture": "fx fxs",
    "fatigue": "tired tiredness",
    "hemorrhage": "hemorrhagic",
    "hepatic": "liver",
    "lethargy": "lethargic",
    "loss": "lost lose loses losing",
    "mechanical": "mechanically",
    "obesity": "obese",
    "pallor": "pale",
    "palpitation": "palps",
    "weight": "wt",
    "pruritus": "pruritic itch itchy itchiness itching",
    "rale": "crackle crackles",
    "renal": "kidney kidneys",
    "serosanguinous": "serosang serosanguineous",
    "sleep": "slept",
    "sweat": "diaphoresis diaphoretic sweaty",
    "swell": "swollen",
    "tachycardia": "tachy",
    "tracheostomy": "trach trached",
    "ventilation": "vent vented",
    "thrombosis": "thrombus thrombi thrombosed",
    "ulcer": "ulceration ulcerations ulcerated",
    "increased": "incr",
    "decreased": "decr",
}
_DENYING_WORDS = {
    "fever": "afebrile apyrexia apyrexial apyrexic",
    "jaundice": "anicteric nonicteric",
    "cyanosis": "acyanotic noncyanotic",
    "trauma": "atraumatic",
    "tender": "nontender nt",
    "distend": "nondistended nd",
    "productive": "nonproductive unproductive",
    "purulent": "nonpurulent",
    "labored": "nonlabored unlabored",
    "radiating": "nonradiating",
    "pleuritic": "nonpleuritic",
    "exertional": "nonexertional",
    "bloody": "nonbloody",
    "bilious": "nonbilious",
    "edema": "nonedematous",
    "diabete": "nondiabetic",
    "smoker": "nonsmoker nonsmokers",
}
# Abbreviations with one meaning, and their expansions.
_ABBREVIATIONS = {
    "abd": "abdominal",
    "af": "atrial fibrillation",
    "afib": "atrial fibrillation",
    "aki": "acute kidney injury",
    "ami": "acute myocardial infarction",
    "ams": "altered mental status",
    "arf": "acute renal failure",
    "ards": "acute respiratory distress syndrome",
    "atn": "acute tubular necrosis",
    "b/l": "bilateral",
    "bilat": "bilateral",
    "ble": "bilateral leg",
    "brbpr": "bright red blood rectum",
    "cap": "community acquired pneumonia",
    "chb": "complete heart block",
    "cri": "chronic renal insufficiency",
    "crf": "chronic renal failure",
    "cad": "coronary artery disease",
    "chf": "congestive heart failure",
    "c/c/e": "clubbing cyanosis edema",
    "c/e": "cyanosis edema",
    "ckd": "chronic kidney disease",
    "copd": "chronic obstructive pulmonary disease",
    "cp": "chest pain",
    "cvat": "costovertebral angle tenderness",
    "cva tender": "costovertebral angle tenderness",
    "cva tenderness": "costovertebral angle tenderness",
    "cva": "cerebrovascular accident",
    "dka": "diabetic ketoacidosis",
    "dm1": "type 1 diabetes",
    "dm2": "type 2 diabetes",
    "doe": "dyspnea exertion",
    "ext": "extremity",
    "dts": "delirium tremens",
    "dvt": "deep vein thrombosis",
    "exp": "expiratory",
    "insp": "inspiratory",
    "esld": "end stage liver disease",
    "esrd": "end stage renal disease",
    "etoh": "alcohol",
    "g/r": "guarding rebound",
    "gerd": "gastroesophageal reflux disease",
    "h/a": "headache",
    "gi": "gastrointestinal",
    "gib": "gastrointestinal bleeding",
    "ha": "headache",
    "hap": "hospital acquired pneumonia",
    "hcc": "hepatocellular carcinoma",
    "hf": "heart failure",
    "hsm": "hepatosplenomegaly",
    "ich": "intracranial hemorrhage",
    "hld": "hyperlipidemia",
    "iddm": "insulin dependent diabetes",
    "ivdu": "iv drug use",
    "ild": "interstitial lung disease",
    "jvp": "jugular venous pressure",
    "si": "suicidal ideation",
    "ttp": "tenderness palpation",
    "jvd": "jugular venous distension",
    "lac": "laceration",
    "lbbb": "left bundle branch block",
    "le": "leg",
    "lgib": "lower gastrointestinal bleeding",
    "llq": "left lower quadrant",
    "luq": "left upper quadrant",
    "lle": "left leg",
    "lll": "left lower lobe",
    "lul": "left upper lobe",
    "loc": "loss consciousness",
    "lower extremities": "leg",
    "lower extremity": "leg",
    "m/r/g": "murmur rub gallop",
    "mi": "myocardial infarction",
    "n/t": "numbness tingling",
    "niddm": "non insulin dependent diabetes",
    "nstemi": "non st elevation myocardial infarction",
    "osa": "obstructive sleep apnea",
    "pe": "pulmonary embolism",
    "pad": "peripheral artery disease",
    "pvd": "peripheral vascular disease",
    "pna": "pneumonia",
    "ptx": "pneumothorax",
    "pulm": "pulmonary",
    "rbbb": "right bundle branch block",
    "resp": "respiratory",
    "r/g": "rub gallop",
    "r/m/g": "rub murmur gallop",
    "r/r/w": "rales rhonchi wheezes",
    "rlq": "right lower quadrant",
    "ruq": "right upper quadrant",
    "rvr": "rapid ventricular response",
    "rle": "right leg",
    "rll": "right lower lobe",
    "rml": "right middle lobe",
    "rul": "right upper lobe",
    "sah": "subarachnoid hemorrhage",
    "sle": "systemic lupus erythematosus",
    "stemi": "st elevation myocardial infarction",
    "svt": "supraventricular tachycardia",
    "sbo": "small bowel obstruction",
    "sdh": "subdural hematoma",
    "sz": "seizure",
    "t1dm": "type 1 diabetes",
    "t2dm": "type 2 diabetes",
    "tbi": "traumatic brain injury",
    "tia": "transient ischemic attack",
    "ugib": "upper gastrointestinal bleeding",
    "vag": "vaginal",
    "uop": "urine output",
    "uti": "urinary tract infection",
    "vap": "ventilator associated pneumonia",
    "vf": "ventricular fibrillation",
    "vt": "ventricular tachycardia",
    "vte": "venous thromboembolism",
    "w/r/r": "wheezes rales rhonchi",
    "wob": "work breathing",
}
_NUMBER_WORDS = """
    two three four five six seven eight nine ten eleven twelve
"""
_NUMERALS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS.split(), 2)}
_SIDES = {"l": "left", "r": "right"}
_OF_A_SIDE = re.compile(r"\)?(?: |-(?=sided))(?=[a-z]{3})|\s?[<>=]\s?[lr]\b")  # "R arm", "L-sided", "R>L"
_NO_SIDE = re.compile(r"\d\s?$|[/&'’]$")  # "2 L oxygen"
_LETTERS = {"n": "nausea", "v": "vomiting", "d": "diarrhea", "f": "fever", "c": "chills", "s": "sweats", "r": "rigors"}
_LETTERS["ns"] = "night sweats"
_OF_ONE_WORD = {short: words for short, words in _ABBREVIATIONS.items() if " " not in words}
_DENIED = {word: meaning for meaning, words in _DENYING_WORDS.items() for word in words.split()}
_ALIASES = {word: meaning for meaning, words in _SAME_WORDS.items() for word in words.split()} | _DENIED
_BRITISH = (
    ("haem", "hem"),
    ("aemi", "emi"),
    ("oede", "ede"),
    ("pnoe", "pne"),
    ("rhoe", "rhe"),
    ("oesoph", "esoph"),
    ("melaen", "melen"),
)
_ADJECTIVES = (
    ("pneic", "pnea"),
    ("capnic", "capnia"),
    ("carbic", "carbia"),
    ("tensive", "tension"),
    ("cardic", "cardia"),
    ("emic", "emia"),
    ("oxic", "oxia"),
    ("guric", "guria"),
    ("nuric", "nuria"),
    ("axic", "axia"),
    ("asic", "asia"),
    ("exic", "exia"),
    ("ermic", "ermia"),
    ("thric", "thria"),
    ("thmic", "thmia"),
    ("plegic", "plegia"),
    ("penic", "penia"),
    ("pathic", "pathy"),
    ("otic", "osis"),
    ("retic", "resis"),
    ("eptic", "epsis"),
    ("ence", "ent"),
)


_SPELLINGS = (("hem", "haem"), ("(?<!a)emi", "aemi"), ("(?<!o)ede", "oede"), ("pnea", "pnoea"), ("rhea", "rhoea"))


def spellings_of(name: str) -> set[str]:
    """Return a name in lower case, its British spelling, and both with abbreviations of single words."""
    british = name
    for one, other in _SPELLINGS:
        british = re.sub(one, other, british)
    found = {name, british}
    for short, word in _OF_ONE_WORD.items():
        found |= {re.sub(rf"\b{word}\b", short, spelling) for spelling in found if word in spelling}
    return found


def denies_itself(word: str) -> bool:
    """Return whether a lower-case word is a negation by itself, such as "afebrile"."""
    return word in _DENIED


def words_of(text: str) -> list[tuple[str, int, int]]:
    """Return stem, start and end of all words of a lower-case text; an abbreviation of one word is expanded."""
    return [
        (stem(_OF_ONE_WORD.get(m[0], m[0])), m.start(), m.end())
        for m in _word_pattern(text, 0, len(text)).finditer(text)
    ]


def content_words(text: str, start: int, end: int) -> list[tuple[str, int, int]]:
    """Return stem, start and end of the words that carry findings; abbreviations are expanded."""
    return [
        (stem(word), m.start(), m.end())
        for m in _word_pattern(text, start, end).finditer(text, start, end)
        if m[0] not in GRAMMAR_WORDS
        for word in _written_out(m[0], text, m.start(), m.end())
    ]


def _word_pattern(text: str, start: int, end: int) -> re.Pattern:
    """Return the pattern for the words of a span: the plain one if the span has no word with special characters."""
    return _WORD if any(text.find(mark, start, end) >= 0 for mark in _MARKS) else _PLAIN_WORD


def _written_out(word: str, text: str, start: int, end: int) -> list[str]:
    if word in _ABBREVIATIONS:
        return _ABBREVIATIONS[word].split()
    if word in _SIDES and _OF_A_SIDE.match(text, end) and not _NO_SIDE.search(text, max(start - 3, 0), start):
        return [_SIDES[word]]
    if word in _NUMERALS:
        return [_NUMERALS[word]]
    return " ".join(_LETTERS[letter] for letter in word.split("/")).split() if word[1:2] == "/" else [word]


@lru_cache(maxsize=2**16)
def stem(word: str) -> str:
    """Return the common stem of a word's forms and synonyms."""
    if " " in word and word not in _ABBREVIATIONS:
        return "dyspnea"
    for british, american in _BRITISH:
        word = word.replace(british, american)
    word = _ALIASES.get(word, word).removesuffix("'s")
    for adjective, noun in _ADJECTIVES:
        if word.endswith(adjective):
            word = word[: -len(adjective)] + noun
    if word.endswith("ness") and len(word) > 7:
        word = re.sub("i$", "y", word[:-4])
    if len(word) > 7:
        word = re.sub("ions?$", "", word)  # "agitation" and "agitated"
    return _ALIASES.get(_without_ending(word), _without_ending(word))


def _without_ending(word: str) -> str:
    """Cut the ending of plural, tense or participle; enough to match "crackles" with "crackle"."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s"):
        if (
            word.endswith(ending)
            and len(word) - len(ending) >= (3 if ending == "s" else 4)
            and not word.endswith(("ss", "us", "is"))
        ):
            word = word[: -len(ending)]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


MODIFIER_STEMS = frozenset(map(stem, _MODIFIERS.split()))
