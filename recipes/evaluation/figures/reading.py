# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Count what a reader of rationales meets: supported claims and findings, arguments that the knowledge links, listed
diagnoses that are explained, wrong counts, and repetitions.

The claim checkers read the texts, whatever wrote them. Counts of each record; `compute.py` takes shares and
intervals of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from modeling_clinragen.claims_clinragen import Claim, ClaimChecker
from modeling_clinragen.language_clinragen import ENGLISH, Language
from modeling_clinragen.links_clinragen import KnowledgeLinks, argue
from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, Mention, NoteIndex, check_note_claims


ARGUMENTS = ("linked", "unlinked", "unknown")
ORIGINS = ("written", "repaired", "composed")

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|(?=\n)|$)", re.DOTALL)
_BACK = re.compile(r"(?:this|these|both|it|they|the same)\b", re.IGNORECASE)  # refers to the previous sentence
_UNEXPLAINED = re.compile(r"\bunexplained\b", re.IGNORECASE)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence; one ends at a mark before a space, or with its line."""
    return [match.span() for match in _SENTENCE.finditer(text)]


@dataclass(frozen=True)
class ReadSentence:
    """
    One sentence of a rationale, as read against the record.

    Args:
        text (`str`): as written.
        claims (`tuple[Claim, ...]`): its claims about the note or a channel.
        argued (`frozenset[str]`): diagnoses that it argues for.
        explained (`frozenset[str]`): those of them for which it gives evidence from the record: a supported claim or
            finding, which the knowledge, if there is any, links with the diagnosis.
        unexplained (`frozenset[str]`): diagnoses that it explicitly calls unexplained.
    """

    text: str
    claims: tuple[Claim, ...]
    argued: frozenset[str]
    explained: frozenset[str]
    unexplained: frozenset[str]

    def statements(self) -> set[tuple]:
        """Return each finding together with each diagnosis that it is said to support."""
        return {(_finding(claim), name) for claim in self.claims for name in self.argued}

    @property
    def names_a_finding_twice(self) -> bool:
        """Return whether the sentence lists a finding of the note more than once, in the same words."""
        findings = [_finding(claim) for claim in self.claims if claim.kind == "note"]
        return len(set(findings)) < len(findings)


def _finding(claim: Claim) -> tuple:
    """Return the key by which two claims are the same finding: channel and direction, or the words."""
    return (claim.channel, claim.direction) if claim.channel else tuple(re.findall(r"\w+", claim.text.lower()))


class RationaleReader:
    """
    Reads rationales against the records that they are about.

    Args:
        channels (list of `dict`): of the series.
        names (`dict`): diagnosis -> the names by which a text may call it.
        knowledge (list of `dict`, *optional*): terms, as `KnowledgeLinks` takes them; without them every supported
            claim counts as evidence for what its sentence argues for.
        language (`Language`, *optional*): of the knowledge; names and texts are expected as rewritten by it.
    """

    def __init__(
        self,
        channels: list[dict],
        names: dict[str, Sequence[str]],
        knowledge: Sequence[dict] | None = None,
        language: Language = ENGLISH,
    ):
        self.links = KnowledgeLinks(list(knowledge), list(names), channels, language) if knowledge else None
        known = {label: self.links.names_of(label) if self.links else () for label in names}
        self.names = names
        self.find = DiagnosisFinder({label: (*own, *known[label]) for label, own in names.items()})
        self.check_series = ClaimChecker(channels)

    def read_note(self, text: str, note: str | NoteIndex) -> list[ReadSentence]:
        """Read a note rationale."""
        index = NoteIndex(note) if isinstance(note, str) else note
        return self._read(text, check_note_claims(text, index, self.links), index.text)

    def read_series(self, text: str, lab_times, lab_values, note: str | None = None) -> list[ReadSentence]:
        """Read a lab rationale, beside the patient's note."""
        claims = self.check_series(text, lab_times, lab_values)
        return self._read(text, [claim for claim in claims if claim.channel], note)

    def named_in(self, index: NoteIndex, labels: Iterable[str]) -> set[str]:
        """Return those of the diagnoses that a note affirms by name, whether or not the knowledge has the name."""
        return {label for label in labels if any(_is_named(name, index) for name in self.names[label])}

    def _read(self, text: str, claims: list[Claim], note: str | None = None) -> list[ReadSentence]:
        if self.links:
            argue(claims, text, self.links, note)
        mentions, sentences, last = self.find(text), [], ()
        for start, end in sentence_spans(text):
            within = tuple(claim for claim in claims if start <= claim.start < end)
            named = [mention for mention in mentions if start <= mention.start < end]
            argued = _argued_for(named)
            last = (*(last if _BACK.match(text, start) else ()), *within)
            says_so = _UNEXPLAINED.search(text, start, end)
            sentences.append(
                ReadSentence(
                    text[start:end],
                    within,
                    argued,
                    argued & frozenset().union(*(self._evidence(claim, argued) for claim in last)),
                    frozenset().union(*(mention.labels for mention in named)) - argued if says_so else frozenset(),
                )
            )
        return sentences

    def _evidence(self, claim: Claim, argued: frozenset[str]) -> frozenset[str]:
        """Return the diagnoses for which a claim is evidence."""
        if claim.verdict != "supported":
            return frozenset()
        if self.links is None:
            return argued
        if claim.channel:
            return self.links.diseases_shown_by(claim.channel, claim.direction)
        linked = claim.diagnoses if claim.argument == "linked" else ()  # a claim may be a part of a term
        return frozenset(self.links.diseases_of(claim.text) or ()) | frozenset(linked)


def _is_named(name: str, index: NoteIndex) -> bool:
    words = set(re.findall(r"\w+", name.lower()))
    return any(
        words <= set(re.findall(r"\w+", index.text[start:end]))
        for claim in check_note_claims(name, index)
        if claim.verdict == "supported"
        for start, end in claim.spans
    )


def _argued_for(mentions: list[Mention]) -> frozenset[str]:
    """Return the diagnoses that a sentence concludes; if none, those that it states as facts about the patient."""
    argued = [mention for mention in mentions if mention.says == "argues"]
    concluded = [mention for mention in argued if mention.inferred]
    return frozenset().union(*(mention.labels for mention in concluded or argued))


def reading_counts(
    reader: RationaleReader, predictions: Iterable[dict], records: Iterable[dict]
) -> dict[str, np.ndarray]:
    """
    Count what a reader of each record's rationale meets.

    Args:
        reader (`RationaleReader`).
        predictions (iterable of `dict`): as `predict` yields them.
        records (iterable of `dict`): `note`, `lab_times` and `lab_values` of each.

    Returns:
        Counts of each record:

        - `note` and `series`: supported findings and claims; `count` claims, and `wrong` ones.
        - `linked`, `unlinked` and `unknown` arguments.
        - `listed` diagnoses; of these the `explained`, else those called `unexplained`, else `neither`; and those
          `overlooked`, not explained though the note affirms them by name.
        - `sentences`; those `repeated`, word for word or by the same finding for the same diagnosis; of these those
          repeated `word_for_word`.
        - `taught`, 1 for a record with a diagnosis and a teacher's rationale; `note_without_evidence` and
          `series_without_evidence`, 1 where that part of the teacher's gives evidence for no recorded diagnosis.
    """
    rows = [_record_counts(reader, *pair) for pair in zip(predictions, records, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in _NAMES}


_NAMES = (
    *("note", "series", *ARGUMENTS, "listed", "explained", "unexplained", "neither", "overlooked", "count", "wrong"),
    *("sentences", "repeated", "word_for_word", "taught", "note_without_evidence", "series_without_evidence"),
)


def _record_counts(reader: RationaleReader, prediction: dict, record: dict) -> Counter:
    index, series = NoteIndex(record["note"]), (record["lab_times"], record["lab_values"])
    note = reader.read_note(prediction["note_rationale"], index)
    lab = reader.read_series(prediction["lab_rationale"], *series, index.text)
    counts = Counter(_counts_of_sentences(note, lab))
    listed = {entry["label"] for entry in prediction["diagnoses"]}
    explained = listed & frozenset().union(*(sentence.explained for sentence in (*note, *lab)))
    unexplained = (listed - explained) & frozenset().union(*(sentence.unexplained for sentence in (*note, *lab)))
    counts["listed"], counts["explained"], counts["unexplained"] = len(listed), len(explained), len(unexplained)
    counts["neither"] = len(listed) - len(explained) - len(unexplained)
    counts["overlooked"] = len(reader.named_in(index, listed - explained))
    gold, reference = set(prediction["gold"]), [prediction[f"reference_{part}_rationale"] for part in ("note", "lab")]
    if gold and any(reference):
        counts["taught"] = 1
        counts["note_without_evidence"] = not _explains(reader.read_note(reference[0], index), gold)
        counts["series_without_evidence"] = not _explains(reader.read_series(reference[1], *series, index.text), gold)
    return counts


def _counts_of_sentences(note: list[ReadSentence], lab: list[ReadSentence]) -> dict[str, int]:
    claims = [[claim for sentence in part for claim in sentence.claims] for part in (note, lab)]
    arguments = Counter(claim.argument for part in claims for claim in part)
    counted = [claim for claim in claims[1] if claim.kind == "count"]
    repeated, word_for_word = repetitions([*note, *lab])
    return {
        **{
            name: sum(c.verdict == "supported" for c in part)
            for name, part in zip(("note", "series"), claims, strict=True)
        },
        **{name: arguments[name] for name in ARGUMENTS},
        "count": len(counted),
        "wrong": sum(claim.verdict == "contradicted" for claim in counted),
        "sentences": len(note) + len(lab),
        "repeated": repeated,
        "word_for_word": word_for_word,
    }


def repetitions(sentences: Sequence[ReadSentence]) -> tuple[int, int]:
    """
    Count the sentences that repeat an earlier statement, and those of them that repeat it word for word.

    Returns:
        The number of sentences that repeat an earlier one, or state a finding for a diagnosis for which an earlier one
        states it, or name a finding of the note twice; and how many of them have the same words as an earlier one.
    """
    texts, statements, repeated, word_for_word = set(), set(), 0, 0
    for sentence in sentences:
        words, stated = " ".join(re.findall(r"\w+", sentence.text.lower())), sentence.statements()
        word_for_word += words in texts
        repeated += words in texts or bool(stated & statements) or sentence.names_a_finding_twice
        texts.add(words)
        statements |= stated
    return repeated, word_for_word


def _explains(sentences: list[ReadSentence], diagnoses: set[str]) -> bool:
    return any(sentence.explained & diagnoses for sentence in sentences)


def origin_counts(predictions: Sequence[dict]) -> dict[str, np.ndarray]:
    """Count for each record the sentences that the model has `written`, and those `repaired` or `composed`."""
    origins = [Counter(sentence["origin"] for sentence in prediction["sentences"]) for prediction in predictions]
    return {name: np.array([counts[name] for counts in origins]) for name in ORIGINS}
