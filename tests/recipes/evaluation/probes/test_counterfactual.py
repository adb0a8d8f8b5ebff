# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The effect of each input: exchanged series, the changes of a condition, and that they are undone afterwards."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.prediction import predict
from recipes.evaluation.probes.counterfactual import (
    Comparison,
    conditions_of,
    counterfactual_metrics,
    derangement,
    donors_of,
    shuffled_knowledge,
)
from tests.conftest import make_tiny_config, make_tiny_model


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.integers(0, 1000))
@settings(max_examples=200)
def test_a_swapped_series_always_comes_from_another_patient(patients, seed):
    donor = donors_of(patients, seed)
    if len(set(patients)) < 2:
        assert donor is None
        return
    assert len(donor) == len(patients)
    assert all(patients[i] != patients[j] for i, j in enumerate(donor))
    assert donor == donors_of(patients, seed)
    gives_to = {(patients[j], patients[i]) for i, j in enumerate(donor)}
    assert len(gives_to) == len(set(patients))  # to one patient, from one patient
    assert {giver for giver, _ in gives_to} == {getter for _, getter in gives_to} == set(patients)
    for patient, stays in Counter(patients).items():  # as many different series as the other patient has
        theirs = {j for i, j in enumerate(donor) if patients[i] == patient}
        assert len(theirs) == min(stays, Counter(patients)[patients[next(iter(theirs))]])


@given(st.integers(2, 60), st.integers(0, 1000))
@settings(max_examples=100)
def test_a_derangement_leaves_nothing_in_its_place(number, seed):
    moved = derangement(number, seed)
    assert sorted(moved) == list(range(number))
    assert (moved != np.arange(number)).all()


def test_another_seed_swaps_differently():
    patients = [str(i) for i in range(50)]
    assert donors_of(patients, 0) != donors_of(patients, 1)


@pytest.fixture
def split(records):
    """Eight stays of seven patients, as `load_records` gives them; the last holds nothing at all."""
    chosen = [records[i] for i in (0, 1, 2, 3, 3, 0, 2)] + [("", np.empty((0, 11)), np.empty(0))]
    return Dataset.from_dict(
        {
            "subject_id": ["p0", "p1", "p2", "p3", "p4", "p0", "p5", "p6"],
            "hadm_id": [f"a{i}" for i in range(8)],
            "stay_id": [f"s{i}" for i in range(8)],
            "note": [note for note, _, _ in chosen],
            "lab_times": [times.tolist() for _, _, times in chosen],
            "lab_values": [values.tolist() for _, values, _ in chosen],
            "diagnoses": [[22], [], [0, 3], [22], [1], [2], [3], [4]],
            "note_rationale": [""] * 8,
            "lab_rationale": [""] * 8,
        }
    )


class CountingPipeline(ClinRaGenPipeline):
    """Remembers the number of records and beams of each call."""

    asked, beams = 0, frozenset()

    def preprocess(self, record):
        self.asked += 1
        return super().preprocess(record)

    def _forward(self, model_inputs, **options):
        self.beams = {*self.beams, options.get("num_beams")}
        return super()._forward(model_inputs, **options)


def pipeline_of(model, processor, modalities=("note", "lab")):
    processor = copy.copy(processor)
    processor.modalities = list(modalities)
    model.generation_config.max_new_tokens = 3
    return CountingPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")


@pytest.fixture
def pipe(tiny_model, tiny_processor):
    return pipeline_of(tiny_model, tiny_processor)


def test_every_condition_covers_the_same_records(pipe, split, capsys):
    predictions = list(predict(pipe, split, 3, 1))
    assert pipe.asked == 7  # one of eight holds nothing
    assert pipe.beams == {1}
    pipe.beams = frozenset()
    found = counterfactual_metrics(pipe, split, predictions, 3, num_beams=2)
    assert pipe.beams == {2}
    # The note of 5, minus one that then holds nothing; the series of 6, minus two; swapped; with shuffled knowledge.
    assert pipe.asked - 7 == 4 + 4 + 6 + 6  # the others keep their answer
    names = ["as given", "note blanked", "series blanked", "series swapped", "knowledge shuffled"]
    assert list(found) == names
    bars = capsys.readouterr().err
    assert all(f"{name}:" in bars for name in names[1:])
    assert [figures["records"] for figures in found.values()] == [8] * 5
    # Nothing at all; then also the note alone, or the series alone of two stays.
    assert [figures["unreadable"] for figures in found.values()] == [1, 2, 3, 1, 1]
    for name in names[1:]:
        figures = found[name]
        for score in ("micro_f1", "macro_f1"):
            low, high = figures["intervals"][f"difference_{score}"]
            assert low <= figures["difference"][score] <= high
            assert figures["difference"][score] == pytest.approx(figures[score] - found["as given"][score])
            assert 0 < figures["p_value"][score] <= 1
        assert figures["mean_probability_shift"] > 0
        assert 0 <= figures["changed"] <= 1
    assert list(predict(pipe, split, 3, 1)) == predictions  # nothing of it stays


def test_blanked_series_are_read_as_none_and_the_rest_is_unchanged(pipe, split):
    condition = conditions_of(pipe, split, 0)["series blanked"]
    assert condition.rows == [0, 2, 3, 4, 5, 6]
    blanked = list(predict(pipe, split.select(condition.rows), 3, 1, condition.change))
    assert [prediction["stay_id"] for prediction in blanked] == ["s0", "s2", "s3", "s4", "s5", "s6"]
    assert [prediction["readable"] for prediction in blanked] == [True, False, True, True, True, False]
    for prediction, i in zip(blanked, condition.rows, strict=True):
        if prediction["readable"]:
            alone = pipe({"note": split[i]["note"]})
            assert prediction["probabilities"] == pytest.approx(alone["probabilities"], abs=2e-4)
            assert prediction["knowledge"] == alone["knowledge"] == []


def test_swapped_series_are_read_as_if_they_were_the_records_own(pipe, split):
    condition = conditions_of(pipe, split, 0)["series swapped"]
    swapped = list(predict(pipe, split.select(condition.rows), 2, 1, condition.change))
    donor = donors_of([split[i]["subject_id"] for i in condition.rows], 0)
    for k, i in enumerate(condition.rows):
        other = split[condition.rows[donor[k]]]
        alone = pipe({"note": split[i]["note"], "lab_times": other["lab_times"], "lab_values": other["lab_values"]})
        assert other["subject_id"] != swapped[k]["subject_id"] == split[i]["subject_id"]
        assert swapped[k]["probabilities"] == pytest.approx(alone["probabilities"], abs=2e-4)


def test_a_model_that_reads_notes_alone_has_no_condition_of_the_series(tiny_model, tiny_processor, split):
    pipe = pipeline_of(tiny_model, tiny_processor, ["note"])
    predictions = list(predict(pipe, split, 3, 1))
    found = counterfactual_metrics(pipe, split, predictions, 3)
    assert list(found) == ["as given", "note blanked"]
    assert (found["note blanked"]["unreadable"], found["note blanked"]["mean_probability_shift"]) == (8, None)
    both = conditions_of(pipeline_of(tiny_model, tiny_processor), split, 0)
    for name in ("series blanked", "series swapped", "knowledge shuffled"):  # and would not be touched by one
        rows = both[name].rows
        with both[name].model:
            again = list(predict(pipe, split.select(rows), 3, 1, both[name].change))
        for prediction, i in zip(again, rows, strict=True):
            assert (prediction["probabilities"], prediction["generated_text"]) == (
                predictions[i]["probabilities"],
                predictions[i]["generated_text"],
            )


def test_a_model_that_reads_series_alone_has_no_condition_of_the_note(tiny_model, tiny_processor, split):
    conditions = conditions_of(pipeline_of(tiny_model, tiny_processor, ["lab"]), split, 0)
    assert list(conditions) == ["series blanked", "series swapped", "knowledge shuffled"]


def test_inapplicable_conditions_are_left_out(pipe, tiny_tokenizer, tiny_processor, split):
    one_patient = split.select([0, 5])
    assert "series swapped" not in conditions_of(pipe, one_patient, 0)
    without_series = split.select([1])
    assert list(conditions_of(pipe, without_series, 0)) == ["note blanked"]
    config = make_tiny_config(tiny_tokenizer)
    config.knowledge_terms, config.knowledge_input_ids = [], []
    plain = pipeline_of(make_tiny_model(config), tiny_processor)
    assert list(conditions_of(plain, split, 0)) == ["note blanked", "series blanked", "series swapped"]


def test_series_that_the_release_fills_attend_to_knowledge_where_nothing_was_measured(pipe, split):
    pipe.processor.feature_extractor = copy.copy(pipe.processor.feature_extractor)
    pipe.processor.feature_extractor.grid = "paper"
    conditions = conditions_of(pipe, split, 0)
    assert conditions["knowledge shuffled"].rows == list(range(8))
    note = {"note": split[1]["note"]}
    given = pipe(note)
    with conditions["knowledge shuffled"].model:
        assert pipe(note)["probabilities"] != given["probabilities"]


@pytest.fixture(params=["term", "prototype"])
def knowing_model(request, tiny_tokenizer):
    return make_tiny_model(make_tiny_config(tiny_tokenizer, knowledge_attention_type=request.param))


def batch_of(processor, records):
    notes, values, times = zip(*records, strict=True)
    return processor(notes=notes, lab_values=values, lab_times=times, return_tensors="pt")


@torch.no_grad()
def test_shuffled_knowledge_is_restored_to_the_last_bit(knowing_model, tiny_processor, records):
    batch = batch_of(tiny_processor, records)
    state = {name: tensor.clone() for name, tensor in knowing_model.state_dict().items()}
    before = knowing_model.encode(**batch)
    with shuffled_knowledge(knowing_model, 0):
        during = knowing_model.encode(**batch)
    assert not torch.allclose(during.last_hidden_state, before.last_hidden_state, atol=1e-4)
    assert torch.equal(during.knowledge_attentions, before.knowledge_attentions)  # the same terms are looked for
    with pytest.raises(KeyboardInterrupt), shuffled_knowledge(knowing_model, 0):
        raise KeyboardInterrupt
    after = knowing_model.encode(**batch)
    for name in ("last_hidden_state", "diagnosis_logits", "knowledge_attentions"):
        assert torch.equal(after[name], before[name])
    assert all(torch.equal(tensor, state[name]) for name, tensor in knowing_model.state_dict().items())


@torch.no_grad()
def test_a_patch_that_attends_to_a_term_gets_the_value_of_another(tiny_model):
    attention, embedding = tiny_model.knowledge_attention, tiny_model.get_input_embeddings()
    patches = torch.randn(5, attention.series_projection.in_features)
    with shuffled_knowledge(tiny_model, 3):
        shuffled, _, _ = attention(patches.view(1, 1, 5, -1), torch.ones(1, 1, 5, dtype=torch.bool), embedding)
    terms = torch.nn.functional.layer_norm(attention.embed_knowledge(embedding), (16,))
    values, keys = attention.value(terms), attention.key(terms).unflatten(-1, (2, 8))
    queries = attention.query(patches).unflatten(-1, (2, 8))
    weights = (torch.einsum("phd,thd->hpt", queries, keys) / 8**0.5).softmax(dim=-1)
    order = derangement(len(values), 3)
    heads = values.unflatten(-1, (2, 8))  # (terms, heads, head_dim)
    expected_heads = torch.zeros(5, 2, 8)
    for term in range(len(values)):
        expected_heads += weights[:, :, term].T.unsqueeze(-1) * heads[order[term]]
    expected = attention.norm(attention.series_projection(patches) + attention.output(expected_heads.flatten(1)))
    torch.testing.assert_close(shuffled[0], expected)


@torch.no_grad()
def test_permuting_keys_and_values_alike_changes_nothing(tiny_model, tiny_processor, records):
    """Why the values alone are shuffled."""
    batch = batch_of(tiny_processor, records)
    before = tiny_model.encode(**batch).diagnosis_logits
    attention = tiny_model.knowledge_attention
    order = derangement(len(attention.knowledge_input_ids), 0)
    attention.knowledge_input_ids.copy_(attention.knowledge_input_ids[order].clone())
    attention.knowledge_attention_mask.copy_(attention.knowledge_attention_mask[order].clone())
    torch.testing.assert_close(tiny_model.encode(**batch).diagnosis_logits, before)


def made_predictions(seed, labels, rationale="", number=8):
    rng = np.random.default_rng(seed)
    return [
        {
            "readable": True,
            "diagnoses": [{"label": labels[i]} for i in np.flatnonzero(rng.random(len(labels)) < 0.2)],
            "lab_rationale": rationale,
            "probabilities": dict(zip(labels, rng.random(len(labels)).tolist(), strict=True)),
        }
        for _ in range(number)
    ]


def test_figures_are_those_of_scikit_learn_and_of_counting_by_hand(pipe, split):
    labels = pipe.processor.labels
    before, after = made_predictions(0, labels), made_predictions(1, labels)
    after[0]["diagnoses"] = before[0]["diagnoses"]
    after[1] = {**after[1], "readable": False, "probabilities": {}}
    hot = lambda sets: np.array([[i in chosen for i in range(25)] for chosen in sets])  # noqa: E731
    lists = [[{labels.index(d["label"]) for d in p["diagnoses"]} for p in run] for run in (before, after)]
    true = hot(map(set, split["diagnoses"]))
    comparison = Comparison(pipe, split, before)
    own, beside = comparison.figures(after), comparison.differences(after)
    for name in ("micro", "macro"):
        scores = [f1_score(true, hot(run), average=name, zero_division=0) for run in lists]
        assert own[f"{name}_f1"] == pytest.approx(scores[1])
        assert beside["difference"][f"{name}_f1"] == pytest.approx(scores[1] - scores[0])
    assert own["unreadable"] == 1
    assert beside["changed"] == sum(a != b for a, b in zip(*lists, strict=True)) / 8 < 1
    shift = [
        abs(before[i]["probabilities"][label] - after[i]["probabilities"][label])
        for i in (0, 2, 3, 4, 5, 6, 7)
        for label in labels
    ]
    assert beside["mean_probability_shift"] == pytest.approx(sum(shift) / len(shift))


def test_claims_are_checked_against_the_true_values_regardless_of_the_models_input(pipe, split):
    split = split.select(range(3))
    hearts = [80.0 if values else None for values in split["lab_values"]]
    values = [[[h if c == 3 else None for c in range(11)]] if h else [] for h in hearts]
    split = split.remove_columns(["lab_values", "lab_times"])
    split = split.add_column("lab_values", values).add_column("lab_times", [[1.0] if v else [] for v in values])
    predictions = made_predictions(0, pipe.processor.labels, "Heart rate is normal all the time.", 3)
    figures = Comparison(pipe, split, predictions).figures(predictions)
    # The second stay has no series, so nothing supports the claim.
    assert (figures["claims"], figures["claims_supported"]) == (3, pytest.approx(2 / 3))
    silent = made_predictions(0, pipe.processor.labels, "", 3)
    assert Comparison(pipe, split, silent).figures(silent)["claims_supported"] is None
