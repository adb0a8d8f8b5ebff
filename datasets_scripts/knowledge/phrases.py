# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Candidate terms of a text, found by rules on its words: phrases, their types, and the patterns that they state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from datasets_scripts.knowledge.base import builtin_entries, parse_entry
from datasets_scripts.knowledge.documents import Document, sentence_spans
from datasets_scripts.knowledge.retrieval import Encode
from datasets_scripts.knowledge.words import LISTS, WORD, american, plain_phrase, plain_words
from modeling_clinragen.claims_clinragen import CHANNEL_WORDS, FINDINGS


MAX_WORDS = 4
VITAL_SIGN = "vital-sign pattern"  # the type of exactly those terms that state a pattern of a vital sign
NEIGHBOURS = 5  # built-in terms that vote for a type
CUE_VOTES = 3  # votes of a cue word, in neighbours of similarity 1
_DETERMINERS = {"the", "a", "an", "its", "their", "this", "these", "both", "all"}
_ADJECTIVE = re.compile(r"..(?:ic|al|ous|ive|ible|able|ary|ar|less|ed|oid|ile)$")
_NEGATION = re.compile(
    r"\b(?:no|not|nor|never|without|denies|absent|absence of|lack of|lacks|rather than|unlike|instead of)\b"
    r"(?:(?!\bbut\b|;|:|\bwhile\b|\bwhereas\b).)*$",
    re.IGNORECASE,
)


@cache
def _lists() -> dict:
    breaks = set(LISTS["breaks"].split())
    for verb in LISTS["verbs"].split():
        breaks |= _verb_forms(verb) | _verb_forms(verb.replace("ize", "ise"))
    return {
        "breaks": breaks,
        "weak": set(LISTS["weak"].split()),
        "generic": {plain_phrase(word) for word in LISTS["generic"].split()},
        "alone": {plain_phrase(word) for word in LISTS["alone"].split()},
        "measured": {plain_phrase(word) for word in LISTS["measured"].split()},
        "before_of": set(LISTS["before_of"].split()),
        "cues": {kind: words.split() for kind, words in LISTS["cues"].items()},
        "directions": {direction: set(words.split()) for direction, words in LISTS["directions"].items()},
    }


def _verb_forms(verb: str) -> set[str]:
    """Return the forms of a verb ("carries", "carried", "carrying"), with its last letter single and doubled."""
    stem = verb[:-1] if verb.endswith(("e", "y")) else verb
    third = stem + "ies" if verb.endswith("y") else verb + "s"
    past = stem + "ied" if verb.endswith("y") else stem + "ed"
    double = verb + verb[-1]
    return {verb, third, verb + "es", past, verb + "ed", stem + "ing", verb + "ing", double + "ed", double + "ing"}


@dataclass(frozen=True)
class Mention:
    """A phrase (`plain` is its form for comparison) as a sentence of a document writes it."""

    plain: str
    text: str
    document: str
    offset: int
    sentence: str


def mentions(document: Document) -> Iterator[Mention]:
    """Yield every candidate term of a document that is not negated, with its sentence."""
    for start, end in sentence_spans(document.text):
        sentence = document.text[start:end]
        for begin, finish in _phrases(sentence):
            if not _NEGATION.search(sentence[:begin]):
                text = sentence[begin:finish]
                written = _written(text) if begin == 0 else text
                yield Mention(plain_phrase(text), written, document.id, start, sentence)


def _written(text: str) -> str:
    """Lower the case of a sentence's first letter, except in abbreviations."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _phrases(sentence: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of phrases: the last one to `MAX_WORDS` words of each chunk."""
    for chunk in _chunks(sentence):
        for length in range(1, min(MAX_WORDS, len(chunk)) + 1):
            words = chunk[-length:]
            if _is_term([word[0].lower() for word in words]):
                yield words[0].start(), words[-1].end()


def _chunks(sentence: str) -> Iterator[list[re.Match]]:
    """Yield runs of words without a punctuation mark or a word that ends a phrase."""
    chunk: list[re.Match] = []
    for word in WORD.finditer(sentence):
        if chunk and sentence[chunk[-1].end() : word.start()] != " ":
            yield from _without_verbs(chunk)
            chunk = []
        if _breaks(word[0]):
            yield from _without_verbs(chunk[:-1] if word[0] in _DETERMINERS else chunk)  # "shows the": a verb
            chunk = []
        else:
            chunk.append(word)
    yield from _without_verbs(chunk)


def _without_verbs(chunk: list[re.Match]) -> Iterator[list[re.Match]]:
    """Yield the parts around a non-final word in -s, which tends to be a verb; and the part before an "of"."""
    start = 0
    for i, word in enumerate(chunk[:-1]):
        if chunk[i + 1][0] == "of":
            yield chunk[start : i + 1]
        elif re.search("[^sui]s$", word[0]):
            yield chunk[start : max(i, start + 1)]  # the first word is a noun
            start = i + 1
    yield chunk[start:]


def _breaks(word: str) -> bool:
    lower = word.lower()
    return lower in _lists()["breaks"] or (lower.endswith("ly") and len(lower) > 4) or not re.search("[a-z]", lower)


def _is_term(words: list[str]) -> bool:
    lists = _lists()
    last = plain_phrase(words[-1])
    if {words[0], words[-1]} & (lists["weak"] | {"of"}) or len(last) < 2 or words.count("of") > 1:
        return False
    if last in lists["generic"] or (_ADJECTIVE.search(words[-1]) and not _cued_kinds(words[-1])):
        return False
    if last in lists["measured"] and _direction(words) is None:
        return False
    if "of" in words:
        return words[0] in lists["before_of"] or plain_phrase(words[0]) not in lists["generic"]
    return len(words) > 1 or (len(last) > 3 and last not in lists["alone"] and _direction(words) is None)


def _direction(words: list[str]) -> str | None:
    return next((way for way, said in _lists()["directions"].items() for word in words if word in said), None)


def stated_pattern(term: str) -> tuple[str, str] | None:
    """Return the channel and direction that a term ("tachycardia", "low oxygen saturation") states, if any."""
    words = WORD.findall(american(term))
    if "history" in words:
        return None
    finding = next((FINDINGS[word] for word in words if word in FINDINGS), None)
    if finding:
        return finding
    direction = _direction(words)
    text = " ".join(words)
    named = [(word, name) for name, said in CHANNEL_WORDS.items() for word in (*said, name.lower())]
    channel = next((name for word, name in sorted(named, key=_longest) if re.search(rf"\b{word}\b", text)), None)
    return (channel, direction) if channel and direction else None


def _longest(named: tuple[str, str]) -> int:
    return -len(named[0])


class TypeModel:
    """
    Types terms by the most similar built-in ones and by cue words, and measures how medical a term is.

    Args:
        encode (`Encode`): of terms.
    """

    def __init__(self, encode: Encode):
        known = {}
        for _, kind, entry in builtin_entries():
            if kind != VITAL_SIGN:
                known.update(dict.fromkeys(parse_entry(entry)[0], kind))
        self.encode = encode
        self.kinds = np.array(list(known.values()))
        self.vectors = encode(list(known))  # (built-in forms, width)

    def __call__(self, terms: list[str]) -> list[tuple[str, float]]:
        """Return the type of each term, and its mean similarity to the nearest built-in ones, from -1 to 1."""
        similarities = self.encode([american(term) for term in terms]) @ self.vectors.T
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :NEIGHBOURS]
        return [
            (self._type(term, row[near], self.kinds[near]), float(row[near].mean()))
            for term, row, near in zip(terms, similarities, nearest, strict=True)
        ]

    def _type(self, term: str, similarities: np.ndarray, kinds: np.ndarray) -> str:
        pattern = stated_pattern(term)
        if pattern:
            vital = pattern[0] in CHANNEL_WORDS and pattern[0] not in ("Glucose", "pH")
            return VITAL_SIGN if vital else "laboratory pattern"
        votes: dict[str, float] = {}
        for similarity, kind in zip(similarities, kinds, strict=True):
            votes[str(kind)] = votes.get(str(kind), 0.0) + float(similarity)
        for kind in _cued_kinds(term):
            votes[kind] = votes.get(kind, 0.0) + CUE_VOTES
        return min(votes, key=lambda kind: (-votes[kind], kind))


def _cued_kinds(term: str) -> list[str]:
    """Return the types cued by the last word, else those cued by any word."""
    words = WORD.findall(american(term))
    cued = [[kind for kind, cues in _lists()["cues"].items() if _cues(word, cues)] for word in words]
    return cued[-1] or [kind for kinds in cued for kind in kinds]


def _cues(word: str, cues: list[str]) -> bool:
    forms = {word, *plain_words(word)}
    return any(
        word.endswith(cue[1:]) and len(word) > len(cue) + 1 if cue.startswith("-") else cue in forms for cue in cues
    )
