# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims of a text about a note and about diagnoses, aware of negation and of relatives: findings are looked up in the
note, and a mentioned diagnosis is argued for, denied, or neither.

Source: the triggers, scopes and terminations follow NegEx (Chapman W. W. et al., "A Simple
Algorithm for Identifying Negated Findings and Diseases in Discharge Summaries", J Biomed Inform 34, 301-310, 2001);
the lists are this project's own.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from .claims_clinragen import Claim
from .homonyms_clinragen import names_something_else
from .kinds_clinragen import (
    KINDS,
    OPPOSITES,
    agree,
    alike,
    is_certain,
    is_non,
    numbers_within,
    separating,
    stated_numbers,
)
from .phrases_clinragen import PhraseFinder, compiled, compiled_words
from .qualifiers_clinragen import QUALIFIERS, is_qualified, qualifiers_of
from .reading_clinragen import Reading
from .remembered_clinragen import Remembered
from .synonyms_clinragen import is_name, other_names
from .words_clinragen import MODIFIER_STEMS, content_words, spellings_of, stem


INFERENCE = compiled_words(r"""
    (?:which |this |these |that |and |it )?
    (?:all |strongly |together |also |may |would |could |does not |do not )*
    (?:point(?:s|ed|ing)? (?:to|toward|towards|at)|suggest(?:s|ed|ing|ive(?: of)?)?|support(?:s|ed|ing|ive of)?
    |indicat(?:es?|ed|ing|ive of)|fit(?:s|ted|ting)?|consistent with|compatible with|in keeping with
    |argue[sd]? (?:for|against)|arguing (?:for|against)|favou?r(?:s|ed|ing)?
    |rais(?:es?|ed|ing) (?:the |a )?(?:concern|suspicion|possibility|question)(?: of| for)?|confirm(?:s|ed|ing)?
    |(?:is|are) (?:an? |the )?(?:\w+ )?(?:signs?|features?|evidence|markers?|manifestations?|symptoms?|hallmarks?) of
    |(?:is|are|was|were) (?:associated|in line|in accordance|seen) (?:with|in)|leads? (?:one )?to (?:the )?diagnosis of
    |therefore|hence|thus|as in
    |explain(?:s|ed|ing)?|impl(?:y|ies|ied)|signif(?:y|ies)|speaks? (?:for|against)|mak(?:es?|ing)
    |reflect(?:s|ed|ing)?|is typical of|are typical of|typical of|characteristic of)
    """)
_ANAPHOR = re.compile(
    r"\s*(?:this|these|that|they|it|which|all of (?:this|these)|together)\b"
)  # refers to the previous sentence
_PASSIVE = compiled_words(r"""
    (?:is|are|was|were|being|been) (?:further |also |strongly |well )?(?:suggested|supported|indicated|explained
    |confirmed|implied|favou?red|backed|evidenced) by
    """)
_GIVEN = compiled_words(r"""
    given|because of|due to|based on|in view of|owing to|as shown by|as evidenced by
    """)

_CAUSE = compiled_words(r"""
    (?P<of>(?:is |are |was |were )?(?:(?:likely |probably |all |both )?
    (?:due to|secondary to|because of|owing to|caused by)
    |an? (?:result|consequence|sign|feature|symptom|manifestation) of))
    |(?P<to>explain(?:s|ed|ing)|accounts? for|causes?|caused(?! by)|(?:is|are) the (?:likely )?cause of|results? in
    |manifests? (?:as|with|by))
    """)
_WITH_FIRST = re.compile(r"\s*with\b(?=[^,]*, .*\b(?:likely|possible|probable|suspected|considered|favou?red)\b)")
# "X and Y remain unexplained", but not "unexplained weight loss"
_UNEXPLAINED = re.compile(
    r"\bunexplained\b(?!\s+(?!by|in|from|here|with|so|and|or|on|at|diagnos|disease|condition)\w)"
)
# Separators of the findings of an enumeration, and phrases for where they were observed.
_CUTS = compiled(r"""
    ,|\b(?:and|or|but|nor|with|without|as well as|plus|while|who|in the setting of|after)\b
    |(?:\b(?:on|by|at|in|per) )?\b(?:the |a |an |her |his )?
    (?:chest |physical |abdominal |initial |head |lung |cardiac )?
    (?:exam(?:ination)?s?|films?|x-?rays?|radiographs?|cxr|ct|mri|scan|imaging|ultrasound|ekg|ecg|echo
    |echocardiogram|auscultation|palpation|telemetry)\b
    """)


_OF = re.compile(r"\bof\b(?! breath)")


@dataclass(frozen=True)
class Mention:
    """
    A mention of a diagnosis in a text.

    Args:
        labels (`frozenset[str]`): the diagnoses with that name.
        start, end (`int`): its span.
        says (`str`): `argues` (the patient has it, or probably has), `denies`, or `neither` (relatives, risks, plans).
        inferred (`bool`): whether the sentence concludes it, rather than argues from it.
    """

    labels: frozenset[str]
    start: int
    end: int
    says: str
    inferred: bool


_COMMA = re.compile(r",")
_APART = re.compile(r"[,;/()]|\b(?:and|or|nor|but)\b")
_PARTS = {
    stem("abdominal"): stem("abdomen"),
    stem("facial"): stem("face"),
    stem("cardiac"): stem("heart"),
    stem("pulmonary"): stem("lungs"),
}
_NOT_SO = re.compile(r", (?:but |though |although |yet )?(?:not|never|neither|non) (?:\w+ (?:or|nor) )?$")
_BESIDE = MODIFIER_STEMS | {"non"}
_FEW = 3  # words of a finding that a note has all
_MAX_ITEM = 8  # words of a clause examined on either side


class NoteIndex:
    """
    Index of a note's words by sentence, to look up findings; build one per note.

    Args:
        note (`str`): the patient's note.
    """

    def __init__(self, note: str):
        self.reading = Reading(note)
        self.text, self.sentences = self.reading.text, self.reading.sentences
        self.commas = [match.start() for match in _COMMA.finditer(self.text)]
        self.words = []  # (stem, start, end, sentence) of the words that carry findings
        for number, (start, end) in enumerate(self.sentences):
            self.words += [(*word, number) for word in content_words(self.text, start, end)]
        self._polarities: dict[tuple, str] = {}
        self._numbers: dict[int, set[tuple[float, str]]] = {}  # of each sentence that was asked for
        self.positions = defaultdict(list)
        for position, (word, *_) in enumerate(self.words):
            self.positions[word].append(position)

    def find(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """
        Find a finding in the note: its words in a row, else all of them in one clause, else most of them.

        "Chest clear, abdominal pain" does not contain "chest pain".

        Returns:
            For each occurrence its words, as start, end and sentence number.
        """
        runs = self.find_together(stems) or self.find_turned(stems)
        if runs:
            return runs
        by_clause = defaultdict(dict)
        for wanted_stem in stems:
            for written in alike(wanted_stem):
                for position in self.positions.get(written, ()):
                    word = self.words[position]
                    by_clause[self._clause_of(word)].setdefault(wanted_stem, word[1:])
        self._share_labels(by_clause, stems)
        needs = separating(stems)
        beside = QUALIFIERS | needs
        wanted = [w for w in stems if w not in MODIFIER_STEMS | beside and not w.isdigit()] or stems
        found = {
            clause: [place for word, place in words.items() if word in wanted or word in beside]
            for clause, words in by_clause.items()
            if needs <= words.keys() and not any(self._is_of_another(words[word], stems) for word in needs & KINDS)
            if self._are_enough([place for word, place in words.items() if word in wanted], len(wanted))
        }
        most = max((len(words) for words in found.values()), default=0)
        return [words for words in found.values() if len(words) == most]

    def _are_enough(self, places: list[tuple[int, int, int]], wanted: int) -> bool:
        """Return whether a clause has enough words of a finding: all of a few, or most if the note denies them."""
        if len(places) >= (wanted if wanted <= _FEW else wanted // 2 + 1):
            return True
        return wanted == _FEW and len(places) == _FEW - 1 and self.polarity(places) == "negated"

    def _is_of_another(self, place: tuple[int, int, int], stems: list[str]) -> bool:
        """Return whether a word of kind stands before another finding: "systolic" of "systolic murmur and failure"."""
        following = bisect_right(self.words, place[0], key=lambda word: word[1])
        word = self.words[following] if following < len(self.words) else None
        return (
            word is not None
            and self.text[place[1] : word[1]] == " "
            and word[0] not in stems
            and word[0] not in MODIFIER_STEMS
        )

    def of_its_kind(self, places: list[list[tuple[int, int, int]]], stems: list[str], numbers: set) -> list:
        """
        Select the places that mean a finding, and no other one: "portal hypertension" is no "hypertension", the left
        arm not the right, and "3 hours" are not "three days".

        Args:
            places (list): as [`find`] returns them.
            stems (list of `str`): of the finding; `numbers` as [`stated_numbers`] returns them.
        """
        if not places:
            return []
        opposed = set()
        for word in OPPOSITES.keys() & set(stems):
            opposed |= self._clauses_of(OPPOSITES[word]) - self._clauses_of([word])
        return [
            place
            for place in places
            if not names_something_else(self.text, min(place)[0], max(word[1] for word in place))
            and not any((bisect_right(self.commas, start), number) in opposed for start, _, number in place)
            and not is_non((self.text[start:end] for start, end, _ in place), stems)
            and ("non" in stems or not self.reading.is_named_non(min(place)[0]))
            and (not numbers or agree(numbers, self._numbers_at(place[0][2])))
        ]

    def qualified(self, places: list[list[tuple[int, int, int]]], qualifiers: set[str]) -> list:
        """Select the places that the note denies, or gives the qualifying words of a finding."""
        return [
            place
            for place in places
            if not qualifiers
            or self.polarity(place) == "negated"
            or is_qualified(self.text, self.sentences[place[0][2]], [word[:2] for word in place], qualifiers)
        ]

    def _numbers_at(self, sentence: int) -> set[tuple[float, str]]:
        if sentence not in self._numbers:
            self._numbers[sentence] = numbers_within(self.text, *self.sentences[sentence])
        return self._numbers[sentence]

    def _clauses_of(self, stems: Iterable[str]) -> set[tuple[int, int]]:
        words = [self.words[position] for word in stems for position in self.positions.get(word, ())]
        return {self._clause_of(word) for word in words}

    def _clause_of(self, word: tuple[str, int, int, int]) -> tuple[int, int]:
        return bisect_right(self.commas, word[1]), word[3]

    def _share_labels(self, by_clause: dict[tuple[int, int], dict], stems: list[str]) -> None:
        """
        Share a label, or the subject of a sentence, with the clauses after it.

        "Skin: redness, no breakdown" denies a skin breakdown; "fontanelle flat, not bulging" a bulging fontanelle.
        """
        earlier = [(*word, clause) for clause, words in by_clause.items() for word in words.items()]
        for clause, words in list(by_clause.items()):
            start = min(start for start, *_ in words.values())
            goes_on = bool(_NOT_SO.search(self.text, max(start - 40, 0), start))
            for word, place, (comma, number) in earlier:
                if number != clause[1] or comma >= clause[0] or word in words:
                    continue
                if goes_on or (self.text.startswith(":", place[1]) and self._holds_only(stems, words)):
                    words[word] = place

    def _holds_only(self, stems: list[str], words: dict[str, tuple[int, int, int]]) -> bool:
        """Return whether the clause of `words` has no other finding; words of degree and place do not count."""
        start, *_ = next(iter(words.values()))
        position = bisect_right(self.words, start, key=lambda word: word[1]) - 1
        clause = self._clause_of(self.words[position])
        around = self.words[max(position - _MAX_ITEM, 0) : position + _MAX_ITEM]
        return all(word[0] in stems or word[0] in _BESIDE for word in around if self._clause_of(word) == clause)

    def find_together(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """Find the occurrences of words in a row."""
        return [[word[1:] for word in run] for run in self._runs(stems)]

    def find_turned(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """Find the occurrences of words in a row, in any order: "bleeding, GI" for "GI bleeding"."""
        return [[word[1:] for word in run] for run in self._runs(stems, turned=len(stems) - 1)]

    def find_named(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """Find the words of one name in a row: "blood and urine" is no match for "blood in the urine"."""
        return [
            place
            for place in self.find_together(stems)
            if not any(_APART.search(self.text, a[1], b[0]) for a, b in itertools.pairwise(place))
        ]

    def find_part(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """Find a finding with a body part that the note names as a noun: "abdominal" in "abdomen: soft, nontender"."""
        noun = [_PARTS.get(word, word) for word in stems]
        found = self.find(noun) if noun != stems else []
        return [
            place
            for place in found
            if len({bisect_right(self.commas, word[0]) for word in place}) == 1
            or any(self.text.startswith(":", word[1]) for word in place)
        ]

    def _runs(self, stems: list[str], turned: int = 0) -> list[list[tuple]]:
        """Find words in a row, in their order or, with `turned`, in any: "sepsis, pulmonary" is pulmonary sepsis."""
        size, order, places = len(stems), sorted if turned else list, self.positions.get(stems[0], ())
        runs = [self.words[p - back : p - back + size] for p in places for back in range(turned + 1) if p >= back]
        if turned:  # "infarction, acute myocardial"
            wider = [
                self.words[p - back : p - back + size + 1] for p in places for back in range(size + 1) if p >= back
            ]
            runs += [[word for word in run if word[0] in stems or word[0] not in MODIFIER_STEMS] for run in wider]
        runs = [run for run in runs if order(word[0] for word in run) == order(stems)]
        return [run for run in runs if run[0][3] == run[-1][3] and not (turned and self._joins_items(run, stems))]

    def _joins_items(self, run: list[tuple], stems: list[str]) -> bool:
        """Return whether turned words are of two items: "abdominal pain, chest clear" has no chest pain."""
        if any(self._is_of_another(word[1:], stems) for word in run if word[0] in separating(stems)):
            return True
        if self._clause_of(run[0]) == self._clause_of(run[-1]) or [word[0] for word in run] == stems:
            return False
        before = self.words[max(bisect_right(self.words, run[0][1], key=lambda word: word[1]) - 2, 0)]
        beside = before[2] <= run[0][1] and not self.text[before[2] : run[0][1]].strip(" -")
        return (beside and before[0] not in MODIFIER_STEMS) or not _ENDS_ITEM.match(self.text, run[-1][2])

    def find_denied(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """Find general denials of a finding: "no edema" denies edema of the legs, but not of the lungs."""
        if len(stems) < 2 or stems[-1] not in _IN_GENERAL or (stems[-1] == "edema" and not _INNER.isdisjoint(stems)):
            return []
        places = [self.words[position] for position in self.positions.get(stems[-1], ())]
        return [
            [word[1:]]
            for word in places
            if _DENIED_ALONE.search(self.text, max(word[1] - 40, 0), word[1])
            and _ENDS_ALONE.match(self.text, word[2])
            and self.polarity([word[1:]]) == "negated"
        ]

    def polarity(self, words: list[tuple[int, int, int]]) -> str:
        """Return the polarity of the note at one occurrence; see `_polarity`."""
        key = tuple(words)
        if key not in self._polarities:
            self._polarities[key] = _polarity(self.reading, [word[:2] for word in words])
        return self._polarities[key]


def _polarity(reading: Reading, words: list[tuple[int, int]]) -> str:
    """
    Return the polarity of a finding in a text; if any of its words is negated, the finding is.

    Returns:
        `affirmed`, `suspected`, `negated`, `relatives`, or `uncertain` (risks, plans, another sense).
    """
    start, end = min(start for start, _ in words), max(end for _, end in words)
    if reading.is_about_relatives(max(start for start, _ in words)):
        return "relatives"
    if any(reading.is_negated(*word) for word in words):
        return "negated"
    if reading.is_uncertain(start, end):
        return "uncertain"
    return "suspected" if reading.is_suspected(start, end) else "affirmed"


def _verdict(claimed: str, stated: set[str]) -> str:
    """Return the verdict on a finding with polarity `claimed` in a text and polarities `stated` in the note."""
    if claimed == "suspected" or (claimed == "uncertain" and "uncertain" not in stated):
        claimed = "affirmed"
    if "suspected" in stated:  # "concern for PE; no PE was found"
        stated = stated - {"suspected"} | ({"affirmed"} if "negated" not in stated else set())
    if claimed in stated:
        return "supported"
    if stated & {"affirmed", "negated"}:
        return "contradicted"
    return "unverifiable" if "uncertain" in stated else "absent"


def check_note_claims(text: str, note: str | NoteIndex, links=None) -> list[Claim]:
    """
    Check the claims of a text about a note: each finding that the text argues from.

    A finding is `supported` if the note agrees (both affirm it, or both deny it), `contradicted` if the note only
    states the opposite, `unverifiable` if the note mentions it only as a risk or a plan, and `absent` if the note does
    not mention it, or mentions it only of relatives.

    Args:
        text (`str`): a rationale; in "X suggests Y" the finding X is checked, and Y is a conclusion.
        note (`str` or `NoteIndex`): the patient's note.
        links (`KnowledgeLinks`, *optional*): to find a finding by its synonyms in the knowledge.
    """
    index = note if isinstance(note, NoteIndex) else NoteIndex(note)
    reading, claims = Reading(text), []
    find_names = links.find_diagnoses.find if links is not None else None
    arguments = [span for sentence in reading.sentences for span in arguments_of(reading.text, *sentence)]
    for first, last in arguments:
        stated = _stated_before(reading.text, first, last)
        for start, end in stated + premises_of(reading.text, first, last, find_names):
            for chunk in _chunks(reading.text, start, end, _CUTS):
                claims += _check_parts(text, reading, chunk, index, links)
    return claims


def _check_parts(text: str, reading: Reading, chunk: tuple[int, int], index: NoteIndex, links) -> list[Claim]:
    """Check "X of Y" as one finding, and as two if the note does not have it as one."""
    whole = _check_chunk(text, reading, *chunk, index, links)
    parts = _chunks(reading.text, *chunk, _OF)
    if whole is None or whole.spans or len(parts) == 1:
        return [whole] if whole else []
    claims = [_check_chunk(text, reading, *part, index, links) for part in parts]
    return [claim for claim in claims if claim]


def arguments_of(text: str, first: int, last: int) -> list[tuple[int, int]]:
    """Return the spans of a sentence with an argument each: "A points to X, and B suggests Y" has two."""
    verbs = [verb for pattern in (INFERENCE, _GIVEN, _STATED) for verb in pattern.finditer(text, first, last)]
    starts, done = [first], first
    for verb in sorted(verbs, key=re.Match.start):
        near = max(done, verb.start() - _MAX_CLAUSE)
        joints = list(_JOINT.finditer(text, near, verb.start() + 1)) if done > first else []
        joints = [joint for joint in joints if _is_clause(text, joint.end(), verb)]
        if joints:
            strong = [joint for joint in joints if joint[0].strip() != "and"]
            starts.append((strong or joints[-1:])[0].end())
        done = verb.end()
    return list(itertools.pairwise([*starts, last]))


def _is_clause(text: str, start: int, verb: re.Match) -> bool:
    """Return whether an independent clause begins at `start`, up to its verb."""
    if verb.re is _GIVEN:
        return start == verb.start()
    has_subject = bool(content_words(text, start, verb.start()))
    return (has_subject and not _ANAPHOR.match(verb[0])) or (verb.re is _STATED and not has_subject)


_MAX_CLAUSE = 300  # characters before the verb of a clause
_JOINT = re.compile(r",? (?:and|while|whereas|but) (?=\w)")
_STATED = compiled_words(r"""
    (?:is|are|was|were) (?:also )?(?:in the (?:history|note)|noted|recorded|mentioned|documented|listed|known|present
    |described|reported|seen|found)
    |there (?:is|are|was|were)|(?:he|she|patient) (?:also )?(?:has|had|reports|denies|complains)
    """)


def premises_of(text: str, first: int, last: int, find_names=None) -> list[tuple[int, int]]:
    """
    Return the spans of a sentence that it argues from, without the conclusion.

    Args:
        text (`str`): in lower case; `first` and `last` are the span of the sentence.
        find_names (callable, *optional*): yields the spans of diagnosis names: "X is due to pneumonia" argues from X,
            and so does "pneumonia explains X".
    """
    sentence = text[first:last]
    if _UNEXPLAINED.search(sentence):
        return []
    cause = _CAUSE.search(sentence) if find_names else None
    if cause:
        before = any(find_names(sentence[: cause.start()]))
        after = any(find_names(sentence[cause.end() :]))
        if after and not before and cause["of"] and content_words(text, first, first + cause.start()):
            return [(first, first + cause.start())]
        if before and not after and cause["to"]:
            return [(first + cause.end(), last)]
    passive = _PASSIVE.search(sentence)
    if passive:
        return [(first + passive.end(), last)]
    given = _GIVEN.search(sentence) or _WITH_FIRST.match(sentence)
    if given:
        comma = sentence.find(",", given.end()) if given.start() < 5 else -1
        return [(first + given.end(), first + comma if comma > 0 else last)]
    inference = INFERENCE.search(sentence)
    if inference and content_words(text, first, first + inference.start()):
        return [(first, first + inference.start())]
    return [] if inference and _ANAPHOR.match(sentence) else [(first, last)]


_STATED_BY_NOTE = re.compile(
    r"\s*(?:the )?(?:note|record|history)s? (?:also )?(?:reports?|records?|describes?|mentions?|documents?|names?"
    r"|lists?|states?|shows?)\b(?P<told>[^.]*?),? (?:which|that) $"
)


def _stated_before(text: str, first: int, last: int) -> list[tuple[int, int]]:
    """Return the span of X in "the note mentions X, which is supported by Y": the note's, and inferred."""
    passive = _PASSIVE.search(text, first, last)
    stated = passive and _STATED_BY_NOTE.match(text, first, passive.start())
    return [stated.span("told")] if stated else []


def _chunks(text: str, start: int, end: int, pattern: re.Pattern) -> list[tuple[int, int]]:
    """Split an enumeration into its findings."""
    cuts = list(pattern.finditer(text[start:end]))
    edges = [start, *(start + m.end() for m in cuts)], [*(start + m.start() for m in cuts), end]
    return [(a, b) for a, b in zip(*edges, strict=True) if b > a]


def _check_chunk(text: str, reading: Reading, start: int, end: int, index: NoteIndex, links) -> Claim | None:
    words = content_words(reading.text, start, end)
    if all(word[0] in _GENERAL for word in words):
        return None
    begin, finish = words[0][1], words[-1][2]
    stems = [word[0] for word in words]
    numbers = stated_numbers(reading.text, start, end)
    numbers |= {(float(word), "") for word, at, _ in words if word.isdigit() and not reading.text[at].isdigit()}
    qualifiers = qualifiers_of(reading.text[start:end])
    places = _places_of(reading.text[begin:finish], stems, numbers, qualifiers, index, links)
    stated = {index.polarity(place) for place in places}
    claimed = _polarity(reading, [word[1:] for word in words])
    verdict = _verdict(claimed, stated)
    if verdict == "supported" and claimed != "suspected" and "affirmed" not in stated and "suspected" in stated:
        verdict = "unverifiable" if is_certain(reading.text, start, end, finish) else verdict
    quote = "the note does not speak of it"
    more = index.of_its_kind(index.find_turned(stems) if places else [], stems, numbers)
    more = index.qualified(more, qualifiers)
    places += [place for place in more if place not in places and index.polarity(place) in stated]
    spans = [(min(s for s, _, _ in place), max(e for _, e, _ in place)) for place in places]
    if spans:
        quote = f"{' and '.join(sorted(stated))} in the note: {index.text[slice(*spans[0])]}"
    return Claim(text[begin:finish], begin, finish, None, "note", verdict, quote, spans=spans)


def _places_of(finding: str, stems: list[str], numbers: set, qualifiers: set[str], index: NoteIndex, links) -> list:
    """Find a finding in the note: in its words, else by the knowledge's synonyms, a body part, or another name."""

    def kept(places: Iterable) -> list:
        return index.of_its_kind(list(places), stems, numbers)

    places = index.qualified(kept(index.find(stems) or index.find_denied(stems)), qualifiers)
    if not places and links is not None:
        for form in links.synonyms_of(finding):
            needed = qualifiers & set(form) if links.is_term(finding) else qualifiers
            places += index.qualified(kept(index.find_together(form)), needed)
    if not places:
        named = (place for form in other_names(stems) for place in index.find_named(form))
        named = kept(named) if is_name(stems) else index.qualified(kept(named), qualifiers)
        places = index.qualified(kept(index.find_part(stems)), qualifiers) or named
    sign = [word for word in stems if word not in _INTACT]
    if not places and sign and sign != stems:  # "gag is intact" against "no gag"
        found = kept(index.find(sign))
        places = [place for place in found if index.polarity(place) == "negated"]
    return places


_MAX_CACHED_TEXTS = 2**9  # texts with cached mentions: each sentence is looked up several times


class DiagnosisFinder:
    """
    Find the mentions of diagnoses in a text, and whether it argues for them.

    Args:
        phrases (`dict`): diagnosis -> its name and synonyms.
    """

    def __init__(self, phrases: dict[str, Iterable[str]]):
        labels_of = defaultdict(set)
        for label, names in phrases.items():
            for name in names:
                for spelling in spellings_of(" ".join(name.lower().split())):
                    labels_of[spelling].add(label)
        self.labels_of = {name: frozenset(labels) for name, labels in labels_of.items()}
        self.find = PhraseFinder(self.labels_of)
        self._found: dict[str, list[Mention]] = Remembered(self._mentions, _MAX_CACHED_TEXTS)

    def __call__(self, text: str) -> list[Mention]:
        return list(self._found[text])

    def _mentions(self, text: str) -> list[Mention]:
        reading, mentions = Reading(text), []
        named = list(self.find(reading.text))
        if not named:
            return []
        spans = [span for sentence in _around(text) for span in arguments_of(reading.text, *sentence)]
        starts = [start for start, _ in spans]
        reading.hide(named)
        premises: dict[int, list[tuple[int, int]]] = {}  # of each span that names a diagnosis
        for start, end in named:
            span = bisect_right(starts, start) - 1
            first, last = spans[span]
            if span not in premises:
                premises[span] = premises_of(reading.text, first, last, self.find)
            inferred = not any(a <= start < b for a, b in premises[span])
            says = "neither" if _UNEXPLAINED.search(reading.text, first, last) else reading.says(start, end)
            mentions.append(Mention(self.labels_of[reading.text[start:end]], start, end, says, inferred))
        return mentions


def _around(text: str) -> list[tuple[int, int]]:
    """Return the spans of sentences; a semicolon, which may be part of a name, ends none."""
    return [(m.start(), m.end()) for m in re.finditer(r"(?:[^.\n!?]|\.(?=\d))+", text)]


_GENERAL_WORDS = """
    disease diseases condition conditions disorder disorders nothing alone gives clear listed particular
"""
_GENERAL = frozenset(map(stem, _GENERAL_WORDS.split()))

_INTACT = frozenset(map(stem, ("intact", "preserved", "normal", "equal", "palpable")))

# Findings that a note may deny in general, without naming the part or the kind.
_IN_GENERAL_WORDS = """
    edema swelling pain tenderness rash cough murmur bleeding hemorrhage weakness numbness effusion mass headache
    seizure fracture infarct trauma infection fever dyspnea vomiting diarrhea
"""
_IN_GENERAL = frozenset(map(stem, _IN_GENERAL_WORDS.split()))
_INNER = frozenset(map(stem, ("pulmonary", "cerebral", "brain", "macular", "laryngeal", "airway", "flash")))
_DENIED_ALONE = re.compile(
    r"\b(?:no|without|w/o|denies|denied|neg(?:ative)? for|free (?:of|from))"
    r"(?: (?:any|significant|new|obvious|acute|evidence of|signs of|sign of))*"
    r"(?: \w+(?: \w+)?(?:,(?: or)?| or| nor| and))* $"
)
_ENDS_ITEM = re.compile(r"\s*(?:[,.;\n()\[]|$|(?:or|nor|and|with)\b)|-[a-z]")  # "bleeding, GI-location unknown"
_ENDS_ALONE = re.compile(r"\s*(?:[,.;:\n]|$|(?:or|nor|and)\b)")
