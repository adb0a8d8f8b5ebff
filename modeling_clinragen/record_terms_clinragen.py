# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Terms of the knowledge that a record itself shows: found in its note, or as a pattern of its series.

Which terms the series attend to says next to nothing about a patient: the weights are nearly the same for all, and
their excess over the mean of all patients does not tell terms of the patient's diagnoses from others. Therefore what
is shown of the knowledge is looked up in the record, and ranked by the diagnoses that the terms belong to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .composition_clinragen import Composer


NAME = "name"  # the type of a term that is only another name of its diseases
COMMON = 0.5  # a term that more than this share of the training patients show is not specific to one


@dataclass(frozen=True)
class Shown:
    """
    A finding of a record, by the terms of the knowledge.

    Args:
        part (`str`): `note` or `lab`.
        terms (`tuple[str, ...]`): that name it: of the note one, of a pattern of the series all that stand for it.
    """

    part: str
    terms: tuple[str, ...]


class RecordTerms:
    """
    Look up the terms of the knowledge in records.

    Args:
        composer (`Composer`): it tells what a record shows.
        knowledge (list of `dict`): terms, as [`KnowledgeLinks`] takes them; `share`, where it is given, is the share
            of the training patients that show a term. Names of diseases are passed over.
    """

    def __init__(self, composer: Composer, knowledge: Sequence[dict]):
        self.composer = composer
        self.terms = {term["term"]: term for term in knowledge if term["type"] != NAME}
        self.by_pattern = defaultdict(list)
        for term in self.terms.values():
            if pattern := term.get("pattern"):
                self.by_pattern[pattern["channel"], pattern["direction"]].append(term["term"])

    def find(self, note: str, lab_times, lab_values) -> list[Shown]:
        """Find what a record shows, each finding once: those of the note in their order, then those of the series."""
        evidence = self.composer.evidence(note, lab_times, lab_values, self.composer.labels).values()
        noted = {finding.term: finding.start for found in evidence for finding in found.note}
        patterns = {(s.channel["name"], s.direction): None for found in evidence for s in found.series}
        in_note = [Shown("note", (term,)) for term in sorted(noted, key=noted.get) if term in self.terms]
        return in_note + [Shown("lab", tuple(self.by_pattern[p])) for p in patterns if self.by_pattern[p]]

    def specific(self, shown: Sequence[Shown], probabilities: Mapping[str, float], number: int) -> list[dict]:
        """
        Choose the terms that are specific to a record.

        Args:
            shown (list of [`Shown`]): of the record.
            probabilities (`dict`): of each diagnosis.
            number (`int`): of terms at most.

        Returns:
            `term`; `label`, the most probable of its diagnoses, and `weight`, its probability; and `part`, `note` or
            `lab`, that shows it. The highest weight first, each finding by its term of the highest weight. A term that
            more than half of the training patients show is left out.
        """
        entries = {}
        for finding in shown:
            rare = [term for term in finding.terms if self.terms[term].get("share", 0.0) <= COMMON]
            candidates = [self._entry(term, finding.part, probabilities) for term in rare]
            if candidates:
                best = max(candidates, key=lambda entry: entry["weight"])
                entries.setdefault(best["term"], best)
        return sorted(entries.values(), key=lambda entry: -entry["weight"])[:number]

    def _entry(self, term: str, part: str, probabilities: Mapping[str, float]) -> dict:
        label = max(self.terms[term]["diseases"], key=lambda disease: probabilities.get(disease, 0.0))
        return {"term": term, "weight": probabilities.get(label, 0.0), "label": label, "part": part}


__all__ = ["RecordTerms", "Shown"]
