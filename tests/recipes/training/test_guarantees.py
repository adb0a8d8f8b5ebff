# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Guarantees against MAPIE, and their validity on simulated patients."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController, MultiLabelClassificationController
from scipy.stats import binom

from modeling_clinragen.doubt_clinragen import (
    PRECISION_GRID,
    UNUSUAL,
    ClinRaGenDoubt,
    binomial_tail,
    precision_threshold,
    recall_threshold,
)
from recipes.training.data import ClinRaGenCollator, encode_records, load_records
from recipes.training.guarantees import (
    channel_influence,
    fit_doubt,
    fit_guarantees,
    fit_support_limits,
    influence_records,
)


def simulated(seed, records, labels=3, digits=4):
    """Calibrated probabilities, and the diagnoses drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.6, 1.6, (records, labels)).round(digits)
    return probabilities, rng.random((records, labels)) < probabilities


@given(st.integers(0, 10_000), st.integers(1, 25), st.sampled_from([0.501, 0.777, 0.913]))
@example(453, 6, 0.501)  # a probability of four digits that rounding down would lower by one
@settings(max_examples=15)
@pytest.mark.filterwarnings("ignore:.*cannot be controlled")
def test_recall_thresholds_select_what_mapies_conformal_risk_control_does(seed, positives, recall):
    rng = np.random.default_rng(seed)
    scores = rng.random((positives, 1)).round(4)
    kept = fit_guarantees(scores, np.ones((positives, 1)))
    threshold = recall_threshold(positives, kept["positive_scores"][0], recall)
    between = np.unique(np.concatenate([[-0.5], scores[:, 0] - 5e-5]))  # MAPIE selects what is above a threshold
    controller = MultiLabelClassificationController(
        lambda x: x, risk="recall", target_level=recall, predict_params=between
    ).calibrate(scores, np.ones((positives, 1), dtype=int))
    new = rng.random((500, 1)).round(4)
    if controller.r_hat_plus.min() > 1 - recall:  # MAPIE warns, and names one that does not keep the recall
        assert threshold == 0
    else:
        assert (new >= threshold).tolist() == controller.predict(new)[..., 0].tolist()


@given(st.integers(0, 10_000), st.sampled_from([0.6, 0.75, 0.9]), st.sampled_from([0.8, 0.9]))
@settings(max_examples=30)
def test_precision_thresholds_are_those_of_mapies_learn_then_test(seed, precision, confidence):
    probabilities, gold = simulated(seed, 300, labels=1)
    kept = fit_guarantees(probabilities, gold)
    ours = precision_threshold(kept["selected"][0], kept["correct"][0], precision, 1 - confidence)
    enough = [t for t, n in zip(PRECISION_GRID, kept["selected"][0], strict=True) if precision**n <= 1 - confidence]
    controller = BinaryClassificationController(
        lambda x: np.stack([1 - x, x], axis=1),
        risk="precision",
        target_level=precision,
        confidence_level=confidence,
        list_predict_params=np.array(enough),
        fwer_method="fixed_sequence",
    ).calibrate(probabilities[:, 0], gold[:, 0].astype(int))
    theirs = min(controller.valid_predict_params, default=np.inf)
    # MAPIE rounds n * (1 - hits / n) up, which may count one error too many: then it is the stricter.
    assert ours <= theirs
    exact = [
        binom.cdf(n - h, n, 1 - precision) <= 1 - confidence + 1e-12
        for n, h in zip(kept["selected"][0], kept["correct"][0], strict=True)
        if precision**n <= 1 - confidence
    ]
    certified = enough[: exact.index(False)] if False in exact else enough
    assert ours == min(certified, default=np.inf)


@given(st.integers(0, 400), st.data(), st.floats(0.01, 0.99))
@settings(max_examples=100)
def test_binomial_tail_is_scipys(number, data, chance):
    most = data.draw(st.integers(0, number))
    assert binomial_tail(most, number, chance) == pytest.approx(binom.cdf(most, number, chance), rel=1e-6, abs=1e-12)


def test_with_few_positives_nothing_is_ruled_out_and_with_enough_something_is():
    assert recall_threshold(8, [0.5] * 8, 0.9) == 0  # one of nine may be missed, which is more than a tenth
    assert recall_threshold(9, [0.5] * 9, 0.9) == 0.5
    assert recall_threshold(0, [], 0.5) == 0


@given(st.integers(0, 10_000), st.integers(201, 5000), st.floats(0.02, 0.98))
@settings(max_examples=30)
def test_of_many_positives_the_kept_probabilities_never_give_a_higher_threshold(seed, number, recall):
    scores = np.sort(np.random.default_rng(seed).random(number))
    kept = fit_guarantees(scores[:, None], np.ones((number, 1)))["positive_scores"][0]
    assert len(kept) == 200
    rank = int(np.floor((1 - recall) * (number + 1) + 1e-9))
    exact = scores[rank - 1] if rank else 0.0
    thinned = recall_threshold(number, kept, recall)
    assert thinned <= exact
    assert (scores < exact).sum() - (scores < thinned).sum() <= np.ceil(number / 200) + number * 1e-3


@pytest.mark.parametrize("recall", [0.8, 0.9])
def test_recall_is_kept_on_patients_that_were_never_seen(recall):
    probabilities, gold = simulated(0, 200_000, labels=1)
    new, truly = simulated(1, 100_000, labels=1)
    reached, number = [], []
    for rows in np.array_split(np.arange(len(gold)), 2000):
        kept = fit_guarantees(probabilities[rows], gold[rows])
        threshold = recall_threshold(kept["num_positives"][0], kept["positive_scores"][0], recall)
        reached.append((new[truly] >= threshold).mean())
        number.append(kept["num_positives"][0])
    expected = np.mean([1 - np.floor((1 - recall) * (n + 1) + 1e-9) / (n + 1) for n in number])
    assert np.mean(reached) >= recall
    assert np.mean(reached) == pytest.approx(expected, abs=4 * np.std(reached) / len(reached) ** 0.5 + 1e-3)


@pytest.mark.parametrize("precision", [0.5, 0.7])
def test_a_certified_precision_is_broken_in_at_most_the_permitted_share_of_calibration_splits(precision):
    probabilities, gold = simulated(0, 300_000, labels=1)
    new, _ = simulated(1, 200_000, labels=1)
    truth = {t: new[new >= t].mean() for t in PRECISION_GRID}  # calibrated probabilities
    thresholds = []
    for rows in np.array_split(np.arange(len(gold)), 2000):
        kept = fit_guarantees(probabilities[rows], gold[rows])
        thresholds.append(precision_threshold(kept["selected"][0], kept["correct"][0], precision, 0.1))
    certified = [t for t in thresholds if np.isfinite(t)]
    broken = sum(truth[t] < precision for t in certified) / len(thresholds)
    assert len(certified) > 500
    assert broken <= 0.1 + 3 * (0.1 * 0.9 / 2000) ** 0.5


def test_support_limits_leave_few_of_the_calibration_split_outside():
    rng = np.random.default_rng(0)
    support = np.stack([rng.integers(5, 60, 500), rng.random(500), np.full(500, np.nan), rng.integers(0, 9, 500)], 1)
    limits = fit_support_limits(support)
    assert set(limits) == {"note_tokens", "token_rarity", "channels"}
    doubt = ClinRaGenDoubt([], [], [], [], limits, [])
    unusual = [doubt.unusual(dict(zip(UNUSUAL, row, strict=True))) for row in support.tolist()]
    for name in limits:
        assert 0 <= sum(name in found for found in unusual) <= 10
    assert sum("token_rarity" in found for found in unusual) > 5


@pytest.fixture(scope="module")
def calibration(data_folder, tiny_processor):
    records = load_records(str(data_folder / "dataset"), "train", limit=20)
    return encode_records(records, tiny_processor, ["note", "lab"], 20).with_format("numpy")


def test_what_is_fitted_gives_the_calibration_split_its_recall(calibration, tiny_model, tiny_processor, monkeypatch):
    monkeypatch.setattr(tiny_model.config.decisions, "doubt", None)  # tiny models share their configuration
    collator = ClinRaGenCollator(tiny_processor)
    batch = collator([calibration[i] for i in range(len(calibration))])
    gold, _ = batch.pop("diagnosis_labels").bool(), batch.pop("labels")
    probabilities = tiny_model.diagnosis_probabilities(**batch).numpy()
    tiny_model.requires_grad_(True)  # as a model folder gives it
    fit_doubt(tiny_model, tiny_processor, calibration, collator, probabilities)
    doubt = ClinRaGenDoubt.of(tiny_model.config)
    assert doubt.num_positives == gold.sum(dim=0).tolist()
    sets = tiny_model.diagnosis_sets(**batch, recall=0.6)
    missed = (gold & ~sets.possible).sum(dim=0)
    assert (missed < 0.4 * (gold.sum(dim=0) + 1)).all()
    assert ((sets.possible_from == 0) == (0.4 * (gold.sum(dim=0) + 1) < 1)).all()
    assert sets.confident is None


def test_influence_is_the_change_without_the_channel_or_the_note(calibration, tiny_model, tiny_processor):
    collator = ClinRaGenCollator(tiny_processor)
    influence = channel_influence(tiny_model, tiny_processor, calibration, collator)
    assert influence.shape == (25, 12)
    expected = torch.zeros(12, 25)
    times = torch.zeros(12)
    for i in range(len(calibration)):  # one record at a time, from its inputs
        batch = collator([calibration[i]])
        inputs = {name: batch[name] for name in tiny_processor.model_input_names}
        whole = torch.logit(tiny_model.diagnosis_probabilities(**inputs))[0]
        for channel in range(11):
            if inputs["past_observed_mask"][0, :, channel].any():
                mask = inputs["past_observed_mask"].clone()
                mask[..., channel] = False
                changed = tiny_model.diagnosis_probabilities(**{**inputs, "past_observed_mask": mask})
                expected[channel] += (torch.logit(changed)[0] - whole).abs()
                times[channel] += 1
        if "not available" not in tiny_processor.tokenizer.decode(inputs["input_ids"][0]):
            blank = tiny_processor.encode([""], [None], [None], return_tensors="pt")
            changed = tiny_model.diagnosis_probabilities(
                **{**inputs, **{name: blank[name] for name in ("input_ids", "attention_mask")}}
            )
            expected[11] += (torch.logit(changed)[0] - whole).abs()
            times[11] += 1
    torch.testing.assert_close(influence, (expected / times.clamp(min=1)[:, None]).T, atol=1e-4, rtol=1e-3)
    assert times[11] > 0


@pytest.mark.parametrize(("num_parameters", "number"), [(5e5, 256), (2**25, 256), (134_515_008, 63), (7e9, 32)])
def test_influence_is_measured_on_fewer_records_by_a_large_model(num_parameters, number):
    assert influence_records(int(num_parameters)) == number
