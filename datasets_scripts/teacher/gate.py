# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The quality gate: a rationale that the patient's own record contradicts is not used for training.

No language model is involved. Claims about a channel are checked against the measured values, findings against the
note, statements about diagnoses against the recorded ones, arguments against the knowledge's links; and evidence must
not be overlooked. The checkers, in `modeling_clinragen`, are those that also evaluate the model.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from modeling_clinragen.claims_clinragen import Claim, ClaimChecker
from modeling_clinragen.clinical_clinragen import short_name
from modeling_clinragen.composition_clinragen import Composer, Evidence
from modeling_clinragen.language_clinragen import ENGLISH, Rewritten
from modeling_clinragen.links_clinragen import KnowledgeLinks, argue
from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, Mention, NoteIndex, check_note_claims
from modeling_clinragen.phrases_clinragen import compiled


PARTS = ("note", "lab")
_FINDINGS = {"note": "note", "lab": "series"}  # part -> field of `Evidence`
# "Nothing points to a listed disease" and the like; about a single diagnosis it is judged as a denial.
_NO_EVIDENCE = compiled(r"""
    \b(?:nothing|no (?:clear |other |measured |convincing |specific )*(?:sign|evidence|finding|abnormalit|clue
    |indication|support)\w*|(?:point|speak|argue)s? (?:to|for) (?:no|none)|(?:does|do) not (?:point|suggest|support))\b
    .{0,60}?\b(?:listed|recorded|any|these|of them|the list|disease|diagnos[ei]s|diseases)\b
    """)

_HOLDING = compiled(r"""
    (?:holds?|has|contains?|gives?|offers?|provides?|shows?|supports?|suggests?)(?: no (?:clue|evidence|support|sign))?
    """)  # its verbs


@dataclass(frozen=True)
class Sentence:
    """
    Args:
        text (`str`): one sentence of a rationale.
        evidence (`tuple[str, ...]`, *optional*): its evidence: quotes of the note, or names of channels; `None`
            if the teacher does not state it.
        said (`Rewritten`, *optional*): `text` as rewritten for the checkers, with its original; set by the gate.
    """

    text: str
    evidence: tuple[str, ...] | None = None
    said: Rewritten | None = None


@dataclass
class Judgement:
    """
    Args:
        faults (list of `tuple[str, str]`): kind of each fault, which can be counted, and feedback for the teacher,
            which may hold text of the record.
        claims (`Counter`): `"KIND VERDICT"` of each claim.
        without (`Counter`): 1 for `records` if there is a recorded diagnosis, and 1 for each part, `note` and `lab`,
            that argues for none of them.
    """

    faults: list[tuple[str, str]] = field(default_factory=list)
    claims: Counter = field(default_factory=Counter)
    without: Counter = field(default_factory=Counter)

    @property
    def kinds(self) -> list[str]:
        return sorted({kind for kind, _ in self.faults})


class Gate:
    """
    Args:
        channels (list of `dict`): of the dataset.
        labels (list of `dict`): of the dataset, with `name` and `synonyms`, in class-id order.
        links (`KnowledgeLinks`, *optional*): of the knowledge; without them, arguments are not judged, and overlooked
            evidence is not detected. Notes and rationales are in their language.
    """

    def __init__(self, channels: list[dict], labels: list[dict], links: KnowledgeLinks | None = None):
        self.language = ENGLISH if links is None else links.language
        self.check_claims = ClaimChecker(channels)
        self.channel_names = {channel["name"].lower(): i for i, channel in enumerate(channels)}
        self.names = [label["name"] for label in labels]
        self.links = links
        self._found: dict[str, list[Mention]] = {}  # cache for the present rationale
        self.composer = None if links is None else Composer(links, channels, self.names)
        self.find_diagnoses = DiagnosisFinder(
            {
                label["name"]: (
                    *map(self.language.english, (label["name"], short_name(label["name"]))),
                    *map(self.language.english, label.get("synonyms", ())),
                    *(links.names_of(label["name"]) if links else ()),
                )
                for label in labels
            }
        )

    def __call__(
        self, row: dict, note: list[Sentence], lab: list[Sentence], evidence: dict[str, Evidence] | None = None
    ) -> Judgement:
        """
        Judge a rationale.

        Args:
            row (`dict`): of the dataset: `note`, `lab_times`, `lab_values` (T, C) and `diagnoses` are read.
            evidence (*optional*): of the recorded diagnoses, if the composer has found it already.
        """
        judgement, self._found = Judgement(), {}
        if not any(sentence.text.strip() for sentence in (*note, *lab)):
            judgement.faults.append(("empty", "The rationale is empty."))
            return judgement
        about, gold = self.language.read(row["note"]), {self.names[i] for i in row["diagnoses"]}
        index = NoteIndex(about.text)
        note, lab = ([self._as_read(sentence) for sentence in part] for part in (note, lab))
        self._judge_note(note, row, about, index, gold, judgement)
        self._judge_lab(lab, row, index.text, judgement)
        judgement.without["records"] = int(bool(gold))
        for part, sentences in zip(PARTS, (note, lab), strict=True):
            if not self._judge_diagnoses(sentences, gold, index, judgement) and gold:
                judgement.without[part] += 1
        self._judge_repeats([*note, *lab], judgement)
        if self.composer is not None:
            if evidence is None:
                evidence = self.composer.evidence(row["note"], row["lab_times"], row["lab_values"], sorted(gold))
            self._judge_overlooked(note, lab, evidence, judgement)
        return judgement

    def _as_read(self, sentence: Sentence) -> Sentence:
        said = self.language.read(sentence.text)
        return replace(sentence, text=said.text, said=said)

    def _judge_note(
        self,
        sentences: list[Sentence],
        row: dict,
        about: Rewritten,
        index: NoteIndex,
        gold: set[str],
        judgement: Judgement,
    ) -> None:
        """Check findings against the note; statements about a channel may be in the note or in the series."""
        for sentence in sentences:
            claims = check_note_claims(sentence.text, index, self.links)
            if self.check_claims.names_a_channel(sentence.text) and not all(c.verdict == "supported" for c in claims):
                self._judge_series(sentence, row, index.text, judgement)
                continue
            claims = [claim for claim in claims if not self._is_verb(claim, sentence.text)]
            for claim, written in zip(claims, sentence.said.restored(claims, about), strict=True):
                judgement.claims[f"note {claim.verdict}"] += 1
                if claim.verdict == "contradicted":
                    judgement.faults.append(("note contradicted", _feedback(written)))
                if claim.verdict == "absent" and not self._is_diagnosis(claim, sentence.text, gold):
                    judgement.faults.append(("finding not in the note", f"The note does not hold {written.text!r}."))
            self._judge_arguments(claims, sentence, judgement, index.text)
            for quote in sentence.evidence or ():
                if _plain(quote) not in _plain(row["note"]):
                    judgement.faults.append(("quote not in the note", f"The note does not hold the words {quote!r}."))

    def _mentions(self, text: str) -> list[Mention]:
        if text not in self._found:
            self._found[text] = self.find_diagnoses(text)
        return self._found[text]

    @staticmethod
    def _is_verb(claim: Claim, text: str) -> bool:
        """Return whether a claim is the verb of "the note holds no evidence for these diagnoses", not a finding."""
        return bool(_HOLDING.fullmatch(claim.text.lower()) and _NO_EVIDENCE.search(text.lower()))

    def _is_diagnosis(self, claim: Claim, text: str, gold: set[str]) -> bool:
        """Return whether a claim names a denied diagnosis, or a recorded one that is not quoted from the note."""
        return any(
            mention.says != "argues" or (mention.labels & gold and "note" not in _sentence_at(text, claim.start))
            for mention in self._mentions(text)
            if mention.start < claim.end and claim.start < mention.end
        )

    def _judge_lab(self, sentences: list[Sentence], row: dict, note: str, judgement: Judgement) -> None:
        for sentence in sentences:
            self._judge_series(sentence, row, note, judgement)
            for name in sentence.evidence or ():
                if name.lower() not in self.channel_names:
                    judgement.faults.append(("evidence is no channel", f"{name!r} is no channel of the series."))

    def _judge_series(self, sentence: Sentence, row: dict, note: str, judgement: Judgement) -> None:
        claims = self.check_claims(sentence.text, row["lab_times"], row["lab_values"])
        for claim in sentence.said.restored(claims):
            if claim.channel is not None:
                judgement.claims[f"{claim.kind} {claim.verdict}"] += 1
            if claim.verdict == "contradicted":
                judgement.faults.append(("series contradicted", _feedback(claim)))
        self._judge_arguments(claims, sentence, judgement, note)

    def _judge_arguments(self, claims: list[Claim], sentence: Sentence, judgement: Judgement, note: str) -> None:
        """Reject an argument that the knowledge does not link, for an acute disease from history, or one denied."""
        if self.links is None:
            return
        argue(claims, sentence.text, self.links, note)
        for claim in sentence.said.restored(claims):
            if claim.argument:
                judgement.claims[f"argument {claim.argument}"] += 1
            if claim.argument == "unlinked":
                finding = f"{claim.text!r} does not speak for {' and '.join(map(short_name, claim.diagnoses))}"
                feedback = f"{finding}: argue from another finding, or leave it out."
                judgement.faults.append(("unlinked argument", feedback))

    @staticmethod
    def _judge_repeats(sentences: list[Sentence], judgement: Judgement) -> None:
        counts = Counter(_plain(text) for sentence in sentences for text in _split(sentence.said.original))
        for text, count in counts.items():
            if count > 1:
                judgement.faults.append(("repeated sentence", f"{text!r} is said {count} times."))

    def _judge_overlooked(
        self, note: list[Sentence], lab: list[Sentence], evidence: dict[str, Evidence], judgement: Judgement
    ) -> None:
        """Reject "nothing points to a disease" where something does, and "unexplained" where there is evidence."""
        for part, sentences in zip(PARTS, (note, lab), strict=True):
            for text in (text for sentence in sentences for text in _split(sentence.text)):
                if "unexplained" in text.lower():
                    meant = {disease for m in self._mentions(text) if len(m.labels) == 1 for disease in m.labels}
                    overlooked = [(d, evidence[d].note + evidence[d].series) for d in sorted(meant & set(evidence))]
                elif _NO_EVIDENCE.search(text.lower()):
                    overlooked = [(disease, getattr(evidence[disease], _FINDINGS[part])) for disease in evidence]
                else:
                    continue
                for disease, findings in overlooked:
                    if findings:
                        finding = f"{_finding_words(findings[0])!r} speaks for {short_name(disease)}"
                        feedback = f"{finding}: argue from it, or leave out the sentence that nothing does."
                        judgement.faults.append(("overlooks evidence", feedback))

    def _judge_diagnoses(
        self, sentences: list[Sentence], gold: set[str], index: NoteIndex, judgement: Judgement
    ) -> bool:
        """Judge statements about diagnoses; return whether they argue for a recorded one."""
        argued = False
        for sentence in sentences:
            mentions = self._mentions(sentence.text)
            for mention in mentions:
                named = sentence.said.words(mention.start, mention.end)
                said = sentence.text[mention.start : mention.end]
                if mention.says == "denies" and len(mention.labels) == 1 and mention.labels <= gold:
                    judgement.faults.append(
                        ("denies a diagnosis", f"The patient has {named}; the rationale denies it.")
                    )
                argued |= mention.says == "argues" and bool(mention.labels & gold)
                if mention.says == "argues" and not mention.labels & gold and not self._cited(mention, said, index):
                    judgement.faults.append(
                        ("argues for an absent diagnosis", f"{named} is not among the patient's diagnoses.")
                    )
                if mention.says == "argues" and mention.inferred and sentence.evidence == ():
                    judgement.faults.append(("no evidence", f"The sentence on {named} names no evidence."))
        return argued

    @staticmethod
    def _cited(mention, named: str, index: NoteIndex) -> bool:
        """Return whether the sentence repeats the note's statement, in any order, instead of concluding it."""
        return not mention.inferred and _words(named) <= _words(index.text)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _sentence_at(text: str, place: int) -> str:
    """Return the sentence around a position, in lower case."""
    stop = text.find(".", place)
    return text[text.rfind(".", 0, place) + 1 : stop if stop > 0 else None].lower()


def _split(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence.strip()]


def _finding_words(finding) -> str:
    """Return the words of a note's finding, or channel and direction of a finding of the series."""
    return getattr(finding, "text", None) or f"{finding.channel['name']} {finding.direction}"


def _feedback(claim: Claim) -> str:
    return f"{claim.text!r} is wrong: {claim.quote}."


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("“", '"').replace("”", '"').replace("’", "'").split()).strip(" .,;:\"'")
