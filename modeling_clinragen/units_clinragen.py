# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Units as people write them, and numbers in them as numbers in a channel's own unit.

Source of the factors: molar masses, as in the AMA Manual of Style's table of conventional and SI units.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Scale(NamedTuple):
    """A number n in a unit is `n * factor + offset` in the channel's."""

    factor: float
    offset: float = 0.0


_SPELLINGS = {  # unit -> how it is written, in lower case and without spaces
    "mmHg": "mmhg torr millimetersofmercury",
    "kPa": "kpa",
    "°C": "°c ºc degc degreesc degreescelsius celsius degreecelsius",
    "°F": "°f ºf degf degreesf degreesfahrenheit fahrenheit f degreefahrenheit",
    "%": "% percent",
    "/min": "/min /minute bpm beats/min beats/minute beatsperminute breaths/min breaths/minute breathsperminute "
    "perminute permin bpmin min-1 brpm",
    "mg/dL": "mg/dl mg% mgperdl mg/100ml",
    "g/dL": "g/dl gm/dl gperdl",
    "g/L": "g/l",
    "mmol/L": "mmol/l mmol mm/l millimol/l millimoles/l",
    "umol/L": "umol/l micromol/l mcmol/l umol micromoles/l",
    "mEq/L": "meq/l meq",
    "kg": "kg kgs kilogram kilograms kilo kilos",
    "lb": "lb lbs pound pounds",
    "U/L": "u/l iu/l units/l",
    "ukat/L": "ukat/l",
    "ng/mL": "ng/ml ug/l mcg/l",
    "ng/L": "ng/l pg/ml",
    "10^9/L": "10^9/l x10^9/l ×10^9/l k/ul 10^3/ul x10^3/ul ×10^3/ul k/mm3 k/mm³ thou/ul 10⁹/l ×10⁹/l",
    "/uL": "/ul /mm3 /mm³ cells/ul cells/mm3 permicroliter",
    "10^12/L": "10^12/l x10^12/l m/ul 10^6/ul x10^6/ul 10¹²/l",
    "fL": "fl",
    "pg": "pg",
    "s": "sec secs seconds",
}
_SPELLED = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
# Amounts beside a channel: doses, flows, times. Their numbers are none of its values.
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

_SAME = Scale(1.0)
_BY_UNIT = {  # (the channel's unit, the written one)
    ("°C", "°F"): Scale(1 / 1.8, -32 / 1.8),
    ("mmHg", "kPa"): Scale(7.50062),
    ("fraction", "%"): Scale(0.01),
    ("kg", "lb"): Scale(1 / 2.20462),
    ("mmol/L", "mEq/L"): _SAME,
    ("g/dL", "g/L"): Scale(0.1),
    ("ng/mL", "ng/L"): Scale(0.001),
    ("10^9/L", "/uL"): Scale(0.001),
    ("U/L", "ukat/L"): Scale(60.0),
}
_BY_SUBSTANCE = {  # (channel, its unit, the written one)
    ("Glucose", "mg/dL", "mmol/L"): Scale(18.016),
    ("Creatinine", "mg/dL", "umol/L"): Scale(1 / 88.42),
    ("Creatinine", "mg/dL", "mmol/L"): Scale(1000 / 88.42),
    ("Blood urea nitrogen", "mg/dL", "mmol/L"): Scale(2.8013),
    ("Total bilirubin", "mg/dL", "umol/L"): Scale(1 / 17.104),
    ("Lactate", "mmol/L", "mg/dL"): Scale(1 / 9.008),
    ("Total calcium", "mg/dL", "mmol/L"): Scale(4.008),
    ("Total calcium", "mg/dL", "mEq/L"): Scale(2.004),
    ("Ionized calcium", "mmol/L", "mg/dL"): Scale(1 / 4.008),
    ("Ionized calcium", "mmol/L", "mEq/L"): Scale(0.5),
    ("Magnesium", "mg/dL", "mmol/L"): Scale(2.4305),
    ("Magnesium", "mg/dL", "mEq/L"): Scale(1.21525),
    ("Phosphate", "mg/dL", "mmol/L"): Scale(3.0974),
    ("Hemoglobin", "g/dL", "mmol/L"): Scale(1.6114),
    ("Fibrinogen", "mg/dL", "g/L"): Scale(100.0),
}


def unit_at(clause: str, start: int) -> tuple[str | None, int, bool]:
    """Return the unit that follows a number in a clause in lower case, its end, and whether it is an amount's."""
    plain = clause.replace("µ", "u").replace("μ", "u").replace("ℓ", "l")
    match = _UNIT.match(plain, start)
    if match is None:
        return None, start, False
    if match["amount"]:
        return None, match.end(), True
    return _SPELLED[re.sub(r"\s", "", match["unit"])], match.end(), False


def scale(channel: dict, unit: str) -> Scale | None:
    """Return what turns numbers in a unit into the channel's; `None` where the channel is not measured in it."""
    own = _SPELLED.get(channel.get("unit", "").lower().replace("µ", "u").replace(" ", ""), channel.get("unit"))
    if unit == own:
        return _SAME
    return _BY_SUBSTANCE.get((channel["name"], own, unit)) or _BY_UNIT.get((own, unit))


def scales_without_unit(channel: dict, number: float) -> list[Scale]:
    """Return what a bare number may mean, the likeliest first: the channel's unit, or one that people leave out."""
    unit = channel.get("unit")
    if unit == "fraction" and number > 1:
        return [_BY_UNIT["fraction", "%"], _SAME]
    if unit == "%" and 0 < number <= 1:
        return [Scale(100.0), _SAME]
    return [_BY_UNIT["°C", "°F"], _SAME] if unit == "°C" and number > 60 else [_SAME]
