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

from .clinical_clinragen import short_name
from .links_clinragen import NoteFinding
from .nouns_clinragen import NounPhrases, is_plural, uncapitalized
from .series_findings_clinragen import SeriesFinding
from .slots_clinragen import often
from .words_clinragen import content_words


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
_FROM_FIRST = ("{name} was {extreme} at the start", *_LEVELS[1:])  # the first value is the extreme one
_AT_ENDS = "{name} was {extreme} at the start and again at the end"
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
# words beside the name of a disease by which it is another one, or none of the patient's own
_NO_KIND = re.compile(
    r"\b(?:chronic|old|prior|previous|remote|family|father|mother|no|years|risk|of|from|for|with|by|in"
    r"|on|at|to|after)\b",
    re.IGNORECASE,
)
_ACT = re.compile(r"administration|infusion|repletion|replacement|therapy|blockade")


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
        forms (iterable of `str`): terms and synonyms of the knowledge, see [`NounPhrases`].
    """

    def __init__(self, names: dict[str, Iterable[str]], own: dict[str, set[str]], forms: Iterable[str] = ()):
        self.sentence_names = {disease: sentence_name(disease, names[disease]) for disease in names}
        self.own, self.noun = own, NounPhrases(forms)
        self.own_words = {disease: {_words_of(name) for name in own[disease]} for disease in own}

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
            return self._named_diagnosis(names, [f for f in others if not is_risk(f)], choose)
        drugs = [f for f in findings if _is_given(f)]
        phrases = self._nouns([f for f in findings if not _is_given(f)])
        phrases = choose.sample(phrases, len(phrases)) if choose.random() < 0.5 else phrases
        phrases = [*phrases, *([self._use_of(drugs)] if drugs else [])]
        evidence = listed(phrases)
        strong = any(map(_is_strong, findings))
        lacks = any(item.lower().startswith(_MISSING) for item in phrases)
        verb = self._verb(len(phrases) > 1 or is_plural(phrases[0]), choose, also, strong, lacks)
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
        """
        Return whether a finding of the note, as it is written here, names the disease itself: by one of its names,
        also abbreviated or turned, or by a name of a kind of it, such as "aspiration pneumonia".
        """
        noun, words, known = self.noun.plain(finding), _words_of(finding.text), self.own_words[disease]
        if noun.lower() in self.own[disease]:
            return True
        if not words or '"' in noun or finding.type == "drug":
            return False
        is_kind = not _NO_KIND.search(finding.text) and any(words[i:] in known for i in range(1, len(words)))
        return is_kind or sorted(words) in map(sorted, known)

    def _nouns(self, findings: list[NoteFinding]) -> list[str]:
        return list(dict.fromkeys(map(self.noun, findings)))

    def _use_of(self, drugs: list[NoteFinding]) -> str:
        return f"the use of {listed(self._nouns(drugs))}"

    def _named_diagnosis(self, named: list[NoteFinding], others: list[NoteFinding], choose: random.Random) -> str:
        """Word a sentence on a diagnosis that the note itself names, with other findings of the note."""
        names, report = self._nouns(named), choose.choice(_REPORTS)
        name = listed(names)
        be = "are" if len(names) > 1 or is_plural(name) else "is"
        drugs = [f for f in others if _is_given(f)]
        phrases = self._nouns([f for f in others if not _is_given(f)])
        phrases += [self._use_of(drugs)] if drugs else []
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
        strong = len(diseases) == 1 and any(self._is_specific(finding, diseases) for finding in findings)
        if choose.random() < 0.4:
            evidence = listed([_phrase(finding, choose, self._term(finding, diseases)) for finding in findings])
            if choose.random() < 0.5:
                return self._passive(diseases, evidence, choose, also, strong)
            verb = self._verb(len(findings) > 1, choose, also, strong)
            return sentence_case(f"{evidence} {verb} {self._named(diseases)}.")
        clauses = self._clauses(findings, choose)
        link = choose.choice((", which", ", and this")) if len(findings) == 1 else ", which"
        return sentence_case(f"{clauses}{link} {self._verb(False, choose, also, strong)} {self._named(diseases)}.")

    def _term(self, finding: SeriesFinding, diseases: list[str]) -> str | None:
        """Return the clinical term for a level; `None` without one, or if it names a diagnosis not argued for."""
        term = _SIGNS.get((finding.channel["name"], finding.direction))
        named = {disease for disease, names in self.own.items() if term in names}
        return term if named <= set(diseases) else None

    @staticmethod
    def _is_specific(finding: SeriesFinding, diseases: list[str]) -> bool:
        if not finding.is_marked:
            return False
        specific = finding.diseases & _HALLMARKS.get((finding.channel["name"], finding.direction), set())
        return specific.issuperset(diseases) if specific else len(finding.diseases) <= MAX_SPECIFIC

    @staticmethod
    def _clauses(findings: list[SeriesFinding], choose: random.Random) -> str:
        """Word the first finding with its course, the others more briefly."""
        first, *others = findings
        clauses = [_clause(first, choose), *(_clause(finding, choose, short=True) for finding in others)]
        return (choose.choice((", while ", ", and ")) if len(clauses) == 2 else ", ").join(clauses)

    def unlisted(self, findings: list[NoteFinding] | list[SeriesFinding], choose: random.Random) -> str:
        """Word the findings of the note or the series if no diagnosis is listed."""
        if isinstance(findings[0], SeriesFinding):
            return f"{sentence_case(self._clauses(findings, choose))}."
        return f"The note mentions {listed(self._nouns(findings))}."

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
        return "are" if len(diseases) > 1 or is_plural(self.sentence_names[diseases[0]]) else "is"

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
    return uncapitalized(short_name(disease))


def listed(items: list[str]) -> str:
    """Join phrases; those with a negation ("no urine output") come last, as its scope would include what follows."""
    items = sorted(items, key=lambda item: item.lower().startswith(_MISSING))
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def sentence_case(text: str) -> str:
    """Write a sentence with a capital letter at its start."""
    at = text.startswith('"')
    return text if text.startswith("pH") else text[:at] + text[at].upper() + text[at + 1 :]


def with_singular_verb(tail: str, subject: str) -> str | None:
    """Put the verb of `tail` into the singular, unless `subject` is a plural; `None` if the verb is not known."""
    if is_plural(uncapitalized(subject)) or _NO_VERB.match(tail):
        return tail
    changed, count = _PLURAL_VERB.subn(lambda match: match["lead"] + _SINGULAR_OF[match["verb"]], tail, count=1)
    return changed if count else None


def is_risk(finding: NoteFinding) -> bool:
    """Return whether a finding is only a risk or a cause of the diagnosis, such as another disease."""
    return finding.type in ("history", "name")


def _is_strong(finding: NoteFinding) -> bool:
    """Return whether a finding is a certain sign of few diseases."""
    return not (is_risk(finding) or finding.suspected or finding.type == "drug") and (
        len(finding.diseases) <= MAX_SPECIFIC
    )


def _words_of(text: str) -> tuple[str, ...]:
    return tuple(word for word, *_ in content_words(text.lower(), 0, len(text)))


def _is_given(finding: NoteFinding) -> bool:
    """Return whether a finding is a drug, to be worded as "the use of"."""
    return finding.type == "drug" and not _ACT.search(finding.text.lower())


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
    return " ".join(uncapitalized(word) for word in name.split())


def _words(finding: SeriesFinding, choose: random.Random) -> dict[str, str]:
    """Draw the words for a finding's direction, and write its numbers."""
    words = {name: choose.choice(drawn) for name, drawn in (_UPWARDS if finding.upwards else _DOWNWARDS).items()}
    name = _name(finding.channel)
    return words | {
        "name": name,
        "first": number_of(finding, 0, unit=choose.random() < 0.3),
        "extreme": number_of(finding, finding.extreme),
        "last": number_of(finding, -1),
        "hour": f"{finding.hours[finding.extreme]:.0f}",
        "times": often(finding.count),
    }


def _phrase(finding: SeriesFinding, choose: random.Random, term: str | None) -> str:
    """Word a finding as a noun with its extreme value; `term` is the clinical term for its level, if there is one."""
    if finding.direction in ("rising", "falling") or len(finding.values) == 1:
        name = _name(finding.channel)
        course = f"{name} {finding.direction} from {number_of(finding, 0, unit=False)} to {number_of(finding, -1)}"
        return course if len(finding.values) > 1 else f"{name} of {number_of(finding, 0)}"
    form = choose.choice(_PHRASES if term else _PHRASES[:3])
    return form.format(**_words(finding, choose), sign=term)


def _clause(finding: SeriesFinding, choose: random.Random, short: bool = False) -> str:
    """Word a finding as a clause: its course, or its extreme value and how often it was abnormal."""
    words = _words(finding, choose)
    first, last, extreme = (number_of(finding, at) for at in (0, -1, finding.extreme))
    if first == last == extreme:
        return ("{name} was {extreme}" if finding.is_constant else _AT_ENDS).format(**words)
    levels = _FROM_FIRST if finding.extreme == 0 else _LEVELS
    if first == last:
        return choose.choice(levels[:1] if finding.count == 1 else levels).format(**words)
    if finding.direction in ("rising", "falling"):
        forms = _TRENDS
    elif finding.count == 1:
        forms = levels[:1]
    elif short or finding.crosses or finding.is_flat or choose.random() < 0.3:
        forms = levels
    else:
        forms = _course(finding, first, last, extreme)
    return choose.choice(forms).format(**words)


def _course(finding: SeriesFinding, first: str, last: str, extreme: str) -> tuple[str, ...]:
    """Return the wordings that fit the position of the extreme value in a course."""
    if extreme == first:
        if finding.stays_clearly_beyond:
            return _STILL
        return _STILL[:1] if finding.stays_beyond else _FROM_START
    if extreme == last:
        return _TO_END
    if finding.is_brief:
        return _LEVELS
    if finding.is_near(0):
        return _FROM_NEAR
    return _TO_NEAR if finding.is_near(-1) else _THROUGH
