# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics import f1_score

from modeling_clinragen import CHANNELS
from recipes import evaluate_model
from recipes.evaluation.figures.compute import compute_metrics, subgroups
from recipes.evaluation.report.plots import plot_series, plot_training
from tests.commands import run_script


def test_a_report_folder_holds_metrics_predictions_and_a_page(stage1_folder, data_folder, tmp_path):
    output = tmp_path / "report"
    metrics = evaluate_model.main(
        ["--model", str(stage1_folder), "--dataset", str(data_folder / "dataset"), "--split", "test"]
        + ["--output", str(output), "--limit", "3", "--batch-size", "2", "--embedding-matching"]
        + ["--bertscore-model", "all-MiniLM-L6-v2"]
    )
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert {"micro_f1", "macro_f1", "per_label", "exact_match"} <= set(metrics["diagnosis"])
    assert {"bleu", "rougeL", "meteor", "bertscore_f1"} <= set(metrics["rationale"]["note_rationale"])
    assert {"note_recall", "lab_recall"} <= set(metrics["intervals"])
    for part, name in (("diagnosis", "micro_f1"), ("diagnosis", "weighted_f1"), ("diagnosis", "exact_match")):
        low, high = metrics["intervals"][part][name]
        assert low <= metrics[part][name] <= high
    assert 0 <= metrics["diagnosis_by_embedding"]["micro_f1"] <= 1
    assert {"sex", "age", "ethnicity", "channels measured", "care unit"} == set(metrics["subgroups"])
    lines = [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == metrics["records"] == 3
    page = (output / "report.html").read_text()
    assert page.count("<article>") == 3
    assert "Not a medical device" in page
    assert "://" not in page


def test_perfect_and_empty_predictions():
    def prediction(gold, predicted):
        return {
            "subject_id": "1",
            "readable": True,
            "gold": gold,
            "note_rationale": "",
            "lab_rationale": "",
            "diagnoses": [{"label": name} for name in predicted],
            "probabilities": {},
            "reference_note_rationale": "",
            "reference_lab_rationale": "",
            "claims": [],
        }

    perfect = [prediction(["a"], ["a"]), prediction(["b"], ["b"])]
    assert compute_metrics(perfect, ["a", "b"])["diagnosis"]["macro_f1"] == 1
    empty = [prediction(["a"], []), prediction(["b"], [])]
    metrics = compute_metrics(empty, ["a", "b"])
    assert metrics["diagnosis"]["micro_f1"] == 0
    assert "rationale" not in metrics


def test_subgroups_hold_each_record_once_and_their_own_figures():
    rng = np.random.default_rng(0)
    series = [np.where(rng.random((5, 4)) < 0.5, np.nan, 1.0).tolist() for _ in range(90)] + [[] for _ in range(10)]
    records = Dataset.from_dict(
        {
            "sex": ["F", "M", None, "F"] * 25,
            "age": [30.0, 45.0, 64.9, None, 90.0] * 20,
            "ethnicity": ["a"] * 95 + ["rare"] * 5,
            "lab_values": series,
        }
    )
    true, guess = rng.random((100, 6)) < 0.4, rng.random((100, 6)) < 0.4
    found = subgroups(records, true, guess, [str(i) for i in range(100)])
    assert {name: group["records"] for name, group in found["sex"].items()} == {"F": 50, "M": 25, "unknown": 25}
    ages = {"under 45 years": 20, "45 to 65 years": 40, "80 years or more": 20, "unknown": 20}
    assert {name: group["records"] for name, group in found["age"].items()} == ages
    assert list(found["ethnicity"]) == ["a"]  # five records are too few for a subgroup
    assert "care unit" not in found  # older datasets do not have the column
    records = records.add_column("care_unit", ["MICU", None, "SICU", "MICU"] * 25)
    units = subgroups(records, true, guess, [str(i) for i in range(100)])["care unit"]
    assert {name: group["records"] for name, group in units.items()} == {"MICU": 50, "SICU": 25, "unknown": 25}
    women = np.array(["F", "M", None, "F"] * 25) == "F"
    assert found["sex"]["F"]["micro_f1"] == pytest.approx(f1_score(true[women], guess[women], average="micro"))
    low, high = found["sex"]["F"]["intervals"]["micro_f1"]
    assert low < found["sex"]["F"]["micro_f1"] < high


@pytest.mark.parametrize(
    ("model", "split", "words"),
    [("nowhere", "test", "no model folder"), (None, "dev", "no split 'dev'")],
)
def test_bad_input_is_one_line_and_leaves_nothing(stage1_folder, data_folder, tmp_path, model, split, words):
    arguments = ["--model", model or stage1_folder, "--dataset", data_folder / "dataset", "--split", split]
    done = run_script(evaluate_model.__file__, *arguments, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_series_are_drawn_whatever_was_measured(tmp_path, rows):
    values = np.full((rows, 11), np.nan)
    values[:, 3] = 80
    plot_series(tmp_path / "series.png", CHANNELS, np.arange(rows), values, "a patient")
    plot_training(tmp_path / "training.png", {"stage1": [{"step": 1, "loss": 2.0}, {"step": 1, "eval_micro_f1": 0.5}]})
    assert (tmp_path / "series.png").stat().st_size > 3000
    assert (tmp_path / "training.png").stat().st_size > 3000
