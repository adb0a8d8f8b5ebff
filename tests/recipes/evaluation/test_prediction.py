# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of a split, and the original release's generation: without the mask, without the last batch."""

import json

import pytest
from datasets import Dataset

from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from recipes import evaluate_model
from recipes.evaluation.prediction import UnmaskedPipeline, predict, whole_batches
from recipes.evaluation.workflows import evaluate


@pytest.fixture
def asked(records):
    return [
        {"note": note, "lab_values": values, "lab_times": times} for note, values, times in (records[1], records[3])
    ]


def answers(kind, model, processor, records, batch_size):
    pipe = kind(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")
    return pipe(records, batch_size=batch_size, do_sample=False, max_new_tokens=3)


def test_without_the_mask_a_record_depends_on_its_batch_and_with_it_it_does_not(tiny_model, tiny_processor, asked):
    def short_note(kind, batch_size):
        return answers(kind, tiny_model, tiny_processor, asked, batch_size)[0]["probabilities"]

    assert short_note(ClinRaGenPipeline, 2) == pytest.approx(short_note(ClinRaGenPipeline, 1), abs=1e-4)
    assert short_note(UnmaskedPipeline, 1) == short_note(ClinRaGenPipeline, 1)  # alone it is not padded
    together, alone = short_note(UnmaskedPipeline, 2), short_note(UnmaskedPipeline, 1)
    assert max(abs(together[name] - alone[name]) for name in alone) > 1e-3


def test_the_longest_record_of_a_batch_reads_the_same_without_the_mask(tiny_model, tiny_processor, asked):
    masked, unmasked = (
        answers(kind, tiny_model, tiny_processor, asked, 2)[1] for kind in (ClinRaGenPipeline, UnmaskedPipeline)
    )
    assert unmasked["probabilities"] == pytest.approx(masked["probabilities"], abs=1e-4)


def noting_lengths(kind):
    """A pipeline of that kind that records the lengths of its notes by batch, in tokens."""

    class Noting(kind):
        def _forward(self, model_inputs, **options):
            self.noted.append(model_inputs["attention_mask"].sum(dim=1).tolist())
            return super()._forward(model_inputs, **options)

    Noting.noted = []
    return Noting


@pytest.fixture
def split(records):
    """Records of several lengths, long and short ones alternating; the last holds nothing."""
    notes = ["fever " * (30 if i % 2 else 1 + i // 4) for i in range(10)]
    notes[-1] = " "
    _, values, times = records[1]
    return Dataset.from_list(
        [
            {"note": note, "lab_values": values.tolist(), "lab_times": times.tolist()}
            | {name: str(i) for name in ("subject_id", "hadm_id", "stay_id")}
            | {"diagnoses": [0], "note_rationale": "", "lab_rationale": ""}
            for i, note in enumerate(notes)
        ]
    )


def predictions_of(kind, model, processor, split):
    model.generation_config.max_new_tokens = 5
    pipe = kind(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")
    return list(predict(pipe, split, batch_size=2, num_beams=1)), pipe


def test_records_are_batched_by_length_and_answered_in_order_as_each_alone(tiny_model, tiny_processor, split):
    predictions, pipe = predictions_of(noting_lengths(ClinRaGenPipeline), tiny_model, tiny_processor, split)
    lengths = [length for batch in pipe.noted for length in batch]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 2
    assert [prediction["stay_id"] for prediction in predictions] == [str(i) for i in range(10)]
    assert [prediction["readable"] for prediction in predictions] == [True] * 9 + [False]
    for row, prediction in zip(split.select(range(9)), predictions, strict=False):
        alone = pipe({name: row[name] for name in ("note", "lab_values", "lab_times")}, do_sample=False)
        assert prediction["generated_text"] == alone["generated_text"]
        assert prediction["diagnoses"] == [
            {"label": found["label"], "probability": pytest.approx(found["probability"], abs=1e-4)}
            for found in alone["diagnoses"]
        ]


def test_if_padding_is_read_the_order_of_the_file_is_kept(tiny_model, tiny_processor, split):
    _, pipe = predictions_of(noting_lengths(UnmaskedPipeline), tiny_model, tiny_processor, split)
    *whole, last = pipe.noted
    assert all(short < long for short, long in whole)
    assert (len(whole), len(last)) == (4, 1)


@pytest.mark.parametrize(("number", "left"), [(4, 4), (5, 4), (7, 4), (8, 8)])
def test_the_last_batch_is_left_out_unless_it_is_full(number, left):
    records = Dataset.from_dict({"stay_id": list(range(number))})
    assert list(whole_batches(records, 4)["stay_id"]) == list(range(left))


def test_when_there_is_no_full_batch_then_an_error_says_so():
    with pytest.raises(ClinRaGenInputError, match=r"leaves nothing of 3 records in batches of 4; lower --batch-size"):
        whole_batches(Dataset.from_dict({"stay_id": [1, 2, 3]}), 4)


def test_an_evaluation_in_the_release_s_ways_says_so(stage1_folder, data_folder, tmp_path, monkeypatch):
    class Noting(UnmaskedPipeline):
        noted = []

        def _forward(self, model_inputs, **options):
            self.noted.append(options["num_beams"])
            return super()._forward(model_inputs, **options)

    monkeypatch.setattr(evaluate, "UnmaskedPipeline", Noting)
    arguments = ["--model", str(stage1_folder), "--dataset", str(data_folder / "dataset"), "--split", "test"]
    arguments += ["--limit", "3", "--batch-size", "2", "--counterfactual"]
    ways = ["--attention-mask", "paper", "--drop-last-batch", "--num-beams", "2"]
    metrics = evaluate_model.main([*arguments, *ways, "--output", str(tmp_path / "report")])
    assert metrics["records"] == 2
    assert (metrics["run"]["attention_mask"], metrics["run"]["drop_last_batch"]) == ("paper", True)
    assert (metrics["run"]["num_beams"], set(Noting.noted)) == (2, {2})
    assert list(metrics["counterfactual"]) == ["as given", "note blanked"]  # stage 1 reads notes
    assert metrics["counterfactual"]["as given"]["micro_f1"] == metrics["diagnosis"]["micro_f1"]
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == metrics
