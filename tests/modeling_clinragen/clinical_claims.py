# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims in clinical words about random series, with independently computed verdicts.

Each fact of `clinical_wordings.yaml` is a method of `Facts`: it draws the slots of a sentence, true or false, and
computes the verdict: `supported`, `contradicted`, or `unverifiable` between a usual and a clear limit.
"""

import random
from dataclasses import dataclass

import numpy as np

from tests.modeling_clinragen.clinical_records import (
    PRESSURES,
    counts,
    false_value,
    in_order,
    is_normal,
    is_side,
    level,
    written,
)


DRAWS = 400
SPOKEN = {
    "Heart Rate": ["heart rate", "HR", "pulse"],
    "Systolic blood pressure": ["systolic blood pressure", "SBP", "systolic pressure"],
    "Diastolic blood pressure": ["diastolic blood pressure", "DBP"],
    "Mean blood pressure": ["MAP", "mean arterial pressure"],
    "Oxygen saturation": ["SpO2", "oxygen saturation", "O2 sat"],
    "Respiratory rate": ["respiratory rate", "RR"],
    "Temperature": ["temperature", "temp"],
    "Fraction inspired oxygen": ["FiO2"],
    "Blood urea nitrogen": ["BUN"],
    "Carbon dioxide pressure": ["PaCO2"],
    "Oxygen pressure": ["PaO2"],
    "International normalized ratio": ["INR"],
    "White blood cells": ["WBC"],
    "Total bilirubin": ["bilirubin"],
    "Total calcium": ["calcium"],
}
UNITS = {"/min": "per minute", "fraction": "", "pH": "", "ratio": ""}
# A value v of the channel reads v * factor + offset in the other unit, with this number of decimals.
OTHER_UNITS = {
    ("Glucose", "mmol/L"): (1 / 18.016, 0, 1),
    ("Temperature", "°F"): (1.8, 32, 1),
    ("Creatinine", "µmol/L"): (88.42, 0, 0),
    ("Total bilirubin", "µmol/L"): (17.104, 0, 0),
    ("Carbon dioxide pressure", "kPa"): (0.133322, 0, 1),
    ("Oxygen pressure", "kPa"): (0.133322, 0, 1),
    ("Weight", "lb"): (2.20462, 0, 0),
    ("Hemoglobin", "g/L"): (10, 0, 0),
    ("Albumin", "g/L"): (10, 0, 0),
    ("Lactate", "mg/dL"): (9.008, 0, 1),
    ("Total calcium", "mmol/L"): (0.2495, 0, 2),
    ("Magnesium", "mmol/L"): (0.4114, 0, 2),
    ("Phosphate", "mmol/L"): (0.3229, 0, 2),
    ("Blood urea nitrogen", "mmol/L"): (0.357, 0, 1),
    ("Sodium", "mEq/L"): (1, 0, 0),
    ("Potassium", "mEq/L"): (1, 0, 1),
    ("Bicarbonate", "mEq/L"): (1, 0, 0),
}
SAME_UNIT = {"F": "°F", "umol/L": "µmol/L", "micromol/L": "µmol/L", "mmol/l": "mmol/L", "pounds": "lb"}
VERDICTS = {True: "supported", False: "contradicted", None: "unverifiable"}


@dataclass
class ClinicalClaim:
    text: str
    kind: str
    verdict: str
    hours: np.ndarray
    values: np.ndarray


class Skip(Exception):
    """The drawn series cannot show the fact, or is too close to a limit for a clear verdict."""


def need(condition):
    if not condition:
        raise Skip


class Facts:
    """Slots and truth of each fact, for one channel of one record."""

    def __init__(self, rng, record, name, wording):
        self.rng, self.record, self.wording = rng, record, wording
        self.channel = record.channels[record.names.index(name)]
        self.name = name
        self.hours, self.values = record.series(name)
        self.true = rng.random() < 0.5

    def __call__(self, state):
        return getattr(self, state)()

    def number(self, right):
        """One of the right values if the claim shall be true, else a number far from all of them."""
        need(self.values)
        if self.true:
            return self.rng.choice(right)
        number = false_value(self.rng, self.channel, right)
        need(number is not None)
        return number

    def slot(self, number):
        return written(number, self.channel)

    def plain(self, right):
        number = self.number(right)
        return {"number": self.slot(number)}, self.true

    def value(self):
        need(self.values)
        return self.plain(self.values)

    def maximum(self):
        need(self.values)
        return self.plain([max(self.values)])

    def minimum(self):
        need(self.values)
        return self.plain([min(self.values)])

    def first(self):
        need(self.values)
        return self.plain(self.values[:1])

    def last(self):
        need(self.values)
        return self.plain(self.values[-1:])

    def extremes(self):
        need(self.values and max(self.values) > min(self.values))
        top = self.number([max(self.values)])
        return {"number": self.slot(top), "low_number": self.slot(min(self.values))}, self.true

    def range(self):
        need(self.values and max(self.values) > min(self.values))
        ends = [min(self.values), max(self.values)]
        if not self.true:
            side = self.rng.randrange(2)
            ends[side] = false_value(self.rng, self.channel, [ends[side]]) or need(False)
        need(ends[0] < ends[1])
        return {"low_number": self.slot(ends[0]), "high_number": self.slot(ends[1])}, self.true

    def around(self):
        number = self.number(self.values)
        if self.true:
            number *= self.rng.uniform(0.99, 1.01) if self.channel["unit"] not in ("pH", "°C", "fraction") else 1
        return {"number": self.slot(number)}, self.true

    def bound(self, side, everyone, equal=False):
        need(self.values)
        ends = (min(self.values), max(self.values))
        decides = ends[0] if (side == "below") != everyone else ends[1]
        beyond = self.true == (side == "below")  # whether the number lies above the deciding value
        step = {"pH": 0.05, "°C": 0.5, "%": 2, "fraction": 0.05}.get(self.channel["unit"], 0.05 * abs(decides) + 0.2)
        number = decides + step if beyond else decides - step
        if equal and self.true and self.rng.random() < 0.5:
            number = decides
        need(self.channel["minimum"] < number < self.channel["maximum"] * 1.2)
        return {"number": self.slot(number)}, self.true

    def any_below(self):
        return self.bound("below", False)

    def any_above(self):
        return self.bound("above", False)

    def all_above(self):
        return self.bound("above", True)

    def all_below(self):
        return self.bound("below", True)

    def all_below_equal(self):
        return self.bound("below", True, equal=True)

    def percent(self, right):
        number = self.number(right)
        return {"percent": f"{100 * number:.0f}"}, self.true

    def value_percent(self):
        need(self.values)
        return self.percent(self.values)

    def maximum_percent(self):
        need(self.values)
        return self.percent([max(self.values)])

    # ---- other units

    def in_unit(self, right):
        other = self.wording["other"]
        factor, offset, decimals = OTHER_UNITS[self.name, SAME_UNIT.get(other, other)]
        number = self.number(right)
        return {"number": f"{number * factor + offset:.{decimals}f}", "other": other}, self.true

    def value_in(self):
        need(self.values)
        return self.in_unit(self.values)

    def maximum_in(self):
        need(self.values)
        return self.in_unit([max(self.values)])

    def minimum_in(self):
        need(self.values)
        return self.in_unit([min(self.values)])

    def first_in(self):
        need(self.values)
        return self.in_unit(self.values[:1])

    def wrong_unit(self, right):
        self.true = True  # the channel's number, but in the other unit
        slots, _ = self.plain(right)
        return {**slots, "other": self.wording["other"]}, False

    def value_wrong_unit(self):
        return self.wrong_unit(self.values or need(False))

    def maximum_wrong_unit(self):
        return self.wrong_unit([max(self.values or need(False))])

    # ---- decades

    def decades(self, right, everyone=False):
        need(right and self.channel["unit"] in ("/min", "mmHg", "%") and self.channel["decimals"] == 0)
        if self.true:
            decade = 10 * int(self.rng.choice(right) // 10)
        else:
            decade = self.rng.choice(range(20, 190, 10))
        inside = [decade <= value < decade + 10 for value in right]
        need(decade % 100 and (all(inside) if everyone else any(inside)) == self.true)
        return decade

    def decade(self):
        return {"decade": f"{self.decades(self.values)}s"}, self.true

    def max_decade(self):
        return {"max_decade": f"{self.decades([max(self.values)] if self.values else [])}s"}, self.true

    def min_decade(self):
        return {"min_decade": f"{self.decades([min(self.values)] if self.values else [])}s"}, self.true

    def all_decade(self):
        return {"decade": f"{self.decades(self.values, everyone=True)}s"}, self.true

    def decade_part(self):
        decade = self.decades(self.values)
        part = self.rng.choice(["low", "mid", "high"])
        plain, wide = {"low": ((0, 2), (0, 5)), "mid": ((4, 6), (3, 8)), "high": ((7, 9), (5, 9.99))}[part]
        if self.true:
            need(any(decade + plain[0] <= value <= decade + plain[1] for value in self.values))
        else:
            need(not any(decade + wide[0] - 1 <= value <= decade + wide[1] + 1 for value in self.values))
        return {"decade": f"{decade}s", "part": part}, self.true

    # ---- in time

    def steps(self, numbers, names):
        """Numbers in time: the last one, or their order, is wrong in a false claim."""
        if not self.true:
            wrong = false_value(self.rng, self.channel, self.values)
            need(wrong is not None)
            numbers = [*numbers[:-1], wrong]
            need(not in_order(self.values, numbers, self.channel))
        need(len({self.slot(number) for number in numbers}) == len(numbers))
        return {name: self.slot(number) for name, number in zip(names, numbers, strict=True)}, self.true

    def from_to(self):
        need(len(self.values) > 2)
        numbers = [self.values[0], self.values[-1]]
        if not self.true and self.rng.random() < 0.5:  # turned around in time
            need(not in_order(self.values, numbers[::-1], self.channel))
            need(sorted(numbers) != [min(self.values), max(self.values)])
            return {"number": self.slot(numbers[1]), "last_number": self.slot(numbers[0])}, False
        return self.steps(numbers, ["number", "last_number"])

    first_then = from_to
    first_last = from_to

    def moved(self, up):
        need(len(self.values) > 2 and (self.values[-1] > self.values[0]) == up)
        slots, truth = self.from_to()
        return slots, truth and (float(slots["last_number"]) > float(slots["number"])) == up

    def rose_from_to(self):
        return self.moved(True)

    def fell_from_to(self):
        return self.moved(False)

    def up_and_down(self):
        need(len(self.values) > 3 and max(self.values[1:-1]) == max(self.values))
        need(self.values[0] < max(self.values) > self.values[-1])
        top = max(self.values)
        names = ["number", "top_number", "last_number"]
        slots, truth = self.steps([self.values[0], top, self.values[-1]], names)
        need(float(slots["last_number"]) < top)
        return slots, truth

    def down_and_up(self):
        need(len(self.values) > 3 and min(self.values[1:-1]) == min(self.values))
        need(self.values[0] > min(self.values) < self.values[-1])
        bottom = min(self.values)
        names = ["number", "bottom_number", "last_number"]
        slots, truth = self.steps([self.values[0], bottom, self.values[-1]], names)
        need(float(slots["last_number"]) > bottom)
        return slots, truth

    def trend(self, state):
        need(self.values)
        if len(self.values) < 6:
            return {}, self.short_trend(state)
        third = len(self.values) // 3
        change = float(np.median(self.values[-third:]) - np.median(self.values[:third]))
        spread = float(np.percentile(self.values, 75) - np.percentile(self.values, 25))
        share = abs(change) / spread if spread else 0.0
        need(share < 0.4 or share > 0.6)
        shown = "stable" if share < 0.5 else "rising" if change > 0 else "falling"
        return {}, shown == state

    def short_trend(self, state):
        """A few values rise or fall where none lies outside of the first and the last, which clearly differ."""
        quarter = self.channel["std"] / 4
        first, *_, last = [*self.values, self.values[-1]]
        change, spread = last - first, max(self.values) - min(self.values)
        for limit in (quarter, 4 * quarter):
            need(not 0.8 * limit < abs(change) < 1.2 * limit and not 0.8 * limit < spread < 1.2 * limit)
        if len(self.values) < 2:
            return None
        outside = any(not min(first, last) <= value <= max(first, last) for value in self.values)
        if state == "stable":
            return True if spread < quarter else False if abs(change) > 4 * quarter and not outside else None
        return None if outside or abs(change) < quarter else (change > 0) == (state == "rising")

    def rising(self):
        return self.trend("rising")

    def falling(self):
        return self.trend("falling")

    def stable(self):
        return self.trend("stable")

    def moment(self, right):
        place = self.rng.choice(right)
        hour = round(self.hours[place])
        near = [v for h, v in zip(self.hours, self.values, strict=True) if abs(h - hour) <= 0.9]
        number = self.values[place] if self.true else false_value(self.rng, self.channel, near)
        need(number is not None and hour >= 2)
        if "By hour" in self.wording["text"] and not self.true:  # a window up to it
            number = false_value(self.rng, self.channel, self.values)
            need(number is not None)
        return {"number": self.slot(number), "hour": str(hour)}, self.true

    def value_at(self):
        need(self.values)
        return self.moment(range(len(self.values)))

    def maximum_at(self):
        need(self.values and self.values.count(max(self.values)) == 1)
        return self.moment([self.values.index(max(self.values))])

    def from_to_by(self):
        need(len(self.values) > 2 and self.values[0] > self.values[-1])
        slots, truth = self.from_to()
        return {**slots, "last_hour": str(round(self.hours[-1]))}, truth and float(slots["last_number"]) < float(
            slots["number"]
        )

    def window(self, state, keep):
        need(self.values)
        hour = self.rng.choice([6, 12, 24, 36])
        need(all(abs(h - hour) > 0.6 for h in self.hours))
        kept = [v for h, v in zip(self.hours, self.values, strict=True) if keep(h, hour)]
        need(kept)
        truth = is_normal(self.channel, kept) if state == "normal" else is_side(self.channel, kept, state)
        return {"window": str(hour)}, truth

    def high_before(self):
        return self.window("high", lambda h, n: h <= n)

    def low_before(self):
        return self.window("low", lambda h, n: h <= n)

    def high_after(self):
        return self.window("high", lambda h, n: h > n)

    def low_after(self):
        return self.window("low", lambda h, n: h > n)

    def normal_after(self):
        return self.window("normal", lambda h, n: h > n)

    # ---- pairs

    def pair_of(self, places):
        systolic, diastolic = (self.record.values[:, self.record.names.index(n)] for n in (PRESSURES[0], PRESSURES[2]))
        both = [i for i in range(len(systolic)) if systolic[i] == systolic[i] and diastolic[i] == diastolic[i]]
        need(both)
        place = both[0] if places == "first" else self.rng.choice(both)
        top, bottom = systolic[place], diastolic[place]
        if not self.true:
            side = self.rng.randrange(2)
            wrong = false_value(self.rng, self.channel, list((systolic, diastolic)[side][both]))
            need(wrong is not None)
            top, bottom = (wrong, bottom) if side == 0 else (top, wrong)
        need(bottom < top and min(top, bottom) >= 10)
        return {"pair": f"{top:.0f}/{bottom:.0f}"}, self.true

    def pair(self):
        return self.pair_of("any")

    def first_pair(self):
        return self.pair_of("first")

    # ---- counts and measured at all

    def count(self, side):
        need(self.values)
        found = counts(self.channel, self.values, side)
        need(found is not None)
        number = found[0] if self.true else found[0] + self.rng.choice([-2, -1, 1, 2, 3])
        need(number >= 2)
        times = {2: "twice"}.get(number, f"{number} times")
        truth = True if number == found[0] else None if found[1] <= number <= found[0] else False
        return {"count": str(number), "times": times}, truth

    def count_high(self):
        return self.count("high")

    def count_low(self):
        return self.count("low")

    def unmeasured(self):
        return {}, not self.values

    def measured(self):
        return {}, bool(self.values)


def clinical_claims(wordings, records, seed, draws_a_wording=4):
    """Return up to `draws_a_wording` claims of each wording, for every verdict that some record gives."""
    rng = random.Random(seed)
    claims = []
    for wording in wordings:
        found = {}
        for _ in range(DRAWS):
            claim = _draw(rng, wording, rng.choice(records))
            if claim is not None and len(found.setdefault(claim.verdict, [])) < (draws_a_wording + 1) // 2:
                found[claim.verdict].append(claim)
        claims += [claim for drawn in found.values() for claim in drawn]
    return claims


def _draw(rng, wording, record):
    states = wording["states"]
    if isinstance(states, list):
        if wording.get("measured_only") and not all(record.series(name)[1] for _, name in states):
            return None
        truths = [level(record, state, name) for state, name in states]
        return _claim(wording, {}, None, _together(truths), record, rng)
    name = _channel(rng, wording, record)
    if name is None:
        return None
    if not hasattr(Facts, states):
        return _claim(wording, {}, name, level(record, states, name), record, rng)
    try:
        slots, truth = Facts(rng, record, PRESSURES[0] if "pair" in states else name, wording)(states)
    except Skip:
        return None
    if "and" in wording:
        truth = _together([truth, level(record, wording["and"], name)])
    if "and_pressure" in wording:
        truth = _together([truth, level(record, wording["and_pressure"], "pressure")])
    return _claim(wording, slots, name, truth, record, rng)


def _together(truths):
    return False if False in truths else None if None in truths else True


def _channel(rng, wording, record):
    names = wording.get("channels")
    if names:
        names = [name for name in names if name == "pressure" or name in record.names]
        return rng.choice(names) if names else None
    limits = [record.channels[record.names.index(n)] for n in record.names if n not in ("Weight",)]
    asked = str(wording["states"])
    if "high" in asked or "normal" in asked:
        limits = [channel for channel in limits if channel["high"] is not None]
    if "low" in asked or "normal" in asked:
        limits = [channel for channel in limits if channel["low"] is not None]
    named = [channel["name"] for channel in limits if channel["name"] != "Fraction inspired oxygen"]
    return rng.choice(named)


def _claim(wording, slots, name, truth, record, rng):
    spoken = rng.choice(SPOKEN.get(name, [name.lower() if name and name != "pH" else name]))
    unit = "" if name in (None, "pressure") else _unit(record.channels[record.names.index(name)])
    text = wording["text"].replace(" {unit}", f" {unit}" if unit else "").replace("{unit}", unit)
    text = text.format(channel=spoken, **slots)
    text = text if text[0].isupper() or text.startswith("pH") else text[0].upper() + text[1:]
    return ClinicalClaim(text + ".", wording["kind"], VERDICTS[truth], record.hours, record.values)


def _unit(channel):
    return UNITS.get(channel["unit"], channel["unit"])
