# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from recipes.evaluation.figures.metrics import diagnosis_metrics, probability_metrics


LABELS = ["a", "b", "c", "d"]
sets = st.lists(st.tuples(*[st.sets(st.integers(0, 3))] * 2), min_size=1, max_size=30)


@given(sets)
@settings(max_examples=100)
def test_diagnosis_metrics_agree_with_scikit_learn(pairs):
    gold, predicted = [sorted(a) for a, _ in pairs], [sorted(b) for _, b in pairs]
    metrics = diagnosis_metrics(gold, predicted, LABELS)
    cells = [np.array([[i in row for i in range(4)] for row in rows]) for rows in (gold, predicted)]
    for average in ("micro", "macro", "weighted"):
        expected = precision_recall_fscore_support(*cells, average=average, zero_division=0)[:3]
        got = [metrics[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
        assert got == pytest.approx(expected)
    per_label = precision_recall_fscore_support(*cells, average=None, zero_division=0)
    for i, label in enumerate(LABELS):
        row = metrics["per_label"][label]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx([p[i] for p in per_label])
    assert metrics["exact_match"] == pytest.approx(np.mean([a == b for a, b in zip(gold, predicted, strict=True)]))
    json.dumps(metrics, allow_nan=False)


def test_probability_metrics_leave_out_labels_of_one_kind():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, (50, 3))
    gold[:, 2] = 0
    probabilities = rng.random((50, 3))
    metrics = probability_metrics(gold, probabilities)
    assert metrics["macro_auroc"] == pytest.approx(
        np.mean([roc_auc_score(gold[:, i], probabilities[:, i]) for i in range(2)])
    )
    assert metrics["micro_auprc"] == pytest.approx(average_precision_score(gold.ravel(), probabilities.ravel()))
    assert probability_metrics(np.zeros((3, 3)), probabilities[:3])["macro_auroc"] is None


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=50)
def test_probability_metrics_agree_with_scikit_learn_ties_or_not(seed, ties):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 2, (12, 4))
    probabilities = np.round(rng.random((12, 4)), 1) if ties else rng.random((12, 4))
    both = [i for i in range(4) if 0 < gold[:, i].sum() < 12]
    metrics = probability_metrics(gold, probabilities)
    for name, oracle in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        assert metrics[f"micro_{name}"] == pytest.approx(oracle(gold, probabilities, average="micro"))
        assert metrics[f"macro_{name}"] == pytest.approx(
            oracle(gold[:, both], probabilities[:, both], average="macro")
        )
