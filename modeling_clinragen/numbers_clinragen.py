# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Numbers of a clause against a channel's measured values.

A number stands for an interval of the channel's values: "13.9 mmol/L" for all that round to it, "130s" for ten beats,
"<90" for all below. The words around it give its role, the values that must lie in it: the highest, the lowest, the
first, the last, a later one, all, or any. Numbers that follow each other in time ("from 86 to 97") must be found in
that order.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

import numpy as np

from .conversions_clinragen import Scale, scale
from .ranges_clinragen import Truth
from .units_clinragen import scales_without_unit, unit_at
from .wordings_clinragen import (
    ABOUT,
    ABOUT_AFTER,
    ALL_VALUES,
    BETWEEN,
    COMPARED_AFTER,
    COMPARING,
    DOSE,
    FALLING,
    FIRST_VALUE,
    FROM,
    FROM_BEFORE,
    JOINT_OF_NUMBERS,
    LAST_VALUE,
    MOVING,
    NEARLY_ALL,
    NO_MEASUREMENT,
    NOT_DOWN_TO,
    NOT_UP_TO,
    RANGING,
    RISING,
    TO_NUMBER,
    WITHIN,
    WITHIN_OF,
)


HALF_AN_HOUR = 0.5
_NEARLY_ALL, _MOST = 0.8, 0.6  # shares of the values
DECADES = {
    **{"teens": "10", "twenties": "20", "thirties": "30", "forties": "40", "fifties": "50", "sixties": "60"},
    **{"seventies": "70", "eighties": "80", "nineties": "90", "hundreds": "100"},
}
_ON = re.compile(r"\bon(?: (?:an? )?(?:fio2|oxygen|o2)(?: of)?)?\s*$")  # "89% on 40%"
_OF_AGE = re.compile(r"\b(?:his|her|their|my|your)(?: (?:very )?(?:early|late))?[\s-]*$")  # "in his thirties"
_QUANTITY = re.compile(
    r"(?<![\w./^])(?:(?P<part>low|mid|middle|high|upper|lower)(?:[\s-]+to[\s-]+(?P<second>low|mid|high|upper))?"
    r"(?:[\s-]+|(?=\d)))?(?:'?(?P<number>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)(?P<decade>'?s\b)?"
    rf"|(?P<hundred>(?:one[\s-])?hundred[\s-](?:and[\s-])?)?(?P<word>(?:{'|'.join(DECADES)})\b)"
    r"|(?P<digits>single|double|triple)[\s-](?:digits?|figures?)\b)"
)
_DIGITS = {
    "single": (0, 10.0),
    "double": (10, 90.0),
    "triple": (100, 900.0),
}  # the lowest number, and how many there are
_ANY_NUMBER = re.compile(r"\d|(?:ties|teens|hundreds|digits?|figures?)\b")
_SIGNED = re.compile(r"(?<=[\s(])[-−](?=\d)")
# the tenths of a decade that its parts include by every convention, and by some
_PARTS = {"low": (0, 4), "lower": (0, 4), "mid": (4, 7), "middle": (4, 7), "high": (6, 10), "upper": (6, 10)}
_WIDE_PARTS = {"low": (0, 5), "lower": (0, 5), "mid": (3, 8), "middle": (3, 8), "high": (5, 10), "upper": (5, 10)}
_ABOUT_SHARE, _ABOUT_AT_MOST = 0.05, 0.08  # "around 110" agrees within the first, is wrong beyond the second
_ABOUT_BY_UNIT = {"pH": (0.03, 0.06), "°C": (0.3, 0.6), "%": (2.0, 4.0), "fraction": (0.03, 0.06)}
_ABOUT_AT_LEAST = {"/min": (2.0, 4.0), "mmHg": (4.0, 8.0)}


@dataclass
class Quantity:
    """
    A number in a clause.

    Args:
        start, end (`int`): its span, with its unit; `number` (`float`): as written.
        inner, outer (list of `(low, high)`): a value within one of the inner intervals agrees, a value outside all
            outer intervals does not; between them conventions differ. Both empty if the unit is not the channel's.
        wide (`bool`): whether the number stands for an interval, so that "stayed" refers to all values.
    """

    start: int
    end: int
    number: float
    inner: list[tuple[float, float]] = field(default_factory=list)
    outer: list[tuple[float, float]] = field(default_factory=list)
    wide: bool = False
    role: str = "any"
    linked: bool = False  # later in time than the number before it
    place: int | None = None  # 0 or -1, the first or last value, in addition to the role: "peaked at 222 on arrival"
    moment: float | None = None
    decade: bool = False
    bound: bool = False  # a bound of all values: "no lower than 90", "94 or above"

    def holds(self, values: np.ndarray) -> np.ndarray:
        return _within(values, self.inner)

    def may_hold(self, values: np.ndarray) -> np.ndarray:
        return _within(values, self.outer)


def _within(values: np.ndarray, intervals: list[tuple[float, float]]) -> np.ndarray:
    marked = np.zeros(len(values), bool)
    for low, high in intervals:
        marked |= (values >= low) & (values <= high)
    return marked


_WITHIN_SO_MUCH = re.compile(r"\bwithin\s*$")
_DIGIT = re.compile(r"\d|$")


def _next_number(clause: str, start: int) -> int:
    return _DIGIT.search(clause, start).start()


_BY = re.compile(r"(?<!by )\b(?:up|down)\s*$")


def quantities(clause: str, channel: dict) -> list[Quantity]:
    """Find the numbers of a clause in lower case that may be values of the channel, in order."""
    if not _ANY_NUMBER.search(clause):
        return []
    found, units, changed = [], [], None
    for match in _QUANTITY.finditer(clause):
        before = clause[: match.start()]
        unit, end, amount = unit_at(clause, match.end())
        decade = bool(match["decade"] or match["word"] or match["digits"])
        number = float(_written(match).replace(",", ""))
        inside = found and match.start() < found[-1][2].end  # the 10 of "250 × 10^9/L"
        by = changed is not None and JOINT_OF_NUMBERS.fullmatch(clause[changed : match.start()])  # "by 4 to 6"
        if _WITHIN_SO_MUCH.search(before) and WITHIN_OF.search(clause[: _next_number(clause, match.end())]):
            continue
        if NO_MEASUREMENT.search(before) or before.endswith("₂") or by:
            changed = None if _BY.search(before) else end  # in "up 9 to 128" the 128 is a value
            continue
        if amount or inside or _is_no_value(clause, match, end, unit, channel):
            continue
        if channel.get("minimum", 0) < 0 and _SIGNED.search(clause[max(0, match.start() - 2) : match.end()]):
            number = -number
        start = match.start() if decade else match.start("number")
        found.append((match, start, Quantity(start, end, number, decade=decade)))
        units.append(unit)
    foreign = [None, *itertools.accumulate(units, lambda last, unit: unit or last)]  # the last unit before each
    for i in range(len(found) - 2, -1, -1):  # "86 to 97%": both numbers have the unit of the second
        between = clause[found[i][2].end : found[i + 1][1]]
        if units[i] is None and JOINT_OF_NUMBERS.fullmatch(between):
            units[i] = units[i + 1]
    for i, ((match, _, quantity), unit) in enumerate(zip(found, units, strict=True)):
        _fill(quantity, match, unit, clause, channel)
        if unit is None and foreign[i]:  # "3.0 mmol/L, later 7.1" may keep the unit
            _add_scale(quantity, match, foreign[i], clause, channel)
        first = found[i - 1][2] if i and not found[i - 1][2].decade else None
        if first and quantity.decade and clause[first.end : quantity.start] == "-":  # "120-140s"
            first.inner, first.outer, first.decade = *(2 * ([(first.number, first.number + 9.99)],)), True
    shares = [channel.get("unit") == "fraction" and unit == "%" for unit in units]  # also an implausible "FiO2 10%"
    own = [
        quantity
        for (_, _, quantity), is_own in zip(found, shares, strict=True)
        if is_own or _is_plausible(quantity, channel)
    ]
    return own or [quantity for _, _, quantity in found]  # "RR 18, 96%": 96% belongs to another channel


def _is_plausible(quantity: Quantity, channel: dict) -> bool:
    """Return whether a number may be a value of the channel: in one of its units, and within its measurable range."""
    least, most = channel.get("minimum", -np.inf), channel.get("maximum", np.inf)
    return any(low <= most and high >= least for low, high in quantity.inner)


def _written(match: re.Match) -> str:
    """Return the digits of a number."""
    if match["digits"]:
        return str(_DIGITS[match["digits"]][0])
    return match["number"] or str(int(DECADES[match["word"]]) + (100 if match["hundred"] else 0))


def _is_no_value(clause: str, match: re.Match, end: int, unit: str | None, channel: dict) -> bool:
    """Return whether a number is a dose, the strength of a solution, the fraction of inspired oxygen, or an age."""
    before, own = clause[: match.start()], channel.get("unit")
    if unit in ("mEq/L", "mmol/L") and "/" not in clause[match.end() : end] and DOSE.search(clause):
        return True
    if unit == "%" and (own == "g/dL" or (own != "fraction" and _ON.search(before))):
        return True  # "albumin 5%", "89% on 40%"
    return bool((match["decade"] or match["word"]) and _OF_AGE.search(before))


def _fill(quantity: Quantity, match: re.Match, unit: str | None, clause: str, channel: dict) -> None:
    """Set the intervals of a quantity."""
    written = _written(match)
    inner, outer, quantity.wide = _interval(quantity, match, written, clause, channel)
    if unit is None:
        scales = scales_without_unit(channel, quantity.number)
        scales = scales if np.isfinite(inner).all() else scales[:1]
    else:
        known = scale(channel, unit)
        scales = [known] if known else []
    quantity.inner = [_scaled(inner, each) for each in scales]
    quantity.outer = [_scaled(outer, each) for each in scales]


def _add_scale(quantity: Quantity, match: re.Match, unit: str, clause: str, channel: dict) -> None:
    """Add to a number without a unit the reading in the unit of the number before it."""
    known = scale(channel, unit)
    if known and known.factor != 1.0:
        inner, outer, _ = _interval(quantity, match, _written(match), clause, channel)
        quantity.inner, quantity.outer = (
            [*quantity.inner, _scaled(inner, known)],
            [*quantity.outer, _scaled(outer, known)],
        )


def _scaled(interval: tuple[float, float], to: Scale) -> tuple[float, float]:
    low, high = (bound * to.factor + to.offset for bound in interval)
    slack = 1e-6 * max(1.0, *(abs(bound) for bound in (low, high) if np.isfinite(bound)))
    return low - slack, high + slack


def _interval(quantity, match, written, clause, channel):
    """Return the inner and outer intervals of a number, in its written unit, and whether it is wide."""
    number = quantity.number
    half = 0.5 * 10.0 ** -len(written.partition(".")[2])
    if match["digits"]:
        return *(2 * ((number, number + _DIGITS[match["digits"]][1] - 1e-5),)), True
    if match["decade"] or match["word"]:
        return *_decade(number, _width(written, channel), match, channel), True
    before, after = clause[: quantity.start], clause[quantity.end :]
    compared, compared_after = COMPARING.search(before), COMPARED_AFTER.match(after)
    if compared or compared_after:
        quantity.bound = bool(compared_after) or (compared[1] or "").startswith("no ")
        upwards = (number, np.inf) if compared_after and compared_after[1] else (-np.inf, number)
        line = _half_line(compared, before, number) if compared else upwards
        return *(2 * (line,)), True
    if NOT_UP_TO.search(before):
        return *(2 * ((number, np.inf),)), True
    if NOT_DOWN_TO.search(before):
        return *(2 * ((-np.inf, number),)), True
    if around := WITHIN_OF.search(before):  # "within 5 beats of 110"
        quantity.bound = True
        return *(2 * ((number - float(around[1]), number + float(around[1])),)), True
    if ABOUT.search(before) or ABOUT_AFTER.match(after):
        near, far = _ABOUT_BY_UNIT.get(channel.get("unit"), (None, None))
        near, far = (near, far) if near else (_ABOUT_SHARE * abs(number), _ABOUT_AT_MOST * abs(number))
        least, less = _ABOUT_AT_LEAST.get(channel.get("unit"), (half, half))
        near, far = max(near, least), max(far, less)
        return (number - near, number + near), (number - far, number + far), True
    return (number - half, number + half), (number - half, number + half), False


def _half_line(compared: re.Match, before: str, number: float) -> tuple[float, float]:
    """Return the half-line above or below a number; "at least" and "no more than" include the number itself."""
    word = compared[1] or compared[2]
    step = 1e-5 * max(1.0, abs(number))
    if word == "no further than":
        return (-np.inf, number) if RISING.search(before) else (number, np.inf)
    if word in (">=", "≥", "at least") or word.startswith(("no l", "not l", "no f", "not b", "not u")):
        return number, np.inf
    if word in ("<=", "≤", "at most") or word.startswith(("no m", "no h", "no g", "not m", "not h", "not a", "not e")):
        return -np.inf, number
    if word.startswith(("below", "under", "beneath", "less", "lower", "slower", "south", "<", "short", "fewer")):
        return -np.inf, number - step
    return number + step, np.inf


def _width(written: str, channel: dict) -> float:
    """Return the width of the "130s", the "7.2s" or, for temperatures, the "38s"."""
    if "." in written:
        return 0.1
    number = int(written.replace(",", ""))
    if number % 10 or (channel.get("unit") == "°C" and number != 30):
        return 1.0
    return 100.0 if number % 100 == 0 and number else 10.0


def _decade(number: float, width: float, match: re.Match, channel: dict):
    """Return the inner and the outer interval of a decade, or of its low, middle or high part."""
    top = number + width * (1 - 1e-6)
    if match["part"] and width >= 10:
        return tuple(_part(number, width / 10, match, tenths) for tenths in (_PARTS, _WIDE_PARTS))
    if width == 100.0 and channel.get("unit") in (
        "/min",
        "mmHg",
    ):  # "in the 100s" is 100 to 109 for a pulse, and 100 to 199 for other channels
        return (number, number + 10 - 1e-5), (number, top)
    return (number, top), (number, top)


def _part(number: float, tenth: float, match: re.Match, tenths: dict) -> tuple[float, float]:
    """Return the interval of a part of a decade, or of two, "low to mid"."""
    named = [tenths[match["part"]], tenths[match["second"] or match["part"]]]
    return number + min(low for low, _ in named) * tenth, number + (max(high for _, high in named) - 1e-5) * tenth


def judge_numbers(
    clause: str, found: list[Quantity], negated: bool, hours: np.ndarray, values: np.ndarray
) -> list[Truth]:
    """Judge all numbers of a clause, with their roles set: one truth for each chain of numbers in time."""
    spans = _spans(clause, found, values)
    if spans is not None:
        return spans
    found = _joined_decades(clause, found)
    _reverse(clause, found)
    is_course = bool(RISING.search(clause)) != bool(FALLING.search(clause)) or re.search(r"\b(?:trend|serial)", clause)
    if len(found) > 2 and is_course:
        for one, other in itertools.pairwise(found):  # "rising: 1.8, 3.0, 4.4"
            other.linked |= bool(re.fullmatch(r"\s*,?\s*(?:and|then)?\s*", clause[one.end : other.start]))
    truths, chain = [], []
    for quantity in found:
        if chain and not quantity.linked:
            truths.append(_chain(clause, chain, hours, values))
            chain = []
        chain.append(quantity)
    if len(chain) == 1 and not truths:
        return [_single(clause, chain[0], negated, hours, values)]
    return [*truths, _chain(clause, chain, hours, values)] if chain else truths


def _joined_decades(clause: str, found: list[Quantity]) -> list[Quantity]:
    """Join decades that are written as one range: "120s-130s" in "from the 120s-130s to 104"."""
    joined: list[Quantity] = []
    for quantity in found:
        last = joined[-1] if joined else None
        if (
            last
            and last.decade
            and quantity.decade
            and (
                re.fullmatch(r"\s*[-–/]\s*", clause[last.end : quantity.start])
                or (
                    len(found) > 2
                    and _TO_ONE_RANGE.fullmatch(clause[last.end : quantity.start])
                    and not FROM.search(clause[: last.start])
                )
            )
        ):
            last.end = quantity.end
            last.inner, last.outer = last.inner + quantity.inner, last.outer + quantity.outer
        else:
            joined.append(quantity)
    return joined


_TO_ONE_RANGE = re.compile(r"\s*(?:to|and)\s*(?:the )?")
_SINCE_THEN = re.compile(r"[^,;]*\b(?:since|thereafter|afterwards?|subsequently|later|now|then)\b")


def _spans(clause: str, found: list[Quantity], values: np.ndarray) -> list[Truth] | None:
    """Judge a range from the lowest to the highest value, "ranged 110-150"; `None` if the clause states none."""
    if len(found) != 2 or not values.size:
        return None
    one, other = found
    before, between = clause[: one.start], clause[one.end : other.start]
    if other.linked and not one.decade:
        return None
    dash = re.fullmatch(r"\s*[-–—]\s*", between)
    if MOVING.search(before) or not BETWEEN.fullmatch(between):
        return None
    ranging = RANGING.search(before)
    if not (dash or ranging or between.strip() == "to"):
        return None
    low, high = sorted(found, key=lambda quantity: quantity.number)
    bottom, top = min((b for b, _ in low.inner), default=np.inf), max((t for _, t in high.inner), default=-np.inf)
    inside = (values >= bottom) & (values <= top)
    if low.decade and high.decade:
        most = inside.mean() >= 0.5 if WITHIN.search(before) else inside.any()
        return [True if inside.all() else None if most else False]
    around = f"{before} {clause[other.end :]}"
    since = _SINCE_THEN.search(around) or LAST_VALUE.search(around)
    if since or FIRST_VALUE.search(around):  # a range since, or until, some time
        part = values[::-1] if since else values
        both = low.holds(np.minimum.accumulate(part)) & high.holds(np.maximum.accumulate(part))
        return [True if both.any() else None if low.holds(values).any() and high.holds(values).any() else False]
    exact = [_one_of(low, values.min(keepdims=True)), _one_of(high, values.max(keepdims=True))]
    if False not in exact:
        return exact
    if WITHIN.search(before):
        return [bool(inside.all())]
    if re.search(r"\bfrom\s*$", before) and not re.search(r"\b(?:rang|var|fluctuat|span|anywhere)\w*", before):
        return None  # "from 86 to 97" may be a course
    if dash or ranging:
        return exact
    return [None if low.holds(values).any() and high.holds(values).any() else False]


def _one_of(quantity: Quantity, values: np.ndarray) -> Truth:
    """Return whether any of the values equals the number."""
    if quantity.holds(values).any():
        return True
    return None if quantity.may_hold(values).any() else False


def _single(clause: str, quantity: Quantity, negated: bool, hours: np.ndarray, values: np.ndarray) -> Truth:
    candidates = _candidates(quantity, hours, values)
    if quantity.role == "mean":
        middle = (np.median if re.search(r"\bmedian\b", clause) else np.mean)(values) if len(values) else np.nan
        slack = 0.01 * abs(middle)
        return any(bool(low - slack <= middle <= high + slack) for low, high in quantity.inner)
    if not len(candidates):
        return False
    if quantity.wide and (quantity.role == "any" or (negated and np.isinf(quantity.inner).any())):
        if negated:
            reached = _one_of(quantity, candidates)
            return None if reached is None else not reached
        if NEARLY_ALL.search(clause):
            share = quantity.holds(candidates).mean()
            return True if share >= _NEARLY_ALL else None if share >= _MOST else False
        if quantity.bound or ALL_VALUES.search(clause):
            return _all_of(quantity, candidates)
    if quantity.wide and quantity.role == "later" and not negated and ALL_VALUES.search(clause):
        candidates = candidates[-1:]  # "afterwards it stayed above 30"
    truth = _one_of(quantity, candidates)
    if negated and quantity.role in ("any", "first", "last"):
        return None if truth is None else not truth
    return truth


def _all_of(quantity: Quantity, values: np.ndarray) -> Truth:
    """Return whether all values equal the number; values that "hover around" it may differ more than one."""
    if quantity.holds(values).all():
        return True
    around = not (quantity.decade or quantity.bound) and np.isfinite(quantity.inner).all()
    if quantity.may_hold(values).all():
        return True if around else None
    return None if around and quantity.holds(np.median(values, keepdims=True)).all() else False


def _candidates(quantity: Quantity, hours: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values[_positions(quantity, hours, values)]


def written_at(quantity: Quantity, hours: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the positions of values equal to the number, those of its role if there are any; all for a mean."""
    if quantity.role == "mean":
        return np.arange(len(values))
    written = np.flatnonzero(quantity.holds(values))
    marked = np.zeros(len(values), bool)
    marked[_positions(quantity, hours, values)] = True
    matching = written[marked[written]]
    return matching if len(matching) else written


def _positions(quantity: Quantity, hours: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the positions of the values that match a number's role, place and moment."""
    chosen = np.ones(len(values), bool)
    if not len(values):
        return np.flatnonzero(chosen)
    if quantity.role == "maximum":
        chosen = values == values.max()
    elif quantity.role == "minimum":
        chosen = values == values.min()
    elif quantity.role == "first":
        chosen = np.arange(len(values)) == 0
    elif quantity.role == "last":
        chosen = np.arange(len(values)) == len(values) - 1
    elif quantity.role == "later":
        chosen = np.arange(len(values)) > min(0, len(values) - 2)
    if quantity.place is not None:
        chosen &= np.arange(len(values)) == quantity.place % len(values)
    if quantity.moment is not None:
        chosen &= np.abs(hours - quantity.moment) <= HALF_AN_HOUR
    return np.flatnonzero(chosen)


def _reverse(clause: str, found: list[Quantity]) -> None:
    """Put "84, down from 120" into the order of time."""
    if len(found) == 2 and FROM_BEFORE.search(clause[found[0].end : found[1].start]):
        found.reverse()
        found[0].linked, found[1].linked = False, True


def _chain(clause: str, chain: list[Quantity], hours: np.ndarray, values: np.ndarray) -> Truth:
    """Return whether the numbers of a chain are found in order, and move in the stated direction."""
    if len(chain) == 1:
        return _single(clause, chain[0], False, hours, values)
    for one, other in itertools.pairwise(chain):
        led_to = (
            one is not chain[0] or one.role in ("maximum", "minimum") or TO_NUMBER.search(clause[: one.start])
        )  # "fell to 82 and recovered to 104"
        words = clause[one.end : other.start] if led_to else clause[: other.start]
        rising, falling = bool(RISING.search(words)), bool(FALLING.search(words))
        if rising != falling and one.number != other.number and (other.number > one.number) != rising:
            return False
    for test, truth in ((Quantity.holds, True), (Quantity.may_hold, None)):
        if _in_order(chain, test, hours, values):
            return truth
    return False


def _in_order(chain: list[Quantity], test, hours: np.ndarray, values: np.ndarray) -> bool:
    place = -1
    for quantity in chain:
        positions = _positions(quantity, hours, values)
        fitting = positions[test(quantity, values[positions])]
        later = fitting[fitting > place]
        if not len(later):
            return False
        place = later[0]
    return True
