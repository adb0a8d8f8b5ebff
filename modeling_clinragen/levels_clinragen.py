# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Levels, trends and courses of a clause against a channel's measured values."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from .clinical_clinragen import usual_limits
from .ranges_clinragen import Truth, all_beyond, all_normal, any_beyond, beyond, every, has_limit, negation
from .wordings_clinragen import (
    ABNORMAL,
    ALL_VALUES,
    BOUND,
    DENIED_COURSE,
    EACH_VALUE,
    FALLING,
    FIRST_VALUE,
    HIGH,
    IMPROVED,
    LAST_VALUE,
    LATER_VALUE,
    LOW,
    MOSTLY,
    NONE_NORMAL,
    NORMAL,
    NORMALIZED,
    NOW,
    PARTLY,
    PERSISTED,
    PERSISTENT,
    RESOLVED,
    RISING,
    STABLE,
    STEADILY,
    WORSENED,
    blank,
)


MIN_VALUES_OF_TREND = 6  # fewer values show a trend only if the first and the last are the extremes
_MONITORED = frozenset(  # bedside channels: of a weight or a laboratory test small changes matter
    f"{part} blood pressure" for part in ("Systolic", "Diastolic", "Mean")
) | {"Heart Rate", "Respiratory rate", "Oxygen saturation"}
NOTABLE_CHANGE = 0.25  # in standard deviations of the channel, for fewer values
_NOTABLE_SHARE = 0.004  # of the first value, for channels without limits
_FROM_LEVEL = re.compile(
    r"\bfrom (?:being )?(normal|high|low|raised|elevated) to (?:being )?(normal|high|low|raised|elevated)\b"
)
_AS = re.compile(r"(?:high|low) as\b")
_FAR_FROM_STABLE = 0.35  # of the first value
_AND_THEN = re.compile(r"\b(?:then|before|until|later|afterwards?|thereafter|subsequently)\b")  # "stable, then fell"
_NOT_STEADY, _HARDLY_STEADY = 0.5, 0.25  # of a change: a move in the other direction
# of a finding, its name blanked: "increasing oxygen requirement"
_GROWING = re.compile(
    r"\b(?:increasing|rising|escalating|growing)\s{3}"
    r"|\s{3}(?:(?:is|was|were|are|has|have|had|been) )*(?:increas(?:ing|ed)|rising|escalat\w+|rose|grew)\b"
)
_SHRINKING = re.compile(
    r"\b(?:decreasing|falling|declining|diminishing|lessening)\s{3}"
    r"|\s{3}(?:(?:is|was|were|are|has|have|had|been) )*(?:decreas(?:ing|ed)|falling|declin\w+|fell)\b"
)
# of a finding, its name blanked: "prolonged hypoxemia", "recurrent desaturations", "new tachycardia"
_PROLONGED = re.compile(r"\b(?:sustained|prolonged|protracted|unremitting)(?=\s{3})")
_RECURRENT = re.compile(
    r"\b(?:recurrent|repeated|several|multiple|numerous|frequent|intermittent|episodes of)(?=\s{3})"
)
_NEW = re.compile(
    r"\b(?:new|new-onset|late|late-onset)(?=\s{3})|\s{3}(?:\w+ed|arose) (?:late|later|afterwards|subsequently)\b"
)
NOTABLE_PROGRESS = 0.1  # in standard deviations, towards the usual limits or away from them


@lru_cache(maxsize=128)  # each clause is read several times
def stated_levels(clause: str) -> tuple[tuple[int, str], ...]:
    """Return the positions at which the clause states high or low, in order."""
    found = {m.start(): "high" if _says_high(m[1]) else "low" for m in BOUND.finditer(clause)}
    rest = BOUND.sub(blank, clause)
    found |= {m.start(): "high" for m in HIGH.finditer(rest)}
    found |= {m.start(): "low" for m in LOW.finditer(rest)}
    return tuple(sorted((at, way) for at, way in found.items() if not _AS.match(clause, at)))


def _says_high(word: str) -> bool:
    return not word.startswith(("below", "under", "beneath", "lower", "slower", "less"))


def courses(clause, states, channel, negated, values) -> list[tuple[str, Truth]]:
    """Judge the statement that a finding resolved, or that values improved or worsened."""
    sides = [side for side in ("high", "low") if side in states] if states else ["high", "low"]
    ended = RESOLVED.search(clause) or PERSISTED.search(clause) if states else None
    improved = IMPROVED.search(clause) or (states and _SHRINKING.search(clause))
    worsened = WORSENED.search(clause) or (states and _GROWING.search(clause))
    if not len(values) or not sides or not (improved or worsened or ended):
        return []
    if not states and NORMALIZED.search(clause):
        return []  # "fully cleared"
    denied = bool(DENIED_COURSE.search(clause)) if states else negated
    if ended and PARTLY.search(clause):
        return []
    if ended:
        truth = every(negation(any_beyond(channel, values[-1:], side)) for side in sides) if len(values) > 1 else None
        denied ^= bool(PERSISTED.match(ended[0]))
    else:
        truth = progress(channel, values, sides, bool(improved))
        if truth and STEADILY.search(clause) and len(sides) == 1:
            truth = is_steady(values, rising=(sides == ["high"]) != bool(improved))
    courses: list[tuple[str, Truth]] = [("trend", negation(truth) if denied else truth)]
    return [*courses, ("level", judge_state(states, clause, channel, negated, values))] if states else courses


def progress(channel: dict, values: np.ndarray, sides: list[str], improved: bool) -> Truth:
    """Return whether values came closer to the usual limits, or moved away; `None` if it is open to argument."""
    low, high = usual_limits(channel)
    outside = np.zeros(len(values))
    if "high" in sides and np.isfinite(high):
        outside = np.maximum(outside, values - high)
    if "low" in sides and np.isfinite(low):
        outside = np.maximum(outside, low - values)
    third = len(values) // 3 if len(values) >= MIN_VALUES_OF_TREND else 1
    start, end = np.median(outside[:third]), np.median(outside[-third:])
    change, notable = end - start, NOTABLE_PROGRESS * channel.get("std", 0)
    if abs(change) <= notable:
        return None
    if (change < 0) == improved:
        return True
    worst, others = (end, outside[:-third]) if improved else (start, outside[third:])
    return False if worst >= others.max() else None  # else it held for a while


def trends(clause, states, channel, negated, values) -> list[tuple[str, Truth]]:
    """Judge the statement that the values rise, fall or are stable."""
    stated = "stable" if STABLE.search(clause) and not states else None
    if stated is None and not states and not BOUND.search(clause) and not NORMALIZED.search(clause):
        rising, falling = RISING.search(clause), FALLING.search(clause)
        stated = None if rising and falling else "rising" if rising else "falling" if falling else None
    if stated is None:
        return []
    if not len(values):
        return [("trend", False)]
    if stated == "stable":  # synonyms such as "no change" are negations themselves
        negated = negated and bool(re.match("stable|steady|unchanged|constant|flat", STABLE.search(clause)[0]))
        if _AND_THEN.search(clause, STABLE.search(clause).end()):
            return [("trend", None)]
    holds = trend_of(values) == stated if len(values) >= MIN_VALUES_OF_TREND else _short_trend(stated, channel, values)
    slight = np.ptp(values) <= NOTABLE_CHANGE * channel.get("std", 0)
    if stated == "stable" and slight and channel["name"] in _MONITORED:
        holds = True
    return [("trend", negation(holds) if negated else holds)]


def _short_trend(stated: str, channel: dict, values: np.ndarray) -> Truth:
    """Judge a trend of few values, which is clear only if the first and the last are the extremes."""
    change, notable = values[-1] - values[0], NOTABLE_CHANGE * channel.get("std", 0)
    if not has_limit(channel, "high") and not has_limit(channel, "low"):  # two kilograms are notable for a weight
        notable = min(notable, _NOTABLE_SHARE * abs(values[0])) if len(values) else notable
    moved = len(values) > 1 and abs(change) > max(notable, _FAR_FROM_STABLE * abs(values[0]))
    if stated == "stable" and (np.ptp(values) > 8 * notable or moved):
        return False
    if stated != "stable" and len(values) > 1:
        way = values if stated == "rising" else -values
        if (way - np.minimum.accumulate(way)).max() <= 0:
            return False  # it never moved that way
    if stated == "stable":
        notable = max(notable, 1.01 * 10.0 ** -channel.get("decimals", 1))  # one step of the last digit is no change
    ends = abs(change) == np.ptp(values)
    if len(values) < 2 or (stated == "stable" and abs(change) <= 6 * notable) or not ends:
        return True if stated == "stable" and len(values) > 1 and np.ptp(values) <= notable else None
    return (stated == "rising") == (change > 0) and stated != "stable" if abs(change) > notable else None


def is_steady(values: np.ndarray, rising: bool) -> Truth:
    """Return whether values rise, or fall, without much of a move in the other direction."""
    way = values if rising else -values
    change, back = way[-1] - way[0], (np.maximum.accumulate(way) - way).max()
    if back > _NOT_STEADY * change:
        return False
    return None if back > _HARDLY_STEADY * change else True


def trend_of(values: np.ndarray) -> str:
    """Return `rising`, `falling` or `stable`: medians of first and last third, half the interquartile range apart."""
    third = len(values) // 3
    change = np.median(values[-third:]) - np.median(values[:third])
    spread = np.subtract(*np.percentile(values, [75, 25])) or np.ptp(values)
    return "stable" if abs(change) <= 0.5 * spread else ("rising" if change > 0 else "falling")


def judge_levels(clause, states, directions, channel, negated, values, timed: bool) -> list[tuple[str, Truth]]:
    """Judge the statement that values are high, low, abnormal or normal."""
    values = of_its_time(clause, values)
    if LATER_VALUE.search(clause) and ("normal" in states or "not_high" in states):
        values = values[-1:]
    if (moved := _FROM_LEVEL.search(clause)) and not states and not negated and len(values):
        ends = zip(moved.groups(), (values[:1], values[-1:]), strict=True)
        return [("level", every(_is_at(level, channel, value) for level, value in ends))]
    if states:
        return [("level", judge_state(states, clause, channel, negated, values))]
    if ABNORMAL.search(clause) and not directions:
        return [("level", _denied(negation(all_normal(channel, values)) if len(values) else False, negated, values))]
    if not directions and NORMALIZED.search(clause):
        return [("level", _denied(all_normal(channel, values if timed else values[-1:]), negated, values))]
    if not directions and NORMAL.search(BOUND.sub(blank, clause)):
        normal = all_normal(channel, values)
        if negated and len(values) and NONE_NORMAL.search(clause):
            return [("level", not _usual(channel, values, ("high", "low")).any())]
        if normal is False and len(values) and MOSTLY.search(clause):
            usual = _usual(channel, values, ("high", "low"))
            normal = usual.mean() >= 0.5 or (None if usual.any() else False)
        return [("level", _denied(normal, negated, values))]
    ways = list(dict.fromkeys(way for _, way in directions))
    return [("level", _level(way, clause, channel, negated, values)) for way in ways]


def _usual(channel: dict, values: np.ndarray, sides: tuple[str, ...]) -> np.ndarray:
    """Mark the values that are beyond no usual limit of these sides."""
    return ~np.any([beyond(channel, values, side) for side in sides], axis=0)


def _is_at(level: str, channel: dict, values: np.ndarray) -> Truth:
    if level == "normal":
        return all_normal(channel, values)
    return any_beyond(channel, values, "low" if level == "low" else "high")


def of_its_time(clause: str, values: np.ndarray) -> np.ndarray:
    """Select the first or the last value if the level refers to it."""
    if FIRST_VALUE.search(clause):
        return values[:1]
    return values[-1:] if LAST_VALUE.search(clause) or NOW.search(clause) else values


def _denied(truth: Truth, negated: bool, values: np.ndarray) -> Truth:
    """Negate a truth if the clause negates it; without values, nothing holds."""
    return negation(truth) if negated and len(values) else truth


def _level(way: str, clause: str, channel: dict, negated: bool, values: np.ndarray) -> Truth:
    """Judge "high" or "low": one value is enough, unless the clause states that it lasted."""
    truth = any_beyond(channel, values, way)
    each = None if MOSTLY.search(clause) else EACH_VALUE.search(clause)
    if each and truth is not False and (each["not"] or not negated):
        return _denied(all_beyond(channel, values, way), bool(each["not"]), values)
    if not negated and truth is not False and PERSISTENT.search(clause):
        most = beyond(channel, values, way).mean() >= 0.5
        return True if all_beyond(channel, values, way) else None if most else False
    if not negated and truth and MOSTLY.search(clause):
        return bool(beyond(channel, values, way).mean() >= 0.5)
    return _denied(truth, negated, values)


def judge_state(states: list[str], clause: str, channel: dict, negated: bool, values: np.ndarray) -> Truth:
    """Judge the states that findings give the values."""
    return every(_one_state(state, clause, channel, negated, values) for state in dict.fromkeys(states))


def _one_state(state: str, clause: str, channel: dict, negated: bool, values: np.ndarray) -> Truth:
    if state == "to room air":
        return _denied(not beyond(channel, values[-1:], "high").any(), negated, values)
    if state == "room air":
        above = beyond(channel, values, "high")
        truth = None if above.any() and not (above.all() or ALL_VALUES.search(clause)) else not above.any()
        return _denied(truth, negated, values)
    if state in ("normal", "not_high") and not negated and len(values) and MOSTLY.search(clause):
        return bool(_usual(channel, values, ("high", "low") if state == "normal" else ("high",)).mean() >= 0.5)
    if state == "normal":
        return _denied(all_normal(channel, values), negated, values)
    if state == "not_high":
        return _level("high", clause, channel, not negated, values)
    truth = _level(state, clause, channel, negated, values)
    return truth if negated or truth is not True else _has_course(clause, channel, values, state)


def _has_course(clause: str, channel: dict, values: np.ndarray, state: str) -> Truth:
    """Judge how long, how often and since when values show a finding; `True` if a clause does not say."""
    shown = beyond(channel, values, state)
    edges = np.diff(shown.astype(int), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if _PROLONGED.search(clause) and shown.mean() < 0.5:
        return None if (ends - starts).max(initial=0) > 1 else False
    if _RECURRENT.search(clause) and len(starts) < 2:
        return None if shown.sum() > 1 or channel["name"] not in _MONITORED else False
    return None if _NEW.search(clause) and shown[:1].any() else True
