# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Sets with a guarantee, abstention and what would help, as a model with fitted numbers gives them."""

import numpy as np
import pytest
import torch

from modeling_clinragen import CHANNELS, ClinRaGenConfig, ClinRaGenInputError, ClinRaGenPipeline
from modeling_clinragen.abstention_clinragen import support_of
from modeling_clinragen.doubt_clinragen import PRECISION_GRID, ClinRaGenDoubt


NAMES = [channel["name"] for channel in CHANNELS]


def fitted(num_labels=25, **changes):
    """Of each label 19 positives with probabilities 0.05 to 0.95; on the grid all records are right down to 0.5."""
    selected = [100 * (i + 1) for i in range(len(PRECISION_GRID))]
    right = [n if t >= 0.5 else n // 2 for n, t in zip(selected, PRECISION_GRID, strict=True)]
    numbers = {
        "num_positives": [19] * num_labels,
        "positive_scores": [[i / 20 for i in range(1, 20)]] * num_labels,
        "selected": [selected] * num_labels,
        "correct": [right] * num_labels,
        "support_limits": {"note_tokens": 3.0, "token_rarity": 100.0, "measurements": 4.0, "channels": 2.0},
        "influence": [[0.1 * (c + 1) for c in range(12)]] * num_labels,
    }
    return {**numbers, **changes}


@pytest.fixture
def fitted_model(tiny_model, monkeypatch):
    monkeypatch.setattr(tiny_model.config.decisions, "doubt", fitted())  # tiny models share their configuration
    return tiny_model


@pytest.fixture
def batch(tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    return tiny_processor(list(notes), list(values), list(times), return_tensors="pt")


def test_sets_are_the_probabilities_from_the_chosen_thresholds(fitted_model, batch):
    probabilities = fitted_model.diagnosis_probabilities(**batch)
    sets = fitted_model.diagnosis_sets(**batch, recall=0.8, precision=0.9)
    assert sets.possible_from.tolist() == pytest.approx(
        [0.2] * 25
    )  # the fourth of 19: three missed, one unseen, of 20
    assert sets.confident_from.tolist() == pytest.approx([0.5] * 25)
    assert torch.equal(sets.possible, probabilities >= 0.2)
    assert torch.equal(sets.confident, probabilities >= 0.5)
    only = fitted_model.diagnosis_sets(encoder_outputs=fitted_model.encode(**batch))
    assert only.confident is None
    assert only.possible_from.tolist() == pytest.approx([0.1] * 25)  # recall 0.9 where none is chosen


def test_a_higher_recall_rules_out_less_and_a_higher_precision_is_confident_of_less():
    doubt = ClinRaGenDoubt(**fitted(1))
    thresholds = [doubt.possible_from(recall)[0] for recall in (0.5, 0.8, 0.9, 0.96)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] == 0
    assert [doubt.confident_from(precision)[0] for precision in (0.3, 0.9, 0.9999)] == [0.02, 0.5, np.inf]


def test_a_model_without_fitted_doubt_gives_no_guarantee_but_an_error(tiny_model, batch):
    with pytest.raises(ClinRaGenInputError, match="no guarantees"):
        tiny_model.diagnosis_sets(**batch)


@pytest.mark.parametrize(
    "asked", [{"recall": 1.0}, {"recall": 90}, {"precision": 0.0}, {"precision": 0.5, "confidence": 1}]
)
def test_an_invalid_share_is_named(fitted_model, batch, asked):
    with pytest.raises(ClinRaGenInputError, match=f"`{list(asked)[-1]}` is a share"):
        fitted_model.diagnosis_sets(**batch, **asked)


def test_a_config_refuses_numbers_of_other_labels(tmp_path):
    with pytest.raises(ValueError, match=r"`decisions\.doubt` needs one entry for each of the 2 labels"):
        ClinRaGenConfig(labels=["a", "b"], decisions={"doubt": fitted(3)})
    config = ClinRaGenConfig(labels=["a", "b"], decisions={"doubt": fitted(2)})
    config.save_pretrained(tmp_path)
    assert ClinRaGenConfig.from_pretrained(tmp_path).decisions.doubt == config.decisions.doubt


def test_measures_of_support_are_counts_and_do_not_depend_on_the_batch(tiny_model, tiny_processor, records, batch):
    together = support_of(tiny_model, batch)
    for i, (note, values, times) in enumerate(records):
        alone = tiny_processor([note], [values], [times], return_tensors="pt")
        torch.testing.assert_close(support_of(tiny_model, alone)[0], together[i])
        hours = {
            (int(t), c) for t, row in zip(times, values, strict=True) for c in np.flatnonzero(~np.isnan(row)) if t < 24
        }
        assert together[i].tolist()[0] == alone["input_ids"].shape[1]
        assert together[i].tolist()[2:] == [len(hours), len({c for _, c in hours})]


@pytest.fixture
def pipe(fitted_model, tiny_processor):
    return ClinRaGenPipeline(fitted_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)


def doubt(pipe, record, **options):
    return pipe(record, max_new_tokens=4, do_sample=False, **options)["doubt"]


LABS = {"Heart Rate": [[1, 80], [2, 82], [3, 85]], "Temperature": [[1, 37.0], [5, 38.0]]}


@pytest.mark.parametrize(
    ("record", "reasons"),
    [
        ({"note": "fever and productive cough", "labs": LABS}, []),
        ({"note": "  ", "labs": LABS}, ["the note is empty"]),
        ({"note": "fever and productive cough"}, ["nothing is measured"]),
        ({"note": "fever", "labs": {"Heart Rate": [[30, 80]]}}, ["nothing is measured in hours 0 to 24"]),
        (
            {"note": "fever and productive cough", "labs": {"Heart Rate": [[1, 80], [2, 81]]}},
            [
                "few measurements (2; nearly all patients at least 4)",
                "few channels are measured (1; nearly all patients at least 2)",
            ],
        ),
        (
            {"note": "fever", "labs": {**LABS, "Weight": [[1, 9000]], "pH": [[1, 7.4], [2, 74]]}},
            ["no value within the plausible range (Weight)"],
        ),
        ({"note": "fever", "labs": {**LABS, "Weight": [[30, 9000]]}}, []),  # after the hours that the model reads
    ],
)
def test_the_pipeline_abstains_for_lack_of_support(pipe, record, reasons):
    found = doubt(pipe, record)
    assert found["reasons"] == reasons
    assert found["abstain"] == bool(reasons)


def test_a_note_of_words_that_are_rarer_than_usual_is_a_reason(pipe):
    record = {"note": "fever and productive cough", "labs": LABS}
    pipe.model.config.decisions.doubt["support_limits"]["token_rarity"] = 0.5
    pipe.model.diagnosis_head.linear.inverse_document_frequency.data.fill_(2.0)
    assert doubt(pipe, record)["reasons"] == ["the words of the note are unusual (2; nearly all patients at most 0.5)"]
    pipe.model.config.decisions.doubt["support_limits"] = {"note_tokens": 1000.0}
    assert doubt(pipe, record)["reasons"][0].startswith("the note is very short")


def test_a_model_that_reads_one_input_does_not_miss_the_other(pipe, monkeypatch):
    monkeypatch.setattr(pipe.processor, "modalities", ["lab"])
    assert doubt(pipe, {"labs": LABS})["reasons"] == []
    assert "note" not in [entry["missing"] for entry in doubt(pipe, {"labs": LABS})["would_help"]]
    monkeypatch.setattr(pipe.processor, "modalities", ["note"])
    found = doubt(pipe, {"note": "fever"})
    assert found["reasons"] == found["would_help"] == []


def test_missing_inputs_are_ranked_by_the_expected_change(pipe):
    record = {"labs": LABS}
    probabilities = np.array(list(pipe(record, max_new_tokens=4)["probabilities"].values()))
    found = doubt(pipe, record)["would_help"]
    assert [entry["missing"] for entry in found] == ["note", "pH", "Weight"]
    log_odds = np.log(probabilities / (1 - probabilities))
    for entry, step in zip(found, (1.2, 1.1, 1.0), strict=True):  # as likely up as down
        changed = np.abs(1 / (1 + np.exp(-(log_odds + step * np.array([[1], [-1]])))) - probabilities)
        assert entry["change"] == pytest.approx(changed.mean(axis=0).sum(), abs=2e-3)
    pipe.model.config.decisions.doubt["influence"] = [[0.0] * 12 for _ in range(25)]
    pipe.model.config.decisions.doubt["influence"][7][NAMES.index("Glucose")] = 1.0
    (entry,) = doubt(pipe, record)["would_help"]
    assert (entry["missing"], entry["diagnosis"]) == ("Glucose", pipe.processor.labels[7])


def test_the_pipeline_returns_possible_and_confident_diagnoses_on_request(pipe, tiny_processor):
    record = {"note": "fever and productive cough", "labs": LABS}
    pipe.model.config.decisions.doubt["num_positives"] = [19] * 24 + [3]
    pipe.model.config.decisions.doubt["positive_scores"] = [[i / 20 for i in range(1, 20)]] * 24 + [[0.9] * 3]
    pipe.model.config.decisions.doubt["correct"] = [fitted(1)["correct"][0]] * 24 + [[0] * len(PRECISION_GRID)]
    assert set(doubt(pipe, record)) == {"abstain", "reasons", "would_help", "not_read", "not_listed"}
    answers = pipe([record] * 3, recall=0.8, precision=0.9, batch_size=2, max_new_tokens=4, do_sample=False)
    for answer in answers:
        found, last = answer["doubt"], tiny_processor.labels[-1]
        assert found["possible"] == [n for n, p in answer["probabilities"].items() if p >= 0.2 or n == last]
        assert found["confident"] == [n for n, p in answer["probabilities"].items() if p >= 0.5 and n != last]
        assert found["never_ruled_out"] == found["never_confident"] == [last]


def test_without_fitted_numbers_the_plain_reasons_are_still_given(pipe):
    pipe.model.config.decisions.doubt = None
    nothing = {"would_help": [], "not_read": [], "not_listed": []}
    assert doubt(pipe, {"labs": LABS}) == {"abstain": True, "reasons": ["the note is empty"], **nothing}
    with pytest.raises(ClinRaGenInputError, match="no guarantees"):
        doubt(pipe, {"labs": LABS}, recall=0.9)


def test_measurements_that_the_model_does_not_read_are_counted(pipe):
    labs = {"Heart Rate": [[-2, 70], [1, 80], [30, 82], [31, 85]], "Weight": [[1, 9000]], "pH": [[2, 7.4]]}
    assert doubt(pipe, {"note": "fever", "labs": labs})["not_read"] == [
        "Heart Rate: 3 values outside of hours 0 to 24",
        "Weight: 1 value outside of the plausible range",
    ]
    assert doubt(pipe, {"note": "fever", "labs": LABS})["not_read"] == []


@pytest.mark.parametrize(
    ("note", "named"),
    [
        ("Admitted with shock.", ["Shock"]),
        ("Concern for shock.", []),
        ("No shock.", []),
        ("Shock during an earlier admission.", []),
        ("Shock index 0.9", []),
    ],
)
@pytest.mark.parametrize("listed", [[], ["Shock"]])
def test_diagnoses_that_the_note_names_but_the_model_does_not_list_are_said(pipe, monkeypatch, note, named, listed):
    parse = pipe.processor.parse
    monkeypatch.setattr(pipe.processor, "parse", lambda text: {**parse(text), "diagnoses": listed})
    answer = pipe({"note": note, "labs": LABS}, max_new_tokens=4, do_sample=False, grounded=False)
    found = answer["doubt"]["not_listed"]
    assert [entry["label"] for entry in found] == [name for name in named if name not in listed]
    assert all(entry["probability"] == answer["probabilities"][entry["label"]] for entry in found)
