# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words that separate findings with one name: sides, kinds, levels, courses and numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from .phrases_clinragen import compiled_words
from .wordings_clinragen import NUMERALS
from .words_clinragen import stem


# Weakness of the left arm is not weakness of the right arm.
_PAIRS = """
    left right; upper lower; acute chronic; systolic diastolic; mild severe; respiratory metabolic
    ischemic hemorrhagic; viral bacterial; worsening improving; worsening resolving; worsening resolved
    distended flat
"""
_RAISED = tuple(map(stem, ("raised", "elevated", "increased", "high")))
_LOWERED = tuple(map(stem, ("low", "lowered", "reduced", "decreased", "diminished")))
_ALIKE = {word: words for words in (_RAISED, _LOWERED) for word in words}
_KIND_WORDS = """
    systolic diastolic end metabolic respiratory ischemic hemorrhagic viral bacterial
"""
KINDS = frozenset(map(stem, _KIND_WORDS.split()))
_SITES = frozenset(map(stem, ("chest", "abdominal", "back", "flank", "neck", "arm", "leg")))
_SEPARATE = KINDS | _SITES | _ALIKE.keys()  # a place without them is another finding
_ABBREVIATED_NON = {"nstemi": stem("st"), "niddm": stem("insulin")}

_UNITS = {"h": "hour", "d": "day", "w": "week", "m": "month", "y": "year"}
_NUMBER_WORDS = {word: float(number) for number, word in enumerate(NUMERALS) if number > 1}
_ROMAN = {"i": 1.0, "ii": 2.0, "iii": 3.0, "iv": 4.0}
_NUMBER = re.compile(
    rf"(?:(?<![\w.])(\d+(?:\.\d+)?)|\b({'|'.join(_NUMBER_WORDS)})\b|\b(?:type|stage|class|grade) (i{{1,3}}|iv)\b)"
    r"(?:[\s-]*(hours?|hrs?|h|days?|d|weeks?|wks?|months?|mos?|years?|yrs?|y)\b)?"
)
_AFTER_LETTER = re.compile(r"(?<=[a-z])\d+(?![\d.])")

_CERTAIN = compiled_words(
    "confirmed|definite(?:ly)?|definitive|proven|certain(?:ly)?|undoubted(?:ly)?|documents|records|diagnosed|established"
)
_IS_CERTAIN = re.compile(
    r"\s*(?:is|was|are|were|has been|have been) (?:\w+ly )?(?:confirmed|proven|certain|definite|established|documented"
    r"|recorded|diagnosed)\b"
)


def _opposites() -> dict[str, frozenset[str]]:
    found = defaultdict(set)
    for pair in _PAIRS.replace("\n", ";").split(";"):
        one, other = map(stem, pair.split()) if pair.strip() else ("", "")
        found[one].add(other)
        found[other].add(one)
    return {word: frozenset(words) for word, words in found.items() if word}


OPPOSITES = _opposites()


def alike(word: str) -> tuple[str, ...]:
    """Return the stems that state the same level: "raised" and "elevated"; of other words, the stem alone."""
    return _ALIKE.get(word, (word,))


def separating(stems: list[str]) -> set[str]:
    """Return the words of a finding without which it is another: heart failure is not "systolic heart failure"."""
    found = {word for word in stems if word in _SEPARATE}
    if "non" in stems and not found.union(stems).isdisjoint(_ABBREVIATED_NON.values()):
        found.add("non")
    return found


def is_non(written: Iterable[str], stems: list[str]) -> bool:
    """Return whether a note has "NSTEMI" where a finding is "ST elevation"."""
    return "non" not in stems and any(_ABBREVIATED_NON.get(word) in stems for word in written)


def stated_numbers(text: str, start: int, end: int) -> set[tuple[float, str]]:
    """Return the numbers of a span in lower case, each with its unit of time or an empty string."""
    found = set()
    for digits, word, roman, unit in _NUMBER.findall(text, start, end):
        number = float(digits) if digits else _NUMBER_WORDS.get(word) or _ROMAN[roman]
        found.add((number, _UNITS[unit[0]] if unit else ""))
    return found


def numbers_within(text: str, start: int, end: int) -> set[tuple[float, str]]:
    """Return the numbers of a span, as [`stated_numbers`], and those that end words or abbreviations: "T2DM"."""
    return stated_numbers(text, start, end) | {
        (float(digits), "") for digits in _AFTER_LETTER.findall(text, start, end)
    }


def agree(claimed: set[tuple[float, str]], stated: set[tuple[float, str]]) -> bool:
    """Return whether a note states the numbers of a finding: not "3 hours" for "three days"."""
    untimed = {number for number, _ in stated}
    return all(
        (number, unit) in stated or (number, "") in stated or (not unit and number in untimed)
        for number, unit in claimed
    )


def is_certain(text: str, start: int, end: int, finish: int) -> bool:
    """Return whether a text calls the finding that ends at `finish` confirmed; `start` and `end` are its chunk."""
    return bool(_CERTAIN.search(text, start, end) or _IS_CERTAIN.match(text, finish))


__all__ = [
    "KINDS",
    "OPPOSITES",
    "agree",
    "alike",
    "is_certain",
    "is_non",
    "numbers_within",
    "separating",
    "stated_numbers",
]
