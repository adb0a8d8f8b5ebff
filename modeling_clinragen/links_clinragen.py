# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Links between findings and diagnoses: the diagnoses that the knowledge links with a finding, the findings that it
knows in a note, and whether a text argues from a finding for a diagnosis that is linked with it.
"""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .causes_clinragen import OF_MANY_CAUSES, given_cause, is_harmless
from .claims_clinragen import FINDINGS, Claim
from .clinical_clinragen import short_name
from .denials_clinragen import DenialFinder
from .indications_clinragen import is_elective, other_reason
from .language_clinragen import ENGLISH, Language
from .note_claims_clinragen import DiagnosisFinder, Mention, arguments_of, premises_of
from .past_clinragen import ACUTE, is_history, is_only_history
from .phrases_clinragen import lowered
from .reading_clinragen import Reading
from .remembered_clinragen import Remembered
from .words_clinragen import GRAMMAR_WORDS, MODIFIER_STEMS, content_words, stem, words_of


_ACUITY = frozenset(map(stem, ("acute", "chronic", "old")))  # they separate diseases, unlike words of degree
_IGNORED = GRAMMAR_WORDS | (MODIFIER_STEMS - _ACUITY)
_SIGNS = frozenset(("symptom", "sign", "laboratory pattern", "imaging"))  # types of terms whose cause may be another
_ALSO_SIGNS = frozenset(("pulmonary edema",))  # merged with the history of another disease
_MAX_CACHED_FINDINGS = 2**14  # findings with cached diagnoses
_MAX_CACHED_NOTES = 2**7  # notes with cached findings: an answer asks for them several times
_JOINS = frozenset(" -\t\n")  # characters allowed between the words of one term
_TURNED_JOINS = _JOINS | frozenset(",/")  # for terms written with them: "infarction, acute myocardial"


@dataclass(frozen=True)
class NoteFinding:
    """
    One finding of a patient's note that the knowledge knows.

    Args:
        text (`str`): as the note writes it; `start` and `end` are its span in the note.
        term (`str`): the knowledge term, and `type` its type.
        terms (`dict[str, frozenset[str]]`): all terms with these words, and the diagnoses of each: "pneumonia" is the
            name of one diagnosis and in the history of another.
        suspected (`bool`): whether the note only suspects it: "concern for pneumonia".
    """

    text: str
    start: int
    end: int
    term: str
    type: str
    terms: dict[str, frozenset[str]]
    suspected: bool = False

    @property
    def diseases(self) -> frozenset[str]:
        """Return the diagnoses that the knowledge links with it."""
        return frozenset().union(*self.terms.values())


class KnowledgeLinks:
    """
    Look up findings of notes, texts and series in the links of a knowledge vocabulary.

    Args:
        terms (list of `dict`): `term`, `type`, `synonyms`, `diseases` and `pattern`, as in `knowledge.json`.
        labels (list of `str`): the names of the diagnoses, in class-id order.
        channels (list of `dict`, *optional*): the channels of the series; patterns of other channels are left out.
        language (`Language`, *optional*): of the terms and labels; texts are looked up in their rewritten form.
    """

    def __init__(
        self,
        terms: Sequence[dict],
        labels: Sequence[str],
        channels: Sequence[dict] = (),
        language: Language = ENGLISH,
    ):
        self.labels, self.language = list(labels), language
        self.entries: dict[tuple[str, ...], list[dict]] = defaultdict(list)  # stems -> terms with these words
        self._turned: set[tuple[str, ...]] = set()
        self._patterns: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._series: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._names: dict[str, list[str]] = {
            label: [language.english(name) for name in (label, short_name(label))] for label in self.labels
        }
        for label in self.labels:
            self._enter({"term": label, "type": "name", "synonyms": [short_name(label)], "diseases": [label]})
        for term in terms:
            self._enter(term)
            self._take_pattern(term, {channel["name"] for channel in channels})
            self._take_names(term)
        self.by_first_word: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for stems in sorted(self.entries, key=len, reverse=True):
            self.by_first_word[stems[0]].append(stems)
        self.by_words: dict[frozenset[str], list[tuple[str, ...]]] = defaultdict(list)  # "pain in the chest"
        for stems in self.entries:
            self.by_words[frozenset(word for word in stems if word not in _IGNORED)].append(stems)
        self.find_diagnoses = DiagnosisFinder(self._names)
        self._find_denials = DenialFinder({label: self._names[label] for label in self.labels})
        self._of_name: dict[str, set[str]] = defaultdict(set)  # first term of its words -> diagnoses
        for terms in self.entries.values():
            self._of_name[terms[0]["term"]].update(*(term["diseases"] for term in terms))
        self._known: dict[str, frozenset[str] | None] = Remembered(self._look_up, _MAX_CACHED_FINDINGS)
        self._noted: dict[str, list[NoteFinding]] = Remembered(self._read_note, _MAX_CACHED_NOTES)

    def _enter(self, term: dict) -> None:
        for form in self.forms_of(term):
            stems = tuple(word[0] for word in words_of(form.lower()))
            if stems and term not in self.entries[stems]:
                self.entries[stems].append(term)
            if "," in form or "/" in form:
                self._turned.add(stems)

    def forms_of(self, term: dict) -> list[str]:
        """Return the forms of a term, rewritten as texts are for look-up."""
        return [self.language.english(form) for form in dict.fromkeys((term["term"], *term.get("synonyms", ())))]

    def _take_pattern(self, term: dict, known: set[str]) -> None:
        pattern = term.get("pattern")
        if not pattern or (known and pattern["channel"] not in known):
            return
        shown = pattern["channel"], pattern["direction"]
        self._series[shown].update(term["diseases"])
        for disease in term["diseases"]:
            if shown not in self._patterns[disease]:
                self._patterns[disease].append(shown)

    def _take_names(self, term: dict) -> None:
        for disease in term["diseases"] if term["type"] == "name" else ():
            names = self._names.setdefault(disease, [])
            names += [form for form in self.forms_of(term) if form not in names]

    def find_in_note(self, note: str, diseases: Iterable[str] | None = None) -> list[NoteFinding]:
        """
        Find the terms that a note affirms of the patient, each once; findings denied, of relatives, risks
        and plans are left out.

        Args:
            diseases (*optional*): find only terms linked with these.
        """
        found, asked = self._noted[note], None if diseases is None else frozenset(diseases)
        return [finding for finding in found if asked is None or not asked.isdisjoint(self._of_name[finding.term])]

    def denied_in(self, note: str) -> frozenset[str]:
        """Return the diagnoses that a note denies, and affirms by none of their names."""
        denied = self._find_denials(note)
        return denied - {
            disease
            for finding in (self.find_in_note(note, denied) if denied else ())
            for disease in denied & finding.diseases
            if self._is_name(finding, disease)
        }

    def named_in(self, note: str) -> frozenset[str]:
        """
        Return the diagnoses that a note affirms by one of their names; acute ones not if only its history has them.
        """
        return frozenset(
            disease
            for finding in self.find_in_note(note)
            for disease in finding.diseases
            if not finding.suspected
            and self._is_name(finding, disease)
            and not (disease in ACUTE and is_only_history(note, finding.text))
        )

    def _is_name(self, finding: NoteFinding, disease: str) -> bool:
        names = {name.lower() for name in self._names.get(disease, ())}  # none of a disease that is no label
        return not names.isdisjoint((finding.text.lower(), finding.term.lower()))

    def _read_note(self, note: str) -> list[NoteFinding]:
        found: dict[str, NoteFinding] = {}
        suspected, denied = set(), set()
        reading = Reading(note)
        for start, end, stems in self.places(reading.text):
            terms = self.entries[stems]
            name = terms[0]["term"]
            if not _is_content(note[start:end]):
                continue
            corrects = reading.is_correction(start)
            if name in found and name not in suspected and not corrects:
                continue
            says = reading.says(start, end)
            if says == "denies":
                denied.add(name)
                if corrects:
                    found.pop(name, None)
            if says != "argues":
                continue
            (suspected.add if reading.is_suspected(start, end) else suspected.discard)(name)
            if name not in found:
                found[name] = NoteFinding(note[start:end], start, end, name, terms[0]["type"], _with_diseases(terms))
        return [
            replace(finding, suspected=name in suspected)
            for name, finding in found.items()
            if name not in suspected & denied  # "concern for PE; no PE"
        ]

    def places(self, lower: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """Yield start, end and stems of the terms in a text; of overlapping terms the leftmost, then the longest."""
        words, free = words_of(lower), 0
        written = [word[0] for word in words]
        for number, (first, start, _) in enumerate(words):
            for stems in self.by_first_word.get(first, ()) if start >= free else ():
                stop = number + len(stems)
                if tuple(written[number:stop]) != stems:
                    continue
                joins = _TURNED_JOINS if stems in self._turned else _JOINS
                if _are_together(lower, words[number:stop], joins):
                    free = words[stop - 1][2]
                    yield start, free, stems
                    break

    def diseases_of(self, finding: str) -> frozenset[str] | None:
        """
        Return the diagnoses that the knowledge links with a finding, regardless of inflection, degree and duration.

        Returns:
            The diagnoses; `None` if the knowledge does not know the finding.
        """
        lower = lowered(finding)
        return self._known[lower]

    def _look_up(self, lower: str) -> frozenset[str] | None:
        known = set(self._terms_of(lower))
        series = {FINDINGS[word] for word in lower.split() if word in FINDINGS}
        diseases = {disease for stems in known for term in self.entries[stems] for disease in term["diseases"]}
        for channel, direction in series:
            diseases |= self._series.get((channel, direction), set())
        return frozenset(diseases) if known or diseases else None

    def is_term(self, finding: str) -> bool:
        """Return whether a finding is a term of the knowledge, with its words of degree."""
        return tuple(word[0] for word in words_of(lowered(finding))) in self.entries

    def synonyms_of(self, finding: str) -> list[list[str]]:
        """
        Return the forms of the term that a finding names, as stems: "CHF" for "congestive heart failure".

        Forms of another kind are left out: "systolic heart failure" is not "diastolic heart failure", and "right
        bundle branch block" is more specific than "bundle branch block". So are forms that begin
        with a word of polarity, which is no content: the "urine output" of "no urine output".
        """
        lower = lowered(finding)
        whole = tuple(word[0] for word in words_of(lower))
        plain = tuple(word for word in whole if word not in _IGNORED)
        kinds, found = _kinds(lower), []
        for term in self.entries.get(whole) or self.entries.get(plain) or ():
            for form in self.forms_of(term):
                if kinds <= _kinds(form.lower()) and not _POLAR.match(form.lower()):
                    found.append([word[0] for word in content_words(form.lower(), 0, len(form))])
        return [stems for stems in found if stems]

    def _terms_of(self, lower: str) -> Iterable[tuple[str, ...]]:
        """Find the terms that a finding names: as written, else without words of degree, else within it."""
        whole = tuple(word[0] for word in words_of(lower))
        content = tuple(word[0] for word in content_words(lower, 0, len(lower)))
        plain = tuple(word for word in content if word not in MODIFIER_STEMS)
        for stems in (whole, content, plain):
            if stems in self.entries:
                return [stems]
        inside = [stems for *_, stems in self.places(lower)]
        return inside or (list(self.by_words.get(frozenset(plain), ())) if plain else [])

    def is_explained_otherwise(self, disease: str, finding: str, note: str, places: Sequence[tuple[int, int]]) -> bool:
        """
        Return whether a note gives another reason for a finding, at all its places, than a disease: "insulin for
        hyperkalemia" is no sign of diabetes, and "hypotension due to propofol" none of shock.

        Args:
            finding (`str`): as the note writes it; `places` are its spans.
        """
        if self._is_treatment(finding):
            reasons, many_causes = [other_reason(note, end) for _, end in places], False
        elif self._is_procedure(finding):
            reasons = [other_reason(note, end) for _, end in places]
            return bool(reasons) and all(reason is not None and is_elective(reason) for reason in reasons)
        elif self._is_sign(disease, finding):
            reasons, many_causes = [given_cause(note, *place) for place in places], disease in OF_MANY_CAUSES
        else:
            return False
        if not reasons or None in reasons or any(disease in (self.diseases_of(reason) or ()) for reason in reasons):
            return False
        return not many_causes or all(is_harmless(reason) for reason in reasons)

    def _is_treatment(self, text: str) -> bool:
        return any(
            term["type"] == "drug" or term["term"].startswith("transfusion of") for term in self._named_by(text)
        )

    def _is_procedure(self, text: str) -> bool:
        return all(term["type"] == "procedure" for term in self._named_by(text) or ({"type": ""},))

    def _is_sign(self, disease: str, text: str) -> bool:
        return any(
            disease in term["diseases"] and (term["type"] in _SIGNS or term["term"] in _ALSO_SIGNS)
            for term in self._named_by(text)
        )

    def _named_by(self, text: str) -> list[dict]:
        return [term for stems in self._terms_of(lowered(text)) for term in self.entries[stems]]

    def diseases_of_series(self, channel: str, direction: str) -> frozenset[str]:
        """Return the diagnoses that the knowledge links with a channel that is high, low, rising or falling."""
        return frozenset(self._series.get((channel, direction), ()))

    def diseases_shown_by(self, channel: str, direction: str) -> frozenset[str]:
        """Return the diagnoses that a claim can argue for: "climbed to 188" is evidence like "high"."""
        level = {"rising": "high", "falling": "low"}.get(direction, direction)
        return self.diseases_of_series(channel, direction) | self.diseases_of_series(channel, level)

    def diseases_of_channel(self, channel: str) -> frozenset[str]:
        """Return the diagnoses that the knowledge links with any pattern of a channel."""
        return frozenset().union(*(found for (name, _), found in self._series.items() if name == channel))

    def patterns_of(self, disease: str) -> list[tuple[str, str]]:
        """Return channel and direction of the series patterns that the knowledge links with a diagnosis."""
        return list(self._patterns.get(disease, ()))

    def names_of(self, disease: str) -> list[str]:
        """Return the names of a diagnosis: its label, the short form of the label, and its names in the knowledge."""
        return list(dict.fromkeys(self._names[disease]))


# Words that distinguish kinds of one finding.
_KINDS = {"left": "left", "right": "right", "upper": "upper", "lower": "lower", "viral": "viral"}
_KINDS |= {kind: kind for kind in ("bacterial", "systolic", "diastolic", "ischemic", "hemorrhagic")}
_KINDS |= {kind: kind for kind in ("lactic", "metabolic", "respiratory")}
_KINDS |= {"first": "first", "second": "second", "third": "third", "complete": "third", "chb": "third"}
_KINDS |= {"lbbb": "left", "rbbb": "right", "ugib": "upper", "lgib": "lower"}


_POLAR = re.compile(r"(?:no|not|without|absent|absence|lack|negative|positive)\b")


def _with_diseases(terms: Iterable[dict]) -> dict[str, frozenset[str]]:
    """Return the diagnoses of each term by its name; terms of the same name are merged."""
    found: dict[str, frozenset[str]] = {}
    for term in terms:
        found[term["term"]] = found.get(term["term"], frozenset()) | frozenset(term["diseases"])
    return found


def _kinds(lower: str) -> frozenset[str]:
    return frozenset(_KINDS[word] for word in lower.replace("-", " ").split() if word in _KINDS)


def _are_together(lower: str, run: list[tuple[str, int, int]], joins: frozenset[str]) -> bool:
    gaps = (lower[a[2] : b[1]] for a, b in itertools.pairwise(run))
    return all(set(gap) <= joins for gap in gaps)


def _is_content(written: str) -> bool:
    """Return whether a word is not a function word: "AS" is aortic stenosis, "as" is not."""
    return written.lower() not in GRAMMAR_WORDS or written.isupper()


def argue(claims: list[Claim], text: str, links: KnowledgeLinks, note: str | None = None) -> list[Claim]:
    """
    Set for each claim the `diagnoses` that its sentence argues for from it, and `argument`.

    A sentence that concludes a diagnosis argues for it from all its findings; "This points to X" argues from the
    findings of the previous sentence. A sentence that only names a diagnosis argues for it from the words that name
    it. A finding that is stated to be absent or normal is linked with no diagnosis, what the note has as history only
    with no acute one, and a treatment with none if it is given for another reason. From no finding a diagnosis is
    argued for that the note itself denies.

    Args:
        claims (list of `Claim`): about the note, the series or both, as found in `text`; changed in place.
        text (`str`): the text.
        links (`KnowledgeLinks`): the knowledge.
        note (`str`, *optional*): the patient's note.

    Returns:
        `claims`.
    """
    reading, mentions = Reading(text), [m for m in links.find_diagnoses(text) if m.says == "argues"]
    spans = [span for sentence in reading.sentences for span in arguments_of(reading.text, *sentence)]
    concluded = _conclusions(reading, spans, mentions)
    of_note = any(claim.channel is None and claim.kind != "other" for claim in claims)
    places = list(links.places(reading.text)) if of_note else []
    denied = links.denied_in(note) if note else frozenset()
    for claim in claims:
        sentence = _span_at(spans, claim.start)
        named = [m for m in mentions if not m.inferred and m.start < claim.end and claim.start < m.end]
        argued = concluded.get(sentence, ()) or (named if claim.channel is None else ())
        if claim.channel is None and claim.kind == "other":
            continue
        diseases = _linked_with(claim, reading, links)
        if claim.channel is None:
            diseases = _with_whole_term(claim, diseases, reading, places, links)
        claim.diagnoses = _names_argued(argued, diseases)
        if claim.diagnoses:
            known = "unlinked" if diseases is not None else "unknown"
            claim.argument = "linked" if set(claim.diagnoses) <= (diseases or set()) else known
            if claim.argument == "linked" and note and _is_no_sign(claim, note, denied, links):
                claim.argument = "unlinked"
    return claims


def _is_no_sign(claim: Claim, note: str, denied: frozenset[str], links: KnowledgeLinks) -> bool:
    """
    Return whether the note denies the diagnosis that a claim argues for, or has the finding as history only, or as a
    treatment or a sign for another reason.
    """
    if denied.intersection(claim.diagnoses) or not claim.spans:
        return bool(denied.intersection(claim.diagnoses))
    if ACUTE.intersection(claim.diagnoses) and all(is_history(note, *span) for span in claim.spans):
        return True
    return any(links.is_explained_otherwise(disease, claim.text, note, claim.spans) for disease in claim.diagnoses)


def _span_at(spans: list[tuple[int, int]], place: int) -> tuple[int, int]:
    """Return the span that contains a position, or the last one before it."""
    return spans[max(bisect_right(spans, (place, math.inf)) - 1, 0)] if spans else (0, place)


def _conclusions(reading: Reading, spans, mentions: Sequence[Mention]) -> dict[tuple[int, int], list[Mention]]:
    """Map the span of each sentence, or clause, with findings to the diagnoses that it concludes."""
    found: dict[tuple[int, int], list[Mention]] = defaultdict(list)
    for mention in mentions:
        sentence = _span_at(spans, mention.start)
        if mention.inferred and not premises_of(reading.text, *sentence):
            sentence = _span_at(spans, max(sentence[0] - 1, 0))  # "This points to X": the previous sentence
        if mention.inferred:
            found[sentence].append(mention)
    return found


def _linked_with(claim: Claim, reading: Reading, links: KnowledgeLinks) -> frozenset[str] | None:
    """Return the diagnoses that the knowledge links with a claim; `None` if it does not know the finding."""
    if claim.channel is None:
        diseases = links.diseases_of(claim.text)
        words = content_words(reading.text, claim.start, claim.end)
        denied = bool(words) and reading.is_negated(*words[-1][1:])
        return frozenset() if denied and diseases is not None else diseases
    if claim.direction is not None:
        shown = links.diseases_shown_by(claim.channel, claim.direction)
        return shown if shown or links.diseases_of_channel(claim.channel) else None
    return links.diseases_of_channel(claim.channel) or None


def _with_whole_term(claim, diseases, reading: Reading, places, links: KnowledgeLinks) -> frozenset[str] | None:
    """Add the diagnoses of terms that contain the claim: "ran" and "insulin" in "ran out of insulin"."""
    whole = {
        disease
        for start, end, stems in places
        if start <= claim.start and claim.end <= end and not reading.is_negated(start, end)
        for term in links.entries[stems]
        for disease in term["diseases"]
    }
    return frozenset(whole | (diseases or frozenset())) if whole else diseases


def _names_argued(mentions: Iterable[Mention], diseases: frozenset[str] | None) -> list[str]:
    """Return the diagnoses named; for an ambiguous name those linked with the finding, if there are any."""
    names: dict[str, None] = {}
    for mention in mentions:
        names.update(dict.fromkeys(sorted(mention.labels & (diseases or frozenset()) or mention.labels)))
    return list(names)
