# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurements of the benefit of knowledge."""

import json

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.metrics import f1_score, roc_auc_score

from benchmarks import knowledge_attention, rare_diseases, terms
from datasets_scripts.dataset.folder import load_split
from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.metrics import multi_hot
from recipes.models.folder import load_model_folder, save_model_folder
from recipes.training.fitting import Described
from tests.conftest import make_tiny_config, make_tiny_model


def test_rare_labels_keep_their_quota_and_other_records_fill_up():
    rng = np.random.default_rng(0)
    gold = rng.random((500, 10)) < 0.2
    rare, quota = np.array([2, 5, 7]), np.array([4, 8, 6])
    kept = rare_diseases.thin_out(gold, rare, quota, 120, rng)
    assert kept.sum() == 120
    assert (gold[kept][:, rare].sum(axis=0) <= quota).all()
    assert (gold[kept][:, rare].sum(axis=0) >= quota - 2).all()  # a record with two of them may not fit
    everyone = rare_diseases.thin_out(gold, rare, quota, None, rng)
    assert everyone.sum() >= (~gold[:, rare].any(axis=1)).sum()


def test_rare_data_are_thinned_and_knowledge_is_exchanged(data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(rare_diseases, "MOST", 4)
    monkeypatch.setattr(rare_diseases, "FEWEST", 2)
    given = ["--dataset", str(data_folder / "dataset"), "--knowledge", str(data_folder / "knowledge.json")]
    arguments = rare_diseases.parse_arguments([*given, "--output", str(tmp_path), "--records", "25", "--seeds", "3"])
    rare_diseases.prepare(arguments, 3)
    folder = tmp_path / "records25-seed3"
    labels = rare_diseases.label_names(data_folder / "dataset")
    rare = [labels.index(name) for name in json.loads((folder / "rare.json").read_text())]
    train = load_split(folder / "dataset", "train")
    gold = multi_hot(train["diagnoses"], len(labels))
    assert len(train) == 25
    assert len(rare) == 6
    assert gold[:, rare].sum(axis=0).max() <= 4
    assert load_split(folder / "dataset", "test")["stay_id"] == load_split(data_folder / "dataset", "test")["stay_id"]
    own, exchanged = (json.loads((folder / f"{name}.json").read_text())["terms"] for name in ("own", "exchanged"))
    pairs = {
        (a, b) for t, o in zip(own, exchanged, strict=True) for a, b in zip(t["diseases"], o["diseases"], strict=True)
    }
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs) == len(labels)
    assert any(a != b for a, b in pairs)


def test_figures_are_those_of_scikit_learn_of_rare_labels_and_others():
    rng = np.random.default_rng(0)
    gold, probabilities = rng.random((200, 5)) < 0.3, rng.random((200, 5))
    run = {"gold": gold, "made": probabilities > 0.5, "probabilities": probabilities, "rare": np.array([1, 3])}
    found = rare_diseases.figures(run, np.arange(200))
    for labels, (f1, ranking) in (([1, 3], found[:2]), ([0, 2, 4], found[2:])):
        assert f1 == pytest.approx(f1_score(gold[:, labels], probabilities[:, labels] > 0.5, average="macro"))
        assert ranking == pytest.approx(roc_auc_score(gold[:, labels], probabilities[:, labels]))


def test_an_unseen_disease_is_recognized_by_its_terms():
    rng = np.random.default_rng(0)
    evidence = (rng.random((600, 4)) < 0.4).astype(float)
    gold = torch.from_numpy((rng.random((600, 4)) < expit(4 * evidence - 2)).astype(np.float32))
    described = Described(sparse.csr_matrix(np.ones((600, 1))), evidence[:, :, None])
    is_test = np.arange(600) >= 400
    unseen = gold.clone()
    unseen[~is_test, 3] = 0  # no training record has it
    found = terms.show_unseen(described, unseen, is_test, list("abcd"))
    assert found["d"] == pytest.approx(roc_auc_score(gold[is_test, 3], evidence[is_test, 3]))
    assert found["d"] > 0.75
    rows = terms.show_held_out(described, gold, np.arange(600).astype(str), np.zeros(4, dtype=bool), seed=0)
    assert rows["with terms"][0] < rows["without terms"][0] - 0.05
    assert rows["with terms"][1] > rows["terms exchanged"][1] + 0.1


def test_attention_to_matching_terms_is_distinguished_from_attention_to_any_terms():
    rng = np.random.default_rng(0)
    is_own = np.array([True, False, False, True, False])
    assert knowledge_attention.auroc(np.array([0.3, 0.1, 0.1, 0.4, 0.1]), is_own) == 1.0
    weights = rng.random(5)
    assert knowledge_attention.auroc(weights, is_own) == pytest.approx(roc_auc_score(is_own, weights))
    same = [np.full(5, 0.2)] * 20
    other = [np.array([1.0, 0, 0, 0, 0])] * 20
    found = knowledge_attention.variations(
        {(0, "low"): same, (0, "usual"): other, (1, "high"): same, (2, "low"): same[:3]}
    )
    assert found == {(0, "low", "usual"): pytest.approx(0.8)}


def test_a_model_with_the_expected_attention_is_measured(tiny_tokenizer, data_folder, tmp_path, tiny_processor):
    config = make_tiny_config(tiny_tokenizer)
    save_model_folder(make_tiny_model(config), tiny_processor, tmp_path / "model")
    model, processor = load_model_folder(tmp_path / "model")
    knowledge = [
        {
            "term": "fever",
            "type": "sign",
            "diseases": ["Shock"],
            "pattern": {"channel": "Temperature", "direction": "high"},
        },
        {"term": "heart failure", "type": "name", "diseases": ["Shock"]},
    ]
    own = knowledge_attention.own_terms(model.config, knowledge)
    names = [channel["name"] for channel in model.config.channels]
    assert np.argwhere(own).tolist() == [[names.index("Temperature"), 1, model.config.knowledge_terms.index("fever")]]
    records = load_split(data_folder / "dataset", "train")
    scores, weights = knowledge_attention.measure(model.eval(), processor, records, own, 12)
    assert scores
    assert all(0 <= score <= 1 for score in scores)
    assert {level for _, level in weights} <= {"low", "usual", "high"}


@pytest.mark.parametrize("command", [terms.main, knowledge_attention.main])
def test_a_model_without_attended_terms_is_refused(tiny_tokenizer, tiny_processor, data_folder, tmp_path, command):
    config = make_tiny_config(tiny_tokenizer, knowledge_attention_type="prototype")
    save_model_folder(make_tiny_model(config), tiny_processor, tmp_path / "model")
    with pytest.raises(ClinRaGenInputError, match="--model: "):
        command(["--model", str(tmp_path / "model"), "--dataset", str(data_folder / "dataset")])
