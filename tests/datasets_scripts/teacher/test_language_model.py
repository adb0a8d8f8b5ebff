# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The description of the series in the prompt of a language model."""

import numpy as np
import pytest

from datasets_scripts.teacher.prompt import summarize_series
from modeling_clinragen import CHANNELS, PAPER_CHANNELS


NAN = float("nan")


def line_of(name, values, channels=CHANNELS):
    grid = np.full((len(values), len(channels)), NAN)
    grid[:, [channel["name"] for channel in channels].index(name)] = values
    return next(line for line in summarize_series(channels, range(len(values)), grid).split("\n") if name in line)


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        (
            "Systolic blood pressure", [95, 88, 120, NAN, 131],
            "Systolic blood pressure (mmHg, normal 100 to 129, clearly low below 90, clearly high above 139): 4 "
            "values; first 95, last 131; lowest 88 (hour 1.0), highest 131 (hour 4.0); 1 H, 2 L",
        ),
        (
            "Oxygen saturation", [97, 93],
            "Oxygen saturation (%, normal at least 94, clearly low below 90): 2 values; first 97, last 93; lowest 93 "
            "(hour 1.0), highest 97 (hour 0.0); 1 L",
        ),
        (
            "Fraction inspired oxygen", [0.21, 0.5],
            "Fraction inspired oxygen (fraction, room air at most 0.21): 2 values; first 0.21, last 0.50; lowest 0.21 "
            "(hour 0.0), highest 0.50 (hour 1.0); 1 H",
        ),
        (
            "Weight", [80.5],
            "Weight (kg): 1 values; first 80.5, last 80.5; lowest 80.5 (hour 0.0), highest 80.5 (hour 0.0)",
        ),
        ("pH", [NAN], "pH: not measured"),
    ],
)  # fmt: skip
def test_a_summary_names_the_limits_of_both_kinds_and_counts_beyond_the_usual_ones(name, values, line):
    assert line_of(name, values) == line


def test_the_releases_limits_are_shown_alone():
    assert line_of("Heart Rate", [130, 90], PAPER_CHANNELS) == (
        "Heart Rate (/min, normal 40 to 128): 2 values; first 130, last 90; lowest 90 (hour 1.0), highest 130 "
        "(hour 0.0); 1 H, 0 L"
    )
