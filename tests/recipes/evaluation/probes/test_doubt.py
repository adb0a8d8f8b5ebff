# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of doubt against scikit-learn's and hand calculation, and on the page of a report."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, recall_score

from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.probes.doubt import COVERAGES, doubt_metrics, helpfulness, selection, selection_figures
from recipes.evaluation.report.write import doubt
from recipes.training.data import load_records
from recipes.training.guarantees import fit_guarantees


LABELS = [f"label {i}" for i in range(6)]


@pytest.fixture(scope="module")
def answers():
    """80 calibrated answers; for a quarter, support is low and the probabilities are uninformative."""
    rng = np.random.default_rng(0)
    thin = np.arange(80) % 4 == 0
    probabilities = rng.beta(0.4, 1.2, (80, 6))
    gold = rng.random((80, 6)) < np.where(thin[:, None], probabilities.mean(), probabilities)
    predictions = [
        {
            "subject_id": str(i // 2),
            "gold": [LABELS[k] for k in np.flatnonzero(gold[i])],
            "probabilities": dict(zip(LABELS, probabilities[i].round(4).tolist(), strict=True)),
            "diagnoses": [{"label": LABELS[k]} for k in np.flatnonzero(probabilities[i] > 0.4)],
            "doubt": {
                "abstain": bool(thin[i]),
                "reasons": [f"few measurements ({i}; nearly all)", "the note is empty"][: 1 + i % 8 // 4]
                if thin[i]
                else [],
            },
        }
        for i in range(80)
    ]
    unread = {"subject_id": "x", "gold": ["label 0"], "probabilities": {}, "diagnoses": []}
    fitted = {**fit_guarantees(probabilities, gold), "support_limits": {}, "influence": []}
    return [*predictions, unread], gold, probabilities, thin, fitted


def test_answered_and_abstained_records_have_their_own_figures(answers):
    predictions, gold, probabilities, thin, _ = answers
    found = doubt_metrics(predictions, LABELS, None)
    assert "recall" not in found
    assert found["abstention"]["share"] == 0.25
    assert found["abstention"]["reasons"] == {"few measurements": 20, "the note is empty": 10}
    for name, rows in (("answered", ~thin), ("abstained", thin)):
        part = found["abstention"][name]
        assert part["records"] == rows.sum()
        assert part["micro_f1"] == pytest.approx(f1_score(gold[rows], probabilities[rows] > 0.4, average="micro"))
        low, high = part["intervals"]["micro_f1"]
        assert low < part["micro_f1"] < high
    answered, abstained = found["abstention"]["answered"], found["abstention"]["abstained"]
    assert answered["micro_f1"] > abstained["micro_f1"]
    assert answered["expected_calibration_error"] < abstained["expected_calibration_error"]


def test_without_records_to_abstain_from_there_are_no_figures_of_them(answers):
    predictions = [{**p, "doubt": {"abstain": False, "reasons": []}} for p in answers[0]]
    found = doubt_metrics(predictions, LABELS, None)["abstention"]
    assert (found["share"], found["abstained"]) == (0, {"records": 0})
    assert doubt_metrics([{**p, "probabilities": {}} for p in predictions], LABELS, None) == {}


def test_the_error_among_the_most_confident_is_that_counted_by_hand():
    true = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], dtype=bool)
    guess = np.array([[1, 1], [1, 1], [1, 1], [0, 1]], dtype=bool)
    probabilities = np.array([[0.99, 0.99], [0.8, 0.8], [0.5, 0.5], [0.1, 0.95]])  # by confidence: rows 0, 3, 1, 2
    found = selection(true, guess, probabilities, np.arange(4))
    error = dict(zip(COVERAGES, found["error"], strict=True))
    assert (error[0.1], error[0.5], error[0.7], error[1.0]) == pytest.approx((0, 0, 0.5 / 3, 1.5 / 4))
    assert found["area"] == pytest.approx((0 + 0 + 0.5 / 3 + 1.5 / 4) / 4)
    assert found["area"] == found["area_at_best"]
    assert found["area_at_random"] == pytest.approx(1.5 / 4)


def test_weighted_errors_are_those_of_repeated_records():
    rng = np.random.default_rng(0)
    wrong, unsure = rng.random(30), rng.random(30)
    weights = rng.integers(0, 3, (4, 30)).astype(np.float32)
    weighted = selection_figures(wrong, unsure)(weights)
    for row, counts in enumerate(weights.astype(int)):
        many = selection_figures(np.repeat(wrong, counts), np.repeat(unsure, counts))
        once = many(np.ones((1, counts.sum())))
        assert weighted[1.0][row] == pytest.approx(once[1.0][0])
        assert weighted["area"][row] == pytest.approx(once["area"][0], abs=0.02)


def test_recall_of_diagnoses_that_cannot_be_ruled_out_is_that_of_scikit_learn(answers):
    predictions, gold, _, _, fitted = answers
    found = doubt_metrics(predictions, LABELS, fitted)["recall"]
    shown = np.array([list(p["probabilities"].values()) for p in predictions[:-1]])
    possible = shown >= [found["per_label"][label]["threshold"] for label in LABELS]
    expected = recall_score(gold, possible, average=None)
    assert [found["per_label"][label]["recall"] for label in LABELS] == pytest.approx(expected)
    assert found["all"] == pytest.approx(recall_score(gold, possible, average="micro"))
    assert found["possible_per_record"] == pytest.approx(possible.sum(axis=1).mean())
    assert (expected >= 0.9).all()  # on the records that it was fitted on


def test_the_page_shows_abstention_selection_and_recall(answers):
    predictions, *_, fitted = answers
    metrics = doubt_metrics(predictions, LABELS, fitted)
    assert json.loads(json.dumps(metrics)) == metrics
    helped = {"records": 9, "change": {"named": 0.311, "random": 0.222, "expected": 0.333}, "difference": 0.089}
    helped |= {"interval": [0.05, 0.12], "p_value": 0.01}
    page = doubt({"doubt": {**metrics, "would_help": helped}})
    assert "0.311" in page
    assert "0.050 to 0.120" in page
    for value in (metrics["abstention"]["answered"]["micro_f1"], metrics["selection"]["area_at_random"]):
        assert f"{value:.3f}" in page
    assert page.count("few measurements") == 1
    assert all(label in page for label in LABELS)
    assert doubt({"doubt": {}}) == doubt({}) == ""


def test_the_helpful_channel_is_judged_by_the_change_with_it(data_folder, tiny_model, tiny_processor, monkeypatch):
    influence = [[0.1 * channel for channel in range(12)]] * 25  # of the hidden channels the last is named
    fitted = {**fit_guarantees(np.zeros((1, 25)), np.zeros((1, 25))), "support_limits": {}, "influence": influence}
    monkeypatch.setattr(tiny_model.config.decisions, "doubt", fitted)  # tiny models share their configuration
    pipe = ClinRaGenPipeline(tiny_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)
    records = load_records(str(data_folder / "dataset"), "train", limit=12)
    found = helpfulness(pipe, records, seed=3)
    generator, named, random = np.random.default_rng(3), [], []
    for row in records:
        batch = tiny_processor([row["note"]], [row["lab_values"]], [row["lab_times"]], return_tensors="pt")
        measured = np.flatnonzero(batch["past_observed_mask"][0].any(dim=0))
        if len(measured) < 4:
            continue
        hidden = generator.choice(measured, 3, replace=False)

        def probabilities(without, batch=batch):
            mask = batch["past_observed_mask"].clone()
            mask[..., sorted(without)] = False
            return tiny_model.diagnosis_probabilities(**{**batch, "past_observed_mask": mask})[0]

        change = {
            c: float((probabilities(set(hidden) - {c}) - probabilities(set(hidden))).abs().sum()) for c in hidden
        }
        named.append(change[max(hidden)])
        random.append(np.mean(list(change.values())))
    assert found["records"] == len(named) > 5
    assert found["change"]["named"] == pytest.approx(np.mean(named), abs=1e-5)
    assert found["change"]["random"] == pytest.approx(np.mean(random), abs=1e-5)
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]


def test_without_series_no_channel_can_help(data_folder, tiny_model, tiny_processor, monkeypatch):
    fitted = fit_guarantees(np.zeros((1, 25)), np.zeros((1, 25)))
    fitted |= {"support_limits": {}, "influence": torch.zeros(25, 12).tolist()}
    monkeypatch.setattr(tiny_model.config.decisions, "doubt", fitted)
    monkeypatch.setattr(tiny_processor, "modalities", ["note"])
    pipe = ClinRaGenPipeline(tiny_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)
    assert helpfulness(pipe, load_records(str(data_folder / "dataset"), "train", limit=3)) == {}
