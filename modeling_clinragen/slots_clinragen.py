# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Numeric slots: instead of a number of the series, the decoder writes a slot such as `[highest]`, which is filled from
the record. The channel is the one that the words name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .captions_clinragen import times
from .channel_words_clinragen import SHORT_NAMES, vocabulary
from .clinical_clinragen import usual_limits
from .phrases_clinragen import PhraseFinder, lowered


VALUES = ("highest", "lowest", "first", "last")
COUNTS = ("times above", "times below")
HOURS = ("hour of highest", "hour of lowest")
SLOTS = tuple(f"[{name}]" for name in (*VALUES, *COUNTS, *HOURS))
NO_VALUE = "n/a"  # fills slots without a number in the record, in texts that are not grounded

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_SLOT = re.compile(rf"\[\s*({'|'.join((*HOURS, *COUNTS, *VALUES))})\s*\]", re.IGNORECASE)
_BEGUN = re.compile(r"\s*\[[^\]]*$")
_NUMBER = re.compile(
    r"(?P<count>\b(?:once|twice|\d+ times)\b)|(?<![\w.,/-])(?<!/ )\d+(?:\.\d+)?(?!\w|[.,]\d|\s?/\s?\d)", re.IGNORECASE
)
_PERCENT = re.compile(r"\s?%")
_SIDE = re.compile(r"\b(?:(higher|above|over|exceed\w*)|(lower|below|under))\b")
# Words before a number, or after it and its unit, that say which of several equal values it is.
_BEFORE = {
    "first": re.compile(r"\b(?:from|initially|(?:began|started|starting) at)(?: an?)? $"),
    "last": re.compile(r"\b(?:ended|ending|finished) at(?: an?)? $"),
    "highest": re.compile(
        r"\b(?:up to|peaked at|(?:peak|maximum|high)(?: [a-z ]+)? of|maximum|as high as|reached|(?:rose|climbed) to) $"
    ),
    "lowest": re.compile(
        r"\b(?:down to|(?:nadir|minimum|low)(?: [a-z ]+)? of|minimum|as low as|(?:fell|dropped) to) $"
    ),
}
_AFTER = {
    "first": re.compile(r"^%?(?: [^\s,]+)? (?:at the start|at first|initially)\b"),
    "last": re.compile(r"^%?(?: [^\s,]+)? (?:at|by) the end\b"),
}


@dataclass(frozen=True)
class _Course:
    """Hold the measured values of one channel, to write the numbers of slots."""

    channel: dict
    hours: np.ndarray
    values: np.ndarray

    def number(self, slot: str, as_percent: bool) -> str | None:
        """Write the number of a slot; `None` if the record has none."""
        if not len(self.values):
            return None
        if slot in COUNTS:
            return often(self.counts[slot == "times below"])
        place = {"highest": self.values.argmax(), "lowest": self.values.argmin(), "first": 0, "last": -1}
        at = place[slot.removeprefix("hour of ")]
        if slot in HOURS:
            return f"{self.hours[at]:.0f}"
        if as_percent and self.channel.get("unit") == "fraction":
            return f"{self.values[at] * 100:.0f}"
        return f"{self.values[at]:.{self.channel.get('decimals', 1)}f}"

    @cached_property
    def counts(self) -> tuple[int, int]:
        low, high = usual_limits(self.channel)
        return int((self.values > high).sum()), int((self.values < low).sum())


class NumericSlots:
    """
    Replace numbers by slots, and slots by numbers.

    Args:
        channels (list of `dict`): as in the dataset, in the order of `lab_values`.
    """

    def __init__(self, channels: list[dict]):
        self.channels = channels
        position = {channel["name"]: i for i, channel in enumerate(channels)}
        words = {word: meaning.parts for word, meaning in vocabulary(channels).items() if word not in SHORT_NAMES}
        self._place = {word: position[parts[0][0]] for word, parts in words.items() if parts}
        self._find = PhraseFinder(words)  # "respiratory failure" is no rate

    def mark(self, text: str, lab_times, lab_values) -> str:
        """
        Replace the numbers of a text that are the record's by slots.

        Args:
            text (`str`): about the series.
            lab_times, lab_values: hours `(T,)` and values `(T, C)`, NaN where not measured.

        Returns:
            `str`: a text from which [`NumericSlots.fill`] restores the original.
        """
        series = _Series(self.channels, lab_times, lab_values)
        return " ".join(self._marked(sentence, series) for sentence in _SENTENCE.split(text.strip()))

    def fill(self, text: str, lab_times, lab_values) -> str:
        """
        Replace slots by the record's numbers, or by `NO_VALUE` if it has none; an incomplete slot at the end is left
        out. Arguments as in [`NumericSlots.mark`].
        """
        if "[" not in text:
            return text
        series = _Series(self.channels, lab_times, lab_values)
        parts = re.split(r"((?<=[.!?])\s+)", _BEGUN.sub("", text))
        return "".join(self._filled(part, series, NO_VALUE) or "" for part in parts)

    def fill_sentence(self, sentence: str, lab_times, lab_values) -> str | None:
        """Fill the slots of one sentence; `None` if the record lacks any of their numbers."""
        if "[" not in sentence:
            return sentence
        return self._filled(sentence, _Series(self.channels, lab_times, lab_values))

    def _marked(self, sentence: str, series: _Series) -> str:
        if not any(character.isdigit() for character in sentence) and "ce" not in sentence:
            return sentence
        mentions, lower = self._mentions(sentence), lowered(sentence)
        written, end, extreme = "", 0, {}
        for number in _NUMBER.finditer(sentence):
            at = _named(mentions, number.start())
            slot = None if at is None else _slot(lower, number, series[at], extreme.get(at))
            if slot is None:
                continue
            if slot in VALUES[:2]:
                extreme[at] = slot
            written, end = f"{written}{sentence[end : number.start()]}[{slot}]", number.end()
        written += sentence[end:]
        return written if self._filled(written, series) == sentence else sentence

    def _filled(self, sentence: str, series: _Series, missing: str | None = None) -> str | None:
        mentions, written, end = None, "", 0
        for slot in _SLOT.finditer(sentence):
            mentions = self._mentions(sentence) if mentions is None else mentions
            at, name = _named(mentions, slot.start()), " ".join(slot[1].lower().split())
            as_percent = bool(_PERCENT.match(sentence, slot.end()))
            number = None if at is None else series[at].number(name, as_percent)
            number = missing if number is None else number
            if number is None:
                return None
            written, end = written + sentence[end : slot.start()] + number, slot.end()
        return written + sentence[end:]

    def _mentions(self, sentence: str) -> list[tuple[int, int]]:
        """Return the mentions of channels: start in the sentence, and position of the channel."""
        lower = lowered(sentence)
        found = ((start, self._place.get(lower[start:end])) for start, end in self._find(lower))
        return [(start, at) for start, at in found if at is not None]


class _Series:
    """Hold the courses of a record's channels, each made on first use."""

    def __init__(self, channels: list[dict], lab_times, lab_values):
        self.channels = channels
        self.times = np.asarray(lab_times, dtype=float).reshape(-1)
        self.values = np.asarray(lab_values).reshape(len(self.times), len(channels))
        self.courses: dict[int, _Course] = {}

    def __getitem__(self, at: int) -> _Course:
        if at not in self.courses:
            column = self.values[:, at]
            known = ~np.isnan(column)
            self.courses[at] = _Course(self.channels[at], self.times[known], column[known])
        return self.courses[at]


def often(count: int) -> str | None:
    """Write a count in words, such as "twice"; `None` for zero."""
    return {0: None, 1: "once", 2: "twice"}.get(count, times(count))


def _named(mentions: list[tuple[int, int]], position: int) -> int | None:
    """Return the channel that a number belongs to: the last one named before it, else the first after it."""
    before = [at for start, at in mentions if start < position]
    return before[-1] if before else mentions[0][1] if mentions else None


def _slot(lower: str, number: re.Match, course: _Course, extreme: str | None) -> str | None:
    """Name the slot that may replace a number of a sentence in lower case; `extreme` is the preceding slot, if any."""
    lead, tail, written = lower[: number.start()], lower[number.end() :], number[0].lower()
    if number["count"]:
        side = next(iter(reversed(_SIDE.findall(lead))), None)
        names = [] if side is None else [COUNTS[bool(side[1])]]
    elif lead.endswith("hour "):
        names = [] if extreme is None else [f"hour of {extreme}"]
    else:
        names = sorted(VALUES, key=lambda name: not _is_meant(name, lead, tail))
    as_percent = bool(_PERCENT.match(tail))
    return next((name for name in names if course.number(name, as_percent) == written), None)


def _is_meant(name: str, lead: str, tail: str) -> bool:
    return bool(_BEFORE[name].search(lead)) or (name in _AFTER and bool(_AFTER[name].search(tail)))


__all__ = ["NO_VALUE", "SLOTS", "NumericSlots", "often"]
