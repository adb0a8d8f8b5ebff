# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The quality gate: no rationale is learned from that the patient's own record contradicts.

No language model judges here. Claims about a channel are checked against the measured values, findings against the
note, and what is said of diagnoses against the recorded ones; `modeling_clinragen` holds the checkers, which the model
is measured with, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from modeling_clinragen.claims_clinragen import Claim, ClaimChecker
from modeling_clinragen.clinical_clinragen import short_name
from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, NoteIndex, check_note_claims


@dataclass(frozen=True)
class Sentence:
    """
    Args:
        text (`str`): one sentence of a rationale.
        evidence (`tuple[str, ...]`, *optional*): what it rests on: quotes of the note, or names of channels; `None`
            where the teacher does not tell.
    """

    text: str
    evidence: tuple[str, ...] | None = None


@dataclass
class Judgement:
    """
    Args:
        faults (list of `tuple[str, str]`): kind of each fault, which can be counted, and what a teacher needs to know
            to mend it, which may hold text of the record.
        claims (`Counter`): `"KIND VERDICT"` of each claim.
    """

    faults: list[tuple[str, str]] = field(default_factory=list)
    claims: Counter = field(default_factory=Counter)

    @property
    def kinds(self) -> list[str]:
        return sorted({kind for kind, _ in self.faults})


class Gate:
    """
    Args:
        channels (list of `dict`): of the dataset.
        labels (list of `dict`): of the dataset, with `name` and `synonyms`, in class-id order.
    """

    def __init__(self, channels: list[dict], labels: list[dict]):
        self.check_claims = ClaimChecker(channels)
        self.channel_names = {channel["name"].lower(): i for i, channel in enumerate(channels)}
        self.names = [label["name"] for label in labels]
        self.find_diagnoses = DiagnosisFinder(
            {label["name"]: (label["name"], short_name(label["name"]), *label.get("synonyms", ())) for label in labels}
        )

    def __call__(self, row: dict, note: list[Sentence], lab: list[Sentence]) -> Judgement:
        """
        Judge a rationale.

        Args:
            row (`dict`): of the dataset: `note`, `lab_times`, `lab_values` (T, C) and `diagnoses` are read.
        """
        judgement = Judgement()
        if not any(sentence.text.strip() for sentence in (*note, *lab)):
            judgement.faults.append(("empty", "The rationale is empty."))
            return judgement
        index = NoteIndex(row["note"])
        self._judge_note(note, row, index, judgement)
        self._judge_lab(lab, row, judgement)
        self._judge_diagnoses([*note, *lab], {self.names[i] for i in row["diagnoses"]}, index, judgement)
        return judgement

    def _judge_note(self, sentences: list[Sentence], row: dict, index: NoteIndex, judgement: Judgement) -> None:
        """Check findings against the note; what is said of a channel may stand in the note or in the series."""
        for sentence in sentences:
            claims = check_note_claims(sentence.text, index)
            if self.check_claims.names_a_channel(sentence.text) and not all(c.verdict == "supported" for c in claims):
                self._judge_series(sentence, row, judgement)
                continue
            for claim in claims:
                judgement.claims[f"note {claim.verdict}"] += 1
                if claim.verdict == "contradicted":
                    judgement.faults.append(("note contradicted", _told(claim)))
            for quote in sentence.evidence or ():
                if _plain(quote) not in _plain(index.text):
                    judgement.faults.append(("quote not in the note", f"The note does not hold the words {quote!r}."))

    def _judge_lab(self, sentences: list[Sentence], row: dict, judgement: Judgement) -> None:
        for sentence in sentences:
            self._judge_series(sentence, row, judgement)
            for name in sentence.evidence or ():
                if name.lower() not in self.channel_names:
                    judgement.faults.append(("evidence is no channel", f"{name!r} is no channel of the series."))

    def _judge_series(self, sentence: Sentence, row: dict, judgement: Judgement) -> None:
        for claim in self.check_claims(sentence.text, row["lab_times"], row["lab_values"]):
            if claim.channel is not None:
                judgement.claims[f"{claim.kind} {claim.verdict}"] += 1
            if claim.verdict == "contradicted":
                judgement.faults.append(("series contradicted", _told(claim)))

    def _judge_diagnoses(
        self, sentences: list[Sentence], gold: set[str], index: NoteIndex, judgement: Judgement
    ) -> None:
        for sentence in sentences:
            mentions = self.find_diagnoses(sentence.text)
            for mention in mentions:
                named = sentence.text[mention.start : mention.end]
                if mention.says == "denies" and len(mention.labels) == 1 and mention.labels <= gold:
                    judgement.faults.append(
                        ("denies a diagnosis", f"The patient has {named}; the rationale denies it.")
                    )
                if mention.says == "argues" and not mention.labels & gold and not self._cited(mention, named, index):
                    judgement.faults.append(
                        ("argues for an absent diagnosis", f"{named} is not among the patient's diagnoses.")
                    )
                if mention.says == "argues" and mention.inferred and sentence.evidence == ():
                    judgement.faults.append(("no evidence", f"The sentence on {named} names no evidence."))

    @staticmethod
    def _cited(mention, named: str, index: NoteIndex) -> bool:
        """Tell if the sentence repeats what the note says, instead of concluding it."""
        return not mention.inferred and named.lower() in index.text


def _told(claim: Claim) -> str:
    return f"{claim.text!r} is wrong: {claim.quote}."


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("“", '"').replace("”", '"').replace("’", "'").split()).strip(" .,;:\"'")
