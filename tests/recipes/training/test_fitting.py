# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from datasets_scripts.common.checkpoints import MINILM
from recipes.evaluation.figures.metrics import multi_hot
from recipes.training import fitting
from recipes.training.data import ClinRaGenCollator
from recipes.training.fitting import Described
from tests.conftest import make_tiny_config, make_tiny_model


NOTES = [
    "fever and productive cough",
    "denies chest pain",
    "heart failure",
    "",
    "fever and chest pain",
    "heart failure",
]
DIAGNOSES = [[3], [], [4, 7], [], [3], [4]]


@pytest.fixture
def linear_model(tiny_tokenizer):
    return make_tiny_model(make_tiny_config(tiny_tokenizer, num_token_pairs=64))


@pytest.fixture
def encoded(tiny_processor):
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 20, 6)) for _ in NOTES]
    values = [np.array([70, 0.4, 120, 80, 75, 96, 18, 120, 37, 80, 7.4]) * rng.uniform(0.9, 1, (6, 11)) for _ in NOTES]
    values[1][:, 3] = np.nan
    inputs = tiny_processor(notes=NOTES, lab_values=values, lab_times=times)
    rows = {name: list(inputs[name]) for name in ("input_ids", "past_values", "past_observed_mask")}
    rows |= {"labels": [[1]] * len(NOTES), "diagnosis_labels": list(multi_hot(DIAGNOSES, 25))}
    rows |= {"subject_id": [f"p{i}" for i in range(len(NOTES))], "length": [1] * len(NOTES)}
    return Dataset.from_dict(rows).with_format("numpy")


@pytest.fixture
def collator(tiny_processor):
    return ClinRaGenCollator(tiny_processor)


def test_the_model_scores_what_the_regression_was_fitted_on(linear_model, tiny_processor, encoded, collator):
    fitting.prepare_decisions(linear_model, tiny_processor, encoded, collator)
    linear = linear_model.diagnosis_head.linear
    described, gold = fitting.describe(linear_model, encoded, collator)
    assert gold.tolist() == multi_hot(DIAGNOSES, 25).tolist()
    expected = described.features @ linear.weight.T.numpy() + linear.bias.numpy()
    batch = collator([encoded[i] for i in range(len(NOTES))])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "past_values", "past_observed_mask")}
    found = linear_model.encode(**inputs).member_logits[:, 1]
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    assert linear_model.config.decisions.mixture == 0.5
    assert found[0, 3] > found[1, 3]  # it learned
    assert found[2, 4] > found[1, 4]


def test_words_are_tokens_and_frequent_pairs(linear_model, tiny_processor, encoded):
    fitting.learn_words(linear_model, tiny_processor, encoded)
    linear = linear_model.diagnosis_head.linear
    ids = [list(row) for row in encoded["input_ids"]]
    pairs_of = [set(pairwise(row)) for row in ids]
    often = {pair for pair in set().union(*pairs_of) if sum(pair in pairs for pairs in pairs_of) > 1}
    known = {divmod(c, linear.vocab_size) for c in linear.pair_codes.tolist() if c < linear.vocab_size**2}
    assert known == often
    row = ids[0]
    words = linear.words(torch.tensor([row + [0, 0]]), torch.tensor([[1] * len(row) + [0, 0]]))
    count = linear.count(words)[0]
    for token in range(linear.vocab_size):
        assert count[token] == row.count(token)
    pairs = list(pairwise(row))
    for k, code in enumerate(linear.pair_codes.tolist()):
        assert count[linear.vocab_size + k] == pairs.count(divmod(code, linear.vocab_size))


def test_statistics_are_those_of_the_measured_hours(linear_model):
    rng = np.random.default_rng(1)
    values, observed = rng.normal(size=(5, 24, 3)).astype("float32"), rng.random((5, 24, 3)) < 0.3
    observed[0, :, 1] = False
    found = linear_model.diagnosis_head.linear.statistics(torch.from_numpy(values), torch.from_numpy(observed))
    for i in range(5):
        for c in range(3):
            hours, v = np.flatnonzero(observed[i, :, c]), values[i, observed[i, :, c], c]
            assert found[i, c, :2].tolist() == pytest.approx([float(len(v) > 0), np.log1p(len(v))])
            if not len(v):
                assert found[i, c, 2:].isnan().all()
                continue
            slope = np.polyfit(hours, v, 1)[0] * 24 if len(v) > 1 else 0.0
            expected = [v[0], v[-1], v.mean(), v.min(), v.max(), v.std(), slope]
            assert found[i, c, 2:].tolist() == pytest.approx(expected, abs=1e-4)


def test_words_are_similar_to_the_names_that_they_mean(linear_model, tiny_processor):
    notes = Dataset.from_dict(
        {"input_ids": [tiny_processor.tokenizer(note)["input_ids"] for note in ("heart failure", "heart failure")]}
    ).with_format("numpy")
    linear_model.config.label_similarity_model = MINILM
    fitting.learn_words(linear_model, tiny_processor, notes)
    linear = linear_model.diagnosis_head.linear

    def nearest(text):
        ids = torch.tensor([tiny_processor.tokenizer(text)["input_ids"]])
        near = linear.similarity(linear.words(ids, torch.ones_like(ids)))[0]
        return tiny_processor.labels[int(near.argmax())], float(near.max())

    assert nearest("heart failure")[0].startswith("Congestive heart failure")
    assert nearest("Diagnose disease from the following medical notes:")[1] < nearest("heart failure")[1]


def test_sparse_and_dense_regressions_are_scikit_learns():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 8)) * (rng.random((200, 8)) < 0.5)
    gold = (features @ rng.normal(size=(8, 3)) + rng.normal(size=(200, 3)) > 0).astype("float32")
    for matrix in (features, sparse.csr_matrix(features.astype("float32"))):
        found = fitting.logistic_regression(Described.plain(matrix, 3), torch.from_numpy(gold), c=2.0)
        for k in range(3):
            oracle = LogisticRegression(C=2.0, tol=1e-8, max_iter=1000).fit(features, gold[:, k])
            assert found.own[k].numpy() == pytest.approx(oracle.coef_[0], abs=5e-3)
            assert found.bias[k].item() == pytest.approx(oracle.intercept_[0], abs=5e-3)


def test_features_that_never_occur_have_no_weight_and_make_no_difference():
    rng = np.random.default_rng(0)
    narrow = (rng.normal(size=(60, 8)) * (rng.random((60, 8)) < 0.5)).astype("float32")
    gold = torch.from_numpy((narrow[:, :3] > 0.2).astype("float32"))
    wide = np.zeros((60, 20), dtype="float32")
    wide[:, 3:19:2] = narrow
    found = fitting.regression(Described.plain(sparse.csr_matrix(wide), gold.shape[1]), gold)
    expected = fitting.logistic_regression(
        Described.plain(wide, gold.shape[1]), gold, fitting.RIDGE_C, fitting.RIDGE_STEPS
    )
    torch.testing.assert_close(found.own, expected.own, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.bias, expected.bias, rtol=0, atol=1e-3)
    assert (found.own[:, wide.any(axis=0)] != 0).all()
    assert not found.own[:, ~wide.any(axis=0)].any()


def test_no_patient_is_scored_by_a_regression_that_saw_them():
    """Each patient's own word determines the label of their two stays, but only for models fitted on them."""
    own = np.repeat(np.eye(20, dtype="float32"), 2, axis=0)
    gold = torch.from_numpy(np.repeat(np.arange(20) % 2, 2).astype("float32")[:, None])
    patients = [str(i) for i in np.repeat(np.arange(20), 2)]
    held = fitting.held_out_logits(Described.plain(sparse.csr_matrix(own), 1), gold, patients)
    seen = fitting.logistic_regression(Described.plain(own, 1), gold, fitting.RIDGE_C).logits(Described.plain(own, 1))
    assert ((seen > 0) == (gold > 0)).all()
    means = [held[gold[:, 0] == value].mean().item() for value in (0, 1)]
    assert means[1] <= means[0] + 1e-3


def test_temperature_and_share_are_recovered():
    torch.manual_seed(0)
    truth = 2 * torch.randn(4000, 5)
    gold = torch.bernoulli(truth.sigmoid())
    assert fitting.fit_temperature(3 * truth, gold)[1] == pytest.approx(3, rel=0.1)
    noise = torch.randn(4000, 5)
    assert fitting.fit_mixture(noise, truth, gold)[0] > 0.9
    assert fitting.fit_mixture(truth, noise, gold)[0] < 0.1
    share, temperature, logits = fitting.fit_mixture(truth + noise, truth - noise, gold)
    assert 0.4 < share < 0.6
    assert temperature == pytest.approx(1, rel=0.15)
    torch.testing.assert_close(logits, (1 - share) * (truth + noise) + share * (truth - noise))


@given(arrays.arrays(float, (12, 3), elements=st.floats(0, 1)), arrays.arrays(bool, (12, 3)))
@settings(max_examples=60)
def test_thresholds_lie_between_a_labels_own_and_the_common_one(probabilities, gold):
    found = fitting.fit_thresholds(probabilities, gold.astype(float))
    grid = fitting.THRESHOLDS
    common = np.clip(fitting.best_threshold(gold, probabilities)[0], grid[0], grid[-1])
    for k in range(3):
        scores = []
        for threshold in grid:
            made = probabilities[:, k] >= threshold
            hits = (made & gold[:, k]).sum() + probabilities[made, k].sum()
            total = 2 * made.sum() + gold[:, k].sum() + probabilities[:, k].sum()
            scores.append(2 * hits / total if total else 0.0)
        best = grid[np.flatnonzero(np.isclose(scores, max(scores), atol=1e-12))]
        between = np.exp(0.75 * np.log(best) + 0.25 * np.log(common))
        assert np.isclose(between, found[k]).any()


def test_thresholds_decide_well_if_probabilities_are_perfect():
    gold = np.random.default_rng(0).random((200, 4)) < 0.2
    probabilities = np.where(gold, 0.6, 0.1)
    thresholds = fitting.fit_thresholds(probabilities, gold.astype(float))
    assert f1_score(gold, probabilities >= thresholds, average="macro") == 1


def test_a_finished_stage_decides_by_what_was_fitted(linear_model, tiny_processor, encoded, collator):
    linear_model.config.decisions.token_ids = tiny_processor.diagnosis_token_ids()
    fitting.prepare_decisions(linear_model, tiny_processor, encoded, collator)
    fitting.fit_decisions(
        linear_model, tiny_processor, encoded.select(range(4)), encoded.select(range(4, 6)), collator
    )
    config = linear_model.config
    assert 0 <= config.decisions.mixture <= 1
    assert config.decisions.temperature > 0
    batch = collator([encoded[i] for i in range(len(NOTES))])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "past_values", "past_observed_mask")}
    members = linear_model.encode(**inputs).member_logits
    mixed = (1 - config.decisions.mixture) * members[:, 0] + config.decisions.mixture * members[:, 1]
    probabilities = linear_model.diagnosis_probabilities(**inputs)
    torch.testing.assert_close(probabilities, (mixed / config.decisions.temperature).sigmoid())
    decided = linear_model.diagnosis_decisions(**inputs)
    assert torch.equal(decided, probabilities >= torch.tensor(config.decisions.thresholds))
    texts = tiny_processor.batch_decode(
        linear_model.generate(**inputs, max_new_tokens=120, do_sample=False), skip_special_tokens=True
    )
    for text, row in zip(texts, decided, strict=True):
        assert tiny_processor.parse(text)["diagnoses"] == [
            tiny_processor.labels[i] for i in row.nonzero().flatten().tolist()
        ]
