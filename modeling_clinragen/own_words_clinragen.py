# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words of a sentence that do not come from the record: numbers and sides, and findings that are of no series."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from .claims_clinragen import ClaimChecker
from .phrases_clinragen import lowered
from .units_clinragen import scale, unit_at
from .words_clinragen import GRAMMAR_WORDS


_COUNTED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DETAIL = re.compile(
    rf"(\d+|\b(?:{'|'.join(_COUNTED)})\b)(?:[\s-]*(hour|day|week|month|year))?|\b(left|right|bilateral(?:ly)?|both)\b"
)
_SAME = {word: str(number) for number, word in enumerate(_COUNTED, 2)} | dict.fromkeys(
    ("bilateral", "bilaterally", "both"), "both"
)
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"(?<![\w.])(?<!by )\d+(?:\.\d+)?")
# Words for any series, beside function words and the words for levels and courses.
_SERIES_WORDS = """
    minimum maximum lowest highest low high peak peaked nadir extreme start started end ended beginning began first
    last initial final once twice time times hour hours day days value values reading readings measurement measurements
    measured course series rest stay admission average mean median range normal usual limit limits level levels half
    third total bpm beats breaths higher lower above below up down reached went came remained than as much many per
    min minute note record oxygen support patient
"""
_SERIES = frozenset(_SERIES_WORDS.split())


def details(text: str) -> set[str]:
    """Return the numbers and sides in a text: "both lungs for two days" -> `{"both", "2", "2 day"}`."""
    found = set()
    for number, unit, side in _DETAIL.findall(text.lower()):
        word = _SAME.get(number or side, number or side)
        found |= {word, f"{word} {unit}"} if unit else {word}
    return found


def has_foreign_unit(text: str, channel: dict) -> bool:
    """Return whether a number in a text about one channel has a unit that no value of the channel has."""
    lower = lowered(text)
    units = (unit_at(lower, number.end())[0] for number in _NUMBER.finditer(lower))
    return any(unit is not None and scale(channel, unit) is None for unit in units)


class SeriesWords:
    """
    Recognise words that are foreign to the series, such as a drug or a test that is not a channel.

    Args:
        check (`ClaimChecker`): knows the words for levels and courses.
    """

    def __init__(self, check: ClaimChecker):
        self.check = check
        self.units = {word for channel in check.channels for word in _WORD.findall(channel["unit"].lower())}
        self.known: dict[str, bool] = {}

    def are_foreign(self, text: str) -> bool:
        """Return whether a text in lower case has a word that is foreign to the series."""
        named = [(start, end) for start, end in self.check.find(text) if self.check.by_word[text[start:end]].parts]
        words = [match for match in _WORD.finditer(text) if not _lies_in(match.span(), named)]
        return not all(self._is_known(match[0]) for match in words)

    def _is_known(self, word: str) -> bool:
        if len(word) < 2 or word.endswith("ly") or word in self.units or word in _SERIES or word in GRAMMAR_WORDS:
            return True
        if word not in self.known:
            values = np.ones((1, len(self.check.channels)))
            claims = self.check(f"{self.check.channels[0]['name']} {word}", np.zeros(1), values)
            self.known[word] = any(claim.kind != "other" for claim in claims)
        return self.known[word]


def _lies_in(span: tuple[int, int], places: Iterable[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in places)


__all__ = ["SeriesWords", "details", "has_foreign_unit"]
