# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Numbers of a sentence put right from the record: an extreme, a first or last value, or a count, where nothing else of
the sentence is wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np

from .claims_clinragen import Claim, ClaimChecker
from .clinical_clinragen import usual_limits


MAX_NUMBERS = 2  # of one clause that are exchanged together
_NUMBER = re.compile(r"(?<![\w.])(?<!\bhour )\d+(?:\.\d+)?(?![\w.]*\d)")  # an hour is none of the channel's values
# What words just before a number say which of the channel's values it is.
_EXTREMES = (
    (re.compile(r"\b(?:up to|peak(?:ed)?(?: at| of)?|maximum(?: of)?|as high as|high of)(?: an?)? $"), np.max),
    (re.compile(r"\b(?:down to|minimum(?: of)?|nadir(?: of)?|as low as|low of)(?: an?)? $"), np.min),
)
_COUNTED = re.compile(r"\b(\d+) times?\b")


class NumberRepair:
    """
    Exchange wrong numbers of claims about the series.

    A number is exchanged for the one of first, last, lowest and highest value, and counts beyond the usual limits,
    that makes its claim true. It must be the only one: where the words do not say which value they mean, any would do,
    and none is taken.

    Args:
        check (`ClaimChecker`): decides what is true.
    """

    def __init__(self, check: ClaimChecker):
        self.check = check

    def __call__(self, sentence: str, claims: list[Claim], lab_times, lab_values) -> str | None:
        """Return the sentence with the numbers of contradicted claims put right; `None` where that is not enough."""
        for claim in reversed(claims):  # from the end, so that places before stay
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
        for exchanged in range(1, len(numbers) + 1):
            right = {
                clause
                for clause in _variants(claim.text, numbers, exchanged, channel, values)
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
    clause: str, numbers: list[re.Match], exchanged: int, channel: dict, values: np.ndarray
) -> Iterator[str]:
    """Yield the clause with so many of its numbers exchanged."""
    for chosen in itertools.combinations(numbers, exchanged):
        choices = [[form for form in _forms(clause, n, channel, values) if form != n[0]] for n in chosen]
        for forms in itertools.product(*choices):
            written, end = "", 0
            for number, form in zip(chosen, forms, strict=True):
                written += clause[end : number.start()] + form
                end = number.end()
            written += clause[end:]
            if len(set(_NUMBER.findall(written))) == len(numbers):  # "7 times, up to 7 times" says nothing
                yield _COUNTED.sub(_with_plural, written)


def _with_plural(match: re.Match) -> str:
    return f"{match[1]} time" if match[1] == "1" else f"{match[1]} times"


def _forms(clause: str, number: re.Match, channel: dict, values: np.ndarray) -> list[str]:
    """Return the numbers of the record that may stand in the place of a number, as it is written."""
    if not len(values):
        return []
    if re.match(r" (?:times?|values?|measurements?|readings?|of)\b", clause[number.end() :]):
        low, high = usual_limits(channel)
        above, below = int((values > high).sum()), int((values < low).sum())
        return list(dict.fromkeys(str(count) for count in (above, below, above + below, len(values)) if count))
    percent = channel.get("unit") == "fraction" and clause[number.end() :].lstrip().startswith("%")
    decimals = 0 if percent else channel.get("decimals", 1)
    lead = clause[: number.start()]
    extreme = next((of for words, of in _EXTREMES if words.search(lead)), None)
    told = [values[0], values[-1], values.min(), values.max()] if extreme is None else [extreme(values)]
    forms = dict.fromkeys(f"{value * (100 if percent else 1):.{decimals}f}" for value in told)
    # nothing falls or rises to its first value
    if extreme is None and re.search(r"\bto (?:an? )?$", lead):
        del forms[next(iter(forms))]
    return list(forms)


__all__ = ["NumberRepair"]
