# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Weighted figures against scikit-learn on repeated records, and the coverage of intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from recipes.evaluation.figures.intervals import (
    compare_sets,
    intervals,
    label_figures,
    ranking_figures,
    resample_patients,
    set_figures,
    share_figures,
)


def made(seed, records=40, labels=4, ties=False):
    rng = np.random.default_rng(seed)
    true = rng.random((records, labels)) < 0.35
    scored = np.clip(0.3 * true + rng.random((records, labels)), 0, 1)
    return true, np.round(scored, 1) if ties else scored, rng.integers(0, 4, (3, records)).astype(np.float32)


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_weighted_set_figures_are_those_of_repeated_records(seed):
    true, scored, weights = made(seed)
    guess = scored > 0.6
    found = set_figures(true, guess)(weights)
    for row, counts in enumerate(weights.astype(int)):
        repeated = [np.repeat(cells, counts, axis=0) for cells in (true, guess)]
        if not counts.sum():
            continue
        for average in ("micro", "macro", "weighted"):
            expected = precision_recall_fscore_support(*repeated, average=average, zero_division=0)[:3]
            got = [found[f"{average}_{name}"][row] for name in ("precision", "recall", "f1")]
            assert got == pytest.approx(expected, abs=1e-6)
        assert found["exact_match"][row] == pytest.approx((repeated[0] == repeated[1]).all(axis=1).mean())


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40)
def test_weighted_ranking_figures_are_those_of_repeated_records(seed, ties):
    true, scored, weights = made(seed, ties=ties)
    found = ranking_figures(true.astype(int), scored)(weights)
    for row, counts in enumerate(weights.astype(int)):
        gold, probabilities = (np.repeat(cells, counts, axis=0) for cells in (true, scored))
        both = [i for i in range(gold.shape[1]) if 0 < gold[:, i].sum() < len(gold)]
        for name, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            expected = np.mean([score(gold[:, i], probabilities[:, i]) for i in both])
            assert found[f"macro_{name}"][row] == pytest.approx(expected, abs=1e-6)
            assert found[f"micro_{name}"][row] == pytest.approx(score(gold.ravel(), probabilities.ravel()), abs=1e-6)


def test_stays_of_a_patient_are_drawn_together():
    patients = ["a", "b", "a", "c", "b", "a"]
    weights = np.concatenate(list(resample_patients(patients, 250, seed=1)))
    assert weights.shape == (250, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many patients as there are
    assert weights[:, 3].mean() == pytest.approx(1, abs=0.2)


def test_an_interval_covers_the_truth_in_about_95_of_100_samples():
    rng, covered = np.random.default_rng(0), 0
    for i in range(200):
        right = rng.random(150) < 0.7
        figures = share_figures({"right": right}, np.ones(150))
        low, high = intervals(figures, list(map(str, range(150))), resamples=400, seed=i)["right"]
        covered += low <= 0.7 <= high
    assert 180 <= covered <= 198


def test_more_stays_of_the_same_patients_narrow_no_interval():
    rng = np.random.default_rng(0)
    right = rng.random(60) < 0.6
    patients = [str(i) for i in range(60)]
    once = intervals(share_figures({"right": right}, np.ones(60)), patients)["right"]
    repeated = share_figures({"right": np.tile(right, 5)}, np.ones(300))
    assert intervals(repeated, patients * 5)["right"] == pytest.approx(once)


def test_undefined_figures_have_no_interval():
    assert intervals(share_figures({"x": np.zeros(3)}, np.zeros(3)), ["a", "b", "c"]) == {"x": None}
    assert intervals(share_figures({"x": np.zeros(0)}, np.zeros(0)), []) == {}
    gold = np.zeros((3, 2), dtype=int)
    assert intervals(ranking_figures(gold, np.ones((3, 2))), ["a", "b", "c"])["macro_auroc"] is None


def runs(seed, better):
    rng = np.random.default_rng(seed)
    true = rng.random((200, 5)) < 0.3
    flip = [rng.random((200, 5)) < rate for rate in (0.2, 0.2 - better)]
    return true, true ^ flip[0], true ^ flip[1], [str(i // 2) for i in range(200)]


def test_a_better_run_is_distinguished_from_an_equal_one():
    found = compare_sets(*runs(0, 0.1))["micro_f1"]
    assert found["difference"] == pytest.approx(found["second"] - found["first"])
    assert found["interval"][0] > 0
    assert found["p_value"] < 0.01
    true, first, _, patients = runs(0, 0.0)
    same = compare_sets(true, first, first, patients)["micro_f1"]
    assert (same["difference"], same["interval"], same["p_value"]) == (0, [0, 0], 1)


def test_under_equal_runs_p_values_are_uniform():
    values = [compare_sets(*runs(seed, 0.0), resamples=200, seed=seed)["micro_f1"]["p_value"] for seed in range(150)]
    assert 0.01 <= np.mean(np.array(values) < 0.1) <= 0.19


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_weighted_figures_of_each_label_are_those_of_repeated_records(seed):
    true, scored, weights = made(seed)
    guess = scored > 0.6
    found = label_figures(true, guess)(weights)
    for row, counts in enumerate(weights.astype(int)):
        repeated = [np.repeat(cells, counts, axis=0) for cells in (true, guess)]
        expected = precision_recall_fscore_support(*repeated, average=None, zero_division=0)[:3]
        for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
            assert [found[i, name][row] for i in range(true.shape[1])] == pytest.approx(values, abs=1e-6)
