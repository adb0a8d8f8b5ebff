# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Correct sentences: replace wrong numbers by those of the record where nothing else is wrong, and leave out of
enumerations the findings that are not in the record.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from .claims_clinragen import Claim, ClaimChecker
from .clinical_clinragen import usual_limits
from .realization_clinragen import listed, sentence_case, with_singular_verb


MAX_NUMBERS = 2  # of one clause that are replaced together
_NUMBER = re.compile(r"(?<![\w.])(?<!\bhour )\d+(?:\.\d+)?(?![\w.]*\d)")  # an hour is not a value of the channel
# Words just before a number that say which of the channel's values it is.
_EXTREMES = (
    (re.compile(r"\b(?:up to|peak(?:ed)?(?: at| of)?|maximum(?: of)?|as high as|high of)(?: an?)? $"), np.max),
    (re.compile(r"\b(?:down to|minimum(?: of)?|nadir(?: of)?|as low as|low of)(?: an?)? $"), np.min),
)
_COUNTED = re.compile(r"\b(\d+) times?\b")


class NumberRepair:
    """
    Replace wrong numbers in claims about the series.

    Candidates are the first, last, lowest and highest value, and the counts beyond the usual limits. A number is
    replaced only if exactly one candidate makes its claim true: where several do, the words do not say which is meant.

    Args:
        check (`ClaimChecker`): judges the claims.
    """

    def __init__(self, check: ClaimChecker):
        self.check = check

    def __call__(self, sentence: str, claims: list[Claim], lab_times, lab_values) -> str | None:
        """Return the sentence with the numbers of contradicted claims corrected; `None` if that is not enough."""
        for claim in reversed(claims):  # from the end, so that earlier positions stay valid
            if claim.verdict != "contradicted":
                continue
            clause = self._repaired(claim, lab_times, lab_values)
            if clause is None:
                return None
            sentence = sentence[: claim.start] + clause + sentence[claim.end :]
        return sentence

    def _repaired(self, claim: Claim, lab_times, lab_values) -> str | None:
        numbers = list(_NUMBER.finditer(claim.text))
        if claim.channel is None or not 1 <= len(numbers) <= MAX_NUMBERS:
            return None
        column = lab_values[:, self.check.position[claim.channel]]
        channel, values = self.check.channels[self.check.position[claim.channel]], column[~np.isnan(column)]
        for num_replaced in range(1, len(numbers) + 1):
            right = {
                clause
                for clause in _variants(claim.text, numbers, num_replaced, channel, values)
                if self._holds(clause, claim.channel, lab_times, lab_values)
            }
            if right:
                return right.pop() if len(right) == 1 else None
        return None

    def _holds(self, clause: str, channel: str, lab_times, lab_values) -> bool:
        claims = self.check(clause, lab_times, lab_values, only_support=True)
        found = [claim for claim in claims if claim.channel is not None]
        return bool(found) and all(c.channel == channel and c.verdict == "supported" for c in found)


def _variants(
    clause: str, numbers: list[re.Match], num_replaced: int, channel: dict, values: np.ndarray
) -> Iterator[str]:
    """Yield the clause with `num_replaced` of its numbers replaced, in every combination."""
    for chosen in itertools.combinations(numbers, num_replaced):
        choices = [[form for form in _forms(clause, n, channel, values) if form != n[0]] for n in chosen]
        for forms in itertools.product(*choices):
            written, end = "", 0
            for number, form in zip(chosen, forms, strict=True):
                written += clause[end : number.start()] + form
                end = number.end()
            written += clause[end:]
            if len(set(_NUMBER.findall(written))) == len(numbers):  # "7 times, up to 7 times" is meaningless
                yield _COUNTED.sub(_with_plural, written)


def _with_plural(match: re.Match) -> str:
    return f"{match[1]} time" if match[1] == "1" else f"{match[1]} times"


def _forms(clause: str, number: re.Match, channel: dict, values: np.ndarray) -> list[str]:
    """Return the numbers of the record that may replace a number, in its format."""
    if not len(values):
        return []
    if re.match(r" (?:times?|values?|measurements?|readings?|of)\b", clause[number.end() :]):
        low, high = usual_limits(channel)
        above, below = int((values > high).sum()), int((values < low).sum())
        return list(dict.fromkeys(str(count) for count in (above, below, above + below, len(values)) if count))
    percent = channel.get("unit") == "fraction" and clause[number.end() :].lstrip().startswith("%")
    decimals = 0 if percent else channel.get("decimals", 1)
    lead = clause[: number.start()]
    extreme = next((reduce for words, reduce in _EXTREMES if words.search(lead)), None)
    candidates = [values[0], values[-1], values.min(), values.max()] if extreme is None else [extreme(values)]
    forms = dict.fromkeys(f"{value * (100 if percent else 1):.{decimals}f}" for value in candidates)
    # a course does not lead to its first value
    if extreme is None and re.search(r"\bto (?:an? )?$", lead):
        del forms[next(iter(forms))]
    return list(forms)


_ARTICLE = r"(?:an? |the (?:finding |use of )?|being )?[\"“]?"  # words that the teacher writes before a finding
_BETWEEN = re.compile(rf"[\"”]?(?:,? and|,) {_ARTICLE}")
_WITHIN = re.compile(r" (?:with|without|of|on|in|from|after|to|for|at|by) (?:an? |the )?")  # "nausea with chest pain"
_LEAD = re.compile(rf"(?:(?<!\w){_ARTICLE})?$", re.IGNORECASE)
_RELATIVE = re.compile(r",? which (?:is|are) (?:also )?\w+ by $")
_QUOTE_END = re.compile(r"[\"”]?")


def without_findings(sentence: str, claims: list[Claim], wrong: Collection[int]) -> str | None:
    """
    Leave findings out of the enumerations of a sentence about a note.

    Args:
        sentence (`str`): one sentence.
        claims (list of [`Claim`]): its findings.
        wrong (collection of `int`): positions in `claims` of those to leave out.

    Returns:
        `str`: the sentence without them; `None` if no sentence would remain.
    """
    for run in reversed(_enumerations(sentence, claims, wrong)):  # from the end, so that earlier positions stay valid
        if not all(item.is_right for item in run):
            sentence = _shortened(sentence, run)
        if sentence is None:
            return None
    return sentence_case(sentence)


@dataclass(frozen=True)
class _Item:
    """Hold the span of an enumerated item, with article and quotation marks, and whether the item is right."""

    start: int
    end: int
    is_right: bool


def _enumerations(sentence: str, claims: list[Claim], wrong: Collection[int]) -> list[list[_Item]]:
    """Group the findings of a sentence into items, and the items into enumerations."""
    runs: list[list[_Item]] = []
    for i in sorted(range(len(claims)), key=lambda i: claims[i].start):
        start = _LEAD.search(sentence, 0, claims[i].start).start()
        item = _Item(start, _QUOTE_END.match(sentence, claims[i].end).end(), i not in wrong)
        before = runs[-1][-1] if runs else None
        if before and _WITHIN.fullmatch(sentence, before.end, claims[i].start):
            runs[-1][-1] = _Item(before.start, item.end, before.is_right and item.is_right)
        elif before and _BETWEEN.fullmatch(sentence, before.end, claims[i].start):
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


def _shortened(sentence: str, run: list[_Item]) -> str | None:
    kept = [sentence[item.start : item.end] for item in run if item.is_right]
    lead, tail = sentence[: run[0].start], sentence[run[-1].end :]
    if kept:
        tail = with_singular_verb(tail, kept[0]) if len(kept) == 1 < len(run) else tail
        return None if tail is None else lead + listed(kept) + tail
    relative = _RELATIVE.search(lead)  # "the note mentions X, which is supported by nothing"
    return lead[: relative.start()] + tail if relative and len(tail) == 1 else None


__all__ = ["NumberRepair", "without_findings"]
