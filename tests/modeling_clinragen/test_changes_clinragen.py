# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Amounts and multiples of change, bounds, places of extremes and pairs of several times, against plain arithmetic."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.claims_clinragen import ClaimChecker


CHANNELS = load_channels("extended")
CHECK = ClaimChecker(CHANNELS)
RATES = st.integers(60, 200)


def verdict(text, **series):
    """The verdict on a text about series of one value an hour; names with `_` for a space."""
    grid = np.full((max(map(len, series.values())), len(CHANNELS)), np.nan)
    for name, values in series.items():
        place = [channel["name"] for channel in CHANNELS].index(name.replace("_", " "))
        grid[: len(values), place] = values
    (found,) = {claim.verdict for claim in CHECK(text, np.arange(len(grid), dtype=float), grid) if claim.channel}
    return found


@given(RATES, RATES, st.integers(2, 90), st.booleans())
def test_an_amount_is_the_difference(first, last, amount, rises):
    found = verdict(f"Heart rate {'rose' if rises else 'fell'} by {amount} beats.", Heart_Rate=[first, last])
    change = last - first if rises else first - last
    if change == amount:
        assert found == "supported"
    elif change <= 0 or abs(change - amount) > max(0.5, 0.15 * amount):
        assert found == "contradicted"
    else:
        assert found == "unverifiable"


@given(RATES, RATES)
def test_the_end_is_compared_with_the_start(first, last):
    for word, holds in (("higher", last > first), ("lower", last < first)):
        text = f"Heart rate was {word} at the end than on arrival."
        assert verdict(text, Heart_Rate=[first, last]) == ("supported" if holds else "contradicted")
        text = f"Heart rate was {word} at first than at the end."
        holds = first > last if word == "higher" else first < last
        assert verdict(text, Heart_Rate=[first, last]) == ("supported" if holds else "contradicted")


@given(st.lists(RATES, min_size=1, max_size=8), RATES)
def test_a_bound_holds_for_all_values(values, limit):
    for text, holds in (
        (f"Heart rate was no lower than {limit}.", min(values) >= limit),
        (f"Heart rate was {limit} or below.", max(values) <= limit),
        (f"Heart rate never got above {limit}.", max(values) <= limit),
        (f"Heart rate never reached {limit}.", max(values) < limit),
        (f"Heart rate fell no further than {limit}.", min(values) >= limit),
    ):
        assert verdict(text, Heart_Rate=values) == ("supported" if holds else "contradicted"), text


@given(st.lists(RATES, min_size=2, max_size=8, unique=True), st.integers(10, 30))
def test_a_range_has_no_order_of_time(values, off):
    low, high = min(values), max(values)
    for words in ("ranged from", "varied from"):
        assert verdict(f"Heart rate {words} {low} to {high}.", Heart_Rate=values) == "supported"
        assert verdict(f"Heart rate {words} {low - off} to {high + off}.", Heart_Rate=values) == "contradicted"


@given(st.lists(RATES, min_size=2, max_size=8))
def test_steps_and_places(values):
    steps = all(one < other for one, other in pairwise(values))
    found = verdict("Every heart rate was higher than the one before.", Heart_Rate=values)
    assert found == ("supported" if steps else "contradicted")
    found = verdict("Heart rate was highest on arrival.", Heart_Rate=values)
    assert found == ("supported" if values[0] == max(values) else "contradicted")


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("Creatinine doubled.", [1.0, 2.1], "supported"),
        ("Creatinine doubled.", [1.0, 1.3], "contradicted"),
        ("Creatinine nearly doubled.", [1.0, 1.7], "supported"),
        ("Creatinine more than doubled.", [1.0, 1.9], "contradicted"),
        ("Creatinine more than halved.", [3.0, 1.4], "supported"),
        ("Creatinine fell by half.", [3.0, 2.8], "contradicted"),
        ("Creatinine rose by 44 umol/L.", [1.0, 1.5], "supported"),  # in another unit
        ("Creatinine rose by 0.5 mg/dL per day.", [1.0, 1.5], "supported"),  # a rate states only that it rose
        ("A rise in creatinine of 0.5 was seen.", [1.0, 1.5], "supported"),
        ("Creatinine came back to baseline.", [1.0, 2.4, 1.1], "supported"),
        ("Creatinine came back to baseline.", [1.0, 2.4, 2.2], "contradicted"),
        ("Creatinine doubled and continued to climb.", [1.0, 2.0, 1.2], "contradicted"),
        ("Only the first creatinine exceeded 2.", [2.4, 1.9, 1.1], "supported"),
        ("Only the first creatinine exceeded 2.", [2.4, 2.1, 1.1], "contradicted"),
        ("Two of the creatinine values were above 2.", [2.4, 2.1, 1.1], "supported"),
        ("More than half of the creatinine values were above 2.", [2.4, 1.9, 1.1], "contradicted"),
    ],
)
def test_multiples_and_shares(text, values, expected):
    assert verdict(text, Creatinine=values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BP never below 100/60.", "contradicted"),
        ("BP never above 150/95.", "supported"),
        ("BP 90s-140s/50s-80s.", "supported"),
        ("BP peaked at 142/84.", "supported"),
        ("BP peaked at 118/72.", "contradicted"),
        ("Lowest BP 92/54.", "supported"),
        ("BP around 120/70 throughout.", "contradicted"),
        ("BP around 120/70 at hour 1.", "supported"),
    ],
)
def test_pairs_of_several_times(text, expected):
    pressures = {"Systolic_blood_pressure": [142, 118, 92], "Diastolic_blood_pressure": [84, 72, 54]}
    assert verdict(text, **pressures) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Until hour 1: HR 80, SBP 120.", "supported"),
        ("At hour 3: HR 80, SBP 120.", "contradicted"),
        ("At hour 3: HR 130, SBP 84.", "supported"),
    ],
)
def test_hours_at_the_start_of_a_list_hold_for_all_items(text, expected):
    series = {"Heart_Rate": [80, 80, 110, 130], "Systolic_blood_pressure": [120, 120, 100, 84]}
    assert verdict(text, **series) == expected


PULSES = [60, 72, 118, 96, 130, 88, 75]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("All heart rates were high.", "contradicted"),
        ("Every heart rate was high.", "contradicted"),
        ("The heart rate was high in all readings.", "contradicted"),
        ("Not all heart rates were high.", "supported"),
        ("Not all heart rates were normal.", "supported"),
        ("No heart rate was normal.", "contradicted"),
        ("Most heart rates were high.", "contradicted"),
        ("Most heart rates were normal.", "supported"),
        ("The majority of heart rates were high.", "contradicted"),
        ("The majority of heart rates were normal.", "supported"),
        ("Half of the heart rates were high.", "contradicted"),
        ("All but two heart rates were normal.", "supported"),
        ("Nearly all heart rates were below 120.", "supported"),
        ("Nearly all heart rates were high.", "contradicted"),
        ("Two heart rates were high.", "supported"),
        ("Three heart rates were high.", "contradicted"),
        ("The heart rate was normal in five of seven readings.", "supported"),
        ("The heart rate was normal in four of seven readings.", "contradicted"),
        ("The heart rate was normal in five of eight readings.", "contradicted"),
        ("The heart rate was normal five times.", "supported"),
        ("Heart rate was mostly high.", "contradicted"),
    ],
)
def test_quantifiers_of_values(text, expected):
    assert verdict(text, Heart_Rate=PULSES) == expected


@given(st.lists(st.sampled_from([40, 80, 140]), min_size=2, max_size=8))
def test_quantifiers_against_plain_counts(values):
    high = sum(value == 140 for value in values)
    for text, holds in (
        ("All heart rates were high.", high == len(values)),
        ("Not all heart rates were high.", high < len(values)),
        (f"The heart rate was normal in {values.count(80)} of {len(values)} readings.", True),
        (f"The heart rate was normal in {values.count(80) + 1} of {len(values)} readings.", False),
    ):
        assert verdict(text, Heart_Rate=values) == ("supported" if holds else "contradicted"), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tachycardia occurred at hours 1 and 3.", "contradicted"),
        ("Tachycardia occurred at hours 1 and 4.", "contradicted"),
        ("Tachycardia occurred at hours 2 and 4.", "supported"),
        ("No tachycardia occurred at hours 1 and 3.", "supported"),
        ("The heart rate was normal at hours 0, 1 and 6.", "supported"),
        ("The heart rate was normal at hours 0 and 2.", "contradicted"),
    ],
)
def test_a_level_at_several_hours_holds_at_each(text, expected):
    assert verdict(text, Heart_Rate=PULSES) == expected


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("The patient was mostly afebrile.", [36.8, 37.0, 37.1, 37.0, 38.9], "supported"),
        ("The patient was mostly afebrile.", [36.8, 38.8, 38.9, 39.0, 38.9], "contradicted"),
        ("The patient was afebrile.", [36.8, 37.0, 37.1, 37.0, 38.9], "contradicted"),
        ("Afebrile in four of five readings.", [36.8, 37.0, 37.1, 37.0, 38.9], "supported"),
        ("The temperature fell 2.4 degrees.", [39.4, 39, 38, 37.5, 37.0], "supported"),
        ("The temperature fell 2.4 °C.", [39.4, 39, 38, 37.5, 37.0], "supported"),
        ("The temperature fell 5.4 degrees.", [39.4, 39, 38, 37.5, 37.0], "contradicted"),
    ],
)
def test_courses_of_a_fever(text, values, expected):
    assert verdict(text, Temperature=values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Increasing oxygen requirement.", "contradicted"),
        ("Oxygen requirement increased over the stay.", "contradicted"),
        ("Escalating oxygen needs.", "contradicted"),
        ("Decreasing oxygen requirement.", "supported"),
    ],
)
def test_the_course_of_a_finding_is_read(text, expected):
    shares = [1.0, 0.9, 0.8, 0.6, 0.5, 0.4]
    assert verdict(text, Fraction_inspired_oxygen=shares) == expected
    turned = {"supported": "contradicted", "contradicted": "supported"}[expected]
    assert verdict(text, Fraction_inspired_oxygen=shares[::-1]) == turned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Weight dropped 6.5%.", "supported"),
        ("Weight dropped by 6.5%.", "supported"),
        ("Weight dropped by 16.5%.", "contradicted"),
        ("Weight rose 6.5%.", "contradicted"),
        ("Weight was 6 kg lower at the end.", "supported"),
        ("Weight was 6 kg higher at the start than at the end.", "supported"),
        ("Weight was 6 kg higher at the end than at the start.", "contradicted"),
        ("Weight was 6.5% lower at the end.", "supported"),
        ("Weight was about 6 kg lower at discharge than on admission.", "supported"),
        ("Weight was 16 kg lower at the end.", "contradicted"),
    ],
)
def test_amounts_at_an_end_and_in_percent(text, expected):
    assert verdict(text, Weight=[92, 91, 90, 88, 87, 86]) == expected


def test_a_fall_of_a_saturation_may_be_written_as_its_value():
    assert verdict("SpO2 fell 84%.", Oxygen_saturation=[97, 95, 84]) == "supported"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([88, 92, 85, 95, 80, 90, 76], "contradicted"), ([88, 86, 85, 82, 83, 78, 76], "supported")],
)
def test_a_steady_fall_has_no_large_rise(values, expected):
    assert verdict("The heart rate fell steadily from 88 to 76.", Heart_Rate=values) == expected
    assert verdict("The heart rate fell from 88 to 76.", Heart_Rate=values) == "supported"


def test_a_series_that_is_stable_at_first_is_not_called_unstable():
    pressures = [120, 121, 119, 120, 121, 120, 70]
    text = "The systolic blood pressure was stable for five hours and then collapsed."
    assert verdict(text, Systolic_blood_pressure=pressures) == "unverifiable"
    assert verdict("The systolic blood pressure was stable.", Systolic_blood_pressure=pressures) == "contradicted"
