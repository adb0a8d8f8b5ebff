# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Wordings of composed rationales: subject, verb, order and connective are drawn one by one for each sentence."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .claims_clinragen import times
from .clinical_clinragen import short_name, usual_limits
from .links_clinragen import NoteFinding


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
_UNEXPLAINED = (
    ("{names} remains unexplained: no finding in this record points to it.",
     "{names} remain unexplained: no finding in this record points to them."),
    ("{names} is left unexplained, as no finding in this record points to it.",
     "{names} are left unexplained, as no finding in this record points to them."),
    ("{names} stays unexplained: nothing in this record points to it.",
     "{names} stay unexplained: nothing in this record points to them."),
)  # fmt: skip
# one finding, several
_VERBS = (
    ("points to", "point to"), ("suggests", "suggest"), ("supports", "support"), ("fits", "fit"),
    ("indicates", "indicate"), ("is consistent with", "are consistent with"),
    ("is in keeping with", "are in keeping with"), ("favors", "favor"),
)  # fmt: skip
_PASSIVES = ("suggested", "supported", "indicated")
_REPORTS = ("reports", "records", "describes", "mentions", "documents", "notes")
_ITSELF = ("The note {report} {evidence}.", "{evidence} {be} {passive} in the note.")
_KNOWN = ("recorded", "documented", "noted", "reported")
# labels that no one would say; used where the knowledge has the name
_SAID = {
    "Acute and unspecified renal failure": "acute renal failure",
    "Chronic obstructive pulmonary disease and bronchiectasis": "chronic obstructive pulmonary disease",
    "Coronary atherosclerosis and other heart disease": "coronary artery disease",
    "Pleurisy; pneumothorax; pulmonary collapse": "pleurisy, pneumothorax or pulmonary collapse",
}
_SAID_CHANNELS = {"Fraction inspired oxygen": "inspired oxygen"}
# what a level of a channel is called
_SIGNS = {
    ("Heart Rate", "high"): "tachycardia", ("Heart Rate", "low"): "bradycardia",
    ("Temperature", "high"): "fever", ("Temperature", "low"): "hypothermia",
    ("Respiratory rate", "high"): "tachypnea", ("Oxygen saturation", "low"): "hypoxemia",
    ("Glucose", "high"): "hyperglycemia", ("Glucose", "low"): "hypoglycemia",
    ("Potassium", "high"): "hyperkalemia", ("Potassium", "low"): "hypokalemia",
    ("Sodium", "high"): "hypernatremia", ("Sodium", "low"): "hyponatremia",
    ("Platelets", "low"): "thrombocytopenia", ("White blood cells", "high"): "leukocytosis",
}  # fmt: skip
_UP, _DOWN = ("rose", "climbed", "went up"), ("fell", "dropped", "went down")
_SINGULAR = re.compile(r"(?:ss|us|is|itis|betes|cites|sepsis|rabies|herpes)$")


@dataclass(frozen=True)
class SeriesFinding:
    """
    A level or a trend of one channel.

    Args:
        channel (`dict`): as in the dataset; `direction` (`str`): `high`, `low`, `rising` or `falling`.
        diseases (`frozenset[str]`): all that the knowledge links with it.
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
    def count(self) -> int:
        """Count the values beyond the usual limit, as captions do."""
        low, high = usual_limits(self.channel)
        return int((self.values > high if self.upwards else self.values < low).sum())


class Telling:
    """
    Word sentences.

    Args:
        names (`dict`): diagnosis -> the names it goes by.
    """

    def __init__(self, names: dict[str, Iterable[str]]):
        self.said = {disease: _said(disease, names[disease]) for disease in names}

    def note(self, diseases: list[str], findings: list[NoteFinding], choose: random.Random, also: bool = False) -> str:
        """Word one sentence that argues from findings of a note; `also` where another sentence stands before."""
        told = [_written(finding) for finding in findings]
        disease = self._named(diseases)
        if told == [disease]:
            form, be = choose.choice(_ITSELF), "are" if _is_plural(disease) else "is"
            words = {"report": choose.choice(_REPORTS), "passive": choose.choice(_KNOWN)}
            return _sentence(form.format(evidence=disease, be=be, **words))
        evidence = _listed(choose.sample(told, len(told)) if choose.random() < 0.5 else told)
        verb = self._verb(len(told) > 1 or _is_plural(told[0]), choose, also)
        place = choose.choice((" in the note", ""))
        form = choose.randrange(4)
        if form == 0:
            return _sentence(f"{evidence}{place} {verb} {disease}.")
        if form == 1:
            return _sentence(f"The note {choose.choice(_REPORTS)} {evidence}, which {verb} {disease}.")
        if form == 2 or len(told) > 2:  # a list would end where its first comma does
            return self._passive(diseases, evidence + place, choose, also)
        return _sentence(f"Given {evidence}{place}, {disease} {self._be(diseases)} likely.")

    def series(
        self, diseases: list[str], findings: list[SeriesFinding], choose: random.Random, also: bool = False
    ) -> str:
        """Word one sentence that argues from findings of the series; `also` as in [`Telling.note`]."""
        if choose.random() < 0.4:
            told = _listed([_phrase(finding, choose) for finding in findings])
            if choose.random() < 0.5:
                return self._passive(diseases, told, choose, also)
            return _sentence(f"{told} {self._verb(len(findings) > 1, choose, also)} {self._named(diseases)}.")
        told = _listed([_clause(finding, choose) for finding in findings])
        link = choose.choice((", which", ", and this", " and this"))
        return _sentence(f"{told}{link} {self._verb(False, choose, also)} {self._named(diseases)}.")

    def unexplained(self, diseases: list[str], choose: random.Random) -> str:
        """Word the sentence that says that nothing in the record points to the diseases."""
        one, several = choose.choice(_UNEXPLAINED)
        text = one if self._be(diseases) == "is" else several
        return _sentence(text.format(names=self._named(diseases)))

    def _passive(self, diseases: list[str], evidence: str, choose: random.Random, also: bool) -> str:
        link = f"{self._be(diseases)} {'also ' if also else ''}{choose.choice(_PASSIVES)} by"
        return _sentence(f"{self._named(diseases)} {link} {evidence}.")

    def _named(self, diseases: list[str]) -> str:
        return _listed([self.said[disease] for disease in diseases])

    def _be(self, diseases: list[str]) -> str:
        return "are" if len(diseases) > 1 or _is_plural(self.said[diseases[0]]) else "is"

    @staticmethod
    def _verb(plural: bool, choose: random.Random, also: bool) -> str:
        verb = choose.choice(_VERBS)[plural]
        return f"also {verb}" if also and choose.random() < 0.4 and not verb.startswith(("is", "are")) else verb


def _said(disease: str, names: Iterable[str]) -> str:
    """Return what a diagnosis is called in a sentence."""
    said = _SAID.get(disease)
    known = {name.lower() for name in names}
    if said and (said in known or said.split(",")[0] in known):
        return said
    return _uncapitalized(short_name(disease))


def _listed(items: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def _uncapitalized(text: str) -> str:
    """Lower the first letter of a word, not that of an abbreviation."""
    first = re.match(r"\w+", text)
    return text if first is None or not first[0][1:].islower() else text[0].lower() + text[1:]


def _sentence(text: str) -> str:
    return text if text.startswith("pH") else text[0].upper() + text[1:]


def _written(finding: NoteFinding) -> str:
    """Return a finding as the note writes it; one that is turned around or split by signs as the knowledge does."""
    text = " ".join(finding.text.split())
    if re.search(r"[^\w\s\-'.%]", text):
        return finding.term
    if text.isupper() and len(text) > 5:
        return text.lower()
    return _uncapitalized(text) if not text.istitle() or " " not in text else text.lower()


def _is_plural(text: str) -> bool:
    """Tell if a noun is a plural, by its last word; of "complications of care" by the first."""
    last = re.split(r" (?:of|for|with|without|from|on|in) ", text)[0].split()[-1]
    return last.islower() and last.endswith("s") and not _SINGULAR.search(last)


def _number(finding: SeriesFinding, position: int, unit: bool = True) -> str:
    channel, value = finding.channel, finding.values[position]
    shown = channel.get("unit", "")
    if shown == "fraction":
        return f"{value * 100:.0f}%"
    written = f"{value:.{channel.get('decimals', 1)}f}"
    if not unit or shown in ("pH", "ratio", ""):
        return written
    return f"{written}%" if shown == "%" else f"{written} {shown}"


def _name(channel: dict) -> str:
    name = _SAID_CHANNELS.get(channel["name"], channel["name"])
    return " ".join(_uncapitalized(word) for word in name.split())


def _phrase(finding: SeriesFinding, choose: random.Random) -> str:
    """Word a finding as a noun with its extreme value."""
    name = _name(finding.channel)
    if finding.direction in ("rising", "falling"):
        return f"a {finding.direction} {name}"
    sign = _SIGNS.get((finding.channel["name"], finding.direction))
    reach = ("up to" if finding.upwards else "down to") if len(finding.values) > 1 else "of"
    subject = sign if sign and choose.random() < 0.6 else name
    return f"{subject} {reach} {_number(finding, finding.extreme)}"


def _clause(finding: SeriesFinding, choose: random.Random) -> str:
    """Word a finding as a clause: its course, its extreme value, or how often it left the normal range."""
    name = _name(finding.channel)
    if finding.direction in ("rising", "falling"):
        verb = choose.choice(_UP if finding.upwards else _DOWN)
        return f"{name} {verb} from {_number(finding, 0, unit=False)} to {_number(finding, -1)}"
    if len(finding.values) == 1:
        return f"{name} was {_number(finding, 0)}"
    word, reach = ("higher", "up to") if finding.upwards else ("lower", "down to")
    return choose.choice(
        (
            f"{name} was {reach} {_number(finding, finding.extreme)}",
            f"{name} was {word} than normal {times(finding.count)}",
            f"{name} was {word} than normal",
        )
    )
