# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Units, limits and directions of claims about series, for values of any size."""

import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen import CHANNELS, PAPER_CHANNELS
from modeling_clinragen.claims_clinragen import ClaimChecker, describe_anomalies


EXTENDED = load_channels("extended")
CHECK = {"clinical": ClaimChecker(CHANNELS), "paper": ClaimChecker(PAPER_CHANNELS), "extended": ClaimChecker(EXTENDED)}


def claims(text, check="clinical", hours=None, **series):
    """The claims about a channel of a text, of a record with the given columns."""
    checker = CHECK[check]
    length = max(len(column) for column in series.values())
    values = np.full((length, len(checker.channels)), np.nan)
    for name, column in series.items():
        values[: len(column), checker.position[name.replace("_", " ")]] = column
    found = checker(text, np.arange(1.0, length + 1) if hours is None else hours, values)
    return [claim for claim in found if claim.channel]


def verdict(text, check="clinical", **series):
    (claim,) = claims(text, check, **series)
    return claim.verdict


@pytest.mark.parametrize(
    ("name", "value", "written"),  # by hand from molar masses and definitions
    [
        ("Glucose", 99.1, "5.5 mmol/L"), ("Creatinine", 1.0, "88 µmol/L"), ("Creatinine", 1.0, "88 μmol/l"),
        ("Blood urea nitrogen", 28.0, "10.0 mmol/L"), ("Total bilirubin", 2.0, "34 umol/L"),
        ("Lactate", 4.0, "36 mg/dL"), ("Hemoglobin", 8.9, "89 g/L"), ("Hemoglobin", 8.9, "5.5 mmol/L"),
        ("Total calcium", 10.0, "2.50 mmol/L"), ("Magnesium", 1.9, "0.78 mmol/L"), ("Sodium", 140, "140 mEq/L"),
        ("Carbon dioxide pressure", 45, "6.0 kPa"), ("Temperature", 39.0, "102.2 °F"), ("Weight", 80.0, "176 lbs"),
        ("Fraction inspired oxygen", 0.4, "40 %"), ("Fraction inspired oxygen", 0.4, "40%"),
        ("Platelets", 250, "250,000 /uL"), ("Platelets", 250, "250 K/uL"), ("White blood cells", 12.5, "12,500 /mm3"),
        ("Albumin", 3.1, "31 g/L"), ("Phosphate", 3.1, "1.00 mmol/L"), ("Ionized calcium", 1.1, "4.4 mg/dL"),
        ("Heart Rate", 88, "88 beats per minute"), ("Mean blood pressure", 75, "75 mm Hg"),
    ],
)  # fmt: skip
def test_a_value_in_another_unit_is_the_same_value(name, value, written):
    assert verdict(f"{name} was {written}.", "extended", **{name: [value]}) == "supported"
    assert verdict(f"{name} was {written}.", "extended", **{name: [1.3 * value]}) == "contradicted"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart rate was 120 mmHg.", "contradicted"),
        ("Heart rate was 120 bpm on 2 L/min.", "supported"),
        ("Heart rate 120 after 500 mL of fluid.", "supported"),
        ("Heart rate 120 in this 54-year-old.", "supported"),
        ("Heart rate 120 on day 2.", "supported"),
    ],
)
def test_numbers_of_other_measurements_are_not_the_channels(text, expected):
    assert verdict(text, Heart_Rate=[120, 100]) == expected


@given(st.floats(20, 1000), st.booleans())
@settings(max_examples=100)
def test_glucose_reads_the_same_in_either_unit(value, wrong):
    written = value / 18.016 * (1.2 if wrong else 1)
    said = verdict(f"Glucose was {written:.1f} mmol/L.", Glucose=[value])
    assert said == ("contradicted" if wrong else "supported")


levels = st.sampled_from([c for c in CHANNELS if c["high"] is not None and c["name"] != "Fraction inspired oxygen"])


@given(levels, st.data())
@settings(max_examples=150)
def test_high_and_normal_have_three_verdicts_that_mirror_each_other(channel, data):
    numbers = st.floats(channel["minimum"], channel["maximum"]).map(lambda v: round(v, 2))
    values = np.array(data.draw(st.lists(numbers, min_size=1, max_size=6)))
    usual, clear = channel["high"], channel.get("clearly_high") or channel["high"]
    assume(np.abs(values - usual).min() > 1e-3 and np.abs(values - clear).min() > 1e-3)
    top = values.max()
    high = "supported" if top > clear else "contradicted" if top < usual else "unverifiable"
    denied = {"supported": "contradicted", "contradicted": "supported"}.get(high, high)
    series = {channel["name"]: values}
    assert verdict(f"{channel['name']} was elevated.", **series) == high
    assert verdict(f"{channel['name']} was never elevated.", **series) == denied
    if high == "supported":
        assert verdict(f"{channel['name']} was normal.", **series) == "contradicted"


@given(st.lists(st.sampled_from([7.34, 7.35, 7.36, 7.44, 7.45, 7.46]), min_size=1, max_size=5))
def test_a_limit_is_normal_itself_also_in_single_precision(values):
    caption = describe_anomalies(np.float32(np.array(values))[:, None], [CHANNELS[-1]])
    low, high = values.count(7.34), values.count(7.46)
    assert ("lower than normal" in caption, "higher than normal" in caption) == (low > 0, high > 0)
    assert verdict("No acidosis.", pH=np.float32(values)) == ("contradicted" if low else "supported")


def test_an_old_folder_is_checked_with_its_own_ranges():
    series = {"Systolic_blood_pressure": [82, 86], "Heart_Rate": [112, 118]}
    assert [c.verdict for c in claims("Hypotensive and tachycardic.", **series)] == ["supported", "supported"]
    assert [c.verdict for c in claims("Hypotensive and tachycardic.", "paper", **series)] == ["contradicted"] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hypotension.", ("Mean blood pressure", "supported", "low")),
        ("No hypotension.", ("Mean blood pressure", "contradicted", "normal")),
        ("Blood pressure was low.", ("Mean blood pressure", "supported", "low")),
        ("MAP down to 55 mmHg.", ("Mean blood pressure", "supported", "low")),
        ("MAP rose from 55 to 60.", ("Mean blood pressure", "supported", "low")),
        ("Systolic pressure of 118 mmHg.", ("Systolic blood pressure", "supported", "normal")),
        ("Systolic pressure rose from 105 to 118.", ("Systolic blood pressure", "supported", "rising")),
    ],
)
def test_a_claim_names_the_channel_that_decides_and_its_direction(text, expected):
    (claim,) = claims(text, Systolic_blood_pressure=[105, 118], Mean_blood_pressure=[55, 60])
    assert (claim.channel, claim.verdict, claim.direction) == expected


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("Glucose fell from 190 to 120.", "high"),
        ("Glucose fell from 120 to 90.", "falling"),
        ("Glucose rose from 120 to 190.", "high"),
        ("Glucose peaked at 190.", "high"),
        ("Glucose was never low.", "normal"),
        ("Glucose was not normal.", None),
    ],
)
def test_a_claim_with_numbers_has_the_direction_of_the_last_one(text, direction):
    assert claims(text, Glucose=[190, 120, 190])[0].direction == direction


def test_a_blood_pressure_refers_to_one_time():
    series = {"Systolic_blood_pressure": [120, 84], "Diastolic_blood_pressure": [80, 44]}
    assert verdict("BP 84/44.", **series) == "supported"
    assert verdict("BP 120/44.", **series) == "contradicted"


@pytest.mark.parametrize("text", ["heart rate ", "heart rate 12 ", "heart rate, ", "no fever or ", "hr 1 "])
def test_the_cost_of_a_long_sentence_is_bounded(text):
    values = np.full((20, len(CHANNELS)), 80.0)
    start = time.perf_counter()
    CHECK["clinical"](text * 800, np.arange(20.0), values)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("FiO2 was 10% at the start and still 60% at the end.", "contradicted"),
        ("FiO2 was 60% at the start and 6% at the end.", "contradicted"),
        ("FiO2 was 60% at the start and still 60% at the end.", "supported"),
    ],
)
def test_an_implausible_oxygen_fraction_is_wrong_beside_a_plausible_one(text, right):
    assert verdict(text, Fraction_inspired_oxygen=[0.6, 0.4, 0.5, 0.6]) == right
