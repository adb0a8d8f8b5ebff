# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Judge what one clause states of one channel against its measured values.

A clause is read from the outside in: the time it speaks of, then counts, numbers, trends and levels. What has been
read is blanked, so that the "first" of "first 6 hours" is no first value and the 3 of "3 times" no measurement.
"""

from __future__ import annotations

import re

import numpy as np

from .wordings_clinragen import (
    ABNORMAL,
    AFTER_HOURS,
    ALWAYS,
    AT_HOUR,
    BOUND,
    COMPARED,
    COUNT_WORDS,
    FALLING,
    FIRST_HOURS,
    FIRST_VALUE,
    HIGH,
    LAST_HOURS,
    LAST_VALUE,
    LOW,
    MAXIMUM,
    MEAN,
    MEASURED,
    MINIMUM,
    MOVED,
    NORMAL,
    NOT,
    NUMBER,
    OF_ALL,
    OUT_OF,
    PSEUDO_NOT,
    REFERENCE,
    RISING,
    SPAN,
    STABLE,
    TAKEN,
    TIMES,
    UNMEASURED,
)


MIN_VALUES_OF_TREND = 6
HALF_AN_HOUR = 0.5


def judge(
    clause: str, finding: str | None, channel: dict, hours: np.ndarray, values: np.ndarray
) -> tuple[str, bool | None]:
    """
    Judge a clause.

    Args:
        clause (`str`): in lower case, the words that name the channel blanked.
        finding (`str`, *optional*): `"high"` or `"low"`, where the channel was named by a finding such as "fever".
        channel (`dict`): `low`, `high` and `unit` are read.
        hours, values (float arrays of shape `(T,)`): when and what was measured.

    Returns:
        kind of the claim, and whether all that it states holds; `None` where nothing can be checked.
    """
    clause = _readable(clause)
    negated = bool(NOT.search(clause))
    clause, moment, hours_in, values_in, timed = _restrict(clause, hours, values)
    statements = _states_measured(clause, finding, timed, len(values))
    if not statements:
        statements = _read(clause, finding, channel, moment, negated, hours_in, values_in)
    if not statements:
        return "other", None
    kind = "time" if timed and statements[0][0] != "unmeasured" else statements[0][0]
    if statements[0][0] == "unmeasured":
        return kind, statements[0][1]
    if not len(values):
        return kind, False
    verdicts = [holds for _, holds in statements]
    return kind, None if None in verdicts and False not in verdicts else all(verdicts)


def deciding(
    clause: str, finding: str | None, kind: str, channel: dict, hours: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """
    Mark the measurements on which the verdict of a clause rests.

    Of a level or a count those outside of normal, on the side that is stated where one is; of a value those that are
    the number as written, else the lowest and the highest; where there are none of these, and of all else, every
    measurement of the time that the clause speaks of. Nothing where nothing is checked.

    Args:
        clause, finding, channel, hours, values: as [`judge`] takes them; `kind` (`str`): as it gives it.

    Returns:
        bool array of shape `(T,)`.
    """
    clause, moment, hours_in, *_ = _restrict(_readable(clause), hours, values)
    chosen = np.isin(hours, hours_in) if moment is None else np.abs(hours - moment) <= HALF_AN_HOUR
    if kind == "other" or not chosen.any():
        return np.zeros(len(values), bool)
    sides = {way for _, way in _levels_said(clause)} | _SIDES.get(finding, set()) or {"high", "low"}
    above, below = values > channel["high"], values < channel["low"]
    outliers = chosen & (("high" in sides) & above | ("low" in sides) & below)
    if kind in ("level", "count") or (kind == "time" and not re.search(NUMBER, clause)):
        return outliers if outliers.any() else chosen
    if kind in ("value", "time"):
        numbers = [match[0] for match in re.finditer(NUMBER, clause)]
        written = [any(_matches(n, values[i : i + 1], channel) for n in numbers) for i in range(len(values))]
        extremes = (values == values[chosen].min()) | (values == values[chosen].max())
        return chosen & (written if any(written) else extremes)
    return chosen


_SIDES = {"high": {"high"}, "not_high": {"high"}, "low": {"low"}, "normal": {"high", "low"}}  # of a finding


def _readable(clause: str) -> str:
    """Return the clause with its signs in words, and without what only looks like a level or a negation."""
    clause = re.sub(r">\s*(?=[a-z])", "above ", re.sub(r"<\s*(?=[a-z])", "below ", clause))
    return PSEUDO_NOT.sub(_blank, REFERENCE.sub(_blank, clause))


def _blank(match: re.Match) -> str:
    return " " * len(match[0])


def _numbers(match: re.Match) -> list[str]:
    return [group for group in match.groups() if group and re.fullmatch(r"\d+(?:\.\d+)?", group)]


def _restrict(clause: str, hours: np.ndarray, values: np.ndarray):
    """Return the clause without its words of time, the moment that it speaks of, and the values of that time."""
    for pattern, within in (
        (AFTER_HOURS, lambda n: hours > n),
        (FIRST_HOURS, lambda n: hours <= n),
        (LAST_HOURS, lambda n: hours >= (hours[-1] - n if len(hours) else 0)),
    ):
        match = pattern.search(clause)
        if match:
            keep = within(float(_numbers(match)[0]))
            return _cut(clause, match), None, hours[keep], values[keep], True
    match = AT_HOUR.search(clause)
    if match:
        return _cut(clause, match), float(_numbers(match)[0]), hours, values, True
    return clause, None, hours, values, False


def _cut(clause: str, match: re.Match) -> str:
    return clause[: match.start()] + " " * len(match[0]) + clause[match.end() :]


def _states_measured(clause: str, finding: str | None, timed: bool, count: int) -> list[tuple[str, bool]]:
    """Read the statement that the channel was, or was not, measured at all."""
    if finding or timed or re.search(r"\d", clause) or _levels_said(clause):
        return []
    if any(pattern.search(clause) for pattern in (NORMAL, ABNORMAL, RISING, FALLING, STABLE)):
        return []
    if any(not (m[1] and _count(m[2] or "0") == 1) for m in TIMES.finditer(clause)):
        return []  # a count; "at least one" is none
    if UNMEASURED.search(clause):
        return [("unmeasured", count == 0)]
    return [("unmeasured", count > 0)] if MEASURED.search(clause) and not NOT.search(clause) else []


def _read(clause, finding, channel, moment, negated, hours, values) -> list[tuple[str, bool | None]]:
    directions = _levels_said(clause)
    if finding == "normal":
        return _levels("normal", [], channel, negated, values)
    if finding == "not_high":
        return _levels("", [(0, "high")], channel, not negated, values)
    if finding:
        directions = sorted([*directions, (0, finding)])
    counts, clause_left = _counts(clause, directions, channel, values)
    if counts:
        return counts
    numbers = _values(clause_left, channel, moment, negated, hours, values)
    if numbers:
        return numbers
    near = np.abs(hours - moment) <= HALF_AN_HOUR if moment is not None else np.ones(len(values), bool)
    if moment is None:
        trends = _trends(clause_left, negated, values, bool(finding) or bool(BOUND.search(clause_left)))
        if trends:
            return trends
    return _levels(clause_left, directions, channel, negated, values[near])


def _levels_said(clause: str) -> list[tuple[int, str]]:
    """Return where the clause states high or low, in order."""
    found = {m.start(): "high" if _says_high(m[1]) else "low" for m in BOUND.finditer(clause)}
    rest = BOUND.sub(_blank, clause)
    found |= {m.start(): "high" for m in HIGH.finditer(rest)}
    found |= {m.start(): "low" for m in LOW.finditer(rest)}
    return sorted((at, way) for at, way in found.items() if not re.match(r"(?:high|low) as\b", clause[at:]))


def _says_high(word: str) -> bool:
    return not word.startswith(("below", "under", "beneath", "lower", "less"))


def outside(channel: dict, values: np.ndarray, direction: str) -> int:
    """Count the values above (`"high"`) or below (`"low"`) normal."""
    return int(((values > channel["high"]) if direction == "high" else (values < channel["low"])).sum())


def _counts(clause, directions, channel, values) -> tuple[list[tuple[str, bool]], str]:
    said, left = [], clause
    if directions or ABNORMAL.search(clause):
        share, out_of = OF_ALL.search(clause), OUT_OF.search(clause)
        if share or out_of:
            number, total = map(_count, filter(None, share.groups() if share else out_of.groups()[::-1]))
            found = _count_of(clause, directions, share or out_of, channel, values)
            return [("count", found == number and len(values) == total)], left
    for match in TIMES.finditer(clause):
        groups = [group for group in match.groups() if group]
        least = groups[0] if groups[0] not in COUNT_WORDS and not groups[0].isdigit() else ""
        number = _count(groups[-1])
        if not directions and not ABNORMAL.search(clause):
            rest = clause[: match.start()] + clause[match.end() :]
            if number == 1 or re.search(r"\d", rest) or not re.search(rf"\b{TAKEN}\b", rest):
                continue
            found = len(values)
        else:
            found = _count_of(clause, directions, match, channel, values)
        said.append(("count", _compare_count(found, least, number)))
        left = _cut(left, match)
    if said and all(
        re.fullmatch(r"(?:at least|no fewer than|no less than)", m[1] or "") and _count(m[2] or "0") == 1
        for m in TIMES.finditer(clause)
    ):
        return [], left  # "at least one" is a level
    return said, left


def _count(word: str) -> int:
    return int(word) if word.isdigit() else COUNT_WORDS[word]


def _count_of(clause, directions, match, channel, values) -> int:
    if not directions:
        return outside(channel, values, "high") + outside(channel, values, "low")
    before = [way for at, way in directions if at < match.end()] or [way for _, way in directions]
    return outside(channel, values, before[-1])


def _compare_count(found: int, least: str, number: int) -> bool:
    if least in ("at least", "no fewer than", "no less than"):
        return found >= number
    if least in ("at most", "no more than"):
        return found <= number
    if least == "more than":
        return found > number
    return found < number if least == "fewer than" else found == number


def _values(clause, channel, moment, negated, hours, values) -> list[tuple[str, bool]]:
    """Read the statements on numbers, and on when the extremes were."""
    moved, span = MOVED.search(clause), SPAN.search(clause)
    if moved:
        first, last = _numbers(moved)
        return [("value", _in_order(first, last, channel, values))]
    if span:
        low, high = sorted(_numbers(span), key=float)
        return [
            ("value", _matches(low, _lowest(values), channel)),
            ("value", _matches(high, _highest(values), channel)),
        ]
    mean = MEAN.search(clause)
    if mean:
        middle = np.median if mean[1] == "median" else np.mean
        return [("value", bool(len(values)) and _is_about(mean[2], middle(values), channel))]
    compared = COMPARED.search(clause)
    if compared and not MAXIMUM.search(clause) and not MINIMUM.search(clause):
        return [("value", _compares(clause, compared, negated, channel, values))]
    statements = []
    for match in re.finditer(NUMBER, clause):
        if match.start() and (clause[match.start() - 1].isalpha() or clause[match.start() - 1] in "₂/"):
            continue
        statements.append(("value", _has_value(clause, match, channel, moment, hours, values)))
    extreme = _extreme_before(clause, len(clause))
    if not statements and moment is not None and extreme:
        best = (values.max() if extreme == "maximum" else values.min()) if len(values) else np.nan
        return [("value", bool((np.abs(hours[values == best] - moment) <= HALF_AN_HOUR).any()))]
    if negated and len(statements) == 1 and not extreme:
        return [(kind, not holds) for kind, holds in statements]
    return statements


def _has_value(clause, match, channel, moment, hours, values) -> bool:
    """Tell if the number of a match is the extreme, the first, the last or any value, as the clause states."""
    extreme = _extreme_before(clause, match.start()) or _extreme_before(clause, len(clause))
    if extreme:
        candidates = _highest(values) if extreme == "maximum" else _lowest(values)
        at_moment = True
        if moment is not None and len(values):
            at_moment = bool((np.abs(hours[values == candidates[0]] - moment) <= HALF_AN_HOUR).any())
        return _matches(match[0], candidates, channel) and at_moment
    if moment is not None:
        return _matches(match[0], values[np.abs(hours - moment) <= HALF_AN_HOUR], channel)
    if FIRST_VALUE.search(clause):
        return _matches(match[0], values[:1], channel)
    if LAST_VALUE.search(clause):
        return _matches(match[0], values[-1:], channel)
    return _matches(match[0], values, channel)


def _extreme_before(clause: str, end: int) -> str | None:
    """Return the last word for a maximum or a minimum before that place."""
    found = [(m.end(), "maximum") for m in MAXIMUM.finditer(clause, 0, end)]
    found += [(m.end(), "minimum") for m in MINIMUM.finditer(clause, 0, end)]
    return max(found)[1] if found else None


def _highest(values: np.ndarray) -> np.ndarray:
    return values.max(keepdims=True) if len(values) else values


def _lowest(values: np.ndarray) -> np.ndarray:
    return values.min(keepdims=True) if len(values) else values


def _forms(values: np.ndarray, channel: dict) -> list[np.ndarray]:
    """Return the values in the channel's unit, and in one that people write them in."""
    forms = [values]
    if channel.get("unit") == "fraction":
        forms.append(values * 100)
    if channel.get("unit") == "°C":
        forms.append(values * 1.8 + 32)
    return forms


def _matches(number: str, candidates: np.ndarray, channel: dict) -> bool:
    """Tell if a candidate is the number as written, rounded to its digits."""
    half = 0.5 * 10 ** -len(number.partition(".")[2])
    return any(
        (np.abs(form - float(number)) <= half + 1e-6 * np.abs(form)).any() for form in _forms(candidates, channel)
    )


def _is_about(number: str, value: float, channel: dict) -> bool:
    """Tell if a mean is about the number; it is rarely written to all its digits."""
    half = 0.5 * 10 ** -len(number.partition(".")[2])
    return any(
        abs(form[0] - float(number)) <= half + 0.01 * abs(form[0]) for form in _forms(np.array([value]), channel)
    )


def _in_order(first: str, last: str, channel: dict, values: np.ndarray) -> bool:
    places = [
        [i for i in range(len(values)) if _matches(number, values[i : i + 1], channel)] for number in (first, last)
    ]
    return bool(places[0] and places[1]) and places[0][0] < places[1][-1]


def _compares(clause: str, match: re.Match, negated: bool, channel: dict, values: np.ndarray) -> bool:
    word, number = match[1] or match[2], float(match[3])
    if channel.get("unit") == "fraction" and number > 1:
        number /= 100
    up = not word.startswith(("below", "under", "less", "lower", "at most", "<", "≤"))
    holds = values > number if up else values < number
    if word in ("at least", "at most", ">=", "<=", "≥", "≤"):
        holds |= values == number
    if negated:
        return bool(len(values)) and not holds.any()
    return bool(len(values)) and bool(holds.all() if ALWAYS.search(clause) else holds.any())


def _trends(clause, negated, values, has_level: bool) -> list[tuple[str, bool | None]]:
    said = "stable" if STABLE.search(clause) else None
    if said is None and not has_level:
        rising, falling = RISING.search(clause), FALLING.search(clause)
        said = "rising" if rising else "falling" if falling else None
    if said is None:
        return []
    if len(values) < MIN_VALUES_OF_TREND:
        return [("trend", None if len(values) else False)]
    if said == "stable":  # other words for it, such as "no change", are negations themselves
        negated = negated and bool(re.match("stable|steady|unchanged|constant|flat", STABLE.search(clause)[0]))
    return [("trend", (trend_of(values) == said) != negated)]


def trend_of(values: np.ndarray) -> str:
    """Return `rising`, `falling` or `stable`: medians of first and last third, half the interquartile range apart."""
    third = len(values) // 3
    change = np.median(values[-third:]) - np.median(values[:third])
    spread = np.subtract(*np.percentile(values, [75, 25]))
    return "stable" if abs(change) <= 0.5 * spread else ("rising" if change > 0 else "falling")


def _levels(clause, directions, channel, negated, values) -> list[tuple[str, bool]]:
    if ABNORMAL.search(clause) and not directions:
        out = outside(channel, values, "high") + outside(channel, values, "low") > 0
        return [("level", bool(len(values)) and out != negated)]
    if not directions and NORMAL.search(BOUND.sub(_blank, clause)):
        inside = bool(len(values)) and outside(channel, values, "high") == outside(channel, values, "low") == 0
        return [("level", bool(len(values)) and inside != negated)]
    first_or_last = values[:1] if FIRST_VALUE.search(clause) else values[-1:] if LAST_VALUE.search(clause) else values
    ways = list(dict.fromkeys(way for _, way in directions))
    if negated:
        return [("level", bool(len(values)) and outside(channel, first_or_last, way) == 0) for way in ways]
    return [("level", outside(channel, first_or_last, way) > 0) for way in ways]
