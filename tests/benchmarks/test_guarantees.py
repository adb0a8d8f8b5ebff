# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of guarantees on a report, against the theory's distribution."""

import json

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from benchmarks import guarantees
from benchmarks.guarantees import check_precision, check_recall, random_halves
from modeling_clinragen import ClinRaGenInputError
from tests.recipes.training.test_guarantees import simulated


def test_random_halves_of_a_report_reach_what_the_theory_expects():
    probabilities, gold = simulated(3, 400, labels=25, digits=12)
    rows = check_recall(probabilities, gold, 0.9, list(random_halves(400, 100, seed=0)))
    low = sum(row["recall"] < row["band"][0] for row in rows)
    high = sum(row["recall"] > row["band"][1] for row in rows)
    assert low <= binom.ppf(0.999, 25, 0.025)
    assert high <= binom.ppf(0.999, 25, 0.025) + 1  # thresholds are rounded down
    assert all(row["recall"] >= 0.9 - (row["expected"] - row["band"][0]) for row in rows)


def test_the_band_is_that_of_the_beta_binomial_distribution():
    probabilities, gold = simulated(5, 60, labels=1, digits=12)
    halves = [(np.arange(40), np.arange(40, 60))]
    (row,) = check_recall(probabilities, gold, 0.8, halves)
    number, positives = int(gold[:40].sum()), int(gold[40:].sum())
    rank = np.floor(0.2 * (number + 1))
    law = betabinom(positives, number + 1 - rank, rank)
    assert row["expected"] == pytest.approx(law.mean() / positives)
    assert row["expected"] - row["band"][0] == pytest.approx(1.96 * law.std() / positives)


def test_the_check_finds_a_broken_promise():
    """If the halves hold different kinds of patients, the recall is too low."""
    rng = np.random.default_rng(0)
    easy, hard = rng.uniform(0.6, 1, (200, 1)), rng.uniform(0, 1, (200, 1))
    halves = [(np.arange(200), np.arange(200, 400))]
    scores, gold = np.concatenate([easy, hard]), np.ones((400, 1), dtype=bool)
    (row,) = check_recall(scores, gold, 0.9, halves)
    assert row["recall"] < row["band"][0]
    (row,) = check_precision(scores, scores > 0.95, 0.8, 0.9, list(random_halves(400, 20, seed=0)))
    assert row["broken"] <= 0.1
    gold = np.concatenate([np.ones((200, 1)), np.zeros((200, 1))]).astype(bool)
    (row,) = check_precision(scores, gold, 0.95, 0.9, halves)
    assert row == {"certified": 1.0, "broken": 1.0, "recall": 1.0}


NOBODY = {"stay_id": "1", "subject_id": "1", "diagnoses": []}


def write_report(folder, probabilities, gold):
    folder.mkdir()
    names = [f"label {i}" for i in range(gold.shape[1])]
    with open(folder / "predictions.jsonl", "w", encoding="utf-8") as file:
        for scores, has in zip(probabilities, gold, strict=True):
            row = {
                **NOBODY,
                "probabilities": dict(zip(names, scores.tolist(), strict=True)),
                "gold": [name for name, yes in zip(names, has, strict=True) if yes],
            }
            file.write(json.dumps(row) + "\n")
        file.write(json.dumps({**NOBODY, "probabilities": {}, "gold": []}) + "\n")  # unreadable
    return folder


def test_the_command_reports_each_label_and_counts_those_outside_the_band(tmp_path, capsys):
    probabilities, gold = simulated(0, 200)
    gold[:, 2] = False
    folder = write_report(tmp_path / "report", probabilities, gold)
    found = guarantees.main(["--report", str(folder), "--recall", "0.8", "--precision", "0.6", "--splits", "20"])
    shown = capsys.readouterr().out
    assert [row["positives"] for row in found["recall"]] == gold.sum(axis=0).tolist()
    assert found["recall"][2]["recall"] is None
    assert "| label 2 | 0 | - |" in shown
    assert "Of 2 diagnoses 0 are below the band" in shown
    assert found["precision"][2]["certified"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recall", "1"], "--recall is a share between 0 and 1"),
        (["--precision", "90"], "--precision is a share"),
        (["--splits", "0"], "give at least 1"),
        ([], "fewer than two records"),
    ],
)
def test_mistakes_are_named(options, message, tmp_path):
    folder = write_report(tmp_path / "report", *simulated(0, 1))
    with pytest.raises(ClinRaGenInputError, match=message):
        guarantees.main(["--report", str(folder), *options])
