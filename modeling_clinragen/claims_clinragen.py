# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims about a patient's series: writing them (the anomaly caption), finding them in a text, and checking each against
the patient's own measured values.
"""

import itertools
import re
from dataclasses import dataclass, field

import numpy as np

from .clinical_clinragen import usual_limits, with_unit
from .phrases_clinragen import PhraseFinder, compiled_words, lowered
from .statements_clinragen import deciding, judge, outside


UNMEASURED = "not measured"
PARTLY_TEXT, ONLY_TEXT = "measured partly as text", "not measured as a number"

# Words for the paper's channels (others bring `words` of their own), and findings that name a channel together with a
# level. Lower case.
CHANNEL_WORDS = {
    "Diastolic blood pressure": ("diastolic blood pressure", "diastolic pressure", "diastolic bp", "dbp"),
    "Fraction inspired oxygen": (
        "fraction inspired oxygen", "fraction of inspired oxygen", "inspired oxygen fraction", "inspired oxygen",
        "fio2",
    ),
    "Glucose": ("blood glucose", "serum glucose", "plasma glucose", "blood sugar", "blood sugars", "glucose"),
    "Heart Rate": ("heart rate", "heart rates", "pulse rate", "ventricular rate", "pulse", "hr"),
    "Mean blood pressure": (
        "mean blood pressure", "mean arterial blood pressure", "mean arterial pressure", "mean pressure", "mean bp",
        "map",
    ),
    "Oxygen saturation": (
        "oxygen saturation", "oxygen saturations", "o2 saturation", "saturation", "saturations", "spo2", "sao2",
        "o2 sat", "o2 sats", "sats", "oxygenation", "pulse oximetry",
    ),
    "Respiratory rate": (
        "respiratory rate", "respiratory rates", "respiration rate", "breathing rate", "respirations", "resp rate",
        "rr",
    ),
    "Systolic blood pressure": (
        "systolic blood pressure", "systolic arterial pressure", "systolic pressure", "systolic bp", "sbp",
    ),
    "Temperature": ("body temperature", "core temperature", "temperatures", "temperature", "temp", "temps"),
    "Weight": ("body weight", "body mass", "weight", "weighed"),
    "pH": ("arterial ph", "blood ph", "blood gas ph", "ph"),
}  # fmt: skip
_FINDINGS = {  # what is said of a channel -> the findings that say it
    ("Heart Rate", "high"): "tachycardia",
    ("Heart Rate", "low"): "bradycardia",
    ("Temperature", "high"): "fever fevers febrile pyrexia hyperthermia",
    ("Temperature", "not_high"): "afebrile apyrexia",
    ("Temperature", "normal"): "normothermia",
    ("Temperature", "low"): "hypothermia",
    ("Systolic blood pressure", "low"): "hypotension",
    ("Oxygen saturation", "low"): "hypoxia hypoxemia desaturation desaturations desaturated desaturating",
    ("Respiratory rate", "high"): "tachypnea",
    ("Respiratory rate", "low"): "bradypnea",
    ("Respiratory rate", "normal"): "eupnea",
    ("Glucose", "high"): "hyperglycemia",
    ("Glucose", "low"): "hypoglycemia",
    ("Glucose", "normal"): "euglycemia normoglycemia",
    ("pH", "low"): "acidosis acidemia",
    ("pH", "high"): "alkalosis alkalemia",
    ("Hemoglobin", "low"): "anemia",
    ("White blood cells", "high"): "leukocytosis",
    ("White blood cells", "low"): "leukopenia",
    ("Platelets", "high"): "thrombocytosis",
    ("Platelets", "low"): "thrombocytopenia",
    ("Potassium", "high"): "hyperkalemia",
    ("Potassium", "low"): "hypokalemia",
    ("Sodium", "high"): "hypernatremia",
    ("Sodium", "low"): "hyponatremia",
    ("Total calcium", "high"): "hypercalcemia",
    ("Total calcium", "low"): "hypocalcemia",
    ("Magnesium", "high"): "hypermagnesemia",
    ("Magnesium", "low"): "hypomagnesemia",
    ("Phosphate", "high"): "hyperphosphatemia",
    ("Phosphate", "low"): "hypophosphatemia",
    ("Albumin", "low"): "hypoalbuminemia",
    ("Total bilirubin", "high"): "hyperbilirubinemia",
    ("Blood urea nitrogen", "high"): "azotemia",
    ("Lactate", "high"): "hyperlactatemia",
    ("Carbon dioxide pressure", "high"): "hypercapnia",
    ("Carbon dioxide pressure", "low"): "hypocapnia",
}


def _spellings(finding: str) -> set[str]:
    """Spell a finding as a noun and as an adjective, in American and British spelling."""
    forms = {finding}
    for ending, adjective in (("ia", "ic"), ("osis", "otic"), ("pnea", "pneic"), ("tension", "tensive")):
        if finding.endswith(ending):
            forms.add(finding[: -len(ending)] + adjective)
    for american, british in (("emi", "aemi"), ("pne", "pnoe"), ("anem", "anaem"), ("cemi", "caemi")):
        forms |= {form.replace(american, british) for form in forms}
    return forms


FINDINGS = {
    spelling: said
    for said, findings in _FINDINGS.items()
    for finding in findings.split()
    for spelling in _spellings(finding)
}

_SENTENCE = re.compile(r"(?:[^.;\n]|\.(?=\d))+")
_JOINT = re.compile(r",|\b(?:and|but|while|whereas|with)\b")
# What a finding means is no statement about the channel, and a disease's name may hold a word such as "lower".
_INFERENCE = compiled_words(r"""
    (?<!in )(?<!on )(?<!at )which|this|suggest\w*|support\w*|indicat\w*|point(?:s|ed|ing)? (?:to|toward)
    |fit(?:s|ting)?|reflect\w*|may reflect|consistent with|compatible with|in keeping with|due to|because
    |argu\w+|favou?r\w*|rais(?:es|ing) (?:concern|suspicion)|impl(?:y|ies|ying)|likely from
    """)


def _words_of(channel: dict) -> list[str]:
    """Return the words for a channel: its own `words`, or the usual ones, and its name."""
    name = channel["name"]
    return [*(channel.get("words") or CHANNEL_WORDS.get(name, ())), name.lower()]


def describe_anomalies(lab_values, channels, unmeasured: str = UNMEASURED, unread=None) -> str:
    """
    Write the anomaly caption of a record, from its measured values only.

    Args:
        lab_values (array of shape `(T, num_input_channels)`): measured values, NaN = not measured.
        channels (`list[dict]`): `name`, `unit`, `decimals`, `low` and `high`, the usual limits, which are normal
            themselves, and if wanted `normal`, the word for it; of a channel without limits the range is told.
        unmeasured (`str`): the words for a channel without a value; the paper's release says
            `"normal all the time"`.
        unread (bool array of shape `(num_input_channels,)`, *optional*): channels with results that are no number,
            such as "hemolyzed"; these are not called normal all the time.

    Returns:
        `str`: one clause a channel, as in "Heart Rate is higher than normal 2 times and lower than normal 1 time,
        pH is not measured."

    Source: arXiv 2411.07611 and its release. Differs from it: counts in digits, unmeasured channels called so, and
    those with results that are no number.
    """
    values = np.asarray(lab_values, dtype=float).reshape(-1, len(channels))
    texts = np.zeros(len(channels), dtype=bool) if unread is None else unread
    clauses = []
    for channel, column, has_text in zip(channels, values.T, texts, strict=True):
        if np.isnan(column).all():
            finding = ONLY_TEXT if has_text else unmeasured
        else:
            finding = _anomalies(channel, column) or (PARTLY_TEXT if has_text else f"{_normal(channel)} all the time")
        clauses.append(f"{channel['name']} is {finding}")
    return ", ".join(clauses) + "."


def _normal(channel: dict) -> str:
    return channel.get("normal") or "normal"


def _anomalies(channel: dict, column: np.ndarray) -> str:
    """Count the values beyond the usual limits; of a channel without any, return the range of its values."""
    low, high = usual_limits(channel)
    if low == -np.inf and high == np.inf:
        least, most = (f"{value:.{channel.get('decimals', 1)}f}" for value in (np.nanmin(column), np.nanmax(column)))
        return with_unit(channel, least if least == most else f"between {least} and {most}")
    counts = {"higher": (column > high).sum(), "lower": (column < low).sum()}
    return " and ".join(f"{word} than {_normal(channel)} {times(n)}" for word, n in counts.items() if n)


def times(count: int) -> str:
    return f"{count} time" if count == 1 else f"{count} times"


@dataclass
class Claim:
    """
    One statement of a text.

    Args:
        text (`str`): the clause; `start` and `end` are its characters in the whole text.
        channel (`str` or `None`): the channel it speaks of.
        kind (`str`): `level`, `count`, `value`, `trend`, `unmeasured`, or `other` where it states nothing checkable.
        verdict (`str`): `supported`, `contradicted`, `unverifiable` where it states nothing checkable, or `absent` for
            a finding that is not in the note.
        quote (`str`): what of the patient's record it rests on: the values in short, or words of the note.
        hours (`list[float]`): when the channel's measurements were made that decide, see [`deciding`].
        spans (`list[tuple[int, int]]`): where a note speaks of it, as characters.
        direction (`str` or `None`): `high`, `low`, `rising`, `falling` or `normal`, where a series claim states one.
        diagnoses (`list[str]`): the diagnoses that its sentence argues for from it; filled where the knowledge's
            links are given.
        argument (`str`): `linked` if the knowledge links the finding with each of these diagnoses, `unlinked` if it
            knows the finding but not this link, `unknown` if it does not know the finding; else `""`.
    """

    text: str
    start: int
    end: int
    channel: str | None
    kind: str
    verdict: str
    quote: str
    hours: list[float] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    direction: str | None = None
    diagnoses: list[str] = field(default_factory=list)
    argument: str = ""


def _clause_start(text: str, after: int, before: int) -> int:
    """Return where the clause of a mention at `before` starts: behind the last comma or joining word since `after`."""
    joints = list(_JOINT.finditer(text, after, before))
    return joints[-1].end() if joints else before


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """Strip marks of punctuation and joining words from the ends of a clause."""
    while match := _LEADING.match(text, start, end):
        start = match.end()
    while match := _TRAILING.search(text, start, end):
        end = match.start()
    return start, end


_LEADING = re.compile(r"[\s,.;]+|(?:and|but|while|whereas|with)\b\s*")
_TRAILING = re.compile(r"(?:[\s,.;]|\b(?:and|but|while|whereas|with))\Z")


class ClaimChecker:
    """
    Checks every statement of a text against a patient's measured values.

    A text is cut into clauses about one channel each; a clause may state several things of its channel, and is
    supported when all of them hold:

    - `unmeasured`: the channel has no value, or has one.
    - `count`: exactly that many values are above (below) normal.
    - `level`: "high" ("low") - at least one value is above (below) normal; negated - none is; "normal" - no value is
      outside of normal.
    - `value`: "up to", "as low as", "between" - the extreme values, rounded to the digits written; "first", "last";
      else any value.
    - `trend`: the median of the last third against that of the first third, compared with half the spread (the
      interquartile range) of all values; needs six values, else unverifiable.
    - `time`: one of these within some hours since ICU admission, or at an hour, to within half an hour.

    Anything stated of a channel without values is contradicted.

    Args:
        channels (list of `dict`): `name`, `unit`, `low`, `high`, `decimals`, and if wanted `words` for it.
    """

    def __init__(self, channels: list[dict]):
        self.channels = channels
        names = {channel["name"] for channel in channels}
        self.by_word = {
            word.lower(): (channel["name"], None) for channel in channels for word in _words_of(channel)
        } | {word: said for word, said in FINDINGS.items() if said[0] in names}
        self.find = PhraseFinder(self.by_word)
        self.position = {channel["name"]: i for i, channel in enumerate(channels)}

    def names_a_channel(self, text: str) -> bool:
        """Tell if the text speaks of a channel by one of its names; a finding such as "fever" is no name."""
        lower = lowered(text)
        return any(self.by_word[lower[start:end]][1] is None for start, end in self.find(lower))

    def split(self, text: str) -> list[tuple[int, int, tuple[int, int] | None]]:
        """
        Split a text into clauses about one channel each: start, end, and start and end of the channel's name, `None`
        without one. A clause without a channel belongs to one with a channel before it in the same sentence.
        """
        clauses, named = [], list(self.find(lowered(text)))
        for first, last in ((m.start(), m.end()) for m in _SENTENCE.finditer(text)):
            mentions = self._mentions(text, [m for m in named if first <= m[0] < last])
            if not mentions:
                clauses.append((*_strip(text, first, last), None))
                continue
            starts = [first] + [_clause_start(text, a[1], b[0]) for a, b in itertools.pairwise(mentions)]
            for mention, start, end in zip(mentions, starts, [*starts[1:], last], strict=True):
                clauses.append((*_strip(text, start, end), mention))
        return [clause for clause in clauses if clause[0] < clause[1]]

    def _mentions(self, text: str, named: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Select a sentence's words for channels that open a claim: no second one for the same channel."""
        mentions: list[tuple[int, int]] = []
        for start, end in named:
            same = mentions and self._said(text, *mentions[-1])[0] == self._said(text, start, end)[0]
            if not same or _JOINT.search(text, mentions[-1][1], start):
                mentions.append((start, end))
        return mentions

    def _said(self, text: str, start: int, end: int) -> tuple[str, str | None]:
        """Return the channel, and the level that a finding states of it."""
        return self.by_word[text[start:end].lower()]

    def __call__(self, text: str, lab_times, lab_values) -> list[Claim]:
        """
        Return the claims of a text, with their verdicts.

        Args:
            text (`str`): the rationale.
            lab_times (array of shape `(T,)`): hours since ICU admission, increasing.
            lab_values (array of shape `(T, num_input_channels)`): NaN = not measured.
        """
        values = np.asarray(lab_values, dtype=float).reshape(-1, len(self.channels))
        hours = np.asarray(lab_times, dtype=float).reshape(-1)
        claims = []
        for start, end, mention in self.split(text):
            clause = text[start:end]
            if mention is None:
                claims.append(Claim(clause, start, end, None, "other", "unverifiable", ""))
                continue
            name, finding = self._said(text, *mention)
            channel, column = self.channels[self.position[name]], values[:, self.position[name]]
            measured = ~np.isnan(column)
            when, found = hours[measured], column[measured]
            stated = _without_inference(self._blanked(clause, name), mention[0] - start)
            kind, holds = judge(stated, finding, channel, when, found)
            verdict = {None: "unverifiable", True: "supported", False: "contradicted"}[holds]
            decide = when[deciding(stated, finding, kind, channel, when, found)].tolist()
            claims.append(Claim(clause, start, end, name, kind, verdict, _quote(channel, when, found), decide))
        return claims

    def _blanked(self, clause: str, name: str) -> str:
        """Lower the clause and blank the words for its channel: "low" in a name states nothing of a value."""
        lower = lowered(clause)
        for start, end in self.find(lower):
            if self.by_word[lower[start:end]][0] == name and lower[start:end] != "weighed":
                lower = lower[:start] + " " * (end - start) + lower[end:]
        return lower


def check_claims(text: str, channels, lab_times, lab_values) -> list[Claim]:
    """Check one text; see `ClaimChecker`."""
    return ClaimChecker(channels)(text, lab_times, lab_values)


def _without_inference(clause: str, mention: int) -> str:
    """Return the part of a clause that speaks of the channel, without what it is taken for."""
    start, end = 0, len(clause)
    for match in _INFERENCE.finditer(clause):
        if match.end() <= mention:
            start = match.end()
        else:
            end = match.start()
            break
    return clause[start:end]


def _quote(channel: dict, hours: np.ndarray, values: np.ndarray) -> str:
    if not len(values):
        return "not measured"
    show = f".{channel.get('decimals', 1)}f"
    high, low = outside(channel, values, "high"), outside(channel, values, "low")
    return (
        f"{len(values)} values, {high} above and {low} below normal; lowest {values.min():{show}} at hour "
        f"{hours[values.argmin()]:.1f}, highest {values.max():{show}} at hour {hours[values.argmax()]:.1f}"
    )
