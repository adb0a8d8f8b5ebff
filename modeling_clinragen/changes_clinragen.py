# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Changes of a channel as a clause states them: amounts, ratios, or the end compared with the start."""

from __future__ import annotations

import re

import numpy as np

from .conversions_clinragen import scale
from .levels_clinragen import NOTABLE_CHANGE
from .phrases_clinragen import compiled, unfolded
from .ranges_clinragen import Truth, all_normal
from .units_clinragen import unit_at
from .wordings_clinragen import NUMERALS, cut


_NUMBER_WORDS = {word: number for number, word in enumerate(NUMERALS[:11]) if number}
_AMOUNT = rf"(?P<number>\d+(?:\.\d+)?|(?:{'|'.join(_NUMBER_WORDS)})\b)"
_UP = r"r[io]se[sn]?|rising|increas\w+|climb\w*|jump\w*|gain\w*|put on|up|surg\w+|grew|grow\w*|rebound\w*|increment\w*"
_DOWN = unfolded(r"""
    f[ae]ll(?:s|en|ing)?|drop\w*|declin\w+|decreas\w+|los[ts]\w*|losing|shed|down|reduc\w+|dip\w*|plunge\w*|sank|slid
    """)
_ANY = r"chang\w+|vari\w+|swung|swings?|shift\w*|fluctuat\w+|improv\w+|worsen\w*|moved|corrected"
_HOW_MUCH = unfolded(r"""
    (?P<bound>more than|over|at least|>|less than|under|at most|<)?\s?
    (?P<soft>(?:about|around|approximately|roughly|nearly|almost|some|~|just)\s?)*
    """)
_BY = compiled(rf"""
    \b(?:(?P<up>{_UP})|(?P<down>{_DOWN})|(?:{_ANY}))(?: (?:further|steadily|again|only|slightly|quickly
    |sharply|overall))*(?:(?: in(?=\s{{2}}))?\s*(?: by| of)
    |(?=[^,;\d]{{1,12}}\d[\d.]*\s?(?:[%°]|(?:kg|points|beats|mmhg|degrees|percent)\b))|(?<=\blost)|(?<=\bshed)
    |(?<=gained)|(?<=put on)|(?=[^,;]*\b(?:since|over)\b))
    \s{_HOW_MUCH}{_AMOUNT}
    (?![\d.]|\s?(?:to|and|then|at|on)\b)
    """)
_NOUN = compiled(rf"""
    (?<![\d.]){_HOW_MUCH}\b{_AMOUNT}[\s-](?:points?|beats?|breaths?|degrees?|grams?|kg|mmhg|g/dl|mg/dl)[\s-]
    (?:(?P<up>rise|increase|gain|jump|climb)|(?P<down>drop|fall|decline|decrease|loss|dip|reduction))\b
    """)
_THAN_AT_AMOUNT = r"\s?(?:mmhg|beats?(?: per minute)?|breaths?|points?|kg|degrees?|g/dl|mg/dl|%|percent|bpm)?\s"
_RATE = re.compile(r"\b(?:per|an?|every|each) (?:hour|day|shift)\b|/(?:h|hr|hour|day|d)\b")
_IN_ALL = re.compile(r"\b(?:since|overall|in total|all told|over the (?:stay|course|admission|day))\b")
_MOST_PERCENT, _OF_AMOUNT = 50, re.compile(r"\b(?:by|of)\b")
_POINTS = re.compile(r"[\s-]?(?:points?|grams?|g)\b")  # units of a change, but not of a value

_TIMES = {"doubl": 2.0, "tripl": 3.0, "trebl": 3.0, "quadrupl": 4.0, "halv": 0.5}
MULTIPLE = compiled(r"""
    \b(?:(?P<soft>nearly|almost|about|roughly)\s|(?P<more>more than|over|at least)\s)?
    (?:(?P<times>doubl|tripl|trebl|quadrupl|halv)(?:ed|es|ing)\b(?! (?:the|his|her|dose))
    (?P<nearly>\s(?:nearly|almost|or so))?
    |(?:f[ae]ll\w*|dropp?\w*|declin\w+|decreas\w+|cut|reduced|down)\s(?:by|in)\shalf\b)
    """)
_CONTINUED = compiled(r"""
    \b(?:and|then|but) (?:\w+ )?(?:continu(?:ed|es|ing) to|kept|keeps) (?:(climb\w*|ris(?:e|ing)|increas\w+)|fall\w*
    |drop\w*|declin\w+|decreas\w+)\b(?! (?:to|until|by|for|before)\b)
    """)
_BACK = compiled(r"""
    \b(?:recovered|returned|(?:came|went|got|is|was|now) back|back) to (?:his |her |its |their |the )?(?:\w+ )?
    (?:baseline|starting (?:point|value|level)|where it (?:started|began))\b(?! of)
    """)
_ANY_MULTIPLE = re.compile("doubl|tripl|trebl|halv|half")
_ANY_CHANGE = re.compile(rf"\bthan\b|\d|doubl|tripl|trebl|halv|\bhalf\b|\b(?:{'|'.join(_NUMBER_WORDS)})\b")
_FAR = 1.2  # tolerance of a ratio before it is wrong; for an amount it is 0.15

_START = unfolded(r"""
    (?:(?:at|on|in|upon|from) (?:the )?(?:very )?(?:start|beginning|outset|admission|arrival|presentation|onset
    |baseline|first)|initial(?:ly)?|at first|before|earlier
    |(?:it|they|he|she) (?:began|started|had been|arrived|came in)
    |(?:the )?(?:admission|initial|first|starting|opening))
    """)
_END = unfolded(r"""
    (?:(?:at|on|by|in) (?:the )?(?:very )?(?:end|discharge|finish|close|last)|now|currently|later|finally
    |(?:the )?(?:final|last|latest|discharge|closing))
    """)
_RELATION = (
    r"\b(?:(?P<more>higher|faster|greater)|lower|slower|smaller)\b(?:(?!\bthan\b)[^,;\d])*\bthan\b[^,;\d]{0,20}?\b"
)
_MORE_AT = compiled(rf"""
    (?<![\d.]){_HOW_MUCH}\b{_AMOUNT}{_THAN_AT_AMOUNT}(?:(?P<up>higher|faster|greater|heavier|more)|lower|slower|less|lighter)
    \s(?:(?:than (?P<than_end>{_END})|(?P<start>{_START}))|(?:than (?:it was )?{_START}|{_END}))\b
    (?: than (?:it was )?(?:{_START}|{_END})\b)?
    """)
_ABOVE_START = compiled(rf"""
    (?<![\d.]){_HOW_MUCH}\b{_AMOUNT}{_THAN_AT_AMOUNT}(?:(?P<up>above|over)|below|under)
    \s(?:(?:the|its|his|her|their) )?(?:start(?:ing (?:point|value|level))?|beginning|baseline
    |(?:first|initial|admission|opening) (?:value|reading|level|measurement)|where (?:it|he|she) (?:started|began))\b
    """)
_STEPS = compiled(r"""
    \b(?:each|every)\b(?:(?!\bthan\b)[^,;\d])*\b(?:(?P<more>higher|faster|greater)|lower|slower|smaller)\b\s
    than (?:the )?(?:last|previous|preceding|prior|(?:one )?before)\b
    """)
THAN_AT = ((re.compile(rf"{_RELATION}{_START}\b"), 1), (re.compile(rf"{_RELATION}{_END}\b"), -1))


def judge_changes(
    clause: str, channel: dict, values: np.ndarray, negated: bool
) -> tuple[list[tuple[str, Truth]], str]:
    """Judge the changes that a clause states, and return the clause without them."""
    statements, left = [], clause
    if not any(pattern.search(clause) for pattern in (_ANY_CHANGE, _CONTINUED, _BACK)):
        return [], clause
    if going := _CONTINUED.search(clause):
        best = values.max() if going[1] else values.min()
        statements.append(("trend", bool(values[-1] == best) if len(values) and not negated else None))
        left = cut(left, going)
    if back := _BACK.search(clause):
        near = 2 * NOTABLE_CHANGE * channel.get("std", 0)
        near_first = len(values) < 2 or bool(abs(values[-1] - values[0]) <= near)
        same = near_first or all_normal(channel, values[-1:])  # the baseline may be that before the admission
        statements.append(("trend", None if negated else same))
        left = cut(left, back)
    for judged in (_more_at_an_end, _compared, _by_amount, _by_times):
        match, truth = judged(left, channel, values)
        if match is not None:
            statements.append(("trend", None if negated or len(values) < 2 else truth))
            left = cut(left, match)
    return statements, left


def _more_at_an_end(clause: str, channel: dict, values: np.ndarray) -> tuple[re.Match | None, Truth]:
    """Judge "15 beats higher at the end", "2 kg lighter than on admission"."""
    above = _ABOVE_START.search(clause)
    match = above or _MORE_AT.search(clause)
    if match is None or len(values) < 2:
        return match, None
    later = values[::-1] if not above and (match["start"] or match["than_end"]) else values
    amount, half, relative = _amount(clause, match, channel)
    if amount is None or (relative and not later[0]):
        return match, None
    change = (later[-1] - later[0]) * (1 if match["up"] else -1)
    return match, _is_amount(amount, half, match, np.array([100 * change / abs(later[0]) if relative else change]))


def _amount(clause: str, match: re.Match, channel: dict) -> tuple[float | None, float, bool]:
    """Return an amount of change in the channel's unit, half of its last digit, and whether it is a percentage."""
    unit, written = unit_at(clause, match.end("number"))[0], match["number"]
    known, own = scale(channel, unit) if unit else None, channel.get("unit")
    relative = unit == "%" and own not in ("%", "fraction")
    if (unit and known is None and not relative) or (unit == "%" and own == "fraction"):
        return None, 0.0, False
    factor = known.factor if known and not relative else 1.0
    half = factor * 0.505 * 10.0 ** -len(written.partition(".")[2])
    return factor * (_NUMBER_WORDS[written] if written in _NUMBER_WORDS else float(written)), half, relative


def _compared(clause: str, channel: dict, values: np.ndarray) -> tuple[re.Match | None, Truth]:
    """Judge "higher at the end than at the start"."""
    steps = _STEPS.search(clause) if "than" in clause else None
    if steps:
        return steps, bool((np.diff(values) > 0).all() if steps["more"] else (np.diff(values) < 0).all())
    for pattern, way in THAN_AT if "than" in clause else ():
        match = pattern.search(clause)
        if match:
            change = way * (values[-1] - values[0]) if len(values) else 0.0
            return match, bool(change > 0 if match["more"] else change < 0)
    return None, None


def _changes(clause: str, values: np.ndarray, up: bool | None) -> list[tuple[float, float]]:
    """Return the pairs of an earlier and a later value between which a text may state a rise, a fall or a change."""
    if len(values) < 2:
        return []
    if _IN_ALL.search(clause):
        values = values[[0, -1]]
    last, extremes = len(values) - 1, sorted((int(values.argmax()), int(values.argmin())))
    places = {(0, last), tuple(extremes), *((0, at) for at in extremes), *((at, last) for at in extremes)}
    places |= {(at, at + 1) for at in range(last)}
    pairs = [(float(values[one]), float(values[other])) for one, other in places]
    return [pair for pair in pairs if up is None or (pair[1] > pair[0]) == up]


def _by_amount(clause: str, channel: dict, values: np.ndarray) -> tuple[re.Match | None, Truth]:
    """Judge "fell by 20", "lost 2 kg", "a 2-point drop"."""
    for match in (*_BY.finditer(clause), *_NOUN.finditer(clause)):
        _, _, of_another = unit_at(clause, match.end("number"))
        amount_of_another = of_another and not _POINTS.match(clause, match.end("number"))
        if amount_of_another or _RATE.search(clause, match.end()):
            continue  # "increased by 2 units", "by 0.5 per hour"
        amount, half, relative = _amount(clause, match, channel)
        if amount is None:
            return match, None
        if amount >= _MOST_PERCENT and channel.get("unit") == "%" and not _OF_AMOUNT.search(match[0]):
            continue  # "fell 84%" is the value
        up = True if match["up"] else False if match["down"] else None
        pairs = [pair for pair in _changes(clause, values, up) if pair[0] or not relative]
        sizes = np.array([abs(later - earlier) / (abs(earlier) / 100 if relative else 1) for earlier, later in pairs])
        return match, _is_amount(amount, half, match, sizes)
    return None, None


def _is_amount(amount: float, half: float, match: re.Match, sizes: np.ndarray) -> Truth:
    """Return whether one of the changes equals the amount, to within rounding of its last digit."""
    if match["bound"]:
        more = match["bound"] in ("more than", "over", "at least", ">")
        return bool((sizes >= amount - half / 50).any() if more else (sizes <= amount + half / 50).any())
    off = np.abs(sizes - amount)
    if (off <= max(half, 0.1 * amount * bool(match["soft"]))).any():
        return True
    return None if (off <= max(half, 0.15 * amount)).any() else False


def _by_times(clause: str, channel: dict, values: np.ndarray) -> tuple[re.Match | None, Truth]:
    """Judge "doubled", "more than halved", "fell by half"."""
    match = MULTIPLE.search(clause) if _ANY_MULTIPLE.search(clause) else None
    if match is None:
        return None, None
    ratio = _TIMES[match["times"] or "halv"]
    times, pairs = max(ratio, 1 / ratio), [pair for pair in _changes(clause, values, ratio > 1) if min(pair) > 0]
    grown = np.array([max(pair) / min(pair) for pair in pairs])
    if match["more"]:
        return match, bool((grown > times * (1 - 1e-6)).any())
    near = (grown >= times * (0.8 if match["soft"] or match["nearly"] else 0.88)) & (grown <= 1.3 * times)
    far = (grown >= times / _FAR) & (grown <= 1.3 * _FAR * times)
    return match, True if near.any() else None if far.any() else False


__all__ = ["MULTIPLE", "THAN_AT", "judge_changes"]
