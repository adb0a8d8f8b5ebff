# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Terms of the knowledge that a record itself shows: found in its note, or as a pattern of its series.

The attention weights of the terms carry almost no information about a patient: they are nearly the same for all
patients, and their excess over the mean does not separate terms of the patient's diagnoses from others. Therefore
terms are looked up in the record itself, and ranked by the diagnoses that they belong to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .composition_clinragen import Composer
from .past_clinragen import ACUTE, is_only_past


PARTS = ("note", "lab")
KINDS = ("name", "finding", "background", "series")  # of terms: three of the note, one of the series
_KIND_OF_TYPE = {"name": "name", **dict.fromkeys(("history", "drug", "mechanism"), "background")}  # others: findings
COMMON = 0.5  # a term that more than this share of the training records show is not specific


@dataclass(frozen=True)
class Shown:
    """
    A finding of a record, by the terms of the knowledge.

    Args:
        part (`str`): `note` or `lab`.
        terms (`dict`): its terms, with their diagnoses: for a finding of the note all terms with its words, for a
            pattern of the series all terms with this pattern.
        text (`str`): the words of the note, or channel and direction of a pattern, as in "Temperature high".
        span (`tuple`, *optional*): its span in the note.
    """

    part: str
    terms: dict[str, frozenset[str]]
    text: str
    span: tuple[int, int] | None = None


class RecordTerms:
    """
    Look up the terms of the knowledge in records.

    Args:
        composer (`Composer`): finds the evidence in a record.
        knowledge (list of `dict`, *optional*): terms, as for [`KnowledgeLinks`]; `share`, if given, is the share
            of the training records that show a term.
    """

    def __init__(self, composer: Composer, knowledge: Sequence[dict] | None):
        self.composer = composer
        self.knowledge = knowledge
        knowledge = knowledge or ()
        self.num_terms = len(knowledge)
        self.shares = {term["term"]: term.get("share", 0.0) for term in knowledge}
        self.positions: dict[str, list[int]] = defaultdict(list)  # several terms may have the same name
        self.by_pattern: dict[tuple[str, str], dict] = defaultdict(dict)
        for i, term in enumerate(knowledge):
            self.positions[term["term"]].append(i)
            if pattern := term.get("pattern"):
                terms = self.by_pattern[pattern["channel"], pattern["direction"]]
                terms[term["term"]] = terms.get(term["term"], frozenset()) | frozenset(term["diseases"])

    @cached_property
    def unseen(self) -> list[str]:
        """Return the diseases of the knowledge that are not labels of the model."""
        diseases = dict.fromkeys(disease for term in self.knowledge or () for disease in term["diseases"])
        return [disease for disease in diseases if disease not in set(self.composer.labels)]

    @cached_property
    def unseen_links(self) -> np.ndarray:
        """Return the links of terms with the diseases that are not labels, as [`link_terms`] returns them."""
        return link_terms(self.knowledge or (), self.unseen, self.composer.position)

    def find(self, note: str, lab_times, lab_values) -> list[Shown]:
        """Find the findings of a record, each once: those of the note in their order, then those of the series."""
        return self.find_in_note(note) + self.find_in_series(lab_times, lab_values)

    def find_in_note(self, note: str) -> list[Shown]:
        """Find the findings of a note, without past events that support only acute diseases."""
        rewritten, found = self.composer.links.language.read(note), []
        for finding in self.composer.links.find_in_note(rewritten.text):
            terms = {term: diseases for term, diseases in finding.terms.items() if term in self.shares}
            if terms and not (finding.diseases <= ACUTE and is_only_past(rewritten.text, finding.text)):
                found.append(Shown("note", terms, finding.text, rewritten.back(finding.start, finding.end)))
        return found

    def find_in_series(self, lab_times, lab_values) -> list[Shown]:
        """Find the patterns that series show."""
        evidence = self.composer.series_evidence(lab_times, lab_values, self.composer.labels).values()
        patterns = {(finding.channel["name"], finding.direction): None for found in evidence for finding in found}
        return [Shown("lab", self.by_pattern[pattern], " ".join(pattern)) for pattern in patterns]

    def evidence(self, note: str, lab_times, lab_values) -> np.ndarray:
        """
        Mark the terms that a record shows: bool, `(2, num_terms)`, in the order of the knowledge; first those of its
        note, then those of its series.
        """
        return np.stack([self.mark(self.find_in_note(note)), self.mark(self.find_in_series(lab_times, lab_values))])

    def mark(self, shown: Sequence[Shown]) -> np.ndarray:
        """Mark the terms of some findings: bool, `(num_terms,)`."""
        found = np.zeros(self.num_terms, dtype=bool)
        for finding in shown:
            found[self._places(finding)] = True
        return found

    def _places(self, shown: Shown) -> list[int]:
        return [i for term in shown.terms for i in self.positions[term]]

    def without(self, evidence: np.ndarray, shown: Sequence[Shown]) -> np.ndarray:
        """
        Return [`RecordTerms.evidence`], `(2, num_terms)`, once without each of some findings: bool,
        `(num_findings, 2, num_terms)`.
        """
        left = np.repeat(evidence[None], len(shown), axis=0)
        for kept, finding in zip(left, shown, strict=True):
            kept[PARTS.index(finding.part), self._places(finding)] = False
        return left

    def specific(
        self,
        shown: Sequence[Shown],
        probabilities: Mapping[str, float],
        listed: Collection[str],
        number: int,
        effects: np.ndarray | None = None,
    ) -> list[dict]:
        """
        Choose the terms that are specific to a record.

        Args:
            shown (list of [`Shown`]): of the record.
            probabilities (`dict`): probability of each diagnosis; 0 for diagnoses not in it.
            listed (`list[str]`): the diagnoses that are made.
            number (`int`): maximum number of terms.
            effects (array of shape `(num_findings, num_labels)`, *optional*): the contribution of each finding to the
                log-odds of each diagnosis, if the model reads terms. Findings without a positive contribution to their
                diagnosis are left out.

        Returns:
            `list[dict]`: `term`; `label`, the most probable of its diagnoses, and `weight`, its probability; `part`,
            `note` or `lab`, and `text`, the words or pattern that show it; and with `effects` `effect`, its
            contribution to that diagnosis. Sorted by weight, then by effect. A pattern of the series is named by its
            term for the most probable listed diagnosis, such as "low pressure from blood loss", or, if no diagnosis is
            listed, by its shortest term, which presumes none. Terms that more than half of the training records show
            are left out.
        """
        entries = {}
        for i, finding in enumerate(shown):
            rare = {term: diseases for term, diseases in finding.terms.items() if self.shares[term] <= COMMON}
            supporting = {term: diseases for term, diseases in rare.items() if not diseases.isdisjoint(listed)}
            plainest = sorted(rare.items(), key=lambda item: len(item[0]))[:1]
            candidates = [_entry(*term, finding, probabilities) for term in supporting.items() or plainest]
            if candidates:
                best = max(candidates, key=lambda entry: entry["weight"])
                if effects is not None:
                    effect_on = dict(zip(self.composer.labels, effects[i].tolist(), strict=True))
                    best["effect"] = round(effect_on.get(best["label"], 0.0), 4)  # the disease may be no label
                if best.get("effect", 1.0) > 0:
                    entries.setdefault(best["term"], best)
        return sorted(entries.values(), key=lambda entry: (-entry["weight"], -entry.get("effect", 0.0)))[:number]


def link_terms(knowledge: Sequence[dict], diseases: Sequence[str], channels: Collection[str]) -> np.ndarray:
    """
    Link terms with diseases. The weight of a link is the inverse number of the term's diseases; of the terms with the
    same pattern of the series, one is linked with each disease.

    Args:
        knowledge (list of `dict`): terms.
        diseases (list of `str`): the diseases to link; others do not count.
        channels (collection of `str`): names of the channels that the model reads.

    Returns:
        float array of shape `(4, num_terms, num_diseases)`, in the order of `KINDS`.
    """
    place = {disease: i for i, disease in enumerate(diseases)}
    links = np.zeros((len(KINDS), len(knowledge), len(place)), dtype=np.float32)
    by_pattern: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for i, term in enumerate(knowledge):
        linked = [place[name] for name in term["diseases"] if name in place]
        kind = KINDS.index(_KIND_OF_TYPE.get(term["type"], "finding"))
        links[kind, i, linked] = 1 / max(len(linked), 1)
        pattern = term.get("pattern")
        if pattern and pattern["channel"] in channels:
            first = by_pattern[pattern["channel"], pattern["direction"]]
            for disease in linked:
                first.setdefault(disease, i)
    for first in by_pattern.values():
        links[-1, list(first.values()), list(first)] = 1 / max(len(first), 1)
    return links


def shown_for(disease: str, shown: Sequence[Shown]) -> list[str]:
    """Return the terms of a record that support a disease, one for each finding."""
    supporting = [[term for term, diseases in finding.terms.items() if disease in diseases] for finding in shown]
    return list(dict.fromkeys(terms[0] for terms in supporting if terms))


def _entry(term: str, diseases: frozenset[str], finding: Shown, probabilities: Mapping[str, float]) -> dict:
    label = max(sorted(diseases), key=lambda disease: probabilities.get(disease, 0.0))
    weight = probabilities.get(label, 0.0)
    return {"term": term, "weight": weight, "label": label, "part": finding.part, "text": finding.text}


__all__ = ["KINDS", "RecordTerms", "Shown", "link_terms", "shown_for"]
