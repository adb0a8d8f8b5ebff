# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims about a patient's series: write them (the anomaly caption), find them in a text, and check each against the
patient's own measured values.
"""

import re
from dataclasses import dataclass, field, replace

import numpy as np

from .captions_clinragen import ONLY_TEXT as ONLY_TEXT
from .captions_clinragen import PARTLY_TEXT as PARTLY_TEXT
from .captions_clinragen import UNMEASURED as UNMEASURED
from .captions_clinragen import describe_anomalies as describe_anomalies
from .captions_clinragen import normal_word
from .captions_clinragen import times as times
from .channel_words_clinragen import CHANNEL_WORDS as CHANNEL_WORDS
from .channel_words_clinragen import DIASTOLIC, SYSTOLIC, WordMeaning
from .channel_words_clinragen import FINDINGS as FINDINGS
from .clauses_clinragen import MAX_CLAUSE, ClauseReader
from .hedges_clinragen import EXCEPTION, leaves_open
from .phrases_clinragen import compiled, lowered
from .ranges_clinragen import Truth, beyond, every, some
from .remembered_clinragen import Remembered
from .segments_clinragen import MAY_NEGATE_OTHERS, negations_of_other_things, read_part, segments
from .statements_clinragen import Judgement, deciding, is_negated, judge
from .wordings_clinragen import (
    FIRST_VALUE,
    LAST_VALUE,
    MAXIMUM,
    MINIMUM,
    NOT_NOW,
)


_BEFORE_A_PAIR = compiled(r"""
    (?:\b(?:above|over|below|under|at least|at most|than|exceed\w*|past|about|around|approximately|roughly|near)
    |[<>≥≤~])
    \s?\d{2,3}/\d
    """)
_PAIR = re.compile(r"(?<![\d./])(\d{2,3})\s*/\s*(\d{2,3})(?![\d./])")  # systolic and diastolic
_PART = r"\d{2,3}s?(?:[-–]\d{2,3}s?)?"
_WIDE_PAIR = re.compile(rf"(?<![\d./-])(?=[\d/s–-]*[s–-])({_PART})\s?/\s?({_PART})(?![\d./])")  # "130s/70s"
_OF_SEVERAL_TIMES = re.compile("|".join(p.pattern for p in (MAXIMUM, MINIMUM, _BEFORE_A_PAIR)))
_FROM_TO = re.compile(  # between two pairs that are blanked
    r"\bfrom\s+to\s*$|[-=]+>\s*$|→\s*$"
    r"|\b(?:dropp|fell|fall|declin|decreas|ris|rose|increas|improv|recover|climb|went|came)\w*"
    r" (?:(?:down|up|back) )?to$"
)
_MAX_READINGS = 64  # cached: a clause is read several times
_GOES_ON = re.compile(r"[\s,<>=≥≤\d.]*(?:and|or)?\s*")


@dataclass
class Claim:
    """
    One statement of a text.

    Args:
        text (`str`): the clause; `start` and `end` are its span in the whole text.
        channel (`str` or `None`): the channel that it is about.
        kind (`str`): `level`, `count`, `value`, `trend`, `unmeasured`, or `other` if it states nothing checkable.
        verdict (`str`): `supported`, `contradicted`, `unverifiable` if it states nothing checkable, or `absent` for a
            finding that is not in the note.
        quote (`str`): the part of the record that the verdict rests on: a summary of the values, or words of the note.
        hours (`list[float]`): the hours of the channel's deciding measurements, see [`deciding`].
        spans (`list[tuple[int, int]]`): its mentions in the note.
        direction (`str` or `None`): `high`, `low`, `rising`, `falling` or `normal`, if a series claim states one.
        diagnoses (`list[str]`): the diagnoses that its sentence argues for from it; filled if the knowledge's links
            are given.
        argument (`str`): `linked` if the knowledge links the finding with each of these diagnoses, `unlinked` if it
            knows the finding but not this link, `unknown` if it does not know the finding; else `""`.
    """

    text: str
    start: int
    end: int
    channel: str | None
    kind: str
    verdict: str
    quote: str
    hours: list[float] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    direction: str | None = None
    diagnoses: list[str] = field(default_factory=list)
    argument: str = ""


class ClaimChecker(ClauseReader):
    """
    Check every statement of a text against a patient's measured values.

    A text is cut into clauses about one channel each; a clause may state several things about its channel, and is
    supported if all of them hold:

    - `unmeasured`: the channel has no value, or has one.
    - `count`: exactly that many values are above (below) the usual limit, or within the limits. A smaller count,
      down to the number beyond the clear limit, is unverifiable. Also shares: "most", "half of", "all but two".
    - `level`: "high" ("low") - at least one value is beyond the clear limit, of "all" every one; negated - no value
      is beyond the usual limit; "normal" - no value is; values between the two limits are unverifiable.
    - `value`: "up to", "as low as", "between" - the extreme values, rounded to the digits written, in any unit;
      "first", "last"; "in the 130s", "around"; "from 86 to 97" - one after the other; else any value.
    - `trend`: the medians of the last and the first third differ by more than half the spread (the interquartile
      range) of all values; with fewer than six values, the first and the last must be the extremes, else it is
      unverifiable. "Improved" and "worsened": towards the usual limits or away from them; a finding that "resolved" or
      "persisted": whether the last value shows it. Also amounts and ratios of change, and the end compared with the
      start.
    - `time`: one of these within some hours since ICU admission, or at an hour, to within half an hour.

    Goals, conditions, fears, histories and doses state nothing. A clause with a hedge, an exception or an unread
    comparison contradicts nothing (see [`leaves_open`]). A statement about a channel without values is contradicted.
    Hypotension and hypertension refer to the systolic or the mean pressure; "BP 82/40" refers to one time.

    Args:
        channels (list of `dict`): `name`, `unit`, `low`, `high`, `decimals` and, optionally, `clearly_low`,
            `clearly_high`, `normal` and `words`.
    """

    def __init__(self, channels: list[dict]):
        super().__init__(channels)
        self._readings: dict[tuple[str, str], tuple[str, list[str]]] = Remembered(self._blanked, _MAX_READINGS)

    def __call__(self, text: str, lab_times, lab_values, only_support: bool = False) -> list[Claim]:
        """
        Return the claims of a text, with their verdicts.

        Args:
            text (`str`): the rationale.
            lab_times (array of shape `(T,)`): hours since ICU admission, increasing.
            lab_values (array of shape `(T, num_input_channels)`): NaN = not measured.
            only_support (`bool`): find supported claims only, in half of the time: claims have no hours and no quote,
                and some are called contradicted that a full reading calls unverifiable or, rarely, supported.
        """
        values = np.asarray(lab_values, dtype=float).reshape(-1, len(self.channels))
        hours = np.asarray(lab_times, dtype=float).reshape(-1)
        clauses = self._clauses(text)
        stated = self._stated(text, clauses)
        claims, unstated, before = [], False, 0
        for (start, end, mention, _), words in zip(clauses, stated, strict=True):
            clause = text[start:end]
            unstated = mention is not None and (
                self._is_not_stated(text, start, mention)
                or (unstated and _GOES_ON.fullmatch(text[before : mention[0]]))
            )
            ending = lowered(clause[-MAX_CLAUSE:])
            past = mention is None and "history" in ending and NOT_NOW.search(f"{ending} ")
            unstated = unstated or bool(past)
            before = end if past else 0 if mention is None else mention[1]
            if mention is None or unstated:
                claims.append(Claim(clause, start, end, None, "other", "unverifiable", ""))
                continue
            meaning = self._meaning(text, *mention)
            name, judged = self._judge(meaning, words, hours, values, only_support)
            if judged.holds is False and not only_support and self._is_excepted(text, *mention):
                judged = replace(judged, holds=None)
            channel, when, found = self._measured(name, hours, values)
            verdict = {None: "unverifiable", True: "supported", False: "contradicted"}[judged.holds]
            if only_support:
                claims.append(Claim(clause, start, end, name, judged.kind, verdict, ""))
                continue
            statement, states = self._read(words, name)
            decide = when[deciding(statement, states, judged.kind, channel, when, found)].tolist()
            quote = _quote(channel, when, found)
            claims.append(
                Claim(clause, start, end, name, judged.kind, verdict, quote, decide, direction=judged.direction)
            )
        return claims

    def _is_excepted(self, text: str, start: int, end: int) -> bool:
        """Return whether a sentence has an exception other than a channel: "apart from one reading of 89%"."""
        first, last = text.rfind(".", 0, start) + 1, text.find(".", end)
        sentence = lowered(text[first : last if last >= 0 else len(text)])
        return any(
            not re.fullmatch(r"\s+(?:(?!\d)[\w-]+\s+){0,2}?", sentence[exception.end() : start - first])
            for exception in EXCEPTION.finditer(sentence)
        )

    def _judge(self, meaning: WordMeaning, words: str, hours, values, only_support: bool) -> tuple[str, Judgement]:
        """Judge a clause for each channel of its mention; return the deciding channel."""
        pressures = {SYSTOLIC, DIASTOLIC} <= set(self.position) and meaning.channels & {SYSTOLIC, DIASTOLIC}
        pairs = list(_PAIR.finditer(words)) if pressures else []
        wide = _WIDE_PAIR.search(words) if pressures and "/" in words else None
        if wide or (len(pairs) == 1 and _OF_SEVERAL_TIMES.search(words)):
            return self._judge_apart(wide or pairs[0], words, hours, values, only_support)
        for pair in pairs:
            words = words[: pair.start()] + " " * len(pair[0]) + words[pair.end() :]
        parts = list(meaning.parts)
        if not meaning.finding and len(parts) > 1:  # "blood pressure": its numbers are systolic
            blood_pressure = SYSTOLIC in meaning.channels and re.search(r"\d", words)
            parts = parts[:1] if blood_pressure else self._charted(parts, values)
        judged = [(name, self._judge_part(name, words, hours, values, only_support)) for name, _ in parts]
        if meaning.together and re.search(r"\d", words):  # "respiratory acidosis (7.24)": the number is of one part
            level = re.sub(r"\d", " ", words)
            alone = [(name, self._judge_part(name, level, hours, values, only_support)) for name, _ in parts]
            if some(one.holds for _, one in judged) is not False:
                judged = alone
        name, judgement = self._combined(judged, meaning, words, values)
        if not pairs:
            return name, judgement
        holds = every(self._judge_pair(pair, words if len(pairs) == 1 else "", values) is not None for pair in pairs)
        if len(pairs) == 2 and _FROM_TO.search(words[: pairs[1].start()].rstrip()):
            holds = holds and self._judge_pair(pairs[0], "", values) < self._judge_pair(
                pairs[1], "", values, last=True
            )
        if judgement.kind in ("level", "count"):
            holds = every([holds, judgement.holds])
        return SYSTOLIC, Judgement("value", holds, judgement.direction or self._side(SYSTOLIC, float(pairs[-1][1])))

    def _judge_apart(self, pair: re.Match, words: str, hours, values, only_support: bool) -> tuple[str, Judgement]:
        """Judge the two numbers of a pair that refers to no single time: "never below 100/60", "130s/70s"."""
        before, after = words[: pair.start()], words[pair.end() :]
        beside = ("", "") if MAXIMUM.search(words) or MINIMUM.search(words) else (before, after)
        upper = self._judge_part(SYSTOLIC, before + pair[1] + after, hours, values, only_support)
        lower = self._judge_part(DIASTOLIC, f"{beside[0]} {pair[2]} {beside[1]}", hours, values, only_support)
        return SYSTOLIC, replace(upper, holds=every([upper.holds, lower.holds]))

    def _charted(self, parts: list, values) -> list:
        """Select the measured parts; the first part if none was measured."""
        charted = [part for part in parts if (~np.isnan(values[:, self.position[part[0]]])).any()]
        return charted or parts[:1]

    def _judge_part(self, name: str, words: str, hours, values, only_support: bool) -> Judgement:
        """Judge a clause for one channel: every statement must hold."""
        channel, when, found = self._measured(name, hours, values)
        if MAY_NEGATE_OTHERS.search(words):
            ends = [end for start, end in self.find(words) if self._meaning(words, start, end).finding]
            for start, end in negations_of_other_things(self._read(words, name)[0], min(ends, default=None)):
                words = words[:start] + " " * (end - start) + words[end:]
        judged = [self._judge_segment(name, part, channel, when, found, only_support) for part in segments(words)]
        stated = [one for one in judged if one.kind != "other"] or judged[:1]
        directions = [one.direction for one in stated if one.direction]
        return Judgement(stated[0].kind, every(one.holds for one in stated), directions[-1] if directions else None)

    def _judge_segment(self, name: str, words: str, channel: dict, hours, values, only_support: bool) -> Judgement:
        """Judge a part of a clause; statements after unread words contradict nothing."""
        clause, states = self._read(words, name)
        judgement = judge(clause, states, channel, hours, values)
        if judgement.holds is not False or only_support:
            return judgement
        if leaves_open(clause, finding=bool(states)):
            return replace(judgement, holds=None)
        named = next(
            (start for start, end in self.find(words) if name in self._meaning(words, start, end).channels), 0
        )
        part = read_part(clause[named:])
        if part is None:
            return judgement
        before, of_another = part
        again = judge(clause[:named] + before, states, channel, hours, values)
        return again if again.holds is False or of_another else replace(judgement, holds=None)

    def _combined(
        self, judged: list[tuple[str, Judgement]], meaning: WordMeaning, words: str, values
    ) -> tuple[str, Judgement]:
        """Combine the judgements of several channels: one is enough; in a negation, all must hold."""
        if len(judged) == 1:
            return judged[0]
        measured = [one for one in judged if (~np.isnan(values[:, self.position[one[0]]])).any()]
        if not measured:
            return judged[0]
        all_of = (
            meaning.together
            or is_negated(words, meaning.finding)
            or any(state == "normal" for _, state in meaning.parts)
        )
        all_of = all_of or (not meaning.finding and any(one.direction == "normal" for _, one in measured))
        holds: Truth = (every if all_of else some)(one.holds for _, one in measured)
        if meaning.together and holds and len(measured) < len(judged):
            holds = None
        name, judgement = next((one for one in measured if one[1].holds is holds), measured[0])
        return name, replace(judgement, holds=holds)

    def _judge_pair(self, pair: re.Match, words: str, values, last: bool = False) -> int | None:
        """Return the time index at which both pressures have the values of a pair; `None` if there is none."""
        columns = [values[:, self.position[name]] for name in (SYSTOLIC, DIASTOLIC)]
        both = ~np.isnan(columns[0]) & ~np.isnan(columns[1])
        at_once = (np.abs(columns[0] - float(pair[1])) <= 0.5) & (np.abs(columns[1] - float(pair[2])) <= 0.5)
        if FIRST_VALUE.search(words):
            at_once &= np.arange(len(both)) == (np.flatnonzero(both)[0] if both.any() else -1)
        elif LAST_VALUE.search(words):
            at_once &= np.arange(len(both)) == (np.flatnonzero(both)[-1] if both.any() else -1)
        places = np.flatnonzero(at_once)
        return int(places[-1 if last else 0]) if len(places) else None

    def _side(self, name: str, value: float) -> str:
        """Return the side of the usual limits on which a value lies, or `normal`."""
        channel = self.channels[self.position[name]]
        return next((side for side in ("high", "low") if beyond(channel, np.array([value]), side).any()), "normal")

    def _measured(self, name: str, hours, values) -> tuple[dict, np.ndarray, np.ndarray]:
        column = values[:, self.position[name]]
        measured = ~np.isnan(column)
        return self.channels[self.position[name]], hours[measured], column[measured]

    def _read(self, words: str, name: str) -> tuple[str, list[str]]:
        """
        Blank the words for a channel in a clause in lower case (a "low" in a name states no level). Return the clause
        and the states that findings give the channel. "Above room air" means above the channel's normal.
        """
        return self._readings[words, name]

    def _blanked(self, key: tuple[str, str]) -> tuple[str, list[str]]:
        words, name = key
        own = self.channels[self.position[name]].get("normal")
        if own:
            words = re.sub(rf"(?<=than |bove ){re.escape(own)}", "normal".ljust(len(own)), words)
        states = []
        for start, end in list(self.find(words)):
            word, meaning = words[start:end], self.by_word[words[start:end]]
            if name in meaning.channels and word not in ("weighed", "lost", "gained"):
                stated = [state for channel, state in meaning.parts if channel == name and meaning.finding]
                if not (stated == ["room air"] and words[:start].endswith("from ")):  # the earlier state
                    states += [f"to {s}" if s == "room air" and words[:start].endswith("to ") else s for s in stated]
                kept = next((cue for cue in ("max", "min") if word.startswith("t") and word.endswith(cue)), "")
                kept = "normalized" if word == "defervesced" else kept
                words = words[:start] + kept.rjust(end - start) + words[end:]
        return words, states


def check_claims(text: str, channels, lab_times, lab_values) -> list[Claim]:
    """Check one text; see `ClaimChecker`."""
    return ClaimChecker(channels)(text, lab_times, lab_values)


def _quote(channel: dict, hours: np.ndarray, values: np.ndarray) -> str:
    if not len(values):
        return "not measured"
    show = f".{channel.get('decimals', 1)}f"
    high, low = (int(beyond(channel, values, side).sum()) for side in ("high", "low"))
    return (
        f"{len(values)} value{'s' if len(values) > 1 else ''}, {high} above and {low} below {normal_word(channel)}; "
        f"lowest {values.min():{show}} at hour {hours[values.argmin()]:.1f}, "
        f"highest {values.max():{show}} at hour {hours[values.argmax()]:.1f}"
    )
