# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Grounded generation: of what the decoder wrote, only what the record supports leaves the model, and each listed
diagnosis is explained from the record or said to be unexplained.

A text is read sentence by sentence. Its numeric slots are filled; then a sentence is kept, kept without what is wrong
in it, or left out; then sentences composed from the record are added for the diagnoses that nothing argues for yet.
"""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from .claims_clinragen import Claim, ClaimChecker
from .composition_clinragen import MAX_SENTENCES, Evidence
from .language_clinragen import ENGLISH, Rewritten
from .links_clinragen import argue
from .note_claims_clinragen import NoteIndex, check_note_claims
from .own_words_clinragen import SeriesWords, details
from .phrases_clinragen import lowered
from .processing_clinragen import RATIONALE, ClinRaGenProcessor
from .realization_clinragen import NO_SIGN, place_of
from .repair_clinragen import NumberRepair, without_findings
from .wellformed_clinragen import is_well_formed


PARTS = {"note": "rationale", "lab": "lab test"}  # part of a rationale -> its mark
EVIDENCE = {"note": "note", "lab": "series"}  # part of a rationale -> the findings that it tells of
LIST = "disease diagnosed"
WRITTEN, REPAIRED, COMPOSED = "written", "repaired", "composed"
MAX_SHOWN = 2  # findings that are told where no diagnosis is listed

_BOUNDARY = re.compile(r"(?<=[.!?])\s+")
_PLAIN = re.compile(r"[^a-z0-9]+")
_LETTER = re.compile(r"[^\W\d_]")
# What only the composer may say, as it looks at the whole record.
_LACK = re.compile(r"\b(?:remains?|stays?|left|is|are) unexplained\b|\blisted (?:disease|diagnos)", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|rose|fell|went|came|began|sank|(?:rise|fall|stay|remain|show)s?"
    r"|(?!inspired)[a-z]+ed)\b",
    re.IGNORECASE,
)


def split_sentences(text: str) -> list[str]:
    return _BOUNDARY.split(text.strip()) if text.strip() else []


def sentences_read(said: Rewritten) -> list[str]:
    """Return the sentences of a text as it was written; "z. B." is no end of one where its language knows it."""
    ends = [match.start() for match in _BOUNDARY.finditer(said.text.strip())]
    places = [0, *(said.back(end, end)[1] for end in ends), len(said.original)]
    return [text for a, b in itertools.pairwise(places) if (text := said.original[a:b].strip())]


@dataclass(frozen=True)
class GroundedSentence:
    """
    Args:
        text (`str`): one sentence.
        part (`str`): `note` or `lab`, the part of the rationale in which it stands.
        origin (`str`): `written` by the decoder, `repaired` where its numbers were corrected or findings left out of
            it, or `composed` from the record.
    """

    text: str
    part: str
    origin: str


class Grounding:
    """
    Hold what the grounding of all records shares.

    Args:
        processor (`ClinRaGenProcessor`): of the model. Without `knowledge` no argument is checked, and nothing is
            composed but what the text does not explain.
    """

    def __init__(self, processor: ClinRaGenProcessor):
        channels = processor.feature_extractor.channels
        self.processor, self.knows = processor, bool(processor.knowledge)
        self.composer = processor.record_terms.composer
        self.links = self.composer.links
        self.check, self.num_channels = ClaimChecker(channels), len(channels)
        self.repair, self.series_words = NumberRepair(self.check), SeriesWords(self.check)
        self.slots = processor.slots
        self.language = self.links.language

    def of(self, record: dict) -> GroundedText:
        """Return the text of a record, nothing read yet; `record` holds `note`, `lab_times` and `lab_values`."""
        return GroundedText(self, record)


class GroundedText:
    """
    The grounded text of one record, made while the decoder writes.

    Args:
        grounding (`Grounding`): checkers and composer.
        record (`dict`): `note`, `lab_times` and `lab_values`.

    Attributes:
        sentences (list of [`GroundedSentence`]): so far, in order.
        claims (`dict`): part -> list of [`Claim`], with their characters in that part.
    """

    def __init__(self, grounding: Grounding, record: dict):
        self.grounding, self.processor = grounding, grounding.processor
        reads = self.processor.modalities
        self.note = record["note"] if "note" in reads else ""
        self.times = np.asarray(record["lab_times"], dtype=float).reshape(-1)
        self.values = np.asarray(record["lab_values"], dtype=float).reshape(len(self.times), grounding.num_channels)
        if "lab" not in reads:
            self.times, self.values = self.times[:0], self.values[:0]
        self.said_note = grounding.language.read(self.note)
        self.index, self.details = NoteIndex(self.said_note.text), details(self.said_note.text)
        note = self.note.encode(errors="surrogatepass")
        seed = zlib.crc32(np.nan_to_num(self.values, nan=-1.0).tobytes(), zlib.crc32(note))
        self.choose = random.Random(seed)
        self.sentences: list[GroundedSentence] = []
        self.claims: dict[str, list[Claim]] = {part: [] for part in PARTS}
        self.listed: list[str] | None = None
        self.explained = {part: set() for part in PARTS}
        self.closed: set[str] = set()
        self._read = dict.fromkeys(PARTS, 0)  # sentences of the decoder
        self._marks: list[str] = []
        self._said: set[tuple] = set()
        self._no_sign: dict[str, str] = {}  # part -> the decoder's own words for it

    def read(self, text: str, ended: bool = True, finished: bool = True) -> None:
        """
        Read what the decoder has written so far.

        Args:
            text (`str`): from its beginning.
            ended (`bool`): nothing more will come; until then the last sentence waits, and the whole rationale where
                the list of diagnoses follows it.
            finished (`bool`): the decoder came to its end; else the last sentence is a piece, and left out.
        """
        self._marks = self.processor.marks(text)
        if not ended and (self._marks[:1] != [LIST] or len(self._marks) < 2):
            return
        parsed = self.processor.parse(text)
        if self.listed is None:
            self.listed = parsed["diagnoses"]
        for part in PARTS:
            is_last = self._is_last(part)
            said = self.grounding.language.read(parsed[f"{part}_rationale"].strip())
            sentences = sentences_read(said) if self._is_in_order(part) else []
            waits = is_last and not (ended and finished)
            for sentence in sentences[self._read[part] : len(sentences) - waits]:
                self._read[part] += 1
                self._take(sentence, part)
            if ended or not (is_last or self._is_to_come(part)):
                self._close(part)

    def _is_last(self, part: str) -> bool:
        return self._marks[-1:] == [PARTS[part]] and self._marks.count(PARTS[part]) == 1

    def _is_in_order(self, part: str) -> bool:
        """Return whether a part stands in its place: what is written of the note after the series is read no more."""
        before = self._marks[: self._marks.index(PARTS[part])] if PARTS[part] in self._marks else []
        return part == "lab" or PARTS["lab"] not in before

    def _is_to_come(self, part: str) -> bool:
        return not {PARTS[part], PARTS["lab"]} & set(self._marks)

    def _take(self, sentence: str, part: str) -> None:
        """Keep a sentence of the decoder, corrected where that is enough, or leave it out."""
        if part not in self.processor.modalities or "#" in sentence or not _LETTER.search(sentence):
            return
        if sentence in NO_SIGN[part]:
            self._no_sign[part] = sentence
        sentence, origin = sentence if sentence[-1] in ".!?" else f"{sentence}.", WRITTEN
        said = self.grounding.language.read(sentence)
        if _LACK.search(said.text):
            return
        if not self.grounding.language.is_english:  # what is wrong in it is corrected in English only
            self._add_if_it_holds(said, part, origin, self._claims(said.text, part))
            return
        if part == "lab":
            sentence = self.grounding.slots.fill_sentence(sentence, self.times, self.values)
            if sentence is None:
                return
        claims = self._claims(sentence, part)
        repaired = (self._without_wrong_findings if part == "note" else self._with_right_numbers)(sentence, claims)
        if repaired is None:
            return
        if repaired != sentence:
            sentence, origin, claims = repaired, REPAIRED, self._claims(repaired, part)
        self._add_if_it_holds(ENGLISH.read(sentence), part, origin, claims)

    def _add_if_it_holds(self, said: Rewritten, part: str, origin: str, claims: list[Claim]) -> None:
        if self.grounding.language.is_english and not is_well_formed(
            said.text, part, self.grounding.links.find_diagnoses(said.text)
        ):
            return
        adds = self._adds_to_note if part == "note" else self._adds_to_series
        if self._holds(said.text, claims) and not adds(said.text, claims):
            self._add(said, part, origin, claims)

    def _with_right_numbers(self, sentence: str, claims: list[Claim]) -> str | None:
        if any(claim.verdict == "contradicted" for claim in claims):
            return self.grounding.repair(sentence, claims, self.times, self.values)
        return sentence

    def _without_wrong_findings(self, sentence: str, claims: list[Claim]) -> str | None:
        """Leave out the findings that are not in the note, point to something else, or were told before."""
        wrong, told, words = set(), set(), [set(_plain(claim.text).split()) for claim in claims]
        for i, claim in enumerate(claims):
            fails = claim.verdict in ("absent", "contradicted") or (
                self.grounding.knows and claim.argument in ("unlinked", "unknown")
            )
            is_part = any(words[i] < other for other in words)  # "hypertension requiring treatment" by "hypertension"
            if (
                fails
                or is_part
                or _plain(claim.text) in told
                or _finds(claim) & self._said
                or self._is_new_detail(claim)
            ):
                wrong.add(i)
            told.add(_plain(claim.text))
        return without_findings(sentence, claims, wrong) if wrong else sentence

    def _is_new_detail(self, claim: Claim) -> bool:
        """Return whether a finding holds a number or a side that the note does not."""
        return not details(claim.text) <= self.details

    def _claims(self, sentence: str, part: str) -> list[Claim]:
        if part == "note":
            claims = check_note_claims(sentence, self.index)  # in the note's own words
        else:
            claims = self.grounding.check(sentence, self.times, self.values)
        return argue(claims, sentence, self.grounding.links)

    def _holds(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether the record supports a sentence that agrees with the diagnoses and says something new."""
        verdicts = {claim.verdict for claim in claims}
        if "supported" not in verdicts or verdicts & {"contradicted", "absent"}:
            return False
        if self.grounding.knows and any(claim.argument in ("unlinked", "unknown") for claim in claims):
            return False
        return self._agrees(sentence, claims) and not self._repeats(sentence, claims)

    def _adds_to_note(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence about the note holds a number or a side that the note does not."""
        for mention in reversed(self.grounding.links.find_diagnoses(sentence)):
            if mention.inferred:  # the number of "type 2 diabetes" is no finding
                sentence = sentence[: mention.start] + sentence[mention.end :]
        return not details(sentence) <= self.details

    def _adds_to_series(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence about the series is none, or names what is neither theirs nor the note's."""
        links, foreign = self.grounding.links, self.grounding.series_words.are_foreign
        argued = {diagnosis for claim in claims for diagnosis in claim.diagnoses}
        named, said = links.find_diagnoses(sentence), lowered(sentence)
        if any(not mention.labels & argued for mention in named) or not (argued or _VERB.search(sentence)):
            return True
        for mention in named:
            said = said[: mention.start] + " " * (mention.end - mention.start) + said[mention.end :]
        return any(
            claim.verdict != "supported" and foreign(said[claim.start : claim.end])
            for claim in check_note_claims(sentence, self.index, links)
        )

    def _agrees(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence argues for listed diagnoses only, each from a finding, and against none."""
        listed, argued = set(self.listed), {diagnosis for claim in claims for diagnosis in claim.diagnoses}
        if any(not listed >= set(claim.diagnoses) for claim in claims):
            return False
        for mention in self.grounding.links.find_diagnoses(sentence):
            if mention.says == "denies" and (mention.inferred or mention.labels <= listed):
                return False
            if mention.says == "argues" and mention.inferred and not mention.labels & argued:
                return False
        return True

    def _repeats(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence says what one before says, or names a finding twice itself."""
        findings = [_plain(claim.text) for claim in claims if claim.kind != "other"]
        return len(set(findings)) < len(findings) or bool(_said(sentence, claims) & self._said)

    def _add(self, said: Rewritten, part: str, origin: str, claims: list[Claim]) -> None:
        self._append(said, part, origin, claims)
        for claim in claims:
            if claim.verdict == "supported":
                self.explained[part] |= set(claim.diagnoses)
        self._said |= _said(said.text, claims)
        self._said |= {(said[0], None) for said in self._said if len(said) > 1 and not self._is_owed(said[0])}

    def _is_owed(self, finding: str | tuple) -> bool:
        """Return whether a finding, given for another diagnosis, is the name of a listed one still unexplained."""
        left = set(self.listed).difference(*self.explained.values())
        return any(finding == _plain(name) for disease in left for name in self.grounding.links.names_of(disease))

    def _close(self, part: str) -> None:
        """Complete a part: what the record holds for diagnoses that it does not argue for yet; last what it lacks."""
        if part in self.closed:
            return
        self.closed.add(part)
        if part not in self.processor.modalities or not self.grounding.language.composes:
            return
        self._explain(part)
        if not any(sentence.part == part for sentence in self.sentences):
            nothing, own = self._nothing(part), self._no_sign.get(part)
            is_own = own is not None and nothing in NO_SIGN[part]
            self._state(own if is_own else nothing, part, WRITTEN if is_own else COMPOSED)
        unexplained = [d for d in self.listed if not any(d in found for found in self.explained.values())]
        if part == [name for name in PARTS if name in self.processor.modalities][-1] and unexplained:
            looked = not any(self._points_to(disease, EVIDENCE) for disease in unexplained)
            place = place_of(self.processor.modalities) if looked and self.grounding.knows else None
            self._state(self.grounding.composer.unexplained(unexplained, self.choose, place), part)

    def _nothing(self, part: str) -> str:
        """Word that a part says nothing; that nothing is there to say only where the knowledge found nothing."""
        realizer = self.grounding.composer.realizer
        read = bool(self.note.strip() if part == "note" else (~np.isnan(self.values)).any())
        if read and not self.listed and (shown := self._shown_of_any(part)):
            return realizer.unlisted(shown, self.choose)
        searched = self.grounding.knows and not any(self._points_to(disease, [part]) for disease in self.listed)
        return realizer.nothing(part, self.choose, read, searched)

    def _shown_of_any(self, part: str) -> list:
        """Return findings of a part that point to any diagnosis, names of diseases first, a few at most."""
        composer = self.grounding.composer
        found = composer.evidence(self.note, self.times, self.values, composer.labels).values()
        if part == "lab":
            measured = {id(finding): finding for evidence in found for finding in evidence.series}
            return list(measured.values())[:MAX_SHOWN]
        noted = {finding.start: finding for evidence in found for finding in evidence.note}.values()
        return sorted(noted, key=lambda finding: (finding.type != "name", finding.start))[:MAX_SHOWN]

    def _points_to(self, disease: str, parts: Iterable[str]) -> bool:
        return any(getattr(self.evidence[disease], EVIDENCE[part]) for part in parts)

    @cached_property
    def evidence(self) -> dict[str, Evidence]:
        """Return what the record holds for each listed diagnosis."""
        return self.grounding.composer.evidence(self.note, self.times, self.values, self.listed)

    def _explain(self, part: str) -> None:
        """Add composed sentences; they are checked like any other."""
        left, composer = self._left(part), self.grounding.composer
        if not left:
            return
        evidence = {d: Evidence(**{EVIDENCE[part]: findings}) for d, findings in left.items()}
        composed = composer.rationale(self.note, self.times, self.values, list(left), self.choose, (part,), evidence)
        failed = [d for told in composed for s in told if not self._tell(s.text, part) for d in s.diseases]
        tell = composer.note_sentence if part == "note" else composer.series_sentence
        for disease in failed:  # the checkers do not read all of a finding: another may do
            any(self._tell(tell(disease, [finding], self.choose), part) for finding in left[disease])

    def _tell(self, sentence: str, part: str) -> bool:
        """Add what was composed if it holds; of another language it is a sentence for each finding."""
        language = self.grounding.language
        single = [sentence] if language.is_english else sentences_read(language.read(sentence))
        held = []
        for said in map(language.read, single):
            claims = self._claims(said.text, part)
            if self._holds(said.text, claims):
                self._add(said, part, COMPOSED, claims)
                held.append(said)
        return bool(held)

    def _left(self, part: str) -> dict[str, list]:
        """Return the diagnoses that a part has evidence for and does not argue for, with their findings."""
        found = {disease: getattr(self.evidence[disease], EVIDENCE[part]) for disease in self.listed}
        left = [disease for disease in self.listed if found[disease] and disease not in self.explained[part]]
        if part == "lab":  # what the note explains is told again only where there is room
            new = [disease for disease in left if disease not in self.explained["note"]]
            room = max(0, MAX_SENTENCES - len(new) - sum(sentence.part == part for sentence in self.sentences))
            again = [disease for disease in left if disease not in new][:room]
            left = [disease for disease in left if disease in new or disease in again]
        return {disease: found[disease] for disease in left}

    def _state(self, sentence: str, part: str, origin: str = COMPOSED) -> None:
        """Add a sentence about the whole record, which argues for nothing."""
        said = self.grounding.language.read(sentence)
        self._append(said, part, origin, self._claims(said.text, part))

    def _append(self, said: Rewritten, part: str, origin: str, claims: list[Claim]) -> None:
        before = self.rationale(part)
        offset = len(before) + bool(before)
        for claim in said.restored(claims, self.said_note):
            argument = {} if self.grounding.knows else {"diagnoses": [], "argument": ""}
            moved = {"start": claim.start + offset, "end": claim.end + offset}
            self.claims[part].append(replace(claim, **moved, **argument))
        self.sentences.append(GroundedSentence(said.original, part, origin))

    def rationale(self, part: str) -> str:
        return " ".join(sentence.text for sentence in self.sentences if sentence.part == part)

    @property
    def text(self) -> str:
        """Return the text so far, in the processor's target format; a part that has not begun is not in it."""
        if self.listed is None:
            return ""
        parts = [self.rationale(part) for part in PARTS]
        if LIST not in self._marks:  # the text ended before its list
            return " ".join(RATIONALE.format(note_rationale=parts[0], lab_rationale=parts[1]).split())
        labels = [self.processor.labels.index(name) for name in self.listed]
        text = self.processor.target_text(labels, *parts, rationale_first=self._marks[0] != LIST)
        return text if "note" in self.closed else text[: text.rindex("### Lab Test:")].rstrip()


@lru_cache(maxsize=4096)  # of a name it is asked for each diagnosis and sentence
def _plain(text: str) -> str:
    return _PLAIN.sub(" ", text.lower()).strip()


def _said(sentence: str, claims: list[Claim]) -> set[tuple]:
    """Return what a sentence says: itself, and each finding with each diagnosis that it argues for from it."""
    return {(_plain(sentence),)}.union(*(_finds(claim) for claim in claims))


def _finds(claim: Claim) -> set[tuple]:
    """Return the finding of a claim with each diagnosis that is argued for from it."""
    if claim.kind == "other":
        return set()
    finding = _plain(claim.text) if claim.channel is None else (claim.channel, claim.direction)
    return {(finding, diagnosis) for diagnosis in claim.diagnoses or [None]}


__all__ = ["GroundedSentence", "GroundedText", "Grounding", "split_sentences"]
