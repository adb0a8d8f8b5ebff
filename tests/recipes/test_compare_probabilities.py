# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from modeling_clinragen import ClinRaGenInputError
from recipes import compare_probabilities
from recipes.compare_probabilities import CANDIDATES, FIGURES, MIX, REFERENCE, Candidate
from recipes.model_folder import save_model_folder
from tests.conftest import make_tiny_config, make_tiny_model


def made(seed=0, records=300, labels=5):
    """Logits that are right, diagnoses drawn by them, and two records of each patient."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1.5, 1.5, (records, labels))
    gold = (rng.random((records, labels)) < 1 / (1 + np.exp(-logits))).astype(int)
    return logits, gold, np.array([str(i // 2) for i in range(records)])


def test_the_command_leaves_table_figures_and_picture(stage1_folder, data_folder, tmp_path, capsys):
    output = tmp_path / "probabilities"
    found = compare_probabilities.main(
        ["--model", str(stage1_folder), "--dataset", str(data_folder / "dataset"), "--split", "train"]
        + ["--limit", "15", "--samples", "2", "--batch-size", "6", "--output", str(output)]
    )
    assert json.loads((output / "comparison.json").read_text()) == found
    assert found["records"] == 15
    assert set(found["candidates"]) == {*CANDIDATES, MIX}
    for name, entry in found["candidates"].items():
        assert set(entry["figures"]) == set(FIGURES)
        assert entry["seconds_per_record"] > 0
        assert sum(cells["cells"] for cells in entry["bins"]) == 15 * 25
        for figure, (low, high) in entry["intervals"].items():
            assert low <= entry["figures"][figure] + 0.1
            assert entry["figures"][figure] <= high + 0.1
        assert len(entry["fitted"]) == 5, name
    assert set(found["candidates"][REFERENCE]["differences"].values()) == {0.0}
    text = (output / "comparison.md").read_text()
    assert text in capsys.readouterr().out
    assert text.count("\n| ") == len(found["candidates"]) + 2
    assert (output / "reliability.png").stat().st_size > 10_000


def test_figures_are_those_of_scikit_learn():
    logits, gold, patients = made()
    stored = np.full(5, 0.4)
    folds = compare_probabilities.folds_of([len(gold)], patients)
    fitted = compare_probabilities.fit_candidates({"head": logits, "name": 3 * logits - 2}, gold, folds, stored)
    rows = np.arange(len(gold))
    found = compare_probabilities.compare(fitted, gold, patients, rows)
    probabilities = 1 / (1 + np.exp(-logits))
    figures = found[REFERENCE]["figures"]
    assert figures["micro_auroc"] == pytest.approx(roc_auc_score(gold.ravel(), probabilities.ravel()))
    assert figures["macro_auprc"] == pytest.approx(average_precision_score(gold, probabilities, average="macro"))
    assert figures["brier_score"] == pytest.approx(brier_score_loss(gold.ravel(), probabilities.ravel()))
    assert figures["macro_f1"] == pytest.approx(f1_score(gold, probabilities >= 0.4, average="macro"), abs=1e-6)
    assert found["name"]["differences"]["macro_auroc"] == pytest.approx(0, abs=0.01)
    low, high = found["name"]["difference_intervals"]["macro_auroc"]
    own_low, own_high = found["name"]["intervals"]["macro_auroc"]
    assert high - low < (own_high - own_low) / 3  # paired: the same patients are drawn for both


def test_maps_find_what_makes_scores_probabilities():
    logits, gold, _ = made(records=4000)
    rows = np.arange(len(gold))
    mapped, found = compare_probabilities.map_scores(Candidate("x", "temperature"), 2 * logits, gold, rows)
    assert found["temperature"] == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(mapped, 2 * logits / found["temperature"])
    _, found = compare_probabilities.map_scores(Candidate("x", "affine"), (logits - 7) / 0.1, gold, rows)
    assert found["slope"] == pytest.approx(0.1, rel=0.1)
    assert found["offset"] == pytest.approx(7, abs=0.3)


def test_less_its_mean_a_label_may_be_likelier_than_another_from_the_start():
    logits, gold, _ = made()
    fit = np.arange(200)
    candidate = Candidate("x", "affine", less_mean=True)
    one, _ = compare_probabilities.map_scores(candidate, logits, gold, fit)
    other, _ = compare_probabilities.map_scores(candidate, logits + [0, 5, -5, 20, 1], gold, fit)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_what_is_measured_has_no_part_in_what_is_fitted():
    logits, gold, patients = made()
    folds = compare_probabilities.folds_of([200, 100], patients)
    scores = {"head": logits, "name": logits * 0.5}
    one = compare_probabilities.fit_candidates(scores, gold, folds, np.full(5, 0.5))
    turned = np.concatenate([gold[:200], 1 - gold[200:]])
    other = compare_probabilities.fit_candidates(scores, turned, folds, np.full(5, 0.5))
    for name in one:
        np.testing.assert_array_equal(one[name].logits[200:], other[name].logits[200:])
        np.testing.assert_array_equal(one[name].made[200:], other[name].made[200:])


def test_a_patient_is_never_fitted_and_measured_at_once():
    _, gold, patients = made()
    folds = compare_probabilities.folds_of([len(gold)], patients)
    assert sorted(np.concatenate([rows for _, rows in folds])) == list(range(len(gold)))
    for fit, rows in folds:
        assert not set(patients[fit]) & set(patients[rows])
    with pytest.raises(ClinRaGenInputError, match="one patient only"):
        compare_probabilities.folds_of([2], np.array(["a", "a"]))


def test_a_better_decoder_takes_a_part_in_the_mix_and_a_useless_one_none():
    logits, gold, patients = made(records=2000)
    folds = compare_probabilities.folds_of([1000, 1000], patients)
    noise = np.random.default_rng(1).normal(size=logits.shape)
    for scores, right in (
        ({"head": logits + 2 * noise, "name": logits}, lambda share: share > 0.6),
        ({"head": logits, "name": noise}, lambda share: share < 0.1),
    ):
        mix = compare_probabilities.fit_candidates(scores, gold, folds, np.full(5, 0.5))[MIX]
        assert right(mix.fitted[0]["share"])


def test_bad_input_is_one_line_that_says_why(tiny_tokenizer, tiny_processor, stage1_folder, data_folder, tmp_path):
    save_model_folder(
        make_tiny_model(make_tiny_config(tiny_tokenizer, diagnosis_loss_weight=0.0)), tiny_processor, tmp_path / "no"
    )
    rest = ["--dataset", str(data_folder / "dataset"), "--output", str(tmp_path / "out")]
    with pytest.raises(ClinRaGenInputError, match="no diagnosis head"):
        compare_probabilities.main(["--model", str(tmp_path / "no"), *rest])
    with pytest.raises(ClinRaGenInputError, match="--samples is 0"):
        compare_probabilities.main(["--model", str(stage1_folder), "--samples", "0", *rest])
    with pytest.raises(ClinRaGenInputError, match="exists already"):
        compare_probabilities.main(["--model", str(stage1_folder), *rest[:2], "--output", str(data_folder)])
    assert not (tmp_path / "out").exists()
