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
