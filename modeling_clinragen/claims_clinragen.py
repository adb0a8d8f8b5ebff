# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims about a patient's series: writing them (the anomaly caption), finding them in a text, and checking each against
the patient's own measured values.
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
from .channel_words_clinragen import DIASTOLIC, SYSTOLIC, Said
from .channel_words_clinragen import FINDINGS as FINDINGS
from .clauses_clinragen import MAX_CLAUSE, ClauseReader
from .hedges_clinragen import EXCEPTION, leaves_open
from .phrases_clinragen import compiled, lowered
from .ranges_clinragen import Truth, beyond, every, some
from .remembered_clinragen import Remembered
from .segments_clinragen import MAY_DENY_THINGS, denials_of_other_things, read_part, segments
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
_MAX_READINGS = 64  # that are kept: a clause is read several times over
_GOES_ON = re.compile(r"[\s,<>=≥≤\d.]*(?:and|or)?\s*")


@dataclass
class Claim:
    """
    One statement of a text.

    Args:
        text (`str`): the clause; `start` and `end` are its characters in the whole text.
        channel (`str` or `None`): the channel it speaks of.
        kind (`str`): `level`, `count`, `value`, `trend`, `unmeasured`, or `other` where it states nothing checkable.
        verdict (`str`): `supported`, `contradicted`, `unverifiable` where it states nothing checkable, or `absent` for
            a finding that is not in the note.
        quote (`str`): what of the patient's record it rests on: the values in short, or words of the note.
        hours (`list[float]`): when the channel's measurements were made that decide, see [`deciding`].
        spans (`list[tuple[int, int]]`): where a note speaks of it, as characters.
        direction (`str` or `None`): `high`, `low`, `rising`, `falling` or `normal`, where a series claim states one.
        diagnoses (`list[str]`): the diagnoses that its sentence argues for from it; filled where the knowledge's
            links are given.
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
    Checks every statement of a text against a patient's measured values.

    A text is cut into clauses about one channel each; a clause may state several things of its channel, and is
    supported when all of them hold:

    - `unmeasured`: the channel has no value, or has one.
    - `count`: exactly that many values are above (below) the usual limit. A count down to that beyond the clear limit
      is unverifiable.
    - `level`: "high" ("low") - at least one value is beyond the clear limit; negated - none is beyond the usual one;
      "normal" - no value is; what lies between the two limits is unverifiable.
    - `value`: "up to", "as low as", "between" - the extreme values, rounded to the digits written, in whatever unit;
      "first", "last"; "in the 130s", "around"; "from 86 to 97" - one after the other; else any value.
    - `trend`: the median of the last third against that of the first third, compared with half the spread (the
      interquartile range) of all values; fewer than six values where the first and the last are the extremes, else
      unverifiable. "Improved" and "worsened": towards the usual limits or away from them; a finding that "resolved" or
      "persisted": whether the last value shows it.
    - `time`: one of these within some hours since ICU admission, or at an hour, to within half an hour.

    - `trend` too: by how much or how many times as much values changed, and the end against the start.

    Goals, conditions, fears, histories and doses state nothing; a clause with a hedge, an exception or a comparison
    that nothing reads contradicts nothing (see [`leaves_open`]). Anything stated of a channel without values is
    contradicted. Hypotension and hypertension are those of the systolic or of the mean pressure, "BP 82/40" is of one
    time.

    Args:
        channels (list of `dict`): `name`, `unit`, `low`, `high`, `decimals`, and if wanted `clearly_low`,
            `clearly_high`, `normal` and `words` for it.
    """

    def __init__(self, channels: list[dict]):
        super().__init__(channels)
        self._readings: dict[tuple[str, str], tuple[str, list[str]]] = Remembered(self._read_anew, _MAX_READINGS)

    def __call__(self, text: str, lab_times, lab_values, only_support: bool = False) -> list[Claim]:
        """
        Return the claims of a text, with their verdicts.

        Args:
            text (`str`): the rationale.
            lab_times (array of shape `(T,)`): hours since ICU admission, increasing.
            lab_values (array of shape `(T, num_input_channels)`): NaN = not measured.
            only_support (`bool`): it only matters what is supported, in half of the time: claims have no hours and
                no quote, and some are contradicted that a whole reading calls unverifiable, or seldom supported.
        """
        values = np.asarray(lab_values, dtype=float).reshape(-1, len(self.channels))
        hours = np.asarray(lab_times, dtype=float).reshape(-1)
        clauses = self._clauses(text)
        stated = self._stated(text, clauses)
        claims, wished, before = [], False, 0
        for (start, end, mention, _), words in zip(clauses, stated, strict=True):
            clause = text[start:end]
            wished = mention is not None and (
                self._is_wished(text, start, mention) or (wished and _GOES_ON.fullmatch(text[before : mention[0]]))
            )
            told = lowered(clause[-MAX_CLAUSE:])
            past = mention is None and "history" in told and NOT_NOW.search(f"{told} ")
            wished = wished or bool(past)
            before = end if past else 0 if mention is None else mention[1]
            if mention is None or wished:
                claims.append(Claim(clause, start, end, None, "other", "unverifiable", ""))
                continue
            said = self._said(text, *mention)
            name, judged = self._judge(said, words, hours, values, only_support)
            if judged.holds is False and not only_support and self._is_excepted(text, *mention):
                judged = replace(judged, holds=None)
            channel, when, found = self._measured(name, hours, values)
            verdict = {None: "unverifiable", True: "supported", False: "contradicted"}[judged.holds]
            if only_support:
                claims.append(Claim(clause, start, end, name, judged.kind, verdict, ""))
                continue
            stated_of_it, states = self._read(words, name)
            decide = when[deciding(stated_of_it, states, judged.kind, channel, when, found)].tolist()
            quote = _quote(channel, when, found)
            claims.append(
                Claim(clause, start, end, name, judged.kind, verdict, quote, decide, direction=judged.direction)
            )
        return claims

    def _is_excepted(self, text: str, start: int, end: int) -> bool:
        """Return whether a sentence excepts more than a whole channel: "apart from one reading of 89%"."""
        first, last = text.rfind(".", 0, start) + 1, text.find(".", end)
        sentence = lowered(text[first : last if last >= 0 else len(text)])
        return any(
            not re.fullmatch(r"\s+(?:(?!\d)[\w-]+\s+){0,2}?", sentence[exception.end() : start - first])
            for exception in EXCEPTION.finditer(sentence)
        )

    def _judge(self, said: Said, words: str, hours, values, only_support: bool) -> tuple[str, Judgement]:
        """Judge a clause for each channel that its word speaks of; return the channel that decides."""
        pressures = {SYSTOLIC, DIASTOLIC} <= set(self.position) and said.channels & {SYSTOLIC, DIASTOLIC}
        pairs = list(_PAIR.finditer(words)) if pressures else []
        wide = _WIDE_PAIR.search(words) if pressures and "/" in words else None
        if wide or (len(pairs) == 1 and _OF_SEVERAL_TIMES.search(words)):
            return self._judge_apart(wide or pairs[0], words, hours, values, only_support)
        for pair in pairs:
            words = words[: pair.start()] + " " * len(pair[0]) + words[pair.end() :]
        parts = list(said.parts)
        if not said.finding and len(parts) > 1:  # "blood pressure": its numbers are systolic ones
            blood_pressure = SYSTOLIC in said.channels and re.search(r"\d", words)
            parts = parts[:1] if blood_pressure else self._charted(parts, values)
        judged = [(name, self._judge_part(name, words, hours, values, only_support)) for name, _ in parts]
        if said.together and re.search(r"\d", words):  # "respiratory acidosis (7.24)": of one of them
            level = re.sub(r"\d", " ", words)
            alone = [(name, self._judge_part(name, level, hours, values, only_support)) for name, _ in parts]
            if some(one.holds for _, one in judged) is not False:
                judged = alone
        name, judgement = self._combined(judged, said, words, values)
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
        """Judge the two numbers of a pair that is of no one time: "never below 100/60", "130s/70s"."""
        before, after = words[: pair.start()], words[pair.end() :]
        beside = ("", "") if MAXIMUM.search(words) or MINIMUM.search(words) else (before, after)
        upper = self._judge_part(SYSTOLIC, before + pair[1] + after, hours, values, only_support)
        lower = self._judge_part(DIASTOLIC, f"{beside[0]} {pair[2]} {beside[1]}", hours, values, only_support)
        return SYSTOLIC, replace(upper, holds=every([upper.holds, lower.holds]))

    def _charted(self, parts: list, values) -> list:
        """Select the parts that were measured, if any was."""
        charted = [part for part in parts if (~np.isnan(values[:, self.position[part[0]]])).any()]
        return charted or parts[:1]

    def _judge_part(self, name: str, words: str, hours, values, only_support: bool) -> Judgement:
        """Judge a clause for one channel: all that its parts state must hold."""
        channel, when, found = self._measured(name, hours, values)
        if MAY_DENY_THINGS.search(words):
            ends = [end for start, end in self.find(words) if self._said(words, start, end).finding]
            for start, end in denials_of_other_things(self._read(words, name)[0], min(ends, default=None)):
                words = words[:start] + " " * (end - start) + words[end:]
        judged = [self._judge_segment(name, part, channel, when, found, only_support) for part in segments(words)]
        stated = [one for one in judged if one.kind != "other"] or judged[:1]
        directions = [one.direction for one in stated if one.direction]
        return Judgement(stated[0].kind, every(one.holds for one in stated), directions[-1] if directions else None)

    def _judge_segment(self, name: str, words: str, channel: dict, hours, values, only_support: bool) -> Judgement:
        """Judge a part of a clause; what stands behind words that nothing reads contradicts nothing."""
        clause, states = self._read(words, name)
        judgement = judge(clause, states, channel, hours, values)
        if judgement.holds is not False or only_support:
            return judgement
        if leaves_open(clause, finding=bool(states)):
            return replace(judgement, holds=None)
        named = next((start for start, end in self.find(words) if name in self._said(words, start, end).channels), 0)
        part = read_part(clause[named:])
        if part is None:
            return judgement
        before, of_another = part
        again = judge(clause[:named] + before, states, channel, hours, values)
        return again if again.holds is False or of_another else replace(judgement, holds=None)

    def _combined(self, judged: list[tuple[str, Judgement]], said: Said, words: str, values) -> tuple[str, Judgement]:
        """Combine the judgements of several channels: one that shows it is enough, all must where it is denied."""
        if len(judged) == 1:
            return judged[0]
        measured = [one for one in judged if (~np.isnan(values[:, self.position[one[0]]])).any()]
        if not measured:
            return judged[0]
        all_of = said.together or is_negated(words, said.finding) or any(state == "normal" for _, state in said.parts)
        all_of = all_of or (not said.finding and any(one.direction == "normal" for _, one in measured))
        holds: Truth = (every if all_of else some)(one.holds for _, one in measured)
        if said.together and holds and len(measured) < len(judged):
            holds = None
        name, judgement = next((one for one in measured if one[1].holds is holds), measured[0])
        return name, replace(judgement, holds=holds)

    def _judge_pair(self, pair: re.Match, words: str, values, last: bool = False) -> int | None:
        """Return when both pressures were measured at one time, at the first one where the words say so."""
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
        """Return on which side of the usual limits a value lies."""
        channel = self.channels[self.position[name]]
        return next((side for side in ("high", "low") if beyond(channel, np.array([value]), side).any()), "normal")

    def _measured(self, name: str, hours, values) -> tuple[dict, np.ndarray, np.ndarray]:
        column = values[:, self.position[name]]
        measured = ~np.isnan(column)
        return self.channels[self.position[name]], hours[measured], column[measured]

    def _read(self, words: str, name: str) -> tuple[str, list[str]]:
        """
        Blank the words for a channel in a clause in lower case ("low" in a name states nothing of a value), and return
        with it what findings state of the channel. "Above room air" is above the channel's normal.
        """
        return self._readings[words, name]

    def _read_anew(self, key: tuple[str, str]) -> tuple[str, list[str]]:
        words, name = key
        own = self.channels[self.position[name]].get("normal")
        if own:
            words = re.sub(rf"(?<=than |bove ){re.escape(own)}", "normal".ljust(len(own)), words)
        states = []
        for start, end in list(self.find(words)):
            word, said = words[start:end], self.by_word[words[start:end]]
            if name in said.channels and word not in ("weighed", "lost", "gained"):
                stated = [state for channel, state in said.parts if channel == name and said.finding]
                if not (stated == ["room air"] and words[:start].endswith("from ")):  # where it came from
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
        f"{len(values)} values, {high} above and {low} below {normal_word(channel)}; "
        f"lowest {values.min():{show}} at hour {hours[values.argmin()]:.1f}, "
        f"highest {values.max():{show}} at hour {hours[values.argmax()]:.1f}"
    )
