# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims about a patient's series: writing them (the anomaly caption), finding them in a text, and checking each against
the patient's own measured values.
"""

import itertools
import re
from dataclasses import dataclass

import numpy as np


UNMEASURED = "not measured"

# Words for the paper's channels (others bring `words` of their own), and findings that name a channel together with a
# level. Lower case.
CHANNEL_WORDS = {
    "Diastolic blood pressure": ("diastolic blood pressure", "diastolic pressure", "diastolic bp", "dbp"),
    "Fraction inspired oxygen": ("fraction inspired oxygen", "inspired oxygen fraction", "inspired oxygen", "fio2"),
    "Glucose": ("blood glucose", "blood sugar", "glucose"),
    "Heart Rate": ("heart rate", "pulse rate", "pulse"),
    "Mean blood pressure": ("mean blood pressure", "mean arterial pressure", "mean pressure", "map"),
    "Oxygen saturation": ("oxygen saturation", "o2 saturation", "saturation", "spo2", "sao2"),
    "Respiratory rate": ("respiratory rate", "breathing rate"),
    "Systolic blood pressure": ("systolic blood pressure", "systolic pressure", "systolic bp", "sbp"),
    "Temperature": ("body temperature", "temperature"),
    "Weight": ("body weight", "weight"),
    "pH": ("arterial ph", "blood ph", "ph"),
}
FINDINGS = {
    "tachycardia": ("Heart Rate", "high"),
    "bradycardia": ("Heart Rate", "low"),
    "fever": ("Temperature", "high"),
    "hyperthermia": ("Temperature", "high"),
    "hypothermia": ("Temperature", "low"),
    "hypotension": ("Systolic blood pressure", "low"),
    "hypoxia": ("Oxygen saturation", "low"),
    "hypoxemia": ("Oxygen saturation", "low"),
    "desaturation": ("Oxygen saturation", "low"),
    "tachypnea": ("Respiratory rate", "high"),
    "bradypnea": ("Respiratory rate", "low"),
    "hyperglycemia": ("Glucose", "high"),
    "hypoglycemia": ("Glucose", "low"),
    "acidosis": ("pH", "low"),
    "acidemia": ("pH", "low"),
    "alkalosis": ("pH", "high"),
    "anemia": ("Hemoglobin", "low"),
    "leukocytosis": ("White blood cells", "high"),
    "leukopenia": ("White blood cells", "low"),
    "thrombocytosis": ("Platelets", "high"),
    "thrombocytopenia": ("Platelets", "low"),
    "hyperkalemia": ("Potassium", "high"),
    "hypokalemia": ("Potassium", "low"),
    "hypernatremia": ("Sodium", "high"),
    "hyponatremia": ("Sodium", "low"),
    "hypercalcemia": ("Total calcium", "high"),
    "hypocalcemia": ("Total calcium", "low"),
    "hypermagnesemia": ("Magnesium", "high"),
    "hypomagnesemia": ("Magnesium", "low"),
    "hyperphosphatemia": ("Phosphate", "high"),
    "hypophosphatemia": ("Phosphate", "low"),
    "hypoalbuminemia": ("Albumin", "low"),
    "hyperbilirubinemia": ("Total bilirubin", "high"),
    "azotemia": ("Blood urea nitrogen", "high"),
    "hyperlactatemia": ("Lactate", "high"),
    "hypercapnia": ("Carbon dioxide pressure", "high"),
    "hypocapnia": ("Carbon dioxide pressure", "low"),
}
COUNT_WORDS = {
    word: i
    for i, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}
COUNT_WORDS |= {"once": 1, "twice": 2}

_NUMBER = r"\d+(?:\.\d+)?"
_HIGH = r"high(?:er)?|elevated|raised|above|increased|over"
_LOW = r"low(?:er)?|reduced|below|decreased|depressed|under"
_TREND = {
    "rising": r"ris(?:es|ing|en)|climb(?:s|ing)|increasing|upward",
    "falling": r"fall(?:s|ing|en)|dropp(?:ed|ing)|drops|declin(?:es|ing)|decreasing|downward",
    "stable": r"stable|steady|unchanged",
}
_TIMES = re.compile(rf"\b(?:(\d+|{'|'.join(COUNT_WORDS)})\s+times?|(once|twice))\b", re.IGNORECASE)
_UP_TO = re.compile(rf"\b(?:up to|as high as|maximum(?: of)?|peak(?:s|ed|ing)?(?: of| at)?|highest)\s+({_NUMBER})")
_DOWN_TO = re.compile(rf"\b(?:down to|as low as|minimum(?: of)?|lowest)\s+({_NUMBER})")
_BETWEEN = re.compile(rf"\b(?:between|from)\s+({_NUMBER})\s+(?:and|to)\s+({_NUMBER})")
_VALUE = re.compile(rf"\b(?:of|is|was|at|were|around)\s+({_NUMBER})")
_NEGATED = re.compile(r"\b(?:no|not|never|without|denies|absent)\b")
_NOT_MEASURED = re.compile(r"\bnot (?:measured|recorded|available)|\bunmeasured|\bno measurements?\b")
# What a finding means is no statement about the channel, and a disease's name may hold a word such as "lower".
_INFERENCE = re.compile(r"\b(?:which|this|suggest\w*|support\w*|consistent with|due to|because)\b")
_NORMAL = re.compile(r"\bnormal\b(?! (?:limit )?(?:two|three|\d))|\bunremarkable\b")


def _word_pattern(channels) -> re.Pattern:
    names = {word for channel in channels for word in _words_of(channel)}
    names |= {finding for finding, (channel, _) in FINDINGS.items() if channel in {c["name"] for c in channels}}
    return re.compile(
        r"\b(?:" + "|".join(sorted(map(re.escape, names), key=len, reverse=True)) + r")\b", re.IGNORECASE
    )


def _words_of(channel: dict) -> list[str]:
    """The words for a channel: its own `words`, or the usual ones, and its name."""
    name = channel["name"]
    return [*(channel.get("words") or CHANNEL_WORDS.get(name, ())), name.lower()]


def describe_anomalies(lab_values, channels, unmeasured: str = UNMEASURED) -> str:
    """
    The anomaly caption of a record, from its measured values only.

    Args:
        lab_values (array of shape `(T, num_input_channels)`): measured values, NaN = not measured.
        channels (`list[dict]`): `name`, and `low` and `high`, the bounds of normal, which are normal themselves.
        unmeasured (`str`): what is said of a channel without a value; the paper's release says
            `"normal all the time"`.

    Returns:
        `str`: one clause a channel, as in "Heart Rate is higher than normal 2 times and lower than normal 1 time,
        pH is not measured."

    Source: arXiv 2411.07611 and its release. Differs from it: counts in digits, unmeasured channels called so.
    """
    values = np.asarray(lab_values, dtype=float).reshape(-1, len(channels))
    clauses = []
    for channel, column in zip(channels, values.T, strict=True):
        high, low = (column > channel["high"]).sum(), (column < channel["low"]).sum()
        findings = [f"{word} than normal {times(n)}" for word, n in (("higher", high), ("lower", low)) if n]
        normal = "normal all the time" if not np.isnan(column).all() else unmeasured
        clauses.append(f"{channel['name']} is {' and '.join(findings) or normal}")
    return ", ".join(clauses) + "."


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
        verdict (`str`): `supported`, `contradicted`, or `unverifiable` where it states nothing checkable.
        evidence (`str`): what the patient's values say.
    """

    text: str
    start: int
    end: int
    channel: str | None
    kind: str
    verdict: str
    evidence: str


def split_claims(text: str, channels) -> list[tuple[int, int, str | None]]:
    """
    Cut a text into clauses about one channel each.

    Returns:
        `(start, end, channel)` per clause, `None` where it names no channel. A clause without a channel that follows
        one with a channel in the same sentence belongs to it ("Heart Rate is high 3 times, up to 140").
    """
    pattern = _word_pattern(channels)
    by_word = {word: channel["name"] for channel in channels for word in _words_of(channel)}
    by_word |= {finding: channel for finding, (channel, _) in FINDINGS.items()}
    clauses = []
    for sentence in re.finditer(r"(?:[^.;\n]|\.(?=\d))+", text):
        mentions = list(pattern.finditer(sentence[0]))
        if not mentions:
            clauses.append((*_strip(text, sentence.start(), sentence.end()), None))
            continue
        starts = [0] + [_clause_start(sentence[0], a.end(), b.start()) for a, b in itertools.pairwise(mentions)]
        for mention, start, end in zip(mentions, starts, [*starts[1:], len(sentence[0])], strict=True):
            offset = sentence.start()
            clauses.append((*_strip(text, offset + start, offset + end), by_word[mention[0].lower()]))
    return [clause for clause in clauses if clause[0] < clause[1]]


def _clause_start(sentence: str, after: int, before: int) -> int:
    """Where the clause of a mention at `before` starts: behind the last comma or joining word since `after`."""
    joints = list(re.finditer(r",|\b(?:and|but|while|whereas|with)\b", sentence[after:before]))
    return after + joints[-1].end() if joints else before


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    joint = re.compile(r"[\s,.;]+|(?:and|but|while|whereas|with)\b\s*")
    while match := joint.match(text, start, end):
        start = match.end()
    while end > start and text[end - 1] in " ,;.\n":
        end -= 1
    return start, end


def check_claims(text: str, channels, lab_times, lab_values) -> list[Claim]:
    """
    Check every statement of a text against the patient's measured values.

    A clause may state several things of its channel; it is supported when all of them hold:

    - `unmeasured`: the channel has no value.
    - `count`: exactly that many values are above (below) normal.
    - `level`: "high" ("low") - at least one value is above (below) normal; negated - none is; "normal" - no value is
      outside of normal.
    - `value`: "up to", "as low as", "between" - the extreme values, rounded to the digits written; else any value.
    - `trend`: the median of the last third against that of the first third, compared with half the spread (the
      interquartile range) of all values; needs six values, else unverifiable.

    Anything stated of a channel without values is contradicted.

    Args:
        text (`str`): the rationale.
        channels (`list[dict]`): `name`, `unit`, `low`, `high`, `decimals`.
        lab_times (array of shape `(T,)`): hours, increasing.
        lab_values (array of shape `(T, num_input_channels)`): NaN = not measured.
    """
    values = np.asarray(lab_values, dtype=float).reshape(-1, len(channels))
    hours = np.asarray(lab_times, dtype=float).reshape(-1)
    position = {channel["name"]: i for i, channel in enumerate(channels)}
    claims = []
    for start, end, name in split_claims(text, channels):
        clause = text[start:end]
        if name is None:
            claims.append(Claim(clause, start, end, None, "other", "unverifiable", ""))
            continue
        column = values[:, position[name]]
        measured = ~np.isnan(column)
        kind, holds = _judge(clause.lower(), channels[position[name]], column[measured])
        verdict = {None: "unverifiable", True: "supported", False: "contradicted"}[holds]
        evidence = _evidence(channels[position[name]], hours[measured], column[measured])
        claims.append(Claim(clause, start, end, name, kind, verdict, evidence))
    return claims


def _judge(clause: str, channel: dict, values: np.ndarray) -> tuple[str, bool | None]:
    """(kind, whether all that the clause states holds; `None` where it states nothing checkable)."""
    clause = _INFERENCE.split(clause)[0]
    if _NOT_MEASURED.search(clause):
        return "unmeasured", len(values) == 0
    statements = [*_counts(clause, channel, values), *_values(clause, channel, values), *_trends(clause, values)]
    if not any(kind == "count" for kind, _ in statements):
        statements += _levels(clause, channel, values)
    if not statements:
        return "other", None
    kind = statements[0][0]
    if not len(values):
        return kind, False
    verdicts = [holds for _, holds in statements]
    return kind, None if None in verdicts and False not in verdicts else all(verdicts)


def _directions(clause: str) -> list[tuple[int, str]]:
    """Where the clause says high or low, in order; a finding such as "fever" says it too."""
    found = [(m.start(), "high") for m in re.finditer(rf"\b(?:{_HIGH})\b", clause)]
    found += [(m.start(), "low") for m in re.finditer(rf"\b(?:{_LOW})\b", clause)]
    found += [(m.start(), FINDINGS[m[0]][1]) for m in re.finditer(r"\b[a-z]+\b", clause) if m[0] in FINDINGS]
    found = [(at, way) for at, way in found if not re.match(r"(?:high|low) as\b", clause[at:])]
    return sorted(found)


def _outside(channel: dict, values: np.ndarray, direction: str) -> int:
    return int(((values > channel["high"]) if direction == "high" else (values < channel["low"])).sum())


def _counts(clause, channel, values):
    directions = _directions(clause)
    for match in _TIMES.finditer(clause):
        before = [way for at, way in directions if at < match.start()] or [way for _, way in directions]
        if before:
            word = (match[1] or match[2]).lower()
            count = int(word) if word.isdigit() else COUNT_WORDS[word]
            yield "count", _outside(channel, values, before[-1]) == count


def _levels(clause, channel, values):
    directions = _directions(clause)
    for at, direction in directions:
        present = _outside(channel, values, direction) > 0
        yield "level", present != bool(_NEGATED.search(clause[:at]))
    if not directions and _NORMAL.search(clause):
        normal = _outside(channel, values, "high") == _outside(channel, values, "low") == 0
        yield "level", normal != bool(_NEGATED.search(clause))


def _values(clause, channel, values):
    written = [(m[1], "maximum") for m in _UP_TO.finditer(clause)] + [
        (m[1], "minimum") for m in _DOWN_TO.finditer(clause)
    ]
    for match in _BETWEEN.finditer(clause):
        written += [(match[1], "minimum"), (match[2], "maximum")]
    if not written:
        written = [(m[1], "any") for m in _VALUE.finditer(clause) if not re.match(r"\s*times?\b", clause[m.end() :])]
    for number, which in written:
        if not len(values):
            yield "value", False
            continue
        candidates = {"maximum": values.max(keepdims=True), "minimum": values.min(keepdims=True), "any": values}[which]
        yield "value", _matches(number, candidates, channel)


def _matches(number: str, candidates: np.ndarray, channel: dict) -> bool:
    """Whether a candidate is the number as written, in the channel's unit or one that is converted to it."""
    decimals = len(number.partition(".")[2])
    forms = [candidates]
    if channel.get("unit") == "fraction":
        forms.append(candidates * 100)
    if channel.get("unit") == "°C":
        forms.append(candidates * 1.8 + 32)
    return any((np.abs(form - float(number)) <= 0.5 * 10**-decimals + 1e-6 * np.abs(form)).any() for form in forms)


def _trends(clause, values):
    for trend, pattern in _TREND.items():
        match = re.search(rf"\b(?:{pattern})\b", clause)
        if match:
            if len(values) < 6:
                yield "trend", None
            else:
                yield "trend", (trend_of(values) == trend) != bool(_NEGATED.search(clause[: match.start()]))


def trend_of(values: np.ndarray) -> str:
    """`rising`, `falling` or `stable`: medians of the first and last third, against half the interquartile range."""
    third = len(values) // 3
    change = np.median(values[-third:]) - np.median(values[:third])
    spread = np.subtract(*np.percentile(values, [75, 25]))
    return "stable" if abs(change) <= 0.5 * spread else ("rising" if change > 0 else "falling")


def _evidence(channel: dict, hours: np.ndarray, values: np.ndarray) -> str:
    if not len(values):
        return "not measured"
    show = f".{channel.get('decimals', 1)}f"
    high, low = _outside(channel, values, "high"), _outside(channel, values, "low")
    return (
        f"{len(values)} values, {high} above and {low} below normal; lowest {values.min():{show}} at hour "
        f"{hours[values.argmin()]:.1f}, highest {values.max():{show}} at hour {hours[values.argmax()]:.1f}"
    )
