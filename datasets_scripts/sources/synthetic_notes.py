# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The discharge summaries of simulated patients.

Up to the physical exam a summary tells what was seen; only later sections name the diseases. Each finding has a kind,
which decides where it stands, how it is told and how it is denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml


WORDS = Path(__file__).with_name("synthetic_notes.yaml")
ASKED, STUDIED, PAST = ("symptom", "habit"), ("result", "value"), ("history", "therapy")
NEVER_DENIED = ("drug", "therapy", "value")
NUM_DENIED = (1, 3)  # findings of other diseases
PRONOUNS = {
    "M": {"he": "he", "his": "his", "him": "him", "sex": "man", "name": "Mr. ___"},
    "F": {"he": "she", "his": "her", "him": "her", "sex": "woman", "name": "Ms. ___"},
}


@dataclass(frozen=True)
class Finding:
    """
    One finding of a disease.

    Args:
        kind (`str`): as in `synthetic.yaml`; a part of the examination for a sign.
        text (`str`): what is found.
        more (`str`): after its bar, a dose or how a habit is denied; of results and values the study.
        disease (`str`): the disease.
    """

    kind: str
    text: str
    more: str
    disease: str


def capital(text: str) -> str:
    """Begin a text with a capital letter."""
    return text[:1].upper() + text[1:]


def article(age: int) -> str:
    """Return the article before an age: an 81 year old man, a 72 year old man."""
    return "an" if age in (8, 11, 18) or 80 <= age < 90 else "a"


@cache
def read_words() -> dict:
    """Return `synthetic_notes.yaml`."""
    return yaml.safe_load(WORDS.read_text(encoding="utf-8"))


def findings_of(diseases: dict, name: str) -> list[Finding]:
    """Return what a note may say of a disease."""
    return [
        _parse(kind, entry, name) for kind, entries in diseases[name].get("findings", {}).items() for entry in entries
    ]


def _parse(kind: str, entry: str, disease: str) -> Finding:
    text, _, more = (part.strip() for part in entry.partition("|"))
    return Finding(kind, more, text, disease) if kind in STUDIED else Finding(kind, text, more, disease)


def draw_told(diseases: dict, present: list[str], rng: np.random.Generator) -> list[Finding]:
    """Draw three findings of each disease that a note shows, at most one of them a drug."""
    told = []
    for name in present:
        findings = findings_of(diseases, name)
        drugs = [finding for finding in findings if finding.kind == "drug"]
        others = [finding for finding in findings if finding.kind != "drug"]
        number = 3 if findings else 0
        if drugs and number and rng.random() < 0.5:
            told.append(drugs[int(rng.integers(len(drugs)))])
            number -= 1
        told += [others[i] for i in rng.permutation(len(others))[:number]]
    return told


def draw_denied(diseases: dict, told: list[Finding], present: list[str], rng: np.random.Generator) -> list[Finding]:
    """Draw findings of other diseases that can be denied beside what is told."""
    clashing = {text for group in read_words()["alike"] if {f.text for f in told} & set(group) for text in group}
    clashing |= {finding.text for finding in told}
    others = [
        finding
        for name in diseases
        if name not in present
        for finding in findings_of(diseases, name)
        if finding.kind not in NEVER_DENIED and finding.text not in clashing
    ]
    return [others[i] for i in rng.permutation(len(others))[: int(rng.integers(NUM_DENIED[0], NUM_DENIED[1] + 1))]]


class Writer:
    """
    Write the parts of one patient's summary.

    Args:
        age (`int`), sex (`str`): of the patient.
        told, denied (list of `Finding`): what the summary says is there, and is not.
        diseases (`dict`): of `synthetic.yaml`; present (list of `str`): those of the patient.
    """

    def __init__(self, age, sex, told, denied, diseases, present, rng: np.random.Generator):
        self.age, self.told, self.denied, self.diseases, self.present = age, told, denied, diseases, present
        self.rng, self.words, self.sex = rng, read_words(), sex
        self.pronouns = PRONOUNS[sex] | {name.capitalize(): word.capitalize() for name, word in PRONOUNS[sex].items()}
        self.chief = self._draw_chief()

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def write(self, template: str, *texts: str, **names: str) -> str:
        return capital(template.format(*texts, **self.pronouns, **names))

    def sentence(self, finding: Finding, way: str) -> str:
        """State or deny (`way`) a finding in one sentence."""
        text = finding.more if finding.kind == "habit" and way == "denied" else finding.text
        study = finding.more if finding.kind in STUDIED else ""
        return self.write(self.pick(self.words["frames"][finding.kind][way]), text, study=study, Study=capital(study))

    def _draw_chief(self) -> Finding | None:
        symptoms = [finding for finding in self.told if finding.kind == "symptom"]
        return self.pick(symptoms) if symptoms and self.rng.random() < 0.7 else None

    def draw_complaint(self) -> tuple[str, str]:
        """Draw the chief complaint, and the reason for coming as the story gives it."""
        if self.chief is None:
            complaint = self.pick(list(self.words["complaints"]))
            return complaint, self.pick(self.words["complaints"][complaint]).format(**self.pronouns)
        has_time = " for " in self.chief.text
        onset = self.pick(self.words["onsets"][self.diseases[self.chief.disease]["onset"]])
        return self.chief.text, f"with {self.chief.text}" + ("" if has_time else f" {onset}")

    def story(self, opening: str, with_denied: bool) -> str:
        told = [f for f in self.told if f.kind in ASKED + STUDIED and f is not self.chief]
        denied = [f for f in self.denied if f.kind in STUDIED or (with_denied and f.kind in ASKED)]
        sentences = [self.sentence(f, "told") for f in told] + [self.sentence(f, "denied") for f in denied]
        sentences.append(self.write(self.pick(self.words["stories"])))
        return " ".join([opening, *(sentences[i] for i in self.rng.permutation(len(sentences)))])

    def from_age(self, lines: dict[int, list[str]]) -> list[str]:
        """Return the lines that fit the patient's age, of lists by the age from which they fit."""
        return [line for age, some in lines.items() if self.age >= age for line in some]

    def past(self) -> str:
        sentences = [self.sentence(f, "told") for f in self.told if f.kind in PAST]
        sentences += [self.sentence(f, "denied") for f in self.denied if f.kind in PAST]
        histories = self.words["histories"]
        others = self.from_age(histories["all"]) + self.from_age(histories[self.sex])
        sentences.append(self.write("{0}.", self.pick(others)))
        return " ".join(sentences[i] for i in self.rng.permutation(len(sentences)))

    def social(self) -> str:
        age = min(limit for limit in self.words["occupations"] if self.age <= limit)
        lines = [self.pick(self.words["homes"]), self.pick(self.words["occupations"][age])]
        return " ".join(self.write(line) for line in [*lines, self.pick(self.from_age(self.words["habits"]))])

    def medications(self) -> str:
        drugs = [f"{f.text} {f.more}".strip() for f in self.told if f.kind == "drug"]
        others = self.rng.permutation(self.words["medications"])[: int(self.rng.integers(1, 3))]
        return ", ".join([*drugs, *map(str, others)])

    def review(self) -> str:
        denied = [self.sentence(f, "denied") for f in self.denied if f.kind in ASKED]
        return " ".join(denied) or "As above."

    def exam(self) -> str:
        affected = {kind for name in self.present for kind in self.diseases[name].get("findings", {})}
        lines = []
        for part, normal in self.words["exam"].items():
            told = [f.text for f in self.told if f.kind == part]
            denied = [f"no {f.text}" for f in self.denied if f.kind == part]
            if not told and part not in affected and self.rng.random() < 0.35:
                told = [self.pick(normal)]
            if told or denied:
                lines.append(f"{part.capitalize()}: {', '.join(told + denied)}.")
        return " ".join(lines) or "General: alert and oriented."


def discharge_summary(diseases: dict, present: list[str], age: int, sex: str, rng: np.random.Generator) -> str:
    """
    Write the summary of a patient.

    Args:
        diseases (`dict`): all of `synthetic.yaml`; present (list of `str`): those of the patient.
        age (`int`), sex (`str`): of the patient, `M` or `F`.
    """
    told = draw_told(diseases, present, rng)
    writer = Writer(age, sex, told, draw_denied(diseases, told, present, rng), diseases, present, rng)
    layout, later = writer.pick(writer.words["layouts"]), writer.pick(writer.words["later"])
    complaint, reason = writer.draw_complaint()
    opening = writer.write(writer.pick(writer.words["openings"]), age=age, article=article(age), reason=reason)
    named = "; ".join(present) or "no acute disease"
    parts = {
        "complaint": capital(complaint),
        "present": writer.story(opening, "denied" not in layout.values()),
        "denied": writer.review(),
        "past": writer.past(),
        "social": writer.social(),
        "family": writer.pick(writer.from_age(writer.words["families"])),
        "medications": writer.medications(),
        "allergies": writer.pick(writer.words["allergies"]),
        "exam": writer.exam(),
        "results": "See the chart.",
        "course": writer.write(writer.pick(writer.words["courses"]), named=named),
        "discharged": "As before.",
        "diagnoses": named,
        "condition": "Stable.",
    }
    sections = [f"{heading}:\n{parts[part]}\n" for heading, part in (layout | later).items()]
    return f"Sex: {sex}\nService: MEDICINE\n\n" + "\n".join(sections)
