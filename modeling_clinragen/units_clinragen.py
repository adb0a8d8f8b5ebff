# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Units next to the numbers of a text, and possible units of numbers without one."""

from __future__ import annotations

import re

from .conversions_clinragen import ALIKE, SAME, SPELLINGS, Scale, scale


_IN_TEXT = {"mmol/L": "mmol mm/l", "µmol/L": "umol", "mEq/L": "meq"}  # with the volume left out
_SPELLED = {
    spelling: unit for table in (SPELLINGS, _IN_TEXT) for unit, words in table.items() for spelling in words.split()
}
# Units of amounts: doses, flows, times. Their numbers are not values of a channel.
_AMOUNT = (
    r"l/min|lpm|l\b|liters?|litres?|ml|cc|mg|mcg|ug|grams?|g\b|units?|mcg/kg/min|u\b|days?|d\b|weeks?|months?|years?|yrs?"
    r"|y/?o|minutes?|mins?\b|doses?|liters? per minute|cm|mm\b|cmh2o|meters?|pack|tablets?|boluse?s?|h\b|hrs?\b"
    r"|hours?|hourly|points?"
)
_PER = r"(?:/(?:kg|h|hr|hour|min|minute|day|d|dose)\b)"
_UNIT = re.compile(
    r"\s*(?:(?P<unit>"
    + "|".join(
        r"\s?".join(re.escape(letter) for letter in spelling) + (r"(?![a-z/])" if spelling[-1].isalnum() else "")
        for spelling in sorted(_SPELLED, key=len, reverse=True)
    )
    + rf")|(?P<amount>-?(?:(?:{_AMOUNT}){_PER}*|(?:mmol|meq){_PER}+)(?![a-z/])))"
)


def unit_at(clause: str, start: int) -> tuple[str | None, int, bool]:
    """Return the unit that follows a number in a clause in lower case, its end, and whether it is an amount."""
    match = _UNIT.match(clause.translate(ALIKE), start)
    if match is None:
        return None, start, False
    if match["amount"]:
        return None, match.end(), True
    return _SPELLED[re.sub(r"\s", "", match["unit"])], match.end(), False


def scales_without_unit(channel: dict, number: float) -> list[Scale]:
    """Return the possible scales of a number without a unit, the likeliest first."""
    unit = channel.get("unit")
    if unit == "fraction" and number > 1:
        return [scale(channel, "%"), SAME]
    if unit == "%" and 0 < number <= 1:
        return [scale(channel, "fraction"), SAME]
    return [scale(channel, "°F"), SAME] if unit == "°C" and number > 60 else [SAME]
