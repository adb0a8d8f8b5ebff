# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Captions under clinical and the release's ranges: their wording, and that the checker supports all of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, PAPER_CHANNELS
from modeling_clinragen.claims_clinragen import check_claims, describe_anomalies


NAN = float("nan")
NAMES = [channel["name"] for channel in CHANNELS]


def clause(name, values, channels=CHANNELS, unread=False):
    grid = np.full((len(values), len(channels)), NAN)
    grid[:, NAMES.index(name)] = values
    texts = np.array([other == name and unread for other in NAMES])
    (found,) = (c for c in describe_anomalies(grid, channels, unread=texts).rstrip(".").split(", ") if name in c)
    return found


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("Fraction inspired oxygen", [0.21, 0.5, 0.6], "Fraction inspired oxygen is higher than room air 2 times"),
        ("Fraction inspired oxygen", [0.21, NAN], "Fraction inspired oxygen is room air all the time"),
        ("Weight", [82, NAN, 80.5], "Weight is between 80.5 and 82.0 kg"),
        ("Weight", [80.52, 80.48], "Weight is 80.5 kg"),
        ("Weight", [NAN], "Weight is not measured"),
        ("Oxygen saturation", [100, 93], "Oxygen saturation is lower than normal 1 time"),
        ("Systolic blood pressure", [68, 130], "Systolic blood pressure is higher than normal 1 time and lower than "
         "normal 1 time"),
        ("pH", np.array([7.35, 7.45], dtype="float32"), "pH is normal all the time"),
        ("Temperature", np.array([36, 38], dtype="float32"), "Temperature is normal all the time"),
    ],
)  # fmt: skip
def test_words_of_a_caption(name, values, expected):
    assert clause(name, values) == expected


def test_results_as_text_are_reported_for_a_channel_without_limits_too():
    assert clause("Weight", [80.5], unread=True) == "Weight is measured partly as text"


def test_the_releases_ranges_give_the_releases_words():
    assert clause("Fraction inspired oxygen", [0.7, 0.21], PAPER_CHANNELS) == (
        "Fraction inspired oxygen is higher than normal 1 time"
    )
    assert clause("Weight", [80.5], PAPER_CHANNELS) == "Weight is normal all the time"
    assert clause("Systolic blood pressure", [68, 130], PAPER_CHANNELS) == (
        "Systolic blood pressure is normal all the time"
    )


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 8), st.sampled_from([CHANNELS, PAPER_CHANNELS]))
def test_the_checker_finds_every_clause_supported(seed, rows, channels):
    draw = np.random.default_rng(seed)
    columns = [
        draw.normal(c["mean"], c["std"] * draw.integers(1, 4), rows)
        .clip(c["minimum"], c["maximum"])
        .round(c["decimals"])
        for c in channels
    ]
    values = np.stack(columns, axis=1).astype("float32")
    values[draw.random(values.shape) < 0.3] = NAN
    claims = check_claims(describe_anomalies(values, channels), channels, np.arange(rows), values)
    assert {claim.verdict for claim in claims} == {"supported"}
    assert {claim.channel for claim in claims} == set(NAMES)
