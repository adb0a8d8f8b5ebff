# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recipes.evaluation.raters.agreement import alpha_figure, icc, krippendorff_alpha, spearman, weighted_kappa


SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

scores = st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0])


@given(ratings=arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=scores | st.just(np.nan)))
def test_alpha_is_that_of_the_package_krippendorff(ratings):
    pairable = ratings[:, (~np.isnan(ratings)).sum(axis=0) >= 2]
    if len(np.unique(pairable[~np.isnan(pairable)])) < 2:
        assert krippendorff_alpha(ratings) is None
        return
    expected = krippendorff.alpha(pairable, level_of_measurement="ordinal")
    assert krippendorff_alpha(ratings) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_under_weights_is_that_of_repeated_items(seed):
    rng = np.random.default_rng(seed)
    ratings = rng.integers(1, 6, (3, 12)).astype(float)
    ratings[rng.random(ratings.shape) < 0.3] = np.nan
    weights = rng.integers(0, 4, (7, 12))
    found = alpha_figure(ratings)(weights.astype(np.float32))["alpha"]
    expected = [
        krippendorff.alpha(np.repeat(ratings, counts, axis=1), level_of_measurement="ordinal") for counts in weights
    ]
    assert found == pytest.approx(expected, abs=1e-9)


def test_alpha_of_a_small_case_by_hand():
    ratings = np.array([[1, 2, 3, np.nan], [1, 3, 3, 2]])
    # Three items with two ratings: pairs 1-1, 2-3, 3-3; six ratings: two 1, one 2, three 3; the last item is left out.
    # ordinal, middle ranks 1, 2.5, 4.5: observed 2 * 4 / 6; expected 2 * (2 * 2.25 + 6 * 12.25 + 3 * 4) / 30
    assert krippendorff_alpha(ratings) == pytest.approx(1 - (8 / 6) / (180 / 30))


def test_icc_of_the_published_example():
    found = icc(np.array(SHROUT_FLEISS))
    assert round(found["icc_2_1"], 2) == 0.29
    assert round(found["icc_2_k"], 2) == 0.62


def icc_by_regression(ratings):
    """Mean squares by least squares on indicator columns: another way than sums of squared means."""
    n, k = ratings.shape
    item, rater = np.kron(np.eye(n), np.ones((k, 1))), np.kron(np.ones((n, 1)), np.eye(k))
    y = ratings.ravel()

    def left(*blocks):
        design = np.hstack([np.ones((n * k, 1)), *blocks])
        return ((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum()

    bms = (left() - left(item)) / (n - 1)
    jms = (left() - left(rater)) / (k - 1)
    ems = left(item, rater) / ((n - 1) * (k - 1))
    return (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n), (bms - ems) / (bms + (jms - ems) / n)


@pytest.mark.parametrize("seed", range(20))
def test_icc_is_that_of_an_analysis_of_variance_by_regression(seed):
    rng = np.random.default_rng(seed)
    n, k = rng.integers(2, 12), rng.integers(2, 6)
    ratings = rng.normal(size=(n, 1)) + rng.normal(size=(1, k)) + 0.5 * rng.normal(size=(n, k))
    one, mean = icc_by_regression(ratings)
    found = icc(ratings)
    assert found["icc_2_1"] == pytest.approx(one)
    assert found["icc_2_k"] == pytest.approx(mean)


def test_icc_counts_items_that_all_rated():
    holes = np.array([*SHROUT_FLEISS, [1, np.nan, 1, 1], [np.nan] * 4])
    assert icc(holes) == icc(np.array(SHROUT_FLEISS))


@given(ratings=arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=scores))
def test_icc_is_defined_where_ratings_vary_and_at_most_one(ratings):
    found = icc(ratings)
    if min(ratings.shape) < 2 or np.ptp(ratings) == 0:
        assert found == {"icc_2_1": None, "icc_2_k": None}
    else:
        assert found["icc_2_1"] <= 1 + 1e-9
        assert found["icc_2_k"] is None or found["icc_2_k"] <= 1 + 1e-9


def test_icc_of_equal_raters_is_one_and_of_a_shifted_rater_less():
    same = np.array([[1, 1], [3, 3], [5, 5.0]])
    assert icc(same) == pytest.approx({"icc_2_1": 1, "icc_2_k": 1})
    # BMS = 8, JMS = 1.5, EMS = 0: 8 / (8 + 2 * 1.5 / 3) and 8 / (8 + 1.5 / 3)
    assert icc(same + [0, 1]) == pytest.approx({"icc_2_1": 8 / 9, "icc_2_k": 8 / 8.5})


def test_kappa_of_a_small_case_by_hand():
    # scores 1-1, 1-2, 3-3: observed cost 1/3; expected, of 9 pairs: 1-1, 1-2, 1-3 twice each, 3-1, 3-2, 3-3 once
    assert weighted_kappa([1, 1, 3], [1, 2, 3], 3) == pytest.approx(1 - (1 / 3) / ((2 * (0 + 1 + 4) + 4 + 1) / 9))


def test_kappa_without_items_or_without_variation_is_undefined():
    assert weighted_kappa([], [], 5) is None
    assert weighted_kappa([4, 4], [4, 4], 5) is None


def test_rank_correlation_of_a_small_case_by_hand():
    # ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: products 3, squares 4.5 and 5
    assert spearman(np.array([1, 3, 3, 5]), np.array([2, 1, 4, 5])) == pytest.approx(3 / (4.5 * 5) ** 0.5)
    assert spearman(np.array([1, 2]), np.ones(2)) is None
    assert spearman(np.ones(0), np.ones(0)) is None
