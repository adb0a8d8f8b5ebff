# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenInputError


HEART_RATE = [channel["name"] for channel in CHANNELS].index("Heart Rate")


def series(num_times, **columns):
    values = np.full((num_times, len(CHANNELS)), np.nan)
    for name, column in columns.items():
        values[:, [channel["name"] for channel in CHANNELS].index(name.replace("_", " "))] = column
    return values


@st.composite
def irregular_series(draw):
    times = draw(st.lists(st.floats(-5, 60, allow_nan=False, width=32), max_size=30, unique=True).map(sorted))
    cell = st.one_of(st.just(np.nan), st.floats(-50, 500, allow_nan=False, width=32))
    values = [[draw(cell) for _ in CHANNELS] for _ in times]
    return np.array(values, dtype=float).reshape(len(times), len(CHANNELS)), np.array(times, dtype=float)


@given(irregular_series())
@settings(max_examples=60)
def test_each_cell_is_the_mean_of_its_hours_plausible_values(record):
    values, times = record
    extractor = ClinRaGenFeatureExtractor(context_length=48)
    batch = extractor([values], [times], return_tensors="np")
    for hour in range(48):
        for c, channel in enumerate(CHANNELS):
            inside = [
                v
                for v, t in zip(values[:, c], times, strict=True)
                if hour <= t < hour + 1 and channel["minimum"] <= v <= channel["maximum"]
            ]
            assert batch["past_observed_mask"][0, hour, c] == bool(inside)
            mean, std = extractor.channels[c]["mean"], extractor.channels[c]["std"]
            expected = np.clip((np.mean(inside) - mean) / std, -10, 10) if inside else 0.0
            assert batch["past_values"][0, hour, c] == pytest.approx(expected, abs=1e-4)


def test_training_statistics_standardise():
    channels = [{**channel, "mean": 100.0, "std": 10.0} for channel in CHANNELS]
    extractor = ClinRaGenFeatureExtractor(channels, context_length=8)
    batch = extractor([series(1, Heart_Rate=120.0)], [[2.5]], return_tensors="np")
    assert batch["past_values"][0, 2, HEART_RATE] == 2.0
    assert batch["past_observed_mask"].sum() == 1


def test_paper_grid_fills_and_repeats_rows():
    extractor = ClinRaGenFeatureExtractor(context_length=4, grid="paper")
    batch = extractor([series(2, Heart_Rate=[100.0, np.nan])], [[0.1, 30.0]], return_tensors="np")
    assert batch["past_observed_mask"].all()
    mean, std = (extractor.channels[HEART_RATE][name] for name in ("mean", "std"))
    assert np.allclose(batch["past_values"][0, :, HEART_RATE] * std + mean, [100, 86, 86, 86])


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        (np.zeros((2, 3)), [0, 1], r"shape \(2, 3\).*11 channels"),
        (np.zeros((2, 11)), [0], "2 rows of lab_values but 1 lab_times"),
        (np.zeros((2, 11)), [3, 1], "row 1 .* follows 3 h"),
        (np.zeros((2, 11)), [1, 1], "merge equal times"),
        (np.zeros((2, 11)), [0, np.nan], "not a number of hours"),
        (
            np.zeros((1, 11)),
            [1_764_547_200],
            r"holds 1.76455e\+09, over a hundred years; give hours since ICU admission",
        ),
        ([["high"] * 11], [0], "one number"),
        ([[1.0] * 11, [1.0]], [0, 1], "one number"),
    ],
)
def test_malformed_series_are_refused(values, times, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        ClinRaGenFeatureExtractor(context_length=8)([values], [times])


def test_series_from_events_merges_channels_by_time():
    values, times = ClinRaGenFeatureExtractor().series_from_events(
        {"heart rate": [[2, 90], [1, 80]], "pH": [[2, 7.3]]}
    )
    assert times.tolist() == [1, 2]
    assert values[:, HEART_RATE].tolist() == [80, 90]
    assert np.isnan(values[0, -1])
    assert values[1, -1] == 7.3


def test_when_a_channel_is_unknown_then_the_known_ones_are_named():
    with pytest.raises(ClinRaGenInputError, match=r"unknown channel 'Sodium'.*Heart Rate"):
        ClinRaGenFeatureExtractor().series_from_events({"Sodium": [[1, 140]]})
    with pytest.raises(ClinRaGenInputError, match=r"'pH'.*\[hour, value\]"):
        ClinRaGenFeatureExtractor().series_from_events({"pH": [7.4]})


def test_round_trip(tmp_path):
    extractor = ClinRaGenFeatureExtractor([{**CHANNELS[0], "mean": 1.0, "std": 2.0}], context_length=16)
    extractor.save_pretrained(tmp_path)
    assert ClinRaGenFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()
