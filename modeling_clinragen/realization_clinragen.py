# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Surface realization of composed rationales in English. Subject, verb, order and connective of each sentence are drawn
independently.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from .clinical_clinragen import short_name, usual_limits
from .links_clinragen import NoteFinding
from .slots_clinragen import often


NO_NOTE, NO_SERIES = "There is no note.", "No series were measured."
NO_SIGN = {
    "note": (
        "Nothing in the note points to a listed disease.",
        "The note alone gives no clear sign of a listed disease.",
        "The note gives no sign of a listed disease.",
    ),
    "lab": (
        "The measured series point to no listed disease.",
        "The measured series show no clear sign of a listed disease.",
        "Nothing in the measured series points to a listed disease.",
    ),
}
NO_FINDING = {  # if no search for findings was made
    "note": "No finding of the note is given here.",
    "lab": "No value of the series is given here.",
}
_UNEXPLAINED = (
    ("{names} remains unexplained: no recognized finding in {place} points to it.",
     "{names} remain unexplained: no recognized finding in {place} points to them."),
    ("{names} is left unexplained, as no recognized finding in {place} points to it.",
     "{names} are left unexplained, as no recognized finding in {place} points to them."),
    ("{names} stays unexplained: nothing recognized in {place} points to it.",
     "{names} stay unexplained: nothing recognized in {place} points to them."),
)  # fmt: skip
_BY_TEXT = ("{names} is left unexplained by this text.", "{names} are left unexplained by this text.")
# (verb for one finding, verb for several); the weak verbs are for findings that many diseases share
_VERBS = (
    ("points to", "point to"), ("suggests", "suggest"), ("supports", "support"), ("indicates", "indicate"),
    ("favors", "favor"), ("is consistent with", "are consistent with"), ("is in keeping with", "are in keeping with"),
)  # fmt: skip
_WEAK_VERBS = (
    ("fits", "fit"), ("is consistent with", "are consistent with"), ("is in keeping with", "are in keeping with"),
    ("is compatible with", "are compatible with"), ("supports", "support"),
)  # fmt: skip
MAX_SPECIFIC = 3  # diseases; a finding linked with more is not specific
_RESPIRATORY = {"Respiratory failure; insufficiency; arrest (adult)"}
_HYPERTENSION = {"Essential hypertension", "Hypertension with complications and secondary hypertension"}
# findings of the series that other diseases share -> the diseases for which they are specific
_HALLMARKS = {
    ("Systolic blood pressure", "low"): {"Shock"}, ("Mean blood pressure", "low"): {"Shock"},
    ("Systolic blood pressure", "high"): _HYPERTENSION, ("Mean blood pressure", "high"): _HYPERTENSION,
    ("Oxygen saturation", "low"): _RESPIRATORY, ("Fraction inspired oxygen", "high"): _RESPIRATORY,
}  # fmt: skip
_SINGULAR_OF = {verb: one for one, several in (*_VERBS, *_WEAK_VERBS) for verb in (one, several)}
_PLURAL_VERB = re.compile(rf"^(?P<lead>(?: in the note)?(?:, which)? (?:also )?)(?P<verb>{'|'.join(_SINGULAR_OF)})\b")
_NO_VERB = re.compile(r"(?: in the note)?(?:[.;]|, (?!which\b))")
# verbs that end the scope of a negation: in "no urine output points to X", X is not denied
_PLAIN_VERBS = (("points to", "point to"), ("suggests", "suggest"), ("favors", "favor"))
_PASSIVES, _WEAK_PASSIVES, _BACKED = ("suggested", "supported", "indicated"), ("suggested",), ("supported", "backed")
_MISSING = ("no ", "without ", "absent ", "loss of ")
_REPORTS = ("reports", "records", "describes", "mentions", "documents")
_NAMED_DIAGNOSIS = ("The note {report} {evidence}.", "{evidence} {be} {passive} in the note.")
_KNOWN = ("recorded", "documented", "reported")
# names for labels that read badly in a sentence; used if the knowledge has the name
_SENTENCE_NAMES = {
    "Acute and unspecified renal failure": "acute renal failure",
    "Chronic obstructive pulmonary disease and bronchiectasis": "chronic obstructive pulmonary disease",
    "Coronary atherosclerosis and other heart disease": "coronary artery disease",
    "Hypertension with complications and secondary hypertension": "hypertension with complications",
    "Pleurisy; pneumothorax; pulmonary collapse": "pleurisy, pneumothorax or pulmonary collapse",
}
_CHANNEL_NAMES = {
    "Fraction inspired oxygen": "inspired oxygen",
    "Platelets": "platelet count",
    "White blood cells": "white count",
}
# clinical terms for levels of a channel
_SIGNS = {
    ("Heart Rate", "high"): "tachycardia", ("Heart Rate", "low"): "bradycardia",
    ("Temperature", "high"): "fever", ("Temperature", "low"): "hypothermia",
    ("Respiratory rate", "high"): "tachypnea", ("Oxygen saturation", "low"): "hypoxemia",
    ("Glucose", "high"): "hyperglycemia", ("Glucose", "low"): "hypoglycemia",
    ("Potassium", "high"): "hyperkalemia", ("Potassium", "low"): "hypokalemia",
    ("Sodium", "high"): "hypernatremia", ("Sodium", "low"): "hyponatremia",
    ("Platelets", "low"): "thrombocytopenia", ("White blood cells", "high"): "leukocytosis",
}  # fmt: skip
# Wordings of a course by the position of its extreme value: in between, there little beyond the first or the last
# value; at the start, when the last value is still abnormal, or is not; at the end.
_THROUGH = (
    "{name} {moved} from {first} to {extreme} at hour {hour} and was {last} at the end",
    "{name} {moved} from {first} to {extreme} at hour {hour} and {back} to {last} by the end",
    "{name} was {first} at the start, {turned} {extreme} at hour {hour} and was {last} at the end",
    "{name} was initially {first}, {turned} {extreme} at hour {hour} and ended at {last}",
    "{name} {moved} from {first} to a {peak} of {extreme} at hour {hour} and ended at {last}",
    "{name} was {first} at the start and {last} at the end, with a {peak} of {extreme} at hour {hour}",
    "{name} {turned} {extreme} at hour {hour} and was {last} at the end",
)
_FROM_NEAR = _THROUGH[-1:]
_TO_NEAR = tuple(form for form in _THROUGH if "{back}" not in form)
_STILL = (
    "{name} was {extreme} at the start and {last} at the end",
    "{name} was {extreme} at the start and still {last} at the end",
)
_FROM_START = (
    "{name} was {extreme} at the start and {last} at the end",
    "{name} began at {extreme} and {back} to {last} by the end",
    "{name} {back} from {extreme} at the start to {last} at the end",
)
_TO_END = (
    "{name} {moved} from {first} to {extreme} by the end",
    "{name} {moved} from {first} at the start to {extreme} at the end",
    "{name} was {first} at the start and {extreme} at the end",
)
_TRENDS = (
    "{name} {moved} from {first} to {last}",
    "{name} {moved} from {first} at the start to {last} at the end",
)
_LEVELS = (
    "{name} {turned} {extreme} at hour {hour}",
    "{name} was {word} than normal {times}, {reach} {extreme}",
    "{name} was {side} normal {times}, with a {peak} of {extreme} at hour {hour}",
)
_PHRASES = (
    "{name} {reach} {extreme}",
    "{name} {reach} {extreme} at hour {hour}",
    "a {peak} {name} of {extreme}",
    "{sign} {reach} {extreme}",
    "{sign} with {name} {reach} {extreme}",
    "{sign} ({reach} {extreme} at hour {hour})",
)
_UPWARDS = {
    "moved": ("rose", "climbed"),
    "back": ("fell", "dropped"),
    "turned": ("peaked at", "reached", "went up to"),
    "peak": ("peak", "maximum"),
    "word": ("higher",), "side": ("above",), "reach": ("up to",),
}  # fmt: skip
_DOWNWARDS = {
    "moved": ("fell", "dropped"),
    "back": ("rose", "recovered"),
    "turned": ("fell to", "reached a low of", "went down to"),
    "peak": ("minimum", "low"),
    "word": ("lower",), "side": ("below",), "reach": ("down to", "as low as"),
}  # fmt: skip
_NO_NOUN = re.compile(
    r"^(?:took|takes|sleeps?|wakes|smokes|ran|drinks|drank|has|had|is|was|on|without)\b|\b(?:opened|drained|had)\b"
)
# nouns for entries of an examination form, close to the note's own words: a rationale uses no others
_NOUNS = {
    "airway intubated": "airway intubation", "anuric": "anuria", "dysrhythmia irregular": "irregular dysrhythmia",
    "febrile": "fever", "hypercapnic": "hypercapnia", "hypercarbic": "hypercarbia", "hypotensive": "hypotension",
    "hypoxemic": "hypoxemia", "hypoxic": "hypoxia", "intubated": "intubation",
    "mechanically ventilated": "ventilation", "oliguric": "oliguria", "smoker": "being a smoker",
    "unresponsive": "unresponsiveness", "ventilated": "ventilation",
}  # fmt: skip
_ADJECTIVE = re.compile(r"^(?:(?:[av/]+ )?paced|septic)$")
_ACT = re.compile(r"administration|infusion|repletion|replacement|therapy|blockade")
_ENTRY = re.compile(r"^(?:labored|irregular|poor|complications of prev)$")
_COUNTED = re.compile(
    r"^(?!(?:an?|the) ).*\b(?:tube|pacemaker|bronchodilator|agent|inhibitor|diuretic|blocker|stent|balloon pump"
    r"|defibrillator|arterial line|operation|nodule|bolus|AICD|IABP)$"
)
_SINGULAR = re.compile(r"(?:ss|us|is|itis|betes|cites|sepsis|rabies|herpes|tremens)$")


@dataclass(frozen=True)
class SeriesFinding:
    """
    A level or a trend of one channel.

    Args:
        channel (`dict`): as in the dataset; `direction` (`str`): `high`, `low`, `rising` or `falling`.
        diseases (`frozenset[str]`): the diseases that the knowledge links with it.
        hours, values (`np.ndarray`): of the channel's measurements.
    """

    channel: dict
    direction: str
    diseases: frozenset[str]
    hours: np.ndarray = field(compare=False)
    values: np.ndarray = field(compare=False)

    @property
    def upwards(self) -> bool:
        return self.direction in ("high", "rising")

    @property
    def extreme(self) -> int:
        """Return the position of the highest, or the lowest, value."""
        return int(self.values.argmax() if self.upwards else self.values.argmin())

    @property
    def crosses(self) -> bool:
        """Return whether the first or the last value lies beyond the usual limit on the other side."""
        low, high = usual_limits(self.channel)
        ends = self.values[[0, -1]]
        return bool((ends < low if self.upwards else ends > high).any())

    @property
    def is_flat(self) -> bool:
        """Return whether the extreme value differs too little from the first and the last to report a course."""
        return self.is_near(0) and self.is_near(-1)

    def is_near(self, position: int) -> bool:
        """Return whether a value differs too little from the extreme one to call the difference a change."""
        worth = 0.4 * self.channel.get("std", 0.1 * abs(self.values[self.extreme]))
        return bool(abs(self.values[position] - self.values[self.extreme]) < worth)

    @property
    def stays_beyond(self) -> bool:
        """Return whether the last value is also beyond the usual limit."""
        low, high = usual_limits(self.channel)
        return bool(self.values[-1] > high if self.upwards else self.values[-1] < low)

    @property
    def is_brief(self) -> bool:
        """Return whether the extreme value was measured in the hour of the first or the last value."""
        hour = f"{self.hours[self.extreme]:.0f}"
        return hour in (f"{self.hours[0]:.0f}", f"{self.hours[-1]:.0f}")

    @property
    def count(self) -> int:
        """Count the values beyond the usual limit, as captions do."""
        low, high = usual_limits(self.channel)
        return int((self.values > high if self.upwards else self.values < low).sum())


def place_of(modalities: Collection[str]) -> str:
    """Return the words for the parts of the record that are searched for findings."""
    return (
        "this record" if len(modalities) > 1 else {"note": "this note", "lab": "these series"}[next(iter(modalities))]
    )


class SurfaceRealizer:
    """
    Word sentences in English.

    Args:
        names (`dict`): diagnosis -> its names.
        own (`dict`): the same, as sets in lower case.
    """

    def __init__(self, names: dict[str, Iterable[str]], own: dict[str, set[str]]):
        self.sentence_names = {disease: sentence_name(disease, names[disease]) for disease in names}
        self.own = own

    def note(
        self,
        diseases: list[str],
        findings: list[NoteFinding],
        choose: random.Random,
        also: bool = False,
        again: bool = False,
    ) -> str:
        """
        Word one sentence that argues from findings of a note.

        Args:
            also (`bool`): whether an earlier sentence argues for the same diseases.
            again (`bool`): whether an earlier sentence names one of the findings.
        """
        names = [f for f in findings if len(diseases) == 1 and self.is_name(f, diseases[0])]
        others = [f for f in findings if f not in names]
        if names:
            return self._named_diagnosis(_written_once(names), [f for f in others if not is_risk(f)], choose)
        drugs = [f for f in findings if _is_given(f)]
        phrases = _written_once([f for f in findings if not _is_given(f)])
        phrases = choose.sample(phrases, len(phrases)) if choose.random() < 0.5 else phrases
        phrases = [*phrases, *([_use_of(drugs)] if drugs else [])]
        evidence = listed(phrases)
        strong = any(not is_risk(f) and f.type != "drug" and len(f.diseases) <= MAX_SPECIFIC for f in findings)
        lacks = any(item.lower().startswith(_MISSING) for item in phrases)
        verb = self._verb(len(phrases) > 1 or _is_plural(phrases[0]), choose, also, strong, lacks)
        place, disease = choose.choice((" in the note", "")), self._named(diseases)
        place = "" if "being " in evidence else place
        form = choose.randrange(4 if strong else 3)  # "likely" only for strong evidence
        form = 0 if form == 1 and again else form
        if form == 0:
            where = "in the note, " if not place and choose.random() < 0.5 else ""
            return sentence_case(f"{where}{evidence}{place} {verb} {disease}.")
        if form == 1:
            return sentence_case(f"The note {choose.choice(_REPORTS)} {evidence}, which {verb} {disease}.")
        if form == 2 or len(phrases) > 2:  # the first comma would end a list after "Given"
            return self._passive(diseases, evidence + place, choose, also, strong)
        return sentence_case(f"Given {evidence}{place}, {disease} {self._be(diseases)} likely.")

    def is_name(self, finding: NoteFinding, disease: str) -> bool:
        """Return whether a finding of the note, as it is written here, is a name of the disease itself."""
        return _written(finding).lower() in self.own[disease]

    @staticmethod
    def _named_diagnosis(names: list[str], others: list[NoteFinding], choose: random.Random) -> str:
        """Word a sentence on a diagnosis that the note itself names, with other findings of the note."""
        name, report = listed(names), choose.choice(_REPORTS)
        be = "are" if len(names) > 1 or _is_plural(name) else "is"
        drugs = [f for f in others if _is_given(f)]
        phrases = _written_once([f for f in others if not _is_given(f)])
        phrases += [_use_of(drugs)] if drugs else []
        if phrases:
            return sentence_case(
                f"The note {report} {name}, which {be} {choose.choice(_BACKED)} by {listed(phrases)}."
            )
        form = choose.choice(_NAMED_DIAGNOSIS)
        return sentence_case(form.format(evidence=name, be=be, report=report, passive=choose.choice(_KNOWN)))

    def series(
        self,
        diseases: list[str],
        findings: list[SeriesFinding],
        choose: random.Random,
        also: bool = False,
        again: bool = False,
    ) -> str:
        """Word one sentence that argues from findings of the series; arguments as in [`SurfaceRealizer.note`]."""
        strong = any(self._is_specific(finding, diseases) for finding in findings)
        if choose.random() < 0.4:
            evidence = listed([_phrase(finding, choose) for finding in findings])
            if choose.random() < 0.5:
                return self._passive(diseases, evidence, choose, also, strong)
            verb = self._verb(len(findings) > 1, choose, also, strong)
            return sentence_case(f"{evidence} {verb} {self._named(diseases)}.")
        clauses = self._clauses(findings, choose)
        link = choose.choice((", which", ", and this")) if len(findings) == 1 else ", which"
        return sentence_case(f"{clauses}{link} {self._verb(False, choose, also, strong)} {self._named(diseases)}.")

    @staticmethod
    def _is_specific(finding: SeriesFinding, diseases: list[str]) -> bool:
        specific = finding.diseases & _HALLMARKS.get((finding.channel["name"], finding.direction), set())
        return specific.issuperset(diseases) if specific else len(finding.diseases) <= MAX_SPECIFIC

    @staticmethod
    def _clauses(findings: list[SeriesFinding], choose: random.Random) -> str:
        """Word the first finding with its course, the others more briefly."""
        first, *others = findings
        clauses = [_clause(first, choose), *(_clause(finding, choose, short=True) for finding in others)]
        return (choose.choice((", while ", ", and ")) if len(clauses) == 2 else ", ").join(clauses)

    @staticmethod
    def unlisted(findings: list[NoteFinding] | list[SeriesFinding], choose: random.Random) -> str:
        """Word the findings of the note or the series if no diagnosis is listed."""
        if isinstance(findings[0], SeriesFinding):
            return f"{sentence_case(SurfaceRealizer._clauses(findings, choose))}."
        return f"The note mentions {listed(_written_once(findings))}."

    @staticmethod
    def nothing(part: str, choose: random.Random, read: bool = True, searched: bool = True) -> str:
        """
        State that a part has no evidence.

        Args:
            read (`bool`): whether the record has this part.
            searched (`bool`): whether the part was searched for findings.
        """
        if not read:
            return NO_NOTE if part == "note" else NO_SERIES
        return choose.choice(NO_SIGN[part]) if searched else NO_FINDING[part]

    def unexplained(self, diseases: list[str], choose: random.Random, place: str | None) -> str:
        """State that nothing in `place` (see [`place_of`]) points to the diseases; `None`: no place was searched."""
        one, several = choose.choice(_UNEXPLAINED) if place else _BY_TEXT
        text = one if self._be(diseases) == "is" else several
        return sentence_case(text.format(names=self._named(diseases), place=place))

    def _passive(self, diseases: list[str], evidence: str, choose: random.Random, also: bool, strong: bool) -> str:
        passive = choose.choice(_PASSIVES if strong else _WEAK_PASSIVES)
        link = f"{self._be(diseases)} {'also ' if also else ''}{passive} by"
        return sentence_case(f"{self._named(diseases)} {link} {evidence}.")

    def _named(self, diseases: list[str]) -> str:
        return listed([self.sentence_names[disease] for disease in diseases])

    def _be(self, diseases: list[str]) -> str:
        return "are" if len(diseases) > 1 or _is_plural(self.sentence_names[diseases[0]]) else "is"

    @staticmethod
    def _verb(plural: bool, choose: random.Random, also: bool, strong: bool, lacks: bool = False) -> str:
        verb = choose.choice(_PLAIN_VERBS if lacks else _VERBS if strong else _WEAK_VERBS)[plural]
        return f"also {verb}" if also and choose.random() < 0.4 and not verb.startswith(("is", "are")) else verb


def sentence_name(disease: str, names: Iterable[str]) -> str:
    """Return the name of a diagnosis for a sentence."""
    preferred = _SENTENCE_NAMES.get(disease)
    known = {name.lower() for name in names}
    if preferred and (preferred in known or preferred.split(",")[0] in known):
        return preferred
    return _uncapitalized(short_name(disease))


def listed(items: list[str]) -> str:
    """Join phrases; those with a negation ("no urine output") come last, as its scope would include what follows."""
    items = sorted(items, key=lambda item: item.lower().startswith(_MISSING))
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def _uncapitalized(text: str) -> str:
    """Lower the first letter of a text unless its first word is an abbreviation."""
    first = re.match(r"\w+", text)
    return text if first is None or not first[0][1:].islower() else text[0].lower() + text[1:]


def sentence_case(text: str) -> str:
    """Write a sentence with a capital letter at its start."""
    return text if text.startswith("pH") else text[0].upper() + text[1:]


def with_singular_verb(tail: str, subject: str) -> str | None:
    """Put the verb of `tail` into the singular, unless `subject` is a plural; `None` if the verb is not known."""
    if _is_plural(_uncapitalized(subject)) or _NO_VERB.match(tail):
        return tail
    changed, count = _PLURAL_VERB.subn(lambda match: match["lead"] + _SINGULAR_OF[match["verb"]], tail, count=1)
    return changed if count else None


def _written_once(findings: list[NoteFinding]) -> list[str]:
    return list(dict.fromkeys(_written(finding) for finding in findings))


def is_risk(finding: NoteFinding) -> bool:
    """Return whether a finding is only a risk or a cause of the diagnosis, such as another disease."""
    return finding.type in ("history", "name")


def _is_given(finding: NoteFinding) -> bool:
    """Return whether a finding is a drug, to be worded as "the use of"."""
    return finding.type == "drug" and not _ACT.search(finding.text.lower())


def _use_of(drugs: list[NoteFinding]) -> str:
    return f"the use of {listed(_written_once(drugs))}"


def _written(finding: NoteFinding) -> str:
    """
    Return a finding as the note writes it, in lower case except for abbreviations. "Arrest, respiratory" becomes
    "respiratory arrest"; a text that is not a noun, such as "sleeps on three pillows", is quoted.
    """
    text = re.sub("^on ", "", " ".join(finding.text.split()))
    noun, comma, kind = text.partition(", ")
    if comma:
        text = f"{kind} {_uncapitalized(noun)}"
    if _NO_NOUN.search(text.lower()):
        return f'"{_uncapitalized(text)}"'
    if text.lower() in _NOUNS:
        return _NOUNS[text.lower()]
    if _ADJECTIVE.search(text.lower()):
        return f"being {_uncapitalized(text)}"
    if _ENTRY.search(text.lower()):
        return f'the finding "{_uncapitalized(text)}"'
    if _COUNTED.search(text if text.isupper() else _uncapitalized(text)):
        text = _uncapitalized(text)
        return f"{'an' if re.match('[aeiouAI]', text) else 'a'} {text}"
    if text.isupper() and len(text) > 5:
        return text.lower()
    is_form = finding.type != "organism" and re.search(r" [A-Z][a-z]+ [a-z]", text)  # "Ethanol Use heavy"
    return text.lower() if is_form or (text.istitle() and " " in text) else _uncapitalized(text)


def _is_plural(text: str) -> bool:
    """Return whether a noun phrase is a plural, by its head: the last word before a preposition."""
    last = re.split(r" (?:of|for|with|without|from|on|in) ", text)[0].split()[-1]
    return last.islower() and last.endswith("s") and not _SINGULAR.search(last)


def number_of(finding: SeriesFinding, position: int, unit: bool = True) -> str:
    """Write a value of a finding, with its unit."""
    channel, value = finding.channel, finding.values[position]
    shown = channel.get("unit", "")
    if shown == "fraction":
        return f"{value * 100:.0f}%"
    written = f"{value:.{channel.get('decimals', 1)}f}"
    if not unit or shown in ("pH", "ratio", ""):
        return written
    if shown == "%":
        return f"{written}%"
    return f"{written} {'×' if shown.startswith('10^') else ''}{shown}"


def _name(channel: dict) -> str:
    name = _CHANNEL_NAMES.get(channel["name"], channel["name"])
    return " ".join(_uncapitalized(word) for word in name.split())


def _words(finding: SeriesFinding, choose: random.Random) -> dict[str, str]:
    """Draw the words for a finding's direction, and write its numbers."""
    words = {name: choose.choice(drawn) for name, drawn in (_UPWARDS if finding.upwards else _DOWNWARDS).items()}
    name = _name(finding.channel)
    return words | {
        "name": name,
        "sign": _SIGNS.get((finding.channel["name"], finding.direction), name),
        "first": number_of(finding, 0, unit=choose.random() < 0.3),
        "extreme": number_of(finding, finding.extreme),
        "last": number_of(finding, -1, unit=choose.random() < 0.5),
        "hour": f"{finding.hours[finding.extreme]:.0f}",
        "times": often(finding.count),
    }


def _phrase(finding: SeriesFinding, choose: random.Random) -> str:
    """Word a finding as a noun with its extreme value."""
    if finding.direction in ("rising", "falling") or len(finding.values) == 1:
        name = _name(finding.channel)
        course = f"{name} {finding.direction} from {number_of(finding, 0, unit=False)} to {number_of(finding, -1)}"
        return course if len(finding.values) > 1 else f"{name} of {number_of(finding, 0)}"
    known = (finding.channel["name"], finding.direction) in _SIGNS
    return choose.choice(_PHRASES[: len(_PHRASES) if known else 3]).format(**_words(finding, choose))


def _clause(finding: SeriesFinding, choose: random.Random, short: bool = False) -> str:
    """Word a finding as a clause: its course, or its extreme value and how often it was abnormal."""
    words = _words(finding, choose)
    first, last, extreme = (number_of(finding, at) for at in (0, -1, finding.extreme))
    if first == last == extreme:
        return "{name} was {extreme}".format(**words)
    if first == last:
        return choose.choice(_LEVELS[:1] if finding.count == 1 else _LEVELS).format(**words)
    if finding.direction in ("rising", "falling"):
        forms = _TRENDS
    elif finding.count == 1:
        forms = _LEVELS[:1]
    elif short or finding.crosses or finding.is_flat or choose.random() < 0.3:
        forms = _LEVELS
    else:
        forms = _course(finding, first, last, extreme)
    return choose.choice(forms).format(**words)


def _course(finding: SeriesFinding, first: str, last: str, extreme: str) -> tuple[str, ...]:
    """Return the wordings that fit the position of the extreme value in a course."""
    if extreme == first:
        return _STILL if finding.stays_beyond else _FROM_START
    if extreme == last:
        return _TO_END
    if finding.is_brief:
        return _LEVELS
    if finding.is_near(0):
        return _FROM_NEAR
    return _TO_NEAR if finding.is_near(-1) else _THROUGH
