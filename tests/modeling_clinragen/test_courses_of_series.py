# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Courses of series: rises and falls to a number, steady increases, and slight changes of a stable series."""

import numpy as np
import pytest

from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.clinical_clinragen import CHANNELS


FALLING_RATE = {"Heart Rate": [120, 110, 100, 90, 85, 80]}
RISING_RATE = {"Heart Rate": [80, 85, 90, 100, 110, 120]}
OXYGEN = {"Fraction inspired oxygen": [0.21, 0.21, 0.6, 0.4, 0.3, 0.21]}
RISING_OXYGEN = {"Fraction inspired oxygen": [0.21, 0.3, 0.4, 0.5, 0.6, 0.7]}
PRESSURE = {"Systolic blood pressure": [120, 118, 122, 119, 121, 120]}
MOVING_PRESSURE = {"Systolic blood pressure": [120, 118, 142, 149, 161, 170]}


@pytest.mark.parametrize(
    ("series", "claim", "verdict"),
    [
        (FALLING_RATE, "Heart rate rose to 120 /min.", "contradicted"),
        (FALLING_RATE, "Heart rate fell to 80 /min.", "supported"),
        (RISING_RATE, "Heart rate rose to 120 /min.", "supported"),
        (RISING_RATE, "Heart rate fell to 80 /min.", "contradicted"),
        (OXYGEN, "Oxygen requirement increased steadily.", "contradicted"),
        (RISING_OXYGEN, "Oxygen requirement increased steadily.", "supported"),
        (PRESSURE, "Blood pressure was stable.", "supported"),
        (MOVING_PRESSURE, "Blood pressure was stable.", "contradicted"),
    ],
)
def test_course_of_a_series(series, claim, verdict):
    values = np.full((6, len(CHANNELS)), np.nan)
    for name, column in series.items():
        values[:, [channel["name"] for channel in CHANNELS].index(name)] = column
    assert [found.verdict for found in check_claims(claim, CHANNELS, np.arange(6.0), values)] == [verdict]
