# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Counts of a clause against a channel's measured values: how many lie beyond a limit, or beyond a number."""

from __future__ import annotations

import re

import numpy as np

from .numbers_clinragen import Quantity
from .ranges_clinragen import Truth, beyond, every, has_limit
from .wordings_clinragen import (
    ABNORMAL,
    AT_LEAST,
    COMPARING,
    COUNT,
    COUNT_WORDS,
    NORMAL,
    NOT,
    OCCASION,
    OF_ALL,
    ONLY_FIRST,
    OUT_OF,
    TAKEN,
    TIMES,
    cut,
)


def number_counted(clause: str, found: list[Quantity]) -> tuple[Quantity, re.Match] | None:
    """Return the number that counted values are compared with, "below 65 on three occasions", and the count."""
    match = TIMES.search(clause)
    numbers = [] if match is None else [q for q in found if not match.start() <= q.start < match.end()]
    compared = [quantity for quantity in numbers if COMPARING.search(clause[: quantity.start])]
    compared = compared or [quantity for quantity in numbers if quantity.decade and len(numbers) == 1]
    if not compared:
        return None
    before = [quantity for quantity in compared if quantity.end <= match.start()]
    return (before or compared[:1])[-1], match


_SHARES = {
    "half": (0.4, 0.6), "a third": (0.25, 0.42), "one third": (0.25, 0.42), "two thirds": (0.58, 0.75),
    "a quarter": (0.17, 0.33), "three quarters": (0.67, 0.83), "most": (0.5, 1.0), "the majority": (0.5, 1.0),
}  # fmt: skip
_SHARE = re.compile(
    rf"\b(?P<bound>more than |over |less than )?(?P<share>{'|'.join(_SHARES)})(?: of)? (?:the |his |her |their |all )*"
)
_SHARE_OF_THEM = re.compile(rf"{_SHARE.pattern}(?=\s{{2}}|{OCCASION}\b)")  # "half of the pulses were high"
_ALL_BUT = re.compile(rf"\ball (?:but|except)(?: for)? {COUNT}\b")
_OF_THEM = re.compile(rf"\b{AT_LEAST}{COUNT} of (?:the |his |her |their |all )*\s{{2}}")  # "two of the pulses"


def _of_the_first(clause: str, found: list[Quantity], values: np.ndarray) -> Truth | str:
    """Judge "only the first two exceeded 400": no other values are beyond the number; "" without such a statement."""
    match = ONLY_FIRST.search(clause)
    compared = [quantity for quantity in found if COMPARING.search(clause[: quantity.start])]
    if match is None or len(compared) != 1:
        return ""
    number = count_of_word(match["count"] or "one")
    first = np.arange(len(values)) < number
    these = first if match["end"] in ("first", "initial") else first[::-1]
    beyond_it = compared[0].holds(values)
    return bool((beyond_it == (~these if match["all"] else these)).all())


def _is_share(part: float, share: re.Match) -> bool:
    low, high = _SHARES[share["share"]]
    middle = (low + high) / 2
    low, high = {"more than ": (middle, 1.0), "over ": (middle, 1.0), "less than ": (0.0, middle)}.get(
        share["bound"], (low, high)
    )
    return bool(low <= part <= high)


def counts_beyond(clause: str, found: list[Quantity], values: np.ndarray) -> tuple[list[tuple[str, Truth]], str]:
    """Judge the stated count of values beyond a number."""
    if not found:
        return [], clause
    of_these = _of_the_first(clause, found, values)
    if of_these != "":
        return [("count", of_these)], re.sub(r"\d", " ", clause)
    share = _SHARE.search(clause)
    compared = [quantity for quantity in found if COMPARING.search(clause[: quantity.start])]
    if share and len(compared) == 1 and len(values):
        part = compared[0].holds(values).mean()
        return [("count", _is_share(part, share))], re.sub(r"\d", " ", clause)
    them = _OF_THEM.search(clause)
    if them and len(compared) == 1:
        marked = int(compared[0].may_hold(values).sum()), int(compared[0].holds(values).sum())
        return [("count", _compare_count(marked, them[1] or "", count_of_word(them[2])))], re.sub(r"\d", " ", clause)
    share = OF_ALL.search(clause)
    if share and (rest := cut(clause, share)):
        beside = [
            q for q in found if not share.start() <= q.start < share.end() and COMPARING.search(clause[: q.start])
        ]
        number, total = map(count_of_word, filter(None, share.groups()))
        if len(beside) == 1:
            marked = int(beside[0].may_hold(values).sum()), int(beside[0].holds(values).sum())
            holds = every([_compare_count(marked, "", number), len(values) == total])
            return [("count", holds)], rest[: beside[0].start] + " " * (beside[0].end - beside[0].start) + rest[
                beside[0].end :
            ]
    counted = number_counted(clause, found)
    if counted is None:
        return [], clause
    number, match = counted
    groups = [group for group in match.groups() if group]
    least = groups[0] if groups[0] not in COUNT_WORDS and not groups[0].isdigit() else ""
    marked = int(number.may_hold(values).sum()), int(number.holds(values).sum())
    left = cut(clause, match)
    left = left[: number.start] + " " * (number.end - number.start) + left[number.end :]
    return [("count", _compare_count(marked, least, count_of_word(groups[-1])))], left


def counts(clause, directions, states, channel, values) -> tuple[list[tuple[str, Truth]], str]:
    """Judge the stated counts of abnormal, or of normal, values, and return the clause without these counts."""
    statements, left = [], clause
    normal = () if directions or ABNORMAL.search(clause) else _sides_of_normal(clause, states)
    if directions or normal or ABNORMAL.search(clause):
        share, out_of = OF_ALL.search(clause), OUT_OF.search(clause)
        if share or out_of:
            number, total = map(count_of_word, filter(None, share.groups() if share else out_of.groups()[::-1]))
            found = _count_of(clause, directions, share or out_of, channel, values)
            found = _count_normal(normal, channel, values) if normal else found
            holds = every([_compare_count(found, "", number), len(values) == total])
            return [("count", holds)], cut(left, share or out_of)
        if of_all := _of_all(clause, directions, normal, channel, values):
            return [("count", of_all[1])], cut(left, of_all[0])
    for match in TIMES.finditer(clause):
        groups = [group for group in match.groups() if group]
        least = groups[0] if groups[0] not in COUNT_WORDS and not groups[0].isdigit() else ""
        number = count_of_word(groups[-1])
        if normal and number > 1:
            statements.append(("count", _compare_count(_count_normal(normal, channel, values), least, number)))
            left = cut(left, match)
            continue
        if not directions and not ABNORMAL.search(clause):
            rest = clause[: match.start()] + clause[match.end() :]
            if number == 1 or re.search(r"\d", rest) or not re.search(rf"\b{TAKEN}\b", rest):
                continue
            found = len(values), len(values)
        else:
            found = _count_of(clause, directions, match, channel, values)
        statements.append(("count", _compare_count(found, least, number)))
        left = cut(left, match)
    if statements and all(
        re.fullmatch(r"(?:at least|no fewer than|no less than)", m[1] or "") and count_of_word(m[2] or "0") == 1
        for m in TIMES.finditer(clause)
    ):
        return [], left  # "at least one" is a level
    return statements, left


def count_of_word(word: str) -> int:
    return int(word) if word.isdigit() else COUNT_WORDS[word]


def _count_of(clause, directions, match, channel, values) -> tuple[int, int] | None:
    """Count the values beyond the usual, and beyond the clear, limits; `None` for a side without a limit."""
    sides = ("high", "low")
    if directions:
        before = [way for at, way in directions if at < match.end()] or [way for _, way in directions]
        sides = (before[-1],)
    if not any(has_limit(channel, side) for side in sides):
        return None
    return tuple(sum(int(beyond(channel, values, side, clearly).sum()) for side in sides) for clearly in (False, True))


def _of_all(clause, directions, normal, channel, values) -> tuple[re.Match, Truth] | None:
    """Judge "half of the pulses were high", "all but two were normal"; `None` if a clause states no such share."""
    share, rest = _SHARE_OF_THEM.search(clause), _ALL_BUT.search(clause)
    match = share or rest
    if match is None or not len(values) or NOT.search(clause):
        return None
    found = _count_normal(normal, channel, values) if normal else _count_of(clause, directions, match, channel, values)
    if rest:
        return match, _compare_count(found, "", len(values) - count_of_word(rest[1]))
    truths = {_is_share(count / len(values), share) for count in found or ()}
    return match, truths.pop() if len(truths) == 1 else None


def _sides_of_normal(clause: str, states: list[str]) -> tuple[str, ...]:
    """Return the sides on which a clause calls values normal; none if it does not, or denies it."""
    if NOT.search(clause):
        return ()
    if "not_high" in states:
        return ("high",)
    return ("high", "low") if "normal" in states or NORMAL.search(clause) else ()


def _count_normal(sides: tuple[str, ...], channel: dict, values) -> tuple[int, int] | None:
    """Count the values within the usual, and within the clear, limits."""
    if not any(has_limit(channel, side) for side in sides):
        return None
    usual, clear = (
        len(values) - sum(int(beyond(channel, values, side, clearly).sum()) for side in sides)
        for clearly in (False, True)
    )
    return usual, clear


def _compare_count(found: tuple[int, int] | None, least: str, number: int) -> Truth:
    """Compare a count with that by the usual limits; `None` if it fits some limit up to the clear one."""
    if found is None:
        return None
    compare = _COMPARISONS.get(least, int.__eq__)
    if compare(found[0], number):
        return True
    return None if any(compare(count, number) for count in range(min(found), max(found) + 1)) else False


_COMPARISONS = {
    "at least": int.__ge__, "no fewer than": int.__ge__, "no less than": int.__ge__, "at most": int.__le__,
    "no more than": int.__le__, "more than": int.__gt__, "fewer than": int.__lt__,
}  # fmt: skip
