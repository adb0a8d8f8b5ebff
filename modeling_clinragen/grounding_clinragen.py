# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Grounded generation: of the decoder's text only what the record supports leaves the model, and each listed diagnosis is
explained from the record or stated to be unexplained.

A text is read sentence by sentence. Its numeric slots are filled; then each sentence is kept, repaired, or left out;
then sentences composed from the record are added for the diagnoses that no sentence argues for.
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
from .links_clinragen import NoteFinding, argue
from .note_claims_clinragen import NoteIndex, check_note_claims
from .own_words_clinragen import SeriesWords, details, has_foreign_unit
from .past_clinragen import ACUTE, is_only_history
from .phrases_clinragen import compiled, compiled_words, lowered
from .processing_clinragen import RATIONALE, ClinRaGenProcessor
from .realization_clinragen import NO_SIGN, place_of
from .repair_clinragen import NumberRepair, without_findings
from .wellformed_clinragen import is_well_formed
from .words_clinragen import content_words


PARTS = {"note": "rationale", "lab": "lab test"}  # part of a rationale -> its heading
EVIDENCE = {"note": "note", "lab": "series"}  # part of a rationale -> the field of `Evidence` with its findings
LIST = "disease diagnosed"
WRITTEN, REPAIRED, COMPOSED = "written", "repaired", "composed"
MAX_SHOWN = 2  # findings that are stated if no diagnosis is listed

_BOUNDARY = re.compile(r"(?<=[.!?])\s+")
_MARKS = re.compile(r"(?<=[.!?])[.!?]+$")  # behind the mark that ends a sentence
_PLAIN = re.compile(r"[^a-z0-9]+")
# words for a time of the stay, and for a cause
_WHEN = compiled_words(r"""
    now|currently|presently|at present|(?:at|on|upon|before|since) (?:discharge|admission|arrival|presentation)
    |(?:discharged|admitted|presented) with|(?:a )?history of(?! smoking)|previous(?:ly)?|past|prior
    """)
_DUE_TO = compiled(r"""
    \b(?:due to|because of|secondary to|caused by) (?P<cause>(?:(?!,| (?:which|and|is|are|suggests?)\b)[^.;])+)
    """)
_LETTER = re.compile(r"[^\W\d_]")
# Only the composer may state this: it searches the whole record.
_LACK = re.compile(r"\b(?:remains?|stays?|left|is|are) unexplained\b|\blisted (?:disease|diagnos)", re.IGNORECASE)
_SHOWN_BY = {"high": ("high",), "low": ("low",), "rising": ("rising", "high"), "falling": ("falling", "low")}
_REASON = re.compile(r"\bnote\b|, which (?:is|are)\b", re.IGNORECASE)  # "the note documents", "which is backed by"
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|rose|fell|went|came|began|sank|(?:rise|fall|stay|remain|show)s?"
    r"|(?!inspired)[a-z]+ed)\b",
    re.IGNORECASE,
)


def split_sentences(text: str) -> list[str]:
    return _BOUNDARY.split(text.strip()) if text.strip() else []


def sentences_read(rewritten: Rewritten) -> list[str]:
    """Return the sentences of a text as written; an abbreviation that the language knows ("z. B.") ends none."""
    ends = [match.start() for match in _BOUNDARY.finditer(rewritten.text.strip())]
    places = [0, *(rewritten.back(end, end)[1] for end in ends), len(rewritten.original)]
    return [text for a, b in itertools.pairwise(places) if (text := rewritten.original[a:b].strip())]


@dataclass(frozen=True)
class GroundedSentence:
    """
    Args:
        text (`str`): one sentence.
        part (`str`): `note` or `lab`, the part of the rationale.
        origin (`str`): `written` by the decoder, `repaired` where numbers were corrected or findings left out, or
            `composed` from the record.
    """

    text: str
    part: str
    origin: str


class Grounding:
    """
    Hold the checkers and the composer that the grounding of all records shares.

    Args:
        processor (`ClinRaGenProcessor`): of the model. Without `knowledge`, no argument is checked, and the only
            composed sentences are those on unexplained diagnoses.
    """

    def __init__(self, processor: ClinRaGenProcessor):
        channels = processor.feature_extractor.channels
        self.processor, self.has_knowledge = processor, bool(processor.knowledge)
        self.composer = processor.record_terms.composer
        self.links = self.composer.links
        self.check, self.num_channels = ClaimChecker(channels), len(channels)
        self.repair, self.series_words = NumberRepair(self.check), SeriesWords(self.check)
        self.slots = processor.slots
        self.language = self.links.language

    def of(self, record: dict) -> GroundedText:
        """Return the still empty text of a record; `record` holds `note`, `lab_times` and `lab_values`."""
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
        modalities = self.processor.modalities
        self.note = record["note"] if "note" in modalities else ""
        self.times = np.asarray(record["lab_times"], dtype=float).reshape(-1)
        self.values = np.asarray(record["lab_values"], dtype=float).reshape(len(self.times), grounding.num_channels)
        if "lab" not in modalities:
            self.times, self.values = self.times[:0], self.values[:0]
        self.rewritten_note = grounding.language.read(self.note)
        self.index, self.details = NoteIndex(self.rewritten_note.text), details(self.rewritten_note.text)
        note = self.note.encode(errors="surrogatepass")
        seed = zlib.crc32(np.nan_to_num(self.values, nan=-1.0).tobytes(), zlib.crc32(note))
        self.choose = random.Random(seed)
        self.sentences: list[GroundedSentence] = []
        self.claims: dict[str, list[Claim]] = {part: [] for part in PARTS}
        self.listed: list[str] | None = None
        self.explained = {part: set() for part in PARTS}
        self.closed: set[str] = set()
        self._num_read = dict.fromkeys(PARTS, 0)  # sentences of the decoder
        self._marks: list[str] = []
        self._stated: set[tuple] = set()
        self._no_sign: dict[str, str] = {}  # part -> the decoder's own sentence that it shows no sign

    def read(self, text: str, ended: bool = True, finished: bool = True) -> None:
        """
        Read the decoder's text so far.

        Args:
            text (`str`): the text from its beginning.
            ended (`bool`): whether the text is complete. Until then the last sentence is not read, nor the rationale
                at all if the list of diagnoses follows it.
            finished (`bool`): whether the decoder ended the text itself; otherwise the last sentence is cut off, and
                left out.
        """
        self._marks = self.processor.marks(text)
        if not ended and (self._marks[:1] != [LIST] or len(self._marks) < 2):
            return
        parsed = self.processor.parse(text)
        if self.listed is None:
            self.listed = parsed["diagnoses"]
        for part in PARTS:
            is_last = self._is_last(part)
            rewritten = self.grounding.language.read(parsed[f"{part}_rationale"].strip())
            sentences = sentences_read(rewritten) if self._is_in_order(part) else []
            is_pending = is_last and not (ended and finished)
            for sentence in sentences[self._num_read[part] : len(sentences) - is_pending]:
                self._num_read[part] += 1
                self._take(sentence, part)
            if ended or not (is_last or self._may_follow(part)):
                self._close(part)

    def _is_last(self, part: str) -> bool:
        return self._marks[-1:] == [PARTS[part]] and self._marks.count(PARTS[part]) == 1

    def _is_in_order(self, part: str) -> bool:
        """Return whether a part is in order: a note rationale after the lab rationale is not read."""
        before = self._marks[: self._marks.index(PARTS[part])] if PARTS[part] in self._marks else []
        return part == "lab" or PARTS["lab"] not in before

    def _may_follow(self, part: str) -> bool:
        return not {PARTS[part], PARTS["lab"]} & set(self._marks)

    def _take(self, sentence: str, part: str) -> None:
        """Keep a sentence of the decoder, repair it if possible, or leave it out."""
        if part not in self.processor.modalities or "#" in sentence or not _LETTER.search(sentence):
            return
        if sentence in NO_SIGN[part]:
            self._no_sign[part] = sentence
        sentence, origin = _MARKS.sub("", sentence) if sentence[-1] in ".!?" else f"{sentence}.", WRITTEN
        rewritten = self.grounding.language.read(sentence)
        if _LACK.search(rewritten.text):
            return
        if not self.grounding.language.is_english:  # sentences are repaired in English only
            self._add_if_it_holds(rewritten, part, origin, self._claims(rewritten.text, part))
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

    def _add_if_it_holds(self, rewritten: Rewritten, part: str, origin: str, claims: list[Claim]) -> None:
        if self.grounding.language.is_english and not is_well_formed(
            rewritten.text, part, self.grounding.links.find_diagnoses(rewritten.text)
        ):
            return
        adds = self._adds_to_note if part == "note" else self._adds_to_series
        if self._holds(rewritten.text, claims) and not adds(rewritten.text, claims):
            self._add(rewritten, part, origin, claims)

    def _with_right_numbers(self, sentence: str, claims: list[Claim]) -> str | None:
        if any(claim.verdict == "contradicted" for claim in claims):
            return self.grounding.repair(sentence, claims, self.times, self.values)
        return sentence

    def _without_wrong_findings(self, sentence: str, claims: list[Claim]) -> str | None:
        """Leave out findings that are not in the note, do not support the diagnosis, or are repeated."""
        wrong, seen, words = set(), set(), [set(_plain(claim.text).split()) for claim in claims]
        for i, claim in enumerate(claims):
            fails = claim.verdict != "supported" or (
                self.grounding.has_knowledge and claim.argument in ("unlinked", "unknown")
            )
            is_part = any(words[i] < other for other in words)  # "hypertension requiring treatment" by "hypertension"
            if (
                fails
                or is_part
                or _plain(claim.text) in seen
                or _arguments_of(claim) & self._stated
                or self._is_new_detail(claim)
            ):
                wrong.add(i)
            seen.add(_plain(claim.text))
        return without_findings(sentence, claims, wrong) if wrong else sentence

    def _is_new_detail(self, claim: Claim) -> bool:
        """Return whether a finding has a number or a side that the note lacks."""
        return not details(claim.text) <= self.details

    def _claims(self, sentence: str, part: str) -> list[Claim]:
        if part == "note":
            claims = check_note_claims(sentence, self.index)  # in the note's own words
        else:
            claims = self.grounding.check(sentence, self.times, self.values)
        return argue(claims, sentence, self.grounding.links, self.rewritten_note.text)

    def _holds(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether the record supports a sentence that agrees with the diagnoses and says something new."""
        verdicts = {claim.verdict for claim in claims}
        if "supported" not in verdicts or verdicts & {"contradicted", "absent"} or any(map(_is_open, claims)):
            return False
        if self.grounding.has_knowledge and any(claim.argument in ("unlinked", "unknown") for claim in claims):
            return False
        if any(self._is_weak(claim) for claim in claims):
            return False
        return self._agrees(sentence, claims) and not self._repeats(sentence, claims)

    def _is_weak(self, claim: Claim) -> bool:
        """Return whether a claim argues from few or slight values or changes, which the composer would not name."""
        if claim.channel is None or claim.argument != "linked" or claim.direction not in _SHOWN_BY:
            return False
        wanted = {(claim.channel, direction) for direction in _SHOWN_BY[claim.direction]}
        shown = self.grounding.composer.clear_patterns(self.times, self.values, claim.diagnoses)
        return any(wanted.isdisjoint(patterns) for patterns in shown.values())

    def _adds_to_note(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence about the note gives no disease for its reason, or adds a number or a side."""
        is_reason = self.listed and self.grounding.has_knowledge and _REASON.search(sentence)
        if is_reason and not any(claim.argument for claim in claims):
            return True
        for mention in reversed(self.grounding.links.find_diagnoses(sentence)):
            if mention.inferred:  # the number of "type 2 diabetes" is no finding
                sentence = sentence[: mention.start] + sentence[mention.end :]
        return not details(sentence) <= self.details or self._adds_time_or_cause(lowered(sentence))

    def _adds_time_or_cause(self, lower: str) -> bool:
        """Return whether a sentence says when a finding was, or what it is due to, in words that the note lacks."""
        if any(match[0] not in self.index.text for match in _WHEN.finditer(lower)):
            return True
        causes = (content_words(lower, *match.span("cause")) for match in _DUE_TO.finditer(lower))
        return any(word not in self.index.positions for cause in causes for word, *_ in cause)

    def _channel(self, claim: Claim) -> dict:
        return self.grounding.check.channels[self.grounding.check.position[claim.channel]]

    def _adds_to_series(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence on the series lacks a verb or a reason, or has findings or units of no series."""
        links, foreign = self.grounding.links, self.grounding.series_words.are_foreign
        argued = {diagnosis for claim in claims for diagnosis in claim.diagnoses}
        named, masked = links.find_diagnoses(sentence), lowered(sentence)
        if any(not mention.labels & argued for mention in named) or not (argued or _VERB.search(sentence)):
            return True
        if any(claim.channel and has_foreign_unit(claim.text, self._channel(claim)) for claim in claims):
            return True
        for mention in named:
            masked = masked[: mention.start] + " " * (mention.end - mention.start) + masked[mention.end :]
        return any(
            claim.verdict != "supported" and foreign(masked[claim.start : claim.end])
            for claim in check_note_claims(sentence, self.index, links)
        )

    def _agrees(self, sentence: str, claims: list[Claim]) -> bool:
        """Return whether a sentence argues only for listed diagnoses, each from a finding, and denies none of them."""
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
        """Return whether a sentence repeats an earlier one, or names a finding twice."""
        findings = [_plain(claim.text) for claim in claims if claim.kind != "other"]
        return len(set(findings)) < len(findings) or bool(_arguments(sentence, claims) & self._stated)

    def _add(self, rewritten: Rewritten, part: str, origin: str, claims: list[Claim]) -> None:
        self._append(rewritten, part, origin, claims)
        for claim in claims:
            if claim.verdict == "supported":
                self.explained[part] |= set(claim.diagnoses)
        self._stated |= _arguments(rewritten.text, claims)
        self._stated |= {
            (pair[0], None) for pair in self._stated if len(pair) > 1 and not self._names_unexplained(pair[0])
        }

    def _names_unexplained(self, finding: str | tuple) -> bool:
        """Return whether a finding is a name of a listed diagnosis that is still unexplained."""
        left = set(self.listed).difference(*self.explained.values())
        return any(finding == _plain(name) for disease in left for name in self.grounding.links.names_of(disease))

    def _close(self, part: str) -> None:
        """Complete a part: add evidence for diagnoses not argued for yet, then state which remain unexplained."""
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
            no_evidence = not any(self._points_to(disease, EVIDENCE) for disease in unexplained)
            place = place_of(self.processor.modalities) if no_evidence and self.grounding.has_knowledge else None
            read = self.rewritten_note.text if "note" in self.processor.modalities else ""
            for sentence in self.grounding.composer.unexplained(unexplained, self.choose, place, read):
                self._state(sentence.text, part)

    def _nothing(self, part: str) -> str:
        """Return the sentence for an empty part; it states that there is no sign only if the knowledge found none."""
        realizer = self.grounding.composer.realizer
        read = bool(self.note.strip() if part == "note" else (~np.isnan(self.values)).any())
        if read and not self.listed and (shown := self._shown_of_any(part)):
            return realizer.unlisted(shown, self.choose)
        searched = self.grounding.has_knowledge and not any(
            self._points_to(disease, [part]) for disease in self.listed
        )
        return realizer.nothing(part, self.choose, read, searched)

    def _shown_of_any(self, part: str) -> list:
        """Return findings of a part that point to any diagnosis, names of diseases first, a few at most."""
        composer = self.grounding.composer
        found = composer.evidence(self.note, self.times, self.values, composer.labels).values()
        if part == "lab":
            measured = {id(finding): finding for evidence in found for finding in evidence.series}
            return list(measured.values())[:MAX_SHOWN]
        noted = {finding.start: finding for evidence in found for finding in evidence.note}.values()
        noted = [finding for finding in noted if not self._is_past_acute(finding)]
        return sorted(noted, key=lambda finding: (finding.type != "name", finding.start))[:MAX_SHOWN]

    def _is_past_acute(self, finding: NoteFinding) -> bool:
        """Return whether a finding names an acute disease that the note has as history only."""
        mentions = self.grounding.links.find_diagnoses(finding.text)
        return any(ACUTE & set(mention.labels) for mention in mentions) and is_only_history(self.note, finding.text)

    def _points_to(self, disease: str, parts: Iterable[str]) -> bool:
        return any(getattr(self.evidence[disease], EVIDENCE[part]) for part in parts)

    @cached_property
    def evidence(self) -> dict[str, Evidence]:
        """Return the findings of the record for each listed diagnosis."""
        return self.grounding.composer.evidence(self.note, self.times, self.values, self.listed)

    def _explain(self, part: str) -> None:
        """Add composed sentences; they are checked like any other."""
        left, composer = self._without_argument(part), self.grounding.composer
        if not left:
            return
        evidence = {d: Evidence(**{EVIDENCE[part]: findings}) for d, findings in left.items()}
        composed = composer.rationale(self.note, self.times, self.values, list(left), self.choose, (part,), evidence)
        failed = [
            d for sentences in composed for s in sentences if not self._add_composed(s.text, part) for d in s.diseases
        ]
        compose = composer.note_sentence if part == "note" else composer.series_sentence
        for disease in failed:  # the checkers may misread one finding: try the others
            any(self._add_composed(compose(disease, [finding], self.choose), part) for finding in left[disease])

    def _add_composed(self, sentence: str, part: str) -> bool:
        """Add composed text if it holds, in other languages sentence by sentence; return whether any was added."""
        language = self.grounding.language
        sentences = [sentence] if language.is_english else sentences_read(language.read(sentence))
        held = []
        for rewritten in map(language.read, sentences):
            claims = self._claims(rewritten.text, part)
            if self._holds(rewritten.text, claims):
                self._add(rewritten, part, COMPOSED, claims)
                held.append(rewritten)
        return bool(held)

    def _without_argument(self, part: str) -> dict[str, list]:
        """Return the listed diagnoses that a part has findings for but does not argue for, with these findings."""
        found = {disease: getattr(self.evidence[disease], EVIDENCE[part]) for disease in self.listed}
        left = [disease for disease in self.listed if found[disease] and disease not in self.explained[part]]
        if part == "lab":  # diagnoses that the note explains are argued for again only if there is room
            new = [disease for disease in left if disease not in self.explained["note"]]
            room = max(0, MAX_SENTENCES - len(new) - sum(sentence.part == part for sentence in self.sentences))
            again = [disease for disease in left if disease not in new][:room]
            left = [disease for disease in left if disease in new or disease in again]
        return {disease: found[disease] for disease in left}

    def _state(self, sentence: str, part: str, origin: str = COMPOSED) -> None:
        """Add a sentence about the whole record, which argues for nothing."""
        rewritten = self.grounding.language.read(sentence)
        self._append(rewritten, part, origin, self._claims(rewritten.text, part))

    def _append(self, rewritten: Rewritten, part: str, origin: str, claims: list[Claim]) -> None:
        before = self.rationale(part)
        offset = len(before) + bool(before)
        for claim in rewritten.restored(claims, self.rewritten_note):
            argument = {} if self.grounding.has_knowledge else {"diagnoses": [], "argument": ""}
            moved = {"start": claim.start + offset, "end": claim.end + offset}
            self.claims[part].append(replace(claim, **moved, **argument))
        self.sentences.append(GroundedSentence(rewritten.original, part, origin))

    def rationale(self, part: str) -> str:
        return " ".join(sentence.text for sentence in self.sentences if sentence.part == part)

    @property
    def text(self) -> str:
        """Return the text so far, in the processor's target format, without parts that have not begun."""
        if self.listed is None:
            return ""
        parts = [self.rationale(part) for part in PARTS]
        if LIST not in self._marks:  # the text ended before its list
            return " ".join(RATIONALE.format(note_rationale=parts[0], lab_rationale=parts[1]).split())
        labels = [self.processor.labels.index(name) for name in self.listed]
        text = self.processor.target_text(labels, *parts, rationale_first=self._marks[0] != LIST)
        return text if "note" in self.closed else text[: text.rindex("### Lab Test:")].rstrip()


@lru_cache(maxsize=4096)  # each name is looked up for every diagnosis and sentence
def _plain(text: str) -> str:
    return _PLAIN.sub(" ", text.lower()).strip()


def _is_open(claim: Claim) -> bool:
    """Return whether a claim about a channel or a note is neither true nor false; a diagnosis's name is none."""
    return claim.verdict == "unverifiable" and (claim.channel is not None or claim.kind != "other")


def _arguments(sentence: str, claims: list[Claim]) -> set[tuple]:
    """Return the sentence itself, and each pair of a finding and a diagnosis that it argues for from the finding."""
    return {(_plain(sentence),)}.union(*(_arguments_of(claim) for claim in claims))


def _arguments_of(claim: Claim) -> set[tuple]:
    """Return the pairs of a claim's finding and each diagnosis that the finding is used to argue for."""
    if claim.kind == "other":
        return set()
    finding = _plain(claim.text) if claim.channel is None else (claim.channel, claim.direction)
    return {(finding, diagnosis) for diagnosis in claim.diagnoses or [None]}


__all__ = ["GroundedSentence", "GroundedText", "Grounding", "split_sentences"]
