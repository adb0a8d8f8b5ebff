# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Units, their spellings, and the conversion of numbers to a channel's own unit.

One table for all uses: the columns of a hospital's tables, the units of a record, and the units next to a number.
Source of the factors: molar masses, as in the AMA Manual of Style's table of conventional and SI units. Urea nitrogen,
phosphate and magnesium are converted as the element (N2, P, Mg), hemoglobin as one chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .clinical_clinragen import ClinRaGenInputError


DIGITS = 12  # of a converted number; further digits are rounding error, and would put 113 °F above 45 °C


class Scale(NamedTuple):
    """A linear conversion: n in a unit is `n * factor + offset` in the channel's unit."""

    factor: float
    offset: float = 0.0

    def of(self, numbers: float | Sequence[float] | np.ndarray) -> np.ndarray:
        """Return numbers in the channel's unit, to twelve digits."""
        numbers = np.asarray(numbers, dtype=np.float64)
        if self == SAME:
            return numbers
        converted = numbers * self.factor + self.offset
        return np.array([float(f"{number:.{DIGITS}g}") for number in converted.flat]).reshape(numbers.shape)


SAME = Scale(1.0)

SPELLINGS = {  # unit -> its spellings in any text, as `plain_unit` returns them
    "mmHg": "mmhg torr millimetersofmercury",
    "kPa": "kpa",
    "°C": "°c degc degreesc degreescelsius celsius degreecelsius",
    "°F": "°f degf degreesf degreesfahrenheit fahrenheit f degreefahrenheit",
    "%": "% percent",
    "/min": "/min /minute bpm beats/min beats/minute beatsperminute breaths/min breaths/minute breathsperminute "
    "perminute permin bpmin min-1 brpm",
    "mg/dL": "mg/dl mg% mgperdl mg/100ml",
    "g/dL": "g/dl gm/dl gperdl",
    "g/L": "g/l",
    "mmol/L": "mmol/l millimol/l millimoles/l",
    "µmol/L": "umol/l micromol/l mcmol/l micromoles/l",
    "mEq/L": "meq/l",
    "kg": "kg kgs kilogram kilograms kilo kilos",
    "lb": "lb lbs pound pounds",
    "U/L": "u/l iu/l units/l",
    "µkat/L": "ukat/l",
    "ng/mL": "ng/ml ug/l mcg/l",
    "ng/L": "ng/l pg/ml",
    "10^9/L": "10^9/l x10^9/l k/ul 10^3/ul x10^3/ul k/mm3 k/mm³ thou/ul 10⁹/l x10⁹/l",
    "/µL": "/ul /mm3 /mm³ cells/ul cells/mm3 permicroliter",
    "10^12/L": "10^12/l x10^12/l m/ul 10^6/ul x10^6/ul 10¹²/l",
    "fL": "fl",
    "pg": "pg",
    "s": "sec secs seconds",
}
_IN_FIELDS = {  # further spellings where only a unit can occur: a column of units, a field of a record
    "mmHg": "mm[hg]",
    "°C": "c cel ℃ °celsius",
    "°F": "[degf] ℉ °fahrenheit",
    "%": "pct",
    "fraction": "fraction l/l",
    "ratio": "ratio 1 {ratio} inr {inr}",
    "/min": "1/min insp/min {beats}/min {breaths}/min br/min resp/min b/min",
    "g/dL": "g%",
    "mg/L": "mg/l",
    "g": "g gram grams gm",
    "lb": "[lb_av]",
    "oz": "oz ounce ounces",
    "U/L": "[iu]/l",
    "mEq/L": "mval/l",
    "10^9/L": "k/mcl 10*9/l 10*3/ul thousand/ul /nl 1/nl gpt/l giga/l tsd/ul 10e9/l 10e3/ul",
    "/µL": "{cells}/ul",
    "10^12/L": "m/mcl m/mm3 10*12/l 10*6/ul /pl 1/pl tpt/l t/l tera/l mio/ul 10e12/l 10e6/ul",
    "s": "s second sek sekunden",
    "pH": "ph units phunits [ph] unit(s)",
    "fL": "um3",
    "fmol": "fmol",
}
SPELLED = {
    spelling: unit for table in (SPELLINGS, _IN_FIELDS) for unit, words in table.items() for spelling in words.split()
}
UNITS = tuple(dict.fromkeys(SPELLED.values()))

_OF_ALL = {  # (from, to), for any channel
    ("°F", "°C"): Scale(1 / 1.8, -32 / 1.8),
    ("lb", "kg"): Scale(0.45359237),
    ("oz", "kg"): Scale(0.028349523125),
    ("g", "kg"): Scale(0.001),
    ("kPa", "mmHg"): Scale(7.500616827),
    ("%", "fraction"): Scale(0.01),
    ("fraction", "%"): Scale(100.0),
    ("ratio", "fraction"): SAME,
    ("fraction", "ratio"): SAME,
    ("ratio", "%"): Scale(100.0),  # not the reverse: a prothrombin time in % is not a ratio
    ("g/L", "g/dL"): Scale(0.1),
    ("g/L", "mg/dL"): Scale(100.0),
    ("g/dL", "mg/dL"): Scale(1000.0),
    ("mg/dL", "g/dL"): Scale(0.001),
    ("mg/L", "mg/dL"): Scale(0.1),
    ("ng/L", "ng/mL"): Scale(0.001),
    ("µkat/L", "U/L"): Scale(60.0),
    ("/µL", "10^9/L"): Scale(0.001),
    ("/µL", "10^12/L"): Scale(1e-6),
}
GIGA_PER_LITRE = ("10^9/L", "g/L")  # a count of cells in "G/l": no count is in grams
_MONOVALENT = ("Sodium", "Potassium", "Chloride", "Bicarbonate", "Anion gap", "Base excess", "Lactate")
_OF_SUBSTANCE = {  # (channel, from, to)
    **{(channel, "mEq/L", "mmol/L"): SAME for channel in _MONOVALENT},
    ("Glucose", "mmol/L", "mg/dL"): Scale(18.016),
    ("Creatinine", "µmol/L", "mg/dL"): Scale(0.011312),
    ("Creatinine", "mmol/L", "mg/dL"): Scale(11.312),
    ("Blood urea nitrogen", "mmol/L", "mg/dL"): Scale(2.8013),
    ("Total bilirubin", "µmol/L", "mg/dL"): Scale(0.058467),
    ("Lactate", "mg/dL", "mmol/L"): Scale(1 / 9.008),
    ("Total calcium", "mmol/L", "mg/dL"): Scale(4.0078),
    ("Total calcium", "mEq/L", "mg/dL"): Scale(2.0039),
    ("Ionized calcium", "mg/dL", "mmol/L"): Scale(1 / 4.0078),
    ("Ionized calcium", "mEq/L", "mmol/L"): Scale(0.5),
    ("Magnesium", "mmol/L", "mg/dL"): Scale(2.4305),
    ("Magnesium", "mEq/L", "mg/dL"): Scale(1.21525),
    ("Phosphate", "mmol/L", "mg/dL"): Scale(3.0974),
    ("Hemoglobin", "mmol/L", "g/dL"): Scale(1.6114),
    ("Mean corpuscular hemoglobin concentration", "mmol/L", "g/dL"): Scale(1.6114),
    ("Mean corpuscular hemoglobin", "fmol", "pg"): Scale(16.114),
}
ALIKE = str.maketrans("µμº˚ℓ×", "uu°°lx")  # one character for each group of similar ones


def plain_unit(written: str) -> str:
    """Normalise a unit: lower case, without spaces and dots, and one character for similar ones."""
    return "".join(written.lower().translate(ALIKE).replace(".", "").split())


def unit_name(written: str) -> str:
    """Return the unit with this spelling; an unknown spelling is returned as it is."""
    return SPELLED.get(plain_unit(written), written.strip())


def scale(channel: dict, unit: str) -> Scale | None:
    """Return the conversion from a unit to the channel's; `None` if the channel is not measured in it."""
    own, given = unit_name(channel.get("unit", "")), unit_name(unit)
    if own == given or (own, given) == GIGA_PER_LITRE:
        return SAME
    return _OF_SUBSTANCE.get((channel["name"], given, own)) or _OF_ALL.get((given, own))


def units_of(channel: dict) -> Iterator[str]:
    """Yield the units that a channel's values may have, its own first."""
    yield channel["unit"]
    own = unit_name(channel["unit"])
    others = (unit for unit in UNITS if unit != own and (own, unit) != GIGA_PER_LITRE)
    yield from (unit for unit in others if scale(channel, unit))


def known_scale(channel: dict, unit: object, where: str = "") -> Scale:
    """
    Return the conversion from a unit to the channel's; an empty unit is the channel's own.

    Raises:
        ClinRaGenInputError: beginning with `where`, if the unit is not one of the channel's.
    """
    known = scale(channel, unit or channel["unit"]) if isinstance(unit, str) else None
    if known is None:
        shown = repr(unit[:40]) if isinstance(unit, str) else f"of type {type(unit).__name__}"
        raise ClinRaGenInputError(
            f"{where}unit {shown} is unknown for {channel['name']}; give {', '.join(units_of(channel))}, or convert "
            "the values"
        )
    return known
