# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Calibration against scikit-learn's, and the coverage of its intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from recipes.evaluation.figures.calibration import CalibrationFigures, calibration, equal_mass_bins


def made(seed, records=60, labels=5, digits=None):
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.5, 2, (records, labels))
    probabilities = probabilities if digits is None else probabilities.round(digits)
    gold = (rng.random((records, labels)) < 0.7 * probabilities + 0.05).astype(int)
    return gold, probabilities, [str(i // 2) for i in range(records)]


@given(st.integers(0, 10_000), st.sampled_from([None, 1, 2]), st.integers(1, 12))
@settings(max_examples=40)
def test_bins_and_scores_are_those_of_scikit_learn(seed, digits, num_bins):
    gold, probabilities, patients = made(seed, digits=digits)
    found, _ = calibration(gold, probabilities, patients, num_bins)
    observed, predicted = calibration_curve(gold.ravel(), probabilities.ravel(), n_bins=num_bins, strategy="quantile")
    assert [cells["observed"] for cells in found["bins"]] == pytest.approx(observed)
    assert [cells["predicted"] for cells in found["bins"]] == pytest.approx(predicted)
    assert found["brier_score"] == pytest.approx(brier_score_loss(gold.ravel(), probabilities.ravel()))
    counts = np.array([cells["cells"] for cells in found["bins"]])
    assert counts.sum() == gold.size
    expected = (counts * np.abs(observed - predicted)).sum() / gold.size
    assert found["expected_calibration_error"] == pytest.approx(expected)


def test_weighted_figures_are_those_of_repeated_records():
    gold, probabilities, _ = made(3)
    weights = np.random.default_rng(0).integers(0, 3, (4, len(gold))).astype(np.float32)
    bins = equal_mass_bins(probabilities, 8)
    weighted = CalibrationFigures(gold, probabilities, bins)(weights)
    for row, counts in enumerate(weights.astype(int)):
        repeated = [np.repeat(cells, counts, axis=0) for cells in (gold, probabilities, bins)]
        once = CalibrationFigures(*repeated)(np.ones((1, counts.sum())))
        assert {name: value[row] for name, value in weighted.items()} == pytest.approx(
            {name: value[0] for name, value in once.items()}
        )


def test_bins_hold_equally_many_cells_and_equal_probabilities_share_one():
    bins = equal_mass_bins(np.random.default_rng(0).random((100, 3)), 10)
    assert set(np.bincount(bins.ravel())) == {30}
    assert equal_mass_bins(np.full((20, 2), 0.3), 10).max() == 0


def test_calibrated_probabilities_have_a_small_error_and_swapped_ones_a_large_one():
    rng = np.random.default_rng(0)
    probabilities = rng.random((4000, 3))
    gold = (rng.random((4000, 3)) < probabilities).astype(int)
    patients = [str(i) for i in range(4000)]
    good, sure = calibration(gold, probabilities, patients)
    bad, _ = calibration(1 - gold, probabilities, patients)
    assert good["expected_calibration_error"] < 0.03
    assert bad["expected_calibration_error"] > 0.4
    assert sure["brier_score"][0] < good["brier_score"] < sure["brier_score"][1]
    for cells, (low, high) in zip(good["bins"], sure["bins"], strict=True):
        assert low <= cells["observed"] <= high
        assert high - low < 0.12
