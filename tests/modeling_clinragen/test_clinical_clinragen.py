# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from modeling_clinragen.clinical_clinragen import (
    CHANNELS,
    PAPER_CHANNELS,
    ClinRaGenInputError,
    clear_limits,
    range_text,
    typical_range,
    usual_limits,
    with_statistics,
)


CHANNEL = {channel["name"]: channel for channel in CHANNELS}
PAPER = {channel["name"]: channel for channel in PAPER_CHANNELS}
# What a text may call a value, beside what it may not: of the conventions named in docs/data.md, one row each.
READ = [
    ("Systolic blood pressure", 88, "low"), ("Systolic blood pressure", 95, "between"),
    ("Systolic blood pressure", 100, "usual"), ("Systolic blood pressure", 120, "usual"),
    ("Systolic blood pressure", 130, "between"), ("Systolic blood pressure", 140, "high"),
    ("Diastolic blood pressure", 48, "low"), ("Diastolic blood pressure", 55, "between"),
    ("Diastolic blood pressure", 75, "usual"), ("Diastolic blood pressure", 80, "between"),
    ("Diastolic blood pressure", 90, "high"),
    ("Mean blood pressure", 64, "low"), ("Mean blood pressure", 68, "between"), ("Mean blood pressure", 70, "usual"),
    ("Mean blood pressure", 112, "high"),
    ("Heart Rate", 45, "low"), ("Heart Rate", 55, "between"), ("Heart Rate", 60, "usual"),
    ("Heart Rate", 100, "usual"), ("Heart Rate", 112, "high"), ("Heart Rate", 120, "high"),
    ("Respiratory rate", 8, "low"), ("Respiratory rate", 11, "between"), ("Respiratory rate", 20, "usual"),
    ("Respiratory rate", 21, "between"), ("Respiratory rate", 22, "high"),
    ("Oxygen saturation", 89, "low"), ("Oxygen saturation", 91, "between"), ("Oxygen saturation", 94, "usual"),
    ("Oxygen saturation", 100, "usual"),
    ("Temperature", 34.9, "low"), ("Temperature", 35.5, "between"), ("Temperature", 36.0, "usual"),
    ("Temperature", 38.0, "usual"), ("Temperature", 38.1, "between"), ("Temperature", 38.2, "between"),
    ("Temperature", 38.3, "high"),
    ("Glucose", 50, "low"), ("Glucose", 69, "low"), ("Glucose", 140, "usual"), ("Glucose", 160, "between"),
    ("Glucose", 200, "high"),
    ("pH", 7.34, "low"), ("pH", 7.35, "usual"), ("pH", 7.45, "usual"), ("pH", 7.46, "high"),
    ("Fraction inspired oxygen", 0.21, "usual"), ("Fraction inspired oxygen", 0.4, "high"),
    ("Weight", 25, "usual"), ("Weight", 300, "usual"),
]  # fmt: skip


def reading(channel: dict, value: float) -> str:
    (low, high), (clearly_low, clearly_high) = usual_limits(channel), clear_limits(channel)
    if value < clearly_low or value > clearly_high:
        return "low" if value < clearly_low else "high"
    return "usual" if low <= value <= high else "between"


@pytest.mark.parametrize(("name", "value", "expected"), READ)
@pytest.mark.parametrize("precision", [float, np.float32])
def test_a_value_is_read_as_by_clinicians_in_either_precision(name, value, expected, precision):
    assert reading(CHANNEL[name], float(precision(value))) == expected


def test_model_inputs_do_not_depend_on_the_reference_ranges():
    model_fields = ("name", "unit", "fill", "minimum", "maximum", "decimals", "mean", "std")
    for clinical, paper in zip(CHANNELS, PAPER_CHANNELS, strict=True):
        assert {k: clinical[k] for k in model_fields} == {k: paper[k] for k in model_fields}
        assert paper["mean"] == (paper["low"] + paper["high"]) / 2
        assert paper["std"] == (paper["high"] - paper["low"]) / 4
        assert typical_range(clinical) == pytest.approx((paper["low"], paper["high"]))
    # as the release's code has them
    assert (PAPER["Heart Rate"]["mean"], PAPER["Heart Rate"]["std"]) == (84, 22)


def test_the_releases_channels_have_its_limits_and_no_others():
    assert (PAPER["pH"]["low"], PAPER["pH"]["high"]) == (7.145, 7.585)
    for channel in PAPER_CHANNELS:
        assert clear_limits(channel) == usual_limits(channel)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel["name"])
def test_clear_limits_lie_beyond_the_usual_ones_and_all_within_the_plausible(channel):
    (low, high), (clearly_low, clearly_high) = usual_limits(channel), clear_limits(channel)
    assert clearly_low <= low < high <= clearly_high
    finite = [limit for limit in (low, high, clearly_low, clearly_high) if math.isfinite(limit)]
    assert all(channel["minimum"] <= limit <= channel["maximum"] for limit in finite)


def test_a_side_without_a_limit_has_none():
    assert usual_limits(CHANNEL["Weight"]) == clear_limits(CHANNEL["Weight"]) == (-math.inf, math.inf)
    assert usual_limits({"name": "Troponin", "low": None, "high": 4})[0] == -math.inf
    assert clear_limits({"low": 1, "high": 4, "clearly_low": None, "clearly_high": 8}) == pytest.approx((1, 8))


def test_the_range_in_words():
    assert range_text(CHANNEL["Heart Rate"]) == "60 to 100 /min"
    assert range_text(CHANNEL["pH"]) == "7.35 to 7.45"
    assert range_text(CHANNEL["Oxygen saturation"]) == "at least 94 %"
    assert range_text(CHANNEL["Fraction inspired oxygen"]) == "at most 0.21 fraction"
    assert range_text(CHANNEL["Weight"]) == ""


def test_statistics_follow_from_the_limits_if_a_channel_has_none():
    assert with_statistics({"name": "x", "low": 2, "high": 6})["mean"] == 4
    assert with_statistics({"name": "x", "low": 2, "high": 6})["std"] == 1
    assert with_statistics({"name": "x", "low": 2, "high": 6, "mean": 5, "std": 3})["mean"] == 5
    assert with_statistics({"name": "x", "low": 2, "high": 6, "clearly_low": 1, "clearly_high": 9})["mean"] == 5
    open_above = with_statistics({"name": "x", "low": 90, "high": None, "minimum": 10, "maximum": 100})
    assert (open_above["mean"], open_above["std"]) == (95, 2.5)
    with pytest.raises(ClinRaGenInputError, match="channel 'x': give `mean` and `std`"):
        with_statistics({"name": "x", "low": None, "high": 6})
