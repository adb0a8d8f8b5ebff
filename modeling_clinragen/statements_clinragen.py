# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Judge the statements of a clause about one channel against its measured values.

A clause is read in this order: its time, then counts, numbers, trends and levels. Words once read are blanked, so that
the "first" of "first 6 hours" is not taken for a first value, nor the 3 of "3 times" for a measurement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from .changes_clinragen import judge_changes
from .counts_clinragen import count_of_word, counts, counts_beyond, number_counted
from .levels_clinragen import MIN_VALUES_OF_TREND as MIN_VALUES_OF_TREND
from .levels_clinragen import (
    NOTABLE_CHANGE,
    NOTABLE_PROGRESS,
    courses,
    is_steady,
    judge_levels,
    judge_state,
    of_its_time,
    progress,
    stated_levels,
    trends,
)
from .levels_clinragen import trend_of as trend_of
from .numbers_clinragen import HALF_AN_HOUR, Quantity, judge_numbers, quantities, written_at
from .ranges_clinragen import (
    Truth,
    all_normal,
    any_beyond,
    beyond,
    every,
)
from .roles_clinragen import set_roles
from .wordings_clinragen import (
    ABNORMAL,
    AFTER_HOURS,
    AT_HOUR,
    AT_HOURS,
    BASELINE,
    BETWEEN_HOURS,
    BOUND,
    COMPARING,
    DENIED_COURSE,
    FALLING,
    FELL_TO,
    FIRST_HOURS,
    FIRST_VALUE,
    HIGH_AT,
    IMPROVED,
    LAST_HOURS,
    LAST_VALUE,
    LATER_VALUE,
    LOW_AT,
    MAXIMUM,
    MEASURED,
    MINIMUM,
    NO_LEVEL,
    NO_MORE_THAN,
    NORMAL,
    NORMALIZED,
    NOT,
    NOW,
    PERSISTED,
    PERSISTENT,
    PSEUDO_NOT,
    REFERENCE,
    RESOLVED,
    RISING,
    ROSE_TO,
    STABLE,
    STEADILY,
    TIMES,
    UNMEASURED,
    WORSENED,
    blank,
    cut,
)


_MAX_BROADCAST = 64  # values; up to so many, comparing all pairs is faster than `np.isin`
_MARKERS = ("Troponin I", "Troponin T", "Creatine kinase MB")  # clinicians call them "negative" and "positive"
_NEGATIVE, _POSITIVE = re.compile(r"\bnegative\b(?! for)"), re.compile(r"\bpositive\b")
_REPEATED = re.compile(r"\b(negative|positive) ?(?:x|×|times) ?(?:\d|two|three)\b")
_AT_ONE_LEVEL = re.compile(
    r"\b(?:stable|steady|unchanged|constant|plateau(?:s|ed|ing)?|remain(?:s|ed)|stay(?:s|ed))\b"
    r"(?:[^,;\d]*$|[^,;\d]{0,40}?\b(?:at|around|about) \d| ~?\d)"
    r"|^\D*\d[\d.]*[^,;\d]*\b(?:throughout|at all times|all (?:day|night|along)|the (?:whole|entire) (?:time|stay))\b"
)
_AND_GOING = re.compile(
    r"[\s\w°/%]{0,12}?(?:\s*,\s*|\s+and\s+|\s+but\s+)(?:still |now |is |was )*"
    r"(?:then |later )?(rising|climbing|increasing|falling|dropping|decreasing|worse\w*|better|improving)\s*$"
)
_STAYED_NORMAL = re.compile(rf"\b(?:stay|remain|kept|held|always)\w*\b[^,;\d]{{0,20}}?(?:{NORMAL.pattern})")
_BY_THEN = re.compile(r"\s*\b(?:by|within \d)")
_MIDWAY = re.compile(r"\bmidway\b|\bin the middle\b")
_DIGIT = re.compile(r"\d")
_STILL = re.compile(r"\bstill\b")
_SINCE = re.compile(r"\s*\b(?:since|from)\b")
_LASTING = re.compile(r"\s*\b(?:from|since|throughout|until|through|up to|for|across)\b")
_UP_TO = re.compile(r"\s*\b(?:by|until|up to|through)\b")


@dataclass
class Judgement:
    """Kind of a claim, whether everything that it states holds, and the direction that it states."""

    kind: str
    holds: Truth = None
    direction: str | None = None


@dataclass
class _Restricted:
    """A clause without its time expressions, and the measurements of its time."""

    clause: str
    hours: np.ndarray
    values: np.ndarray
    moments: list[tuple[int, float]]  # position in the clause, and hour
    timed: bool
    by: bool = False  # "by hour 6": earlier values may differ
    lasting: bool = False  # "from hour 6 on", "for the first 6 hours": it holds for all values of that time

    def near(self) -> np.ndarray:
        """Mark the measurements at the single moment of the clause, or at those that it lists; without one, all."""
        if not self.moments or not self.lists_moments():
            return np.ones(len(self.values), bool)
        return np.any([self.at(hour) for _, hour in self.moments], axis=0)

    def at(self, hour: float) -> np.ndarray:
        """Mark the measurements at an hour."""
        return np.abs(self.hours - hour) <= HALF_AN_HOUR

    def lists_moments(self) -> bool:
        """Return whether all moments are of one list: "at hours 2, 4 and 6"."""
        return len({place for place, _ in self.moments}) == 1


def _are_among(hours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mark the hours that are among others."""
    if len(hours) > _MAX_BROADCAST:
        return np.isin(hours, others)
    return (hours[:, None] == others).any(axis=1)


def judge(clause: str, states: list[str], channel: dict, hours: np.ndarray, values: np.ndarray) -> Judgement:
    """
    Judge a clause.

    Args:
        clause (`str`): in lower case, with the channel's name blanked.
        states (list of `str`): the states that findings such as "fever" give the channel: `high`, `low`,
            `normal`, `not_high` or `room air`.
        channel (`dict`): with its limits, `unit` and `decimals`.
        hours, values (float arrays of shape `(T,)`): times and values of the measurements.
    """
    clause = _readable(clause, channel)
    negated = is_negated(clause, finding=bool({"high", "low"} & set(states)))
    read = _restrict(clause, hours, values)
    measured = _states_measured(read.clause, states, read.timed, len(values))
    if measured is not None:
        return Judgement("unmeasured", measured)
    found = quantities(read.clause, channel)
    statements = _statements(read, states, found, channel, negated)
    if not statements:
        return Judgement("other")
    kind = "time" if read.timed else statements[0][0]
    counted = statements[0][0] == "count"  # the 4 of "higher than normal 4 times" is no value
    direction = _direction(read.clause, states, [] if counted else found, channel, negated)
    if not len(values):
        return Judgement(kind, None if states and channel.get("unit") == "fraction" else False, direction)
    return Judgement(kind, every(truth for _, truth in statements), direction)


def is_negated(clause: str, finding: bool = False) -> bool:
    """Return whether a clause in lower case is negated; a finding that "did not resolve" is not."""
    if finding:
        clause = DENIED_COURSE.sub(blank, clause)
    return bool(NOT.search(NO_MORE_THAN.sub(blank, PSEUDO_NOT.sub(blank, clause))))


def deciding(
    clause: str, states: list[str], kind: str, channel: dict, hours: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """
    Mark the measurements on which the verdict of a clause rests.

    - A level or a count: the abnormal values, on the stated side if there is one.
    - A value: the measurements that equal the number as written, at its own time; else the lowest and the highest.
    - A count with values: both.
    - If there are none of these, and for all other kinds: every measurement of the clause's time.
    - A clause that is not checked: none.

    Args:
        clause, states, channel, hours, values: as for [`judge`]; `kind` (`str`): as [`judge`] returns it.

    Returns:
        bool array of shape `(T,)`.
    """
    if kind == "other":
        return np.zeros(len(values), bool)
    read = _restrict(_readable(clause, channel), hours, values)
    numbers = quantities(read.clause, channel)
    counted, left = _counts(read, states, numbers, channel)
    found = [quantity for quantity in numbers if left[quantity.start] != " "]
    chosen = _are_among(hours, read.hours if counted else read.hours[read.near()])
    if not chosen.any():
        return np.zeros(len(values), bool)
    sides = {way for _, way in stated_levels(read.clause)} | {way for s in states for way in _SIDES[s]} or {
        "high",
        "low",
    }
    if kind == "level":
        chosen &= _are_among(hours, of_its_time(read.clause, hours[chosen]))
    outliers = chosen & np.any([beyond(channel, values, side) for side in sides], axis=0)
    if number := number_counted(read.clause, numbers):
        outliers = chosen & number[0].holds(values)
    if kind == "level" or (kind in ("count", "time") and not found):
        return outliers if outliers.any() else chosen
    if kind in ("value", "time", "count"):
        marked = outliers & bool(counted)
        _set_roles(left, found, states, read.moments)
        for quantity in found:
            marked |= _are_among(hours, read.hours[written_at(quantity, read.hours, read.values)])
        extremes = (values == values[chosen].min()) | (values == values[chosen].max())
        return marked if marked.any() else chosen & extremes
    return chosen


_SIDES = {
    "high": ("high",), "not_high": ("high",), "low": ("low",), "normal": ("high", "low"), "room air": ("high",),
    "to room air": ("high",),
}  # fmt: skip


def _readable(clause: str, channel: dict) -> str:
    """Return the clause with signs replaced by words, and without phrases that resemble levels or negations."""
    if channel["name"] in _MARKERS:
        clause = _REPEATED.sub(lambda match: match[1].ljust(len(match[0])), clause)
        clause = _POSITIVE.sub("elevated", _NEGATIVE.sub("normal", clause))
    if "baseline" in clause and re.search(r"\d", BASELINE.sub(" ", clause)):
        clause = BASELINE.sub(blank, clause)
    if "<" in clause or ">" in clause:
        clause = re.sub(r">\s*(?=[a-z])", "above ", re.sub(r"<\s*(?=[a-z])", "below ", clause))
    if "normal" in clause or "reference" in clause:
        clause = REFERENCE.sub(blank, clause)
    return NO_LEVEL.sub(blank, PSEUDO_NOT.sub(blank, clause))


def _hour(match: re.Match) -> float:
    return float(next(group for group in match.groups() if group and re.fullmatch(r"\d+(?:\.\d+)?", group)))


def _restrict(clause: str, hours: np.ndarray, values: np.ndarray) -> _Restricted:
    """Remove the time expressions of a clause, and select the measurements of that time."""
    timed, by, lasting = False, False, False
    if not _DIGIT.search(clause):
        return _Restricted(clause, hours, values, [], timed)
    moments = []
    for match in AT_HOURS.finditer(clause):
        moments += [(match.start(), float(hour)) for hour in re.findall(r"\d+", match[1] or match[2])]
        clause = cut(clause, match)
    if between := BETWEEN_HOURS.search(clause):
        start, end = (float(group) for group in between.groups() if group)
        keep = (hours >= start - HALF_AN_HOUR) & (hours <= end + HALF_AN_HOUR)
        clause, hours, values, timed = cut(clause, between), hours[keep], values[keep], True
    for pattern, within in (
        (AFTER_HOURS, lambda hours, n: hours > n),
        (FIRST_HOURS, lambda hours, n: hours <= n),
        (LAST_HOURS, lambda hours, n: hours >= (hours[-1] - n if len(hours) else 0)),
    ):
        match = pattern.search(clause)
        if match:
            late = HALF_AN_HOUR if _UP_TO.match(match[0]) else -HALF_AN_HOUR if _SINCE.match(match[0]) else 0.0
            keep = within(hours, _hour(match) + late)
            by = bool(_BY_THEN.match(match[0]))
            lasting = bool(_LASTING.match(match[0]))
            clause, hours, values, timed = cut(clause, match), hours[keep], values[keep], True
            break
    for match in AT_HOUR.finditer(clause):
        moments.append((match.start(), _hour(match)))
        clause = cut(clause, match)
    return _Restricted(clause, hours, values, moments, timed or bool(moments), by, lasting)


def _states_measured(clause: str, states: list[str], timed: bool, count: int) -> bool | None:
    """Judge the statement that the channel was, or was not, measured at all; `None` if the clause has none."""
    if states or timed or re.search(r"\d", clause) or stated_levels(clause):
        return None
    if any(pattern.search(clause) for pattern in (NORMAL, ABNORMAL, RISING, FALLING, STABLE)):
        return None
    if any(not (m[1] and count_of_word(m[2] or "0") == 1) for m in TIMES.finditer(clause)):
        return None  # a count; "at least one" is not one
    if UNMEASURED.search(clause):
        return count == 0
    return count > 0 if MEASURED.search(clause) and not NOT.search(clause) else None


def _statements(
    read: _Restricted, states: list[str], found: list[Quantity], channel: dict, negated: bool
) -> list[tuple[str, Truth]]:
    """Judge all statements of a clause: counts and numbers, with their levels; else a trend, else a level."""
    directions = _directions(read.clause, states)
    statements, left = _counts(read, states, found, channel)
    changes, left = judge_changes(left, channel, read.values, negated)
    statements += changes
    found = [quantity for quantity in found if left[quantity.start] != " "]
    if found or not statements:
        statements += _numbers(left, found, states, channel, negated, read)
    if found and _states_course(left, states):
        course = courses(left, states, channel, negated, read.values)[:1]
        ended = RESOLVED.search(left) or PERSISTED.search(left)
        statements += course if ended else [c for c in course if c[1] is False]  # else the numbers decide
    if not statements and not read.moments:
        statements = courses(left, states, channel, negated, read.values)
        statements = statements or trends(left, states, channel, negated, read.values)
        if statements and not states and not negated and _STAYED_NORMAL.search(left):
            statements = [*statements, ("level", all_normal(channel, read.values))]
    if statements:
        return statements
    if len(read.moments) == 1 and not negated and not directions and NORMALIZED.search(left):
        return [("level", _normalized_at(read, channel))]
    normal = negated or (not directions and NORMAL.search(left)) or set(states) & {"normal", "not_high"}
    if len(read.moments) > 1 and read.lists_moments():
        each = [
            judge_levels(left, states, directions, channel, negated, read.values[read.at(hour)], read.timed)
            for _, hour in read.moments
        ]
        return [statement for statements in each for statement in statements]
    values = read.values[-1:] if read.by and (normal or _STILL.search(left)) else read.values[read.near()]
    return judge_levels(left, states, directions, channel, negated, values, read.timed and not read.by)


def _normalized_at(read: _Restricted, channel: dict) -> Truth:
    """Judge "normalized at hour 5": the values then are normal, and the last one before is not."""
    now, before = (
        all_normal(channel, read.values[read.near()]),
        read.values[read.hours < read.moments[0][1] - HALF_AN_HOUR],
    )
    if now is not True or not len(before):
        return now
    return not all_normal(channel, before[-1:])


def _states_course(clause: str, states: list[str]) -> bool:
    """Return whether a clause with numbers states a course of a finding beside them."""
    patterns = (RESOLVED, PERSISTED, IMPROVED, WORSENED) if states else ()
    return any(pattern.search(clause) for pattern in patterns)


def _directions(clause: str, states: list[str]) -> list[tuple[int, str]]:
    """Return the positions at which a clause states high or low, by findings too, in order."""
    return sorted([*stated_levels(clause), *((0, state) for state in states if state in ("high", "low"))])


def _counts(
    read: _Restricted, states: list[str], found: list[Quantity], channel: dict
) -> tuple[list[tuple[str, Truth]], str]:
    """Judge the counts of a clause, and return it without them."""
    statements, left = counts_beyond(read.clause, found, read.values)
    return (
        (statements, left)
        if statements
        else counts(read.clause, _directions(read.clause, states), states, channel, read.values)
    )


def _numbers(
    clause: str, found: list[Quantity], states: list[str], channel: dict, negated: bool, read: _Restricted
) -> list[tuple[str, Truth]]:
    """Judge the numbers of a clause, and the level it gives them ("elevated at 131", "normal at 72")."""
    hours, values = read.hours, read.values
    if not found:
        extreme = "maximum" if MAXIMUM.search(clause) else "minimum" if MINIMUM.search(clause) else None
        place = 0 if FIRST_VALUE.search(clause) else -1 if LAST_VALUE.search(clause) else None
        place = slice(1, -1) if _MIDWAY.search(clause) else place
        if extreme is None or not len(values) or (len(read.moments) != 1 and place is None):
            return []
        best = values == (values.max() if extreme == "maximum" else values.min())
        return [("value", bool((best & read.near()).any() if read.moments else best[place].any()))]
    _set_roles(clause, found, states, read.moments)
    for quantity in found if read.lasting else ():
        quantity.bound |= bool(COMPARING.search(clause[: quantity.start]))
    compared = any(COMPARING.search(clause[: quantity.start]) for quantity in found)
    denied = negated and (compared or not states)
    if len(found) == 1 and len(read.moments) > 1:  # "below 60 at hours 2 and 22"
        each = [replace(found[0], moment=hour) for _, hour in read.moments]
        truths = [every(judge_numbers(clause, [one], denied, hours, values)[0] for one in each)]
    else:
        truths = judge_numbers(clause, found, denied, hours, values)
    truths += _steady(clause, found, channel, negated, values) + _going_on(clause, found, channel, values)
    truths += (
        _steadily(clause, found, values) + _moved(clause, found, values) + _stayed(clause, found, channel, values)
    )
    if denied:
        return [("value", truth) for truth in truths]
    return [("value", truth) for truth in [*truths, *_called(clause, found, states, channel, negated, values)]]


def _steady(clause: str, found: list[Quantity], channel: dict, negated: bool, values: np.ndarray) -> list[Truth]:
    """Judge "stable at 10.2", "remained at 28": false if another value is far from the number."""
    if (
        len(found) != 1
        or found[0].decade
        or not np.isfinite(found[0].inner).all()
        or found[0].role not in ("any", "last")
        or not _AT_ONE_LEVEL.search(clause)
    ):
        return []
    places = np.flatnonzero(found[0].may_hold(values))
    written = values[places]
    if "plateau" in clause:
        values = values[places[0] :] if len(places) else values
    elif re.search(r"\b(?:remain|stay)", clause) and found[0].holds(values[-1:]).any():
        return []  # "fell but remained high at 14.6"
    far = len(written) and np.abs(values - written[0]).max() > 4 * NOTABLE_CHANGE * channel.get("std", 0)
    return [False] if far and not negated else []


def _steadily(clause: str, found: list[Quantity], values: np.ndarray) -> list[Truth]:
    """Judge "fell steadily from 88 to 76": the values between the two numbers."""
    if len(found) != 2 or not found[1].linked or not STEADILY.search(clause):
        return []
    one, other = (np.flatnonzero(quantity.may_hold(values)) for quantity in found)
    if not len(one) or not len(other) or one[0] >= other[-1] or values[one[0]] == values[other[-1]]:
        return []
    between = values[one[0] : other[-1] + 1]
    return [is_steady(between, rising=bool(between[-1] > between[0]))]


_BARE_TO = re.compile(r"(?<!went )(?<!came )(?<!gone )(?<!goes )\b(?:up|down) to\b")  # a reach, not a movement


def _moved(clause: str, found: list[Quantity], values: np.ndarray) -> list[Truth]:
    """Judge "rose to 120", "fell to 80": false if no earlier value was on the other side of the number."""
    ways = [way for way, pattern in ((1, ROSE_TO), (-1, FELL_TO)) if pattern.search(clause)]
    if len(found) != 1 or len(ways) != 1 or len(values) < 2 or _BARE_TO.search(clause):
        return []
    places = np.flatnonzero(found[0].may_hold(values))
    before = np.minimum.accumulate(values * ways[0])
    return [False] if len(places) and (before[places] == values[places] * ways[0]).all() else []


_STAYED_THERE = re.compile(
    r"[^,;.]{0,12}?,?\s*(?:and|where (?:it|they)|then|but)(?: then)? (?:stayed|stays|remain(?:ed|s)|held)"
    r"(?: there| so| at that level| unchanged| stable| steady)?\s*(?:$|[,;.])"
)


def _stayed(clause: str, found: list[Quantity], channel: dict, values: np.ndarray) -> list[Truth]:
    """Judge "rose to 60% and stayed there": false if a later value is far from the number."""
    places = np.flatnonzero(found[-1].may_hold(values))
    if not len(places) or not _STAYED_THERE.match(clause, found[-1].end):
        return []
    far = np.abs(values[places[0] :] - values[places[0]]).max() > 2 * NOTABLE_CHANGE * channel.get("std", 0)
    return [False] if far else []


def _going_on(clause: str, found: list[Quantity], channel: dict, values: np.ndarray) -> list[Truth]:
    """Judge "2.9 and rising": the course of the values after the number."""
    match = _AND_GOING.match(clause, found[-1].end)
    places = np.flatnonzero(found[-1].may_hold(values))
    if not match or not len(places):
        return []
    since = places[0] if places[0] < len(values) - 1 else places[0] - 1
    if match[1].startswith(("worse", "better", "improv")):
        return [progress(channel, values[max(since, 0) :], ["high", "low"], not match[1].startswith("worse"))]
    change = values[-1] - values[since] if since >= 0 else 0.0
    if abs(change) <= NOTABLE_PROGRESS * channel.get("std", 0):
        return [None]
    return [(change > 0) == bool(RISING.search(match[0]) or match[1] == "climbing")]


def _set_roles(clause: str, found: list[Quantity], states: list[str], moments: list[tuple[int, float]]) -> None:
    """Set the role of each number; its hour is the one written after it, else the one before it."""
    set_roles(clause, found, next((state for state in states if state in ("high", "low")), None))
    for place, hour in moments:
        before = [quantity for quantity in found if quantity.end <= place]
        (before[-1] if before else found[0]).moment = hour


def _called(clause, found, states, channel, negated, values) -> list[Truth]:
    """Judge the level that a clause gives its numbers: high, low or normal."""
    rest = clause
    for quantity in found:
        rest = rest[: quantity.start] + " " * (quantity.end - quantity.start) + rest[quantity.end :]
    rest = BOUND.sub(blank, rest)
    if states:
        course = any(
            pattern.search(clause) for pattern in (RESOLVED, IMPROVED, FELL_TO if "high" in states else ROSE_TO)
        )
        course = course or any(quantity.role in ("later", "last") for quantity in found)
        stated = (
            values
            if negated or course or PERSISTENT.search(clause) or "to room air" in states
            else _stated_values(found, values)
        )
        return [judge_state(states, clause, channel, negated, stated)]
    if negated:
        return []
    stated = _stated_values(found, values)
    after = rest[found[-1].end :]
    if any(pattern.search(after) for pattern in (NOW, LAST_VALUE, LATER_VALUE, NORMALIZED)):
        rest, stated = after, values[-1:]  # "140, now normal"
    sides = [side for side, at in (("high", HIGH_AT), ("low", LOW_AT)) if at.search(rest)]
    truths = [any_beyond(channel, stated, side) for side in sides]
    if not truths and (NORMAL.search(rest) or (rest is after and NORMALIZED.search(rest))):
        truths = [all_normal(channel, stated)]
    return truths


def _stated_values(found: list[Quantity], values: np.ndarray) -> np.ndarray:
    """Return the measured values that equal the numbers; all values if none does."""
    stated = values[np.any([quantity.may_hold(values) for quantity in found], axis=0)]
    return stated if len(stated) else values


def _direction(clause: str, states: list[str], found: list[Quantity], channel: dict, negated: bool) -> str | None:
    """Return the direction that a clause states: for a number its side of the limits, for a denied level `normal`."""
    stated = [state for state in states if state in ("high", "low")] or [way for _, way in stated_levels(clause)]
    if negated or set(states) & {"normal", "not_high", "room air", "to room air"}:
        denied_normal = negated and (states == ["normal"] or (not stated and NORMAL.search(clause)))
        return None if denied_normal else "normal"
    if stated and not found:
        return stated[-1]
    reached = [side for side in (_side(quantity, channel) for quantity in found) if side]
    if reached or stated:
        return (reached or stated)[-1]
    if NORMALIZED.search(clause) and not found:
        return "normal"
    rising, falling = RISING.search(clause), FALLING.search(clause)
    if rising or falling:
        return "rising" if rising else "falling"
    return "normal" if found or NORMAL.search(clause) or NORMALIZED.search(clause) else None


def _side(quantity: Quantity, channel: dict) -> str | None:
    """Return the side of the usual limits on which a number lies; `None` within them, and for a half-line."""
    for low, high in quantity.inner[:1]:
        if np.isfinite(low) and np.isfinite(high):
            middle = np.array([(low + high) / 2])
            return next((side for side in ("high", "low") if beyond(channel, middle, side).any()), None)
    return None
