# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np

from benchmarks import text_baseline


def test_statistics_are_nan_where_nothing_was_measured():
    values = [[80.0, np.nan], [np.nan, np.nan], [90.0, np.nan]]
    mean, low, high, last, change, count, *rest = text_baseline.statistics(values, num_channels=2)
    assert (mean, low, high, last, change, count) == (85, 80, 90, 90, 10, 2)
    assert np.isnan(rest[:5]).all()
    assert rest[5] == 0
    assert text_baseline.statistics([], num_channels=2).shape == (12,)


def test_threshold_is_the_best_of_the_validation_split():
    gold = np.array([[1, 0], [0, 1], [1, 0]])
    scores = np.array([[0.3, 0.2], [0.2, 0.3], [0.3, 0.2]])
    threshold = text_baseline.best_threshold(gold, scores, ["a", "b"])
    assert 0.2 < threshold <= 0.3


def test_the_command_writes_metrics_of_three_baselines(data_folder, tmp_path):
    output = tmp_path / "baseline"
    text_baseline.main(["--dataset", str(data_folder / "records"), "--output", str(output)])
    metrics = json.loads((output / "metrics.json").read_text())
    assert list(metrics) == ["TF-IDF + logistic regression", "gradient boosting on series", "mean of both"]
    assert all(0 <= result["diagnosis"]["micro_f1"] <= 1 for result in metrics.values())
