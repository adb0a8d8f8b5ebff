# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Decisions refitted on local records, and the drift of inputs."""

import json
import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import expit

from datasets_scripts import build_dataset
from modeling_clinragen import PHENOTYPES, ClinRaGenInputError
from modeling_clinragen.configuration_clinragen import ClinRaGenDecisionsConfig
from recipes import recalibrate
from recipes.evaluation.figures.drift import drift
from recipes.evaluation.workflows.recalibrate import compare, fit, probabilities_of
from recipes.models.folder import load_model_folder
from tests.datasets_scripts.sources import small_hospital


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "dataset"
    build_dataset.main(["--source", "synthetic", "--output", str(folder), "--limit", "800", "--seed", "3"])
    return folder


def run(model, dataset, *options):
    return recalibrate.main(["--model", str(model), "--dataset", str(dataset), *map(str, options)])


def overconfident(number, scale, seed=0):
    """Return logits that are `scale` times too large, and their diagnoses."""
    rng = np.random.default_rng(seed)
    true = rng.normal(-1.5, 2.0, size=(number, 4))
    return torch.from_numpy(true * scale).float(), torch.from_numpy(rng.random((number, 4)) < expit(true)).float()


def test_a_temperature_that_is_wrong_is_found_and_figures_of_other_patients_improve():
    logits, gold = overconfident(400, 3.0)
    decisions = ClinRaGenDecisionsConfig(temperature=1.0, thresholds=[0.999] * 4)
    found = compare(decisions, logits, gold, np.arange(400), list("abcd"))
    assert found["after"]["expected_calibration_error"] < 0.5 * found["before"]["expected_calibration_error"]
    assert found["after"]["micro_f1"] > found["before"]["micro_f1"] + 0.05
    assert (decisions.temperature, decisions.thresholds) == (1.0, [0.999] * 4)  # unchanged
    fit(decisions, logits, gold)
    assert decisions.temperature == pytest.approx(3.0, rel=0.15)


def test_a_diagnosis_that_nobody_has_keeps_its_decisions():
    logits, gold = overconfident(400, 2.0)
    gold[:, 3] = 0
    decisions = ClinRaGenDecisionsConfig(temperature=1.0, thresholds=[0.3, 0.3, 0.3, 0.3])
    before = probabilities_of(decisions, logits)[:, 3] >= 0.3
    fit(decisions, logits, gold)
    after = probabilities_of(decisions, logits)[:, 3] >= decisions.thresholds[3]
    assert before.any()
    assert np.array_equal(before, after)
    assert decisions.thresholds[0] != pytest.approx(0.3, abs=0.01)


def test_the_weights_are_unchanged_and_the_history_records_the_recalibration(stage1_folder, local, tmp_path):
    found = run(stage1_folder, local, "--output", tmp_path / "model")
    before, _ = load_model_folder(stage1_folder)
    after, _ = load_model_folder(tmp_path / "model")
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    assert after.config.decisions.mixture == before.config.decisions.mixture
    assert after.config.decisions.thresholds != before.config.decisions.thresholds
    assert after.config.decisions.doubt != before.config.decisions.doubt
    history = json.loads((tmp_path / "model" / "training.json").read_text())
    assert history["recalibrated"]["records"] > 50
    assert history["recalibrated"]["after"] == found["after"]
    assert history["stages"] == json.loads((stage1_folder / "training.json").read_text())["stages"]


def test_too_few_patients_are_refused_and_nothing_is_written(stage1_folder, tmp_path):
    build_dataset.main(["--source", "synthetic", "--output", str(tmp_path / "few"), "--limit", "100"])
    with pytest.raises(ClinRaGenInputError, match=r"split 'validation' holds 1\d patients, too few"):
        run(stage1_folder, tmp_path / "few", "--output", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert run(stage1_folder, tmp_path / "few", "--drift-only")["drift"]


@pytest.mark.parametrize(("split", "warns"), [("train", True), ("validation", False)])
def test_records_that_the_model_learned_from_are_said(stage1_folder, data_folder, caplog, split, warns):
    with pytest.raises(ClinRaGenInputError, match="too few to fit"):
        run(stage1_folder, data_folder / "dataset", "--split", split)
    said = f"{data_folder / 'dataset'}: the model learned from split {split!r}; what is fitted on it is too sure"
    assert (said in caplog.text) == warns


def test_a_folder_without_its_history_is_one_line(stage1_folder, local, tmp_path):
    bare = shutil.copytree(stage1_folder, tmp_path / "bare")
    (bare / "training.json").unlink()
    with pytest.raises(ClinRaGenInputError, match=r"training.json is missing"):
        run(bare, local, "--output", tmp_path / "model")
    assert run(bare, local, "--drift-only") == {"drift": []}


def test_drift_is_reported_for_the_inputs_that_have_it(stage1_folder, local, caplog):
    caplog.set_level("INFO")
    rows = run(stage1_folder, local, "--drift-only")["drift"]
    assert {row["kind"] for row in rows} == {"share", "mean"}
    assert not [row["what"] for row in rows if row["large"]]  # other patients of the same simulation
    assert "drift: 0 of" in caplog.text


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]


def shares(dataset, split):
    """Share of the records that have each diagnosis, counted in the files."""
    rows = [row for path in dataset.glob(f"data/{split}-*") for row in pq.read_table(path)["diagnoses"].to_pylist()]
    counts = Counter(i for row in rows for i in row)
    return {label: counts[i] / len(rows) for i, label in enumerate(LABELS)}


def test_how_common_diagnoses_are_is_compared(stage1_folder, data_folder, local):
    trained = json.loads((stage1_folder / "training.json").read_text())["inputs"]["prevalence"]
    assert trained == pytest.approx(shares(data_folder / "dataset", "train"), abs=1e-4)
    rows = {row["what"]: row for row in run(stage1_folder, local, "--drift-only")["drift"]}
    now = shares(local, "validation")
    assert {label: rows[label]["now"] for label in LABELS} == pytest.approx(now, abs=1e-4)
    assert {label: rows[label]["before"] for label in LABELS} == trained


def test_a_folder_without_the_prevalence_of_diagnoses_is_reported(stage1_folder, local, tmp_path, caplog):
    older = shutil.copytree(stage1_folder, tmp_path / "older")
    history = json.loads((older / "training.json").read_text())
    del history["inputs"]["prevalence"]
    (older / "training.json").write_text(json.dumps(history))
    rows = run(older, local, "--drift-only")["drift"]
    assert not {row["what"] for row in rows} & set(LABELS)
    assert "does not say how common diagnoses were" in caplog.text


def test_the_drift_of_new_patients_needs_no_labels(stage1_folder, tmp_path, caplog):
    """Glucose of the hospital's patients is far from that of training; diagnoses are not compared, as the log says."""
    caplog.set_level("INFO")
    tables, mapping = small_hospital.hospital(40)
    del tables["diagnoses"], mapping["diagnoses"]
    tables["vitals"] = [small_hospital.vital(f"s{i}", 1, "GLU", 400 + i) for i in range(40)]
    small_hospital.build(tmp_path, tables, mapping, "--unlabelled")
    rows = run(stage1_folder, tmp_path / "dataset", "--split", "test", "--drift-only")["drift"]
    (glucose,) = (row for row in rows if (row["what"], row["kind"]) == ("Glucose", "mean"))
    assert (glucose["now"], glucose["large"]) == (pytest.approx(419.5), True)
    assert not {row["what"] for row in rows} & set(LABELS)
    assert "have no labels: how common diagnoses are is not compared" in caplog.text
    with pytest.raises(ClinRaGenInputError, match=r"dataset has no labels .*recalibrate\.py --drift-only"):
        run(stage1_folder, tmp_path / "dataset", "--split", "test")


def test_the_labels_of_an_unlabelled_dataset_need_not_be_the_models(stage1_folder, tmp_path):
    """As for `predict.py`: only channels have to be the same."""
    (tmp_path / "labels.yaml").write_text("labels: [{name: Gout, codes: {icd10: [M10]}}]")
    tables, mapping = small_hospital.hospital(3)
    options = ("--labels", str(tmp_path / "labels.yaml"))
    small_hospital.build(tmp_path / "new", tables, mapping, "--unlabelled", *options)
    assert run(stage1_folder, tmp_path / "new" / "dataset", "--split", "test", "--drift-only")["drift"]
    small_hospital.build(tmp_path / "old", tables, mapping, *options)
    with pytest.raises(ClinRaGenInputError, match="differ in their labels"):
        run(stage1_folder, tmp_path / "old" / "dataset", "--drift-only")


STATISTICS = {
    "records": 400,
    "note_words": {"share": 0.9, "mean": 80.0, "std": 20.0},
    "channels": {
        "Glucose": {"share": 0.5, "mean": 130.0, "std": 40.0},
        "pH": {"share": 0.0, "mean": None, "std": None},
    },
    "prevalence": {"Shock": 0.1},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"note_words": {"share": 0.9, "mean": 95.0, "std": 20.0}}, [("words of the note", "mean")]),
        ({"note_words": {"share": 0.2, "mean": 80.0, "std": 20.0}}, [("words of the note", "share")]),
        ({"channels": {"Glucose": {"share": 0.5, "mean": 7.2, "std": 2.2}}}, [("Glucose", "mean")]),  # mmol/L
        ({"channels": {"Glucose": {"share": 0.0, "mean": None, "std": None}}}, [("Glucose", "share")]),
        ({"channels": {"pH": {"share": 0.5, "mean": 7.4, "std": 0.1}}}, [("pH", "share")]),
        ({"prevalence": {"Shock": 0.3}}, [("Shock", "share")]),
        ({"prevalence": {"Shock": 0.15}}, []),
        ({"records": 8, "prevalence": {"Shock": 0.25}}, []),  # by chance
    ],
)
def test_large_and_significant_differences_are_drift(change, expected):
    rows = drift(STATISTICS, {**STATISTICS, **change})
    assert [(row["what"], row["kind"]) for row in rows if row["large"]] == expected
