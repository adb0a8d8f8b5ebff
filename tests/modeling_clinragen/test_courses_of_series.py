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
SATURATION = {"Oxygen saturation": [97, 96, 84, 95, 97, 98]}
SATURATIONS = {"Oxygen saturation": [97, 86, 84, 85, 87, 98]}
TWO_FALLS = {"Oxygen saturation": [97, 86, 94, 95, 87, 98]}
TO_OXYGEN = {"Fraction inspired oxygen": [0.21, 0.21, 0.6, 0.6, 0.6, 0.6]}
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
        (SATURATION, "Prolonged hypoxemia was recorded.", "contradicted"),
        (SATURATION, "Sustained hypoxemia was recorded.", "contradicted"),
        (SATURATIONS, "Prolonged hypoxemia was recorded.", "supported"),
        (SATURATION, "Recurrent desaturations occurred.", "contradicted"),
        (SATURATION, "Several desaturations were recorded.", "contradicted"),
        (SATURATIONS, "Recurrent desaturations occurred.", "unverifiable"),
        (TWO_FALLS, "Recurrent desaturations occurred.", "supported"),
        (TWO_FALLS, "Intermittent hypoxemia was seen.", "supported"),
        (FALLING_RATE, "New tachycardia appeared late.", "unverifiable"),
        (FALLING_RATE, "Tachycardia developed later.", "unverifiable"),
        (RISING_RATE, "New tachycardia appeared late.", "supported"),
        (FALLING_RATE, "Heart rate normalized at hour 2.", "supported"),
        (FALLING_RATE, "Heart rate normalized at hour 5.", "contradicted"),
        (FALLING_RATE, "Heart rate normalized only at hour 5.", "unverifiable"),
        (FALLING_RATE, "Heart rate normalized at hour 1.", "contradicted"),
        (OXYGEN, "Inspired oxygen rose from 21% to 60% and stayed there.", "contradicted"),
        (TO_OXYGEN, "Inspired oxygen rose from 21% to 60% and stayed there.", "supported"),
        (RISING_RATE, "Heart rate ended 40 beats above the start.", "supported"),
        (RISING_RATE, "Heart rate ended 40 beats below the start.", "contradicted"),
        (MOVING_PRESSURE, "Systolic blood pressure ended 50 mmHg above its first value.", "supported"),
        (MOVING_PRESSURE, "Systolic blood pressure ended 20 mmHg above the start.", "contradicted"),
    ],
)
def test_course_of_a_series(series, claim, verdict):
    values = np.full((6, len(CHANNELS)), np.nan)
    for name, column in series.items():
        values[:, [channel["name"] for channel in CHANNELS].index(name)] = column
    assert [found.verdict for found in check_claims(claim, CHANNELS, np.arange(6.0), values)] == [verdict]
