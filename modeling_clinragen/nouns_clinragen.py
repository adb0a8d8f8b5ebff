# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Findings of a note as English noun phrases, close to the note's own words: "tachycardic" becomes "tachycardia", "on a
statin" becomes "a statin", and a clause such as "sleeps on three pillows" is quoted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from .links_clinragen import NoteFinding
from .words_clinragen import words_of


_NO_NOUN = re.compile(
    r"^(?:took|takes|sleeps|sleeps?(?= (?:on|in|with|upright|propped)\b)|wakes|smokes|ran|drinks|drank|has|had|is|was"
    r"|without)\b|\b(?:opened|drained|had)\b"
)
_PREPOSITION = re.compile(r"^(?:on|with) (?:(?:an?|the) )?", re.IGNORECASE)
# nouns for entries of forms that the knowledge has no noun for
_NOUNS = {
    "airway intubated": "airway intubation",
    "desaturated": "desaturation",
    "desatted": "desaturation",
    "dysrhythmia irregular": "irregular dysrhythmia",
    "ethanol use heavy": "heavy ethanol use",
    "intubated": "intubation",
    "renal failure - hemodialysis": "renal failure on hemodialysis",
    "renal failure- hemodialysis": "renal failure on hemodialysis",
    "reintubated": "reintubation",
    "smoker": "a history of smoking",
    "trach": "a tracheostomy",
    "unresponsive": "unresponsiveness",
    "vent": "ventilation",
    "vented": "ventilation",
    "ventilated": "ventilation",
    "worst headache of life": "the worst headache of life",
}
_HEAD_ENDS = re.compile(r" (?:of|for|with|without|from|on|in|to|at|per|by|since|after) ")  # what follows is no head
# heads that are no noun: "tachycardic", "dehydrated", "dull" of "dull to percussion"
_NO_NOUN_HEAD = re.compile(
    r"(?:(?<!diuret)(?<!antibiot)(?<!col)(?<!pan)ic|(?:ens|ons|essi|at|it)ive|ous|(?<![e\W])ed|febrile|feverish"
    r"|\b(?:syncopal|pyrexial|suicidal|hoarse|brady|tachy|pale|obese|dull|breathless|swollen|weak|unstable|paced"
    r"|(?:itch|sweat|wheez|drows|sleep)y|smokes|vomits))$",
    re.IGNORECASE,
)
_ADJECTIVAL = re.compile(r"(?:\w+ly |[av/]+ )?\S+$", re.IGNORECASE)  # without a noun of its own: "A/V paced"
_AFTER_NOUN = re.compile(
    r"(?P<noun>\S.*?) (?P<kind>elevated|raised|increased|positive|decreased|diminished|absent)"
    r"(?P<rest> (?:on|in|at|of) .*)?$",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"^(?:labored|irregular|poor|complications of prev)$")
# heads of phrases that need an article: devices, drugs of a kind, and signs and events that can be counted
_COUNTABLE = """
    AICD, IABP, agent, agonist, antibiotic, anticoagulant, antihypertensive, balloon pump, binder, blocker, bolus,
    bronchodilator, catheter, chest drain, defibrillator, diuretic, drug, inhibitor, line, operation, pacemaker,
    pressor, statin, stent, steroid, transplant, tube, vasopressor, ventilator, wire, abnormality, adenoma,
    aneurysm, attack, bleed, bruit, cough, costophrenic angle, CVA, defect, disorder, disturbance, effusion,
    embolus, event, family history, filtration rate, fistula, fluid collection, foot, fraction, gallop, gap,
    headache, heart, heart sound, hematoma, hyperdense artery, imbalance, infarct, infection, infiltrate, interval,
    leak, left shift, left atrium, left ventricle, mass, murmur, nodular liver, nodule, nosebleed, old infarction,
    overdose, plug, pneumothorax, pulse, reaction, rhythm, rub, stroke, swollen abdomen, barrel chest, throat, time,
    TIA, tremor, ulcer, UTI, voice, wave, wheeze, xanthoma
"""
_ANY_COUNTABLE = "|".join(" ".join(_COUNTABLE.split()).split(", "))
_COUNTED = re.compile(rf"(?:.*[ -])?(?:{_ANY_COUNTABLE})$", re.IGNORECASE)
_WITH_ARTICLE = re.compile(r"(?:an?|the|no|daily) ", re.IGNORECASE)
_AN = re.compile(r"[aeio]|u(?!ni|ri|se|ti|ter)|[AEFHILMNORSX][A-Z]")
_LONG = 5  # letters; a longer word in capitals is no abbreviation
_SINGULAR = re.compile(r"(?:ss|us|is|itis|betes|cites|sepsis|rabies|herpes|tremens)$")
_IRREGULAR_PLURAL = re.compile(r"(?:rhonchi|bronchi|cocci|bacilli|emboli|thrombi|feet|teeth|bacteria|mata)$")
_INNER_CAPITALS = re.compile(r"\w[A-Z]")
_ABBREVIATIONS = re.compile(r"[A-Z]{2,}s$")  # "PVCs"
_WORD = re.compile(r"[\w'-]+")


class NounPhrases:
    """
    Word findings of notes as noun phrases.

    Args:
        forms (iterable of `str`): the terms of the knowledge and their synonyms; they give nouns for adjectives and
            verbs with the same stems, and the capitals of names.
    """

    def __init__(self, forms: Iterable[str] = ()):
        self._nouns: dict[tuple[str, ...], str] = {}
        self._forms: dict[str, str] = {}
        seen: dict[str, set[str]] = defaultdict(set)
        for form in forms:
            self._forms.setdefault(form.lower(), form)
            if not (_is_no_noun(form) or _NO_NOUN.search(form.lower())):
                self._nouns.setdefault(_stems(form), form)
            for word in _WORD.findall(form):
                seen[word.lower()].add(word)
        self._abbreviations = {
            lower: next(iter(written))
            for lower, written in seen.items()
            if len(lower) > 1 and len(written) == 1 and not next(iter(written))[1:].islower()
        }

    def __call__(self, finding: NoteFinding) -> str:
        """
        Return the noun phrase of a finding, in lower case except for names and abbreviations: "pneumonia", and
        "possible pneumonia" if the note only suspects it.
        """
        noun = self.plain(finding)
        if not finding.suspected:
            return noun
        if '"' in noun or noun.startswith("being "):
            return f"suspicion of {noun}"
        article = _WITH_ARTICLE.match(noun)
        return with_article(f"possible {noun[article.end() :] if article else noun}")

    def plain(self, finding: NoteFinding) -> str:
        """Return the noun phrase of a finding, suspected or not."""
        text = _PREPOSITION.sub("", " ".join(finding.text.split())).removesuffix(" present")
        noun, comma, kind = text.partition(", ")
        text = f"{kind} {uncapitalized(noun)}" if comma else text
        lower = text.lower()
        if lower in _NOUNS:
            return _NOUNS[lower]
        if _ENTRY.search(lower):
            return f'the finding "{uncapitalized(text)}"'
        if finding.type != "drug" and (after := _AFTER_NOUN.match(text)) and not _is_no_noun(after["noun"]):
            return self._cased(f"{after['kind']} {uncapitalized(after['noun'])}{after['rest'] or ''}", finding)
        if finding.type != "drug" and (_is_no_noun(text) or _NO_NOUN.search(lower)):
            return self._nominal(text, finding)
        return with_article(self._cased(text, finding))

    def _nominal(self, text: str, finding: NoteFinding) -> str:
        """Word an adjective or a clause as a noun."""
        if known := self._nouns.get(_stems(text)):
            return with_article(uncapitalized(known))
        if _NO_NOUN.search(text.lower()):
            return f'"{uncapitalized(text)}"'
        return f"being {uncapitalized(text)}" if _ADJECTIVAL.match(_head_of(text)) else self._cased(text, finding)

    def _cased(self, text: str, finding: NoteFinding) -> str:
        """Write names and abbreviations with the capitals of the knowledge, other words in lower case."""
        known, is_short = self._forms.get(text.lower()), len(text) <= _LONG
        if known is not None and not (known.islower() and _is_abbreviated(text)):
            return known
        is_form = re.search(r" [A-Z][a-z]+ [a-z]", text)  # "Ethanol Use heavy"
        if (text.isupper() and not is_short) or is_form or (text.istitle() and " " in text):
            return self._with_abbreviations(text.lower())
        return text if finding.type == "organism" else uncapitalized(text)

    def _with_abbreviations(self, lower: str) -> str:
        return _WORD.sub(lambda match: self._abbreviations.get(match[0], match[0]), lower)


def _is_abbreviated(text: str) -> bool:
    """Return whether the capitals of a text are those of an abbreviation: "COPD", "pRBCs"."""
    return len(text) <= _LONG if text.isupper() else bool(_INNER_CAPITALS.search(text))


def _stems(text: str) -> tuple[str, ...]:
    return tuple(word for word, *_ in words_of(text.lower()))


def _head_of(text: str) -> str:
    return _HEAD_ENDS.split(text, maxsplit=1)[0]


def _is_no_noun(text: str) -> bool:
    return bool(_NO_NOUN_HEAD.search(_head_of(text)))


def with_article(text: str) -> str:
    """Write a countable noun in the singular with its article."""
    if _WITH_ARTICLE.match(text) or not _COUNTED.match(_head_of(text)):
        return text
    return f"{'an' if _AN.match(text) else 'a'} {text}"


def uncapitalized(text: str) -> str:
    """Lower the first letter of a text unless its first word is an abbreviation."""
    first = re.match(r"\w+", text)
    return text if first is None or not first[0][1:].islower() else text[0].lower() + text[1:]


def is_plural(text: str) -> bool:
    """Return whether a noun phrase is a plural, by its head: the last word before a preposition."""
    if '"' in text or text.startswith("being "):
        return False
    last = _head_of(text).split()[-1]
    if _ABBREVIATIONS.search(last) or _IRREGULAR_PLURAL.search(last.lower()):
        return True
    return last.islower() and last.endswith("s") and not _SINGULAR.search(last)


__all__ = ["NounPhrases", "is_plural", "uncapitalized", "with_article"]
