# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from recipes.evaluation.metrics import (
    agreement_counts,
    claim_metrics,
    diagnosis_metrics,
    note_claim_counts,
    probability_metrics,
    rationale_metrics,
    series_claim_counts,
)


LABELS = ["a", "b", "c", "d"]
sets = st.lists(st.tuples(*[st.sets(st.integers(0, 3))] * 2), min_size=1, max_size=30)


@given(sets)
@settings(max_examples=100, deadline=None)
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


def test_rationale_metrics_of_equal_and_of_foreign_texts():
    texts = ["fever and cough point to pneumonia in this note", "melena fits bleeding from the gut and nothing else"]
    same = rationale_metrics(texts, texts)
    assert same["bleu"] == pytest.approx(100)
    assert (same["rouge1"], same["rougeL"], same["repetition"]) == (1, 1, 0)
    foreign = rationale_metrics(texts, ["x y z x y z x y z", "nothing"])
    assert foreign["bleu"] < 5
    assert foreign["repetition"] > 0.2


def test_claim_metrics_count_verdicts_about_channels():
    claim = {"channel": "pH", "kind": "count", "verdict": "supported"}
    other = {"channel": None, "kind": "other", "verdict": "unverifiable"}
    metrics = claim_metrics([[claim, {**claim, "verdict": "contradicted"}, other], [claim], []])
    assert metrics["claims"] == 3
    assert metrics["supported"] == pytest.approx(2 / 3)
    assert metrics["records_with_contradiction"] == pytest.approx(1 / 3)
    assert metrics["per_kind"] == {"count": {"supported": 2, "contradicted": 1}}
    assert claim_metrics([[], []])["supported"] is None


def test_agreement_of_lists_and_rationales():
    phrases = {"Shock": ["shock"], "Pneumonia (all)": ["pneumonia"], "COPD": ["copd"]}
    counts = agreement_counts(
        [["Shock", "Pneumonia (all)"], ["COPD"], [], ["Shock"]],
        [
            "Cold skin suggests shock. Pneumonia is unlikely.",
            "Fever points to pneumonia.",
            "Nothing points to a disease.",
            "His father had a shock; he is at risk of pneumonia.",
        ],
        phrases,
    )
    assert {name: count.tolist() for name, count in counts.items()} == {
        "written": [2, 1, 0, 1],
        "argued_for": [1, 0, 0, 0],
        "denied": [1, 0, 0, 0],
        "argued": [1, 1, 0, 0],
        "not_written": [0, 1, 0, 0],
    }


def test_note_and_series_claims_are_counted_by_record():
    counts = note_claim_counts(["Denies melena. Has cough.", ""], ["Cough and melena suggest a bleed.", "Rigors."])
    assert {name: count.tolist() for name, count in counts.items()} == {
        "supported": [1, 0],
        "contradicted": [1, 0],
        "unverifiable": [0, 1],
    }
    claim = {"channel": "pH", "verdict": "supported"}
    counts = series_claim_counts([[claim, {**claim, "channel": None}], []])
    assert counts["supported"].tolist() == [1, 0]
    assert sum(counts.values()).sum() == 1


words = st.sampled_from(["fever", "cough", "points", "pointing", "to", "pneumonia", "Patients'", "running", "3.5"])
texts = st.lists(words, max_size=25).map(" ".join)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_rouge_is_that_of_the_library(pairs):
    references, candidates = zip(*pairs, strict=True)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    metrics = rationale_metrics(references, candidates)
    for name in ("rouge1", "rouge2", "rougeL"):
        expected = np.mean([scorer.score(r, c)[name].fmeasure for r, c in zip(references, candidates, strict=True)])
        assert metrics[name] == pytest.approx(expected)
