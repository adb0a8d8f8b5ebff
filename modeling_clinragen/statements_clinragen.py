# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
What one clause states of one channel, judged against its measured values.

A clause is read from the outside in: the time it speaks of, then counts, numbers, trends and levels. What has been
read is blanked, so that the "first" of "first 6 hours" is no first value and the 3 of "3 times" no measurement.
"""

from __future__ import annotations

import re

import numpy as np

from .phrases_clinragen import any_of, unfolded


_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
COUNT_WORDS = {word: i for i, word in enumerate(_NUMERALS)}
COUNT_WORDS |= {"once": 1, "twice": 2, "thrice": 3, "single": 1, "a single": 1}  # fmt: skip

MIN_VALUES_OF_TREND = 6
HALF_AN_HOUR = 0.5

_N = r"(\d+(?:\.\d+)?)"
_HOURS = r"[\s-]*(?:h|hr|hrs|hours?)\b"
_COUNT = r"(\d+|a single|single|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_ADMISSION = r"(?:(?:the |this )?(?:icu |unit )?(?:admission|arrival|stay|course|icu|unit))"


def _words(pattern: str) -> re.Pattern:
    return re.compile(any_of(pattern))


# time
_FIRST_HOURS = re.compile(
    unfolded(
        rf"""
        (?:\b(?:with)?in|\bduring|\bover|\bfor|\bthroughout|\bacross)?\s*\b(?:the )?(?:first|initial|opening
        |earliest) {_N}{_HOURS}|\b(?:with)?in {_N}{_HOURS} (?:of|after|from|following) {_ADMISSION}
        |\b(?:before|until|by|up to|prior to|through) (?:hour {_N}|{_N}{_HOURS})
        """
    )
)
_AFTER_HOURS = re.compile(
    unfolded(
        rf"""
        \b(?:after|beyond|past|following|later than
        |since) (?:the )?(?:first |initial |opening )?(?:(?:icu )?hour {_N}
        |{_N}{_HOURS})(?: (?:in|of|from|after|into) {_ADMISSION})?
        |\b(?:more than|over|later than) {_N}{_HOURS} (?:after|into|from|past) {_ADMISSION}
        |\bfrom hour {_N} (?:on(?:wards?)?|forward)\b|\bonce past hour {_N}|\bbeyond the {_N}(?:st|nd|rd|th)? hour
        |\bafter the {_N}(?:st|nd|rd|th) hour
        """
    )
)
_AT_HOUR = re.compile(
    unfolded(
        rf"""
        \b(?:at|around|about|near|on|in)? ?(?:about |around |approximately )?(?:(?:the )?hour {_N}
        |{_N}(?:st|nd|rd|th) hour)(?: (?:of|after|into|from) {_ADMISSION})?
        |(?:\bat|\baround|\babout|@)? ?(?:about |around |approximately )?{_N}{_HOURS} (?:after|into|from|post|past
        |since|following) ?{_ADMISSION}|(?:\bat|\baround|@|\bt ?=) ?(?:about |around |approximately )?{_N}{_HOURS}
        """
    )
)
_LAST_HOURS = re.compile(rf"\b(?:(?:with)?in|during|over|for)?\s*(?:the )?(?:last|final|closing) {_N}{_HOURS}")
_FIRST_VALUE = _words(
    r"""
    first|initial(?:ly)?|start(?:ed|s|ing)?|began|begins?|beginning|baseline|earliest|opening
    |(?:on|at|upon) (?:icu |unit )?(?:admission|arrival|presentation|entry)|admission|opened
    """,
)
_LAST_VALUE = _words(
    r"""
    last|final(?:ly)?|most recent|latest|ended|ends|ending|at (?:icu |unit )?discharge|finish(?:ed|es|ing)?
    |at the end|by the end|concluded|closing|closed
    """,
)

# levels
HIGH = r"""
    high(?:er)?(?! of\b)|elevated|elevations?|raised|above|increased|over(?! the| time| an?\b| \d)
    |exceed(?:s|ed|ing)?|exceedance|surpass(?:es|ed|ing)?|supra-?normal|supratherapeutic|fast|rapid|upper
    |spik(?:ed?|es|ing)|excessive(?:ly)?|hypertensive|overweight
"""
LOW = r"""
    low(?:er)?(?! of\b)|reduced|reductions?|below|decreased|depressed|depression|under|beneath|sub-?normal
    |diminished|slow|hypotensive|dip(?:s|ped|ping)? (?:below|under)|desaturat(?:ed|es|ing|ions?)|deficient|short of
"""
_RANGE = unfolded(
    r"""
    (?:(?:the |its |their |a |any )?(?:normal|reference|expected|usual|accepted|physiologic(?:al)?) (?:range|limits?
    |interval|bounds?|band|values?)|range|limits|bounds|wnl)
    """
)
_NORMAL = re.compile(
    unfolded(
        rf"""
        \b(?:with)?in (?:the )?(?:bounds of )?(?:normal|reference) ?(?:range|limits?|bounds?|interval)?|\bwnl\b
        |\bunremarkable\b|\bnormo\w+|\beu(?:glyc\w+|pneic|thermic|cardic|tensive)
        |\b(?:with)?in (?:the |its |their )?{_RANGE}|\binside {_RANGE}|\bin range\b|\bphysiologic(?:al)?\b
        |\breassuring\b|\bnormal\b(?! (?:limit )?(?:two|three|\d))
        """
    )
)
_ABNORMAL = re.compile(
    unfolded(
        rf"""
        \babnormal(?:ities|ity)?\b|\bout(?:side)? (?:of )?(?:the |its |their )?(?:{_RANGE}|normal)|\bderang\w+
        |\b(?:leaves?|left|leaving|depart\w*(?: from)?|stray\w*(?: from| outside)?|deviat\w*(?: from)?) {_RANGE}
        """
    )
)
# "above normal" and "the upper limit of the normal range" say high or low, not normal.
_BOUND = re.compile(
    unfolded(
        rf"""
        \b(above|over|exceed(?:s|ed|ing)?|beyond|past|surpass(?:es|ed|ing)?|crossed|higher than|greater than|below
        |under|beneath|lower than|less than|upper
        |lower)\b(?: (?:the|its|their|any|that|of|what is))*(?: (?:upper|lower))?(?: {_RANGE}
        | (?:limit|bound|end|threshold|cut-?off)s?(?: of (?:the )?(?:normal|reference)(?: range)?| of {_RANGE})?
        | (?:reference|normal)(?: range| limits?)?)
        """
    )
)
_NOT = re.compile(
    unfolded(
        r"""
        \b(?:no|not|never|none|without|denies|denied|absent|absence|neither|nor|free of|lack(?:s|ed|ing)?|failed to
        |at no (?:time|point)|un(?:detected|observed)|negative for)\b|n't\b
        """
    )
)
_PSEUDO_NOT = re.compile(r"\bnot only\b|\bno doubt\b|\bnot surprisingly\b|\bnotably\b")

# counts, numbers
_OCCASION = unfolded(
    r"""
    (?:times|time|occasions?|readings?|measurements?|values?|episodes?|instances?|recordings?|checks?|samples?
    |observations?|points?|measures|determinations|results?|entries|excursions?|spells?|elevations?|dips?|spikes?
    |bouts?|lows|highs|flags?|events?|(?:data )?points?|drops|exceedances)
    """
)
_AT_LEAST = unfolded(
    r"""
    (?:(at least|no fewer than|no less than|more than|fewer than|at most|no more than|only|exactly|just|a total of
    |in total) )?
    """
)
_OF_ALL = re.compile(rf"\b{_COUNT} (?:out )?of (?:the |its |all |a total of )*(\d+)\b(?: \w+)?")
_TIMES = re.compile(
    unfolded(
        rf"""
        \b{_AT_LEAST}{_COUNT} (?:(?:of|the|its|all|separate|distinct|different|individual|documented|recorded
        |charted|measured|consecutive|such|isolated|stored|available|out-of-range
        |data)\s+)*\s*(?:(?:abnormally |markedly |clearly )?(?:elevated|high|low|raised|reduced|abnormal|decreased
        |increased|supranormal|subnormal|depressed|out-of-range)\s+)?{_OCCASION}\b
        |\b{_AT_LEAST}(once|twice|thrice)\b|\b{_AT_LEAST}(?:x|×) ?(\d+)\b|\b{_AT_LEAST}(\d+) ?(?:x|×)(?!\w)
        |\b(?:number(?:s|ed|ing)?|totall?(?:ed|ing|s)?|counts?|count(?:ed)? (?:is|was|of)|n ?=|tally(?: of| is)?
        |amount(?:s|ed|ing)? to) {_AT_LEAST}{_COUNT}\b
        """
    )
)
_MAXIMUM = _words(
    r"""
    up to|as high as|max(?:imum|imal|imally|ima)?|peak(?:s|ed|ing)?(?: value)?|highest|a high of|high of
    |top(?:s|ped|ping)?(?: out)?|crest(?:s|ed|ing)?|zenith|greatest|largest
    |(?:reach(?:es|ed|ing)?|hit|climb(?:ed|s|ing)?|rose|rises|rising|spik(?:ed|es|ing)) (?:to
    |up to)?(?= ?(?:\d|about|around|an?\b))
    """,
)
_MINIMUM = _words(
    r"""
    down to|as low as|(?<!/)(?<!per )min(?:imum|imal|imally|ima)?|lowest|nadir|a low of|low of
    |bottom(?:s|ed|ing)?(?: out)?|trough(?:s|ed)?|smallest|least
    |(?:fell|falls|falling|drop(?:ped|s|ping)?|dip(?:ped|s|ping)?|sank|sinks|declin(?:ed|es|ing)|plunged
    |decreas(?:ed|es|ing)) (?:down )?to(?= ?(?:\d|about|around))
    """,
)
_SPAN = re.compile(
    unfolded(
        rf"""
        \b(?:between|from|rang(?:e[sd]?|ing)(?: of| from| was| is|:| between)?
        |var(?:ied|ies|ying)(?: from| between)?|fluctuat(?:ed|es|ing)(?: from| between)?|span(?:s|ned|ning)|swung
        |oscillat\w+|extremes(?: of| were)?|limits of|anywhere from|vary|stayed
        |ran)\s*(?:between |from |of )?{_N} ?(?:[^\d\s.]\S{{0,6}} ?)?(?:-|–|—|to|and|through) ?{_N}
        |{_N} ?(?:-|–|—) ?{_N}
        """
    )
)
_MOVED = re.compile(
    unfolded(
        rf"""
        \b(?:rose|rises|rising|increas(?:ed|es|ing)|climb(?:ed|s|ing)|went|moved|fell|falls|falling|dropped|drops
        |dropping|declin(?:ed|es|ing)|decreas(?:ed|es|ing)|improv(?:ed|es|ing)|worsen(?:ed|s|ing)|chang(?:ed|es|ing)
        |trend(?:ed|s|ing)? (?:up|down)\w*|drift(?:ed|s|ing)(?: up| down)?\w*) from {_N}[^\d]{{0,12}}? to {_N}
        """
    )
)
_COMPARED = re.compile(
    unfolded(
        rf"""
        (?:\b(above|over|exceed(?:s|ed|ing)?|greater than|more than|higher than|below|under|less than|lower than
        |at least|at most)|([<>]=?|≥|≤)) ?{_N}
        """
    )
)
_MEAN = re.compile(rf"\b(mean|average[ds]?|averaging|median)(?: \w+){{0,3}}? {_N}")
_ALWAYS = _words(r"""
    remain(?:s|ed|ing)?|stay(?:s|ed|ing)?|always|consistently|all|throughout|every|persistently|constantly
    """)
_REFERENCE = re.compile(
    rf"\(?\b(?:normal|reference)(?: range| limits?| interval)?:? ?{_N} ?(?:-|–|to) ?{_N}[^,.;)]*\)?"
)

# trends
_OVER_TIME = unfolded(
    r"""
    (?:over|across|throughout|during|through|along) (?:the )?(?:course|time|stay|entire|whole|icu|hours?|days?
    |admission|observation|period|monitoring)|gradual(?:ly)?|steadi(?:ly|er)|progressive(?:ly)?|continuous(?:ly)?
    |continually|from (?:start|beginning|admission)|toward|by the end|with time|as time|overall|trend\w*|slowly
    |consistently|between the (?:first|beginning|start)|on the whole
    """
)
_RISING = _words(
    rf"""
    rising|climb(?:s|ing|ed)|increasing|upwards?|ascending|up-?trend(?:ing|ed|s)?
    |trend(?:ed|ing|s)? (?:is |was )?(?:up|higher)
    |(?:goes|went|going|drift(?:ed|ing|s)|crept|creeping|edged|moved|heading|headed) (?:up|higher)|on the rise
    |rise[sn]?|rose|increase[sd]?(?= .*(?:{_OVER_TIME}))|(?<=gradual )increase|mounting|increases?(?= (?:in|of)\b)
    |(?:not|no|did not|n't) increase[sd]?|escalat\w+|growing|grew
    """,
)
_FALLING = _words(
    rf"""
    falling|dropp(?:ed|ing)|drops?|declin(?:e[sd]?|ing)|decreasing|downwards?|descending|down-?trend(?:ing|ed|s)?
    |trend(?:ed|ing|s)? (?:is |was )?(?:down|lower)
    |(?:goes|went|going|drift(?:ed|ing|s)|crept|creeping|edged|moved|heading|headed) (?:down|lower)
    |on the (?:decline|way down)|falls?|fell|fallen|sank|sinking|waning|waned|dwindl\w+
    |decrease[sd]?(?= .*(?:{_OVER_TIME}))|(?<=gradual )decrease|decreases?(?= (?:in|of)\b)
    |(?:not|no|did not|n't) decrease[sd]?|tapering|tapered|lessen\w*|abating
    """,
)
_STABLE = re.compile(
    unfolded(
        r"""
        \b(?:stable|steady|unchanged|constant|flat|plateau\w*|unvarying|level over|unaltered|static)\b
        |\b(?:no|without(?: any| a)?|did not show (?:a|any)|lack(?:s|ed)? (?:a|any)
        |n't show (?:a|any)) (?:(?!up|down|rising|falling|increas|decreas)[\w-]+ ){0,3}?(?:trend|change|drift
        |movement)s?\b(?! (?:up|down))|\b(?:not|n't|never|hardly|scarcely|barely
        |little) (?:(?:significantly|appreciably|materially|really|substantially|meaningfully
        |overall) )?(?:change[sd]?|changing|drift(?:ed)?|move[ds]?
        |trend(?:ed|ing)?(?! up| down| higher| lower| toward))\b
        |\bneither (?:rose|rising|rises|increased|increasing|climb\w+|up)\b.*\bnor\b|\bheld (?:steady|its|constant)
        |\bremained (?:about |much |essentially |roughly |largely )*the same
        """
    )
)

# measured or not
_TAKEN = unfolded(
    r"""
    (?:measured|recorded|available|charted|documented|obtained|monitored|checked|weighed|assessed|taken|reported
    |tracked|captured|logged|sampled|drawn|performed|provided|entered|given|present in|found in|part of|tested
    |collected|noted|registered|followed|observed)
    """
)
_UNMEASURED = re.compile(
    unfolded(
        rf"""
        \b(?:not|never|n't|neither|nor)(?: \w+)?? (?:been )?{_TAKEN}\b|n't (?:been )?{_TAKEN}
        |\bun(?:measured|available|recorded|documented|known|charted|monitored)\b|\bmissing\b|\black(?:s|ed|ing)\b
        |\b(?:no|without(?: any)?|absence of|absent|zero)\b[^,]*?\b(?:measurements?|data|values?|readings?
        |recordings?|records?|entries|entry|information|results?|observations?|samples?|figures?|monitoring
        |determinations?|series)\b|\bno\b[^,]*?\b{_TAKEN}\b|\babsent from\b|\bnot in the (?:record|data|series)
        |\bdata gap|\bomitted\b|\bnowhere\b|\bnone\b[^,]*?\b{_TAKEN}\b|\bempty\b|\bno \S*\s*$|\bnot (?:part|among)\b
        |\bdoes not (?:include|contain|appear|exist)
        |\b(?:did|does|do|could|can|was|were|is|are) ?n(?:o|')t (?:undergo|have|include|contain|appear)
        """
    )
)
_MEASURED = re.compile(
    unfolded(
        rf"""
        \b{_TAKEN}\b|\bexists?\b|\bavailable\b|\b(?:measurements?|values?|readings?|data) (?:are|were|is|was|exist)
        |\bwe have\b|\bappears?\b|\bhas (?:values|measurements|data|readings)\b|\bcontains?\b|\bincludes?\b
        """
    )
)


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
    clause = _PSEUDO_NOT.sub(_blank, _REFERENCE.sub(_blank, clause))
    negated = _is_negated(clause)
    clause, moment, hours_in, values_in, timed = _restrict(clause, hours, values)
    statements = _states_measured(clause, finding, timed, len(values))
    if not statements:
        statements = _read(clause, finding, channel, moment, negated, hours_in, values_in, values)
    if not statements:
        return "other", None
    kind = "time" if timed and statements[0][0] != "unmeasured" else statements[0][0]
    if statements[0][0] == "unmeasured":
        return kind, statements[0][1]
    if not len(values):
        return kind, False
    verdicts = [holds for _, holds in statements]
    return kind, None if None in verdicts and False not in verdicts else all(verdicts)


def _blank(match: re.Match) -> str:
    return " " * len(match[0])


def _is_negated(clause: str) -> bool:
    return bool(_NOT.search(clause))


def _numbers(match: re.Match) -> list[str]:
    return [group for group in match.groups() if group and re.fullmatch(r"\d+(?:\.\d+)?", group)]


def _restrict(clause: str, hours: np.ndarray, values: np.ndarray):
    """The clause without its words of time; the hour or the end that it speaks of; and the values of that time."""
    for pattern, within in (
        (_AFTER_HOURS, lambda n: hours > n),
        (_FIRST_HOURS, lambda n: hours <= n),
        (_LAST_HOURS, lambda n: hours >= (hours[-1] - n if len(hours) else 0)),
    ):
        match = pattern.search(clause)
        if match:
            keep = within(float(_numbers(match)[0]))
            return _cut(clause, match), None, hours[keep], values[keep], True
    match = _AT_HOUR.search(clause)
    if match:
        return _cut(clause, match), float(_numbers(match)[0]), hours, values, True
    return clause, None, hours, values, False


def _cut(clause: str, match: re.Match) -> str:
    return clause[: match.start()] + " " * len(match[0]) + clause[match.end() :]


def _states_measured(clause: str, finding: str | None, timed: bool, count: int) -> list[tuple[str, bool]]:
    """Whether the clause says that the channel was, or was not, measured at all."""
    if (
        finding
        or timed
        or re.search(r"\d", clause)
        or _levels_said(clause)
        or _NORMAL.search(clause)
        or _ABNORMAL.search(clause)
    ):
        return []
    if _RISING.search(clause) or _FALLING.search(clause) or _STABLE.search(clause):
        return []
    if any(not (m[1] and _count(m[2] or "0") == 1) for m in _TIMES.finditer(clause)):
        return []  # a count; "at least one" is none
    if _UNMEASURED.search(clause):
        return [("unmeasured", count == 0)]
    return [("unmeasured", count > 0)] if _MEASURED.search(clause) and not _NOT.search(clause) else []


def _read(clause, finding, channel, moment, negated, hours, values, all_values) -> list[tuple[str, bool | None]]:
    directions = _levels_said(clause)
    if finding in ("normal", "not_high"):
        return _levels(
            "normal" if finding == "normal" else "",
            [] if finding == "normal" else [(0, "high")],
            channel,
            negated != (finding == "not_high"),
            values,
        )
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
        trends = _trends(clause_left, negated, values, bool(finding) or bool(_BOUND.search(clause_left)))
        if trends:
            return trends
    return _levels(clause_left, directions, channel, negated, values[near])


def _levels_said(clause: str) -> list[tuple[int, str]]:
    """Where the clause says high or low, in order."""
    found = {m.start(): "high" if _says_high(m[1]) else "low" for m in _BOUND.finditer(clause)}
    rest = _BOUND.sub(_blank, clause)
    found |= {m.start(): "high" for m in _HIGH_WORD.finditer(rest)}
    found |= {m.start(): "low" for m in _LOW_WORD.finditer(rest)}
    return sorted((at, way) for at, way in found.items() if not re.match(r"(?:high|low) as\b", clause[at:]))


def _says_high(word: str) -> bool:
    return not word.startswith(("below", "under", "beneath", "lower", "less"))


_HIGH_WORD, _LOW_WORD = _words(HIGH), _words(LOW)


def outside(channel: dict, values: np.ndarray, direction: str) -> int:
    """How many values are above (`"high"`) or below (`"low"`) normal."""
    return int(((values > channel["high"]) if direction == "high" else (values < channel["low"])).sum())


def _counts(clause, directions, channel, values) -> tuple[list[tuple[str, bool]], str]:
    said, left = [], clause
    share = _OF_ALL.search(clause)
    if share and (directions or _ABNORMAL.search(clause)):
        number = _count(share[1])
        return [
            ("count", _count_of(clause, directions, share, channel, values) == number and len(values) == int(share[2]))
        ], left
    for match in _TIMES.finditer(clause):
        groups = [group for group in match.groups() if group]
        least = groups[0] if groups[0] not in COUNT_WORDS and not groups[0].isdigit() else ""
        number = _count(groups[-1])
        if not directions and not _ABNORMAL.search(clause):
            rest = clause[: match.start()] + clause[match.end() :]
            if number == 1 or re.search(r"\d", rest) or not re.search(rf"\b{_TAKEN}\b", rest):
                continue
            found = len(values)
        else:
            found = _count_of(clause, directions, match, channel, values)
        said.append(("count", _compare_count(found, least, number)))
        left = left[: match.start()] + " " * len(match[0]) + left[match.end() :]
    if said and all(
        re.fullmatch(r"(?:at least|no fewer than|no less than)", m[1] or "") and _count(m[2] or "0") == 1
        for m in _TIMES.finditer(clause)
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
    """What the clause says of numbers, and of when the extremes were."""
    moved, span = _MOVED.search(clause), _SPAN.search(clause)
    if moved:
        first, last = _numbers(moved)
        return [("value", _in_order(first, last, channel, values))]
    if span:
        low, high = sorted(_numbers(span), key=float)
        return [
            ("value", _matches(low, _lowest(values), channel)),
            ("value", _matches(high, _highest(values), channel)),
        ]
    mean = _MEAN.search(clause)
    if mean:
        middle = np.median if mean[1] == "median" else np.mean
        return [("value", bool(len(values)) and _is_about(mean[2], middle(values), channel))]
    compared = _COMPARED.search(clause)
    if compared and not _MAXIMUM.search(clause) and not _MINIMUM.search(clause):
        return [("value", _compares(clause, compared, negated, channel, values))]
    statements = []
    for match in re.finditer(_N, clause):
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
    """Whether the number of a match is the extreme, the first, the last or any value, as the clause says."""
    extreme = _extreme_before(clause, match.start()) or _extreme_before(clause, len(clause))
    if extreme:
        candidates = _highest(values) if extreme == "maximum" else _lowest(values)
        at_moment = True
        if moment is not None and len(values):
            at_moment = bool((np.abs(hours[values == candidates[0]] - moment) <= HALF_AN_HOUR).any())
        return _matches(match[0], candidates, channel) and at_moment
    if moment is not None:
        return _matches(match[0], values[np.abs(hours - moment) <= HALF_AN_HOUR], channel)
    if _FIRST_VALUE.search(clause):
        return _matches(match[0], values[:1], channel)
    if _LAST_VALUE.search(clause):
        return _matches(match[0], values[-1:], channel)
    return _matches(match[0], values, channel)


def _extreme_before(clause: str, end: int) -> str | None:
    """The last word for a maximum or a minimum before that place."""
    found = [(m.end(), "maximum") for m in _MAXIMUM.finditer(clause, 0, end)]
    found += [(m.end(), "minimum") for m in _MINIMUM.finditer(clause, 0, end)]
    return max(found)[1] if found else None


def _highest(values: np.ndarray) -> np.ndarray:
    return values.max(keepdims=True) if len(values) else values


def _lowest(values: np.ndarray) -> np.ndarray:
    return values.min(keepdims=True) if len(values) else values


def _forms(values: np.ndarray, channel: dict) -> list[np.ndarray]:
    """The values in the channel's unit, and in one that people write them in."""
    forms = [values]
    if channel.get("unit") == "fraction":
        forms.append(values * 100)
    if channel.get("unit") == "°C":
        forms.append(values * 1.8 + 32)
    return forms


def _matches(number: str, candidates: np.ndarray, channel: dict) -> bool:
    """Whether a candidate is the number as written, rounded to its digits."""
    half = 0.5 * 10 ** -len(number.partition(".")[2])
    return any(
        (np.abs(form - float(number)) <= half + 1e-6 * np.abs(form)).any() for form in _forms(candidates, channel)
    )


def _is_about(number: str, value: float, channel: dict) -> bool:
    """The same for a mean, which is rarely written to all its digits."""
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
    up = (
        not (match[1] or "").startswith(("below", "under", "less", "lower", "at most"))
        and (match[2] or ">")[0] in ">≥"
    )
    equal = word in ("at least", "at most", ">=", "<=", "≥", "≤")
    holds = (
        (values >= number if equal else values > number) if up else (values <= number if equal else values < number)
    )
    if negated:
        return bool(len(values)) and not holds.any()
    return bool(len(values)) and bool(holds.all() if _ALWAYS.search(clause) else holds.any())


def _trends(clause, negated, values, has_level: bool) -> list[tuple[str, bool | None]]:
    said = "stable" if _STABLE.search(clause) else None
    if said is None and not has_level:
        rising, falling = _RISING.search(clause), _FALLING.search(clause)
        said = "rising" if rising else "falling" if falling else None
    if said is None:
        return []
    if len(values) < MIN_VALUES_OF_TREND:
        return [("trend", None if len(values) else False)]
    if said == "stable":
        word = _STABLE.search(clause)[0]
        return [
            (
                "trend",
                (trend_of(values) == said)
                != (bool(re.match(r"stable|steady|unchanged|constant|flat", word)) and negated),
            )
        ]
    return [("trend", (trend_of(values) == said) != negated)]


def trend_of(values: np.ndarray) -> str:
    """`rising`, `falling` or `stable`: medians of the first and last third, against half the interquartile range."""
    third = len(values) // 3
    change = np.median(values[-third:]) - np.median(values[:third])
    spread = np.subtract(*np.percentile(values, [75, 25]))
    return "stable" if abs(change) <= 0.5 * spread else ("rising" if change > 0 else "falling")


def _levels(clause, directions, channel, negated, values) -> list[tuple[str, bool]]:
    if _ABNORMAL.search(clause) and not directions:
        out = outside(channel, values, "high") + outside(channel, values, "low") > 0
        return [("level", bool(len(values)) and out != negated)]
    if not directions and _NORMAL.search(_BOUND.sub(_blank, clause)):
        inside = bool(len(values)) and outside(channel, values, "high") == outside(channel, values, "low") == 0
        return [("level", bool(len(values)) and inside != negated)]
    first_or_last = (
        values[:1] if _FIRST_VALUE.search(clause) else values[-1:] if _LAST_VALUE.search(clause) else values
    )
    ways = list(dict.fromkeys(way for _, way in directions))
    if negated:
        return [("level", bool(len(values)) and outside(channel, first_or_last, way) == 0) for way in ways]
    return [("level", outside(channel, first_or_last, way) > 0) for way in ways]
