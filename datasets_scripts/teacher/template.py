# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The offline teacher: rationales put together from what a record holds.

A diagnosis is explained by the knowledge terms found in the note, not negated, and by measured findings of channels
that the knowledge connects with it. Nothing is written from the label alone: a diagnosis without such evidence is not
argued for. Everything said of a channel is true of the record by construction, one fact a clause.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict

import numpy as np

from modeling_clinragen.claims_clinragen import times, trend_of


MAX_SPANS = 2  # note spans cited for one diagnosis
MAX_CHANNELS = 2  # channels cited for one diagnosis
MAX_DIAGNOSES = 5  # explained in one rationale

NEGATION = re.compile(
    r"\b(?:no|not|denies|denied|without|absent|negative for|free of|there is no)\b[^.;\n]*$", re.IGNORECASE
)

NOTE_SENTENCES = (
    "{evidence} in the note {verb} {disease}.",
    "The note tells of {evidence}, which {verb} {disease}.",
    "{disease} {passive} {evidence} in the note.",
)
LAB_SENTENCES = (
    "{evidence}, which {verb} {disease}.",
    "{evidence}, and this {verb} {disease}.",
    "{evidence}; this {verb} {disease}.",
)
VERBS = (("points to", "point to"), ("suggests", "suggest"), ("fits", "fit"))
PASSIVES = ("is suggested by", "is supported by")
NO_NOTE_EVIDENCE = (
    "The note alone gives no clear sign of a listed disease.",
    "Nothing in the note points to a listed disease.",
)
NO_LAB_EVIDENCE = (
    "The measured series show no clear sign of a listed disease.",
    "The measured series point to no listed disease.",
)
NOTHING_MEASURED = "No series were measured."
NO_NOTE = "There is no note."


class TemplateTeacher:
    """
    Args:
        knowledge (`dict`): as `load_knowledge` gives it.
        channels (`list[dict]`): of the dataset: `name`, `unit`, `low`, `high`, `decimals`.
        labels (`list[str]`): of the dataset, in class-id order.
        seed (`int`): of the wording; with the stay's id it decides every choice.
    """

    def __init__(self, knowledge: dict, channels: list[dict], labels: list[str], seed: int = 0):
        self.channels, self.labels, self.seed = channels, labels, seed
        self.diseases_of = defaultdict(set)  # what may be found in a note, lower case -> diseases
        self.patterns_of = defaultdict(list)  # disease -> [(channel index, direction)]
        position = {channel["name"]: i for i, channel in enumerate(channels)}
        for term in knowledge["terms"]:
            for form in (term["term"], *term.get("synonyms", ())):
                self.diseases_of[form.lower()].update(term["diseases"])
            pattern = term.get("pattern")
            if pattern and pattern["channel"] in position:
                for disease in term["diseases"]:
                    self.patterns_of[disease].append((position[pattern["channel"]], pattern["direction"]))
        forms = sorted(self.diseases_of, key=len, reverse=True)
        self.finder = re.compile(r"\b(?:" + "|".join(map(re.escape, forms)) + r")\b", re.IGNORECASE)

    def __call__(self, row: dict) -> tuple[str, str]:
        """The note rationale and the lab rationale of one dataset row."""
        choose = random.Random(f"{self.seed}:{row['stay_id']}")
        diseases = [self.labels[i] for i in row["diagnoses"]]
        values = np.asarray(row["lab_values"], dtype=float).reshape(-1, len(self.channels))
        return self._note_rationale(row["note"], diseases, choose), self._lab_rationale(values, diseases, choose)

    def _note_rationale(self, note: str, diseases: list[str], choose: random.Random) -> str:
        if not note.strip():
            return NO_NOTE
        spans = self.find_spans(note)
        sentences = []
        for disease in diseases:
            found = [text for text, named in spans if disease in named][:MAX_SPANS]
            if found:
                singular, plural = choose.choice(VERBS)
                sentence = choose.choice(NOTE_SENTENCES).format(
                    evidence=" and ".join(found),
                    verb=singular if len(found) == 1 else plural,
                    passive=choose.choice(PASSIVES),
                    disease=short_name(disease),
                )
                sentences.append(sentence[0].upper() + sentence[1:])
        return " ".join(sentences[:MAX_DIAGNOSES]) or choose.choice(NO_NOTE_EVIDENCE)

    def find_spans(self, note: str) -> list[tuple[str, set[str]]]:
        """Knowledge terms of the note that are not negated, each once, in order: (as written, diseases)."""
        found = {}
        for match in self.finder.finditer(note):
            sentence_start = max(note.rfind(mark, 0, match.start()) for mark in (".", ";", "\n", ":")) + 1
            if not NEGATION.search(note[sentence_start : match.start()]):
                found.setdefault(match[0].lower(), (match[0], self.diseases_of[match[0].lower()]))
        return list(found.values())

    def _lab_rationale(self, values: np.ndarray, diseases: list[str], choose: random.Random) -> str:
        if not (~np.isnan(values)).any():
            return NOTHING_MEASURED
        sentences = []
        for disease in diseases:
            findings = []
            for channel, direction in self.patterns_of[disease]:
                finding = self._finding(values[:, channel], self.channels[channel], direction, choose)
                if finding and finding not in findings:
                    findings.append(finding)
            if findings:
                verb = choose.choice(VERBS)[0]
                sentences.append(
                    choose.choice(LAB_SENTENCES).format(
                        evidence=" and ".join(findings[:MAX_CHANNELS]), verb=verb, disease=short_name(disease)
                    )
                )
        return " ".join(sentences[:MAX_DIAGNOSES]) or choose.choice(NO_LAB_EVIDENCE)

    @staticmethod
    def _finding(column: np.ndarray, channel: dict, direction: str, choose: random.Random) -> str | None:
        """A true clause about a channel in that direction; `None` where its values do not show it."""
        measured = column[~np.isnan(column)]
        name = channel["name"]
        if direction in ("rising", "falling"):
            shown = len(measured) >= 6 and trend_of(measured) == direction
            return f"{name} is {direction}" if shown else None
        outside = measured > channel["high"] if direction == "high" else measured < channel["low"]
        if not outside.any():
            return None
        word = {"high": "higher", "low": "lower"}[direction]
        level = f"{name} is {word} than normal"
        counted = f"{level} {times(int(outside.sum()))}"
        extreme = measured.max() if direction == "high" else measured.min()
        reach = {"high": "up to", "low": "down to"}[direction]
        written = f"{extreme:.{channel['decimals']}f}"
        unit = channel["unit"] if channel["unit"] not in ("fraction", "pH") else ""
        extreme_of = f"{name} is {reach} {written} {unit}".rstrip()
        return choose.choice((level, level, level, counted, extreme_of))


def short_name(disease: str) -> str:
    """A diagnosis as one says it in a sentence: without what follows a semicolon or stands in brackets."""
    return disease.split(";")[0].split(" (")[0]
