# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from recipes import stage1_note
from recipes.data import ClinRaGenCollator, encode_records, load_records
from recipes.model_folder import load_model_folder


@pytest.fixture
def processor(stage1_folder):
    return load_model_folder(stage1_folder)[1]


def encode(data_folder, processor, length=300, **options):
    records = load_records(str(data_folder / "dataset"), "train", limit=6)
    return encode_records(records, processor, ["note", "lab"], length, **options).with_format("numpy")


@pytest.mark.parametrize("rationale_first", [False, True])
def test_the_span_of_the_rationale_holds_it_and_the_rest_the_diagnoses(data_folder, processor, rationale_first):
    for row in encode(data_folder, processor, rationale_first=rationale_first):
        start, end = row["rationale_span"]
        inside = processor.tokenizer.decode(row["labels"][start:end], skip_special_tokens=True).strip()
        outside = [*row["labels"][:start], *row["labels"][end:]]
        outside = processor.tokenizer.decode(outside, skip_special_tokens=True).strip()
        assert inside.startswith("### Rationale:")
        assert "### Lab Test:" in inside
        assert "### Disease Diagnosed:" not in inside
        assert outside.startswith("### Disease Diagnosed:")
        assert outside.endswith(".")
        assert outside.count("###") == 1


@pytest.mark.parametrize("rationale_first", [False, True])
def test_a_target_cut_before_its_second_part_has_a_span_of_what_is_left(data_folder, processor, rationale_first):
    for row in encode(data_folder, processor, length=3, rationale_first=rationale_first):
        assert row["rationale_span"].tolist() == ([0, 3] if rationale_first else [3, 3])


def test_equal_weights_of_one_are_not_in_the_batch(data_folder, processor):
    rows = list(encode(data_folder, processor))
    assert "loss_weights" not in ClinRaGenCollator(processor)(rows)


@pytest.mark.parametrize(("ignore_padding", "of_padding"), [(True, 0.0), (False, 1.0)])
def test_each_token_has_the_weight_of_its_part(data_folder, processor, ignore_padding, of_padding):
    rows = list(encode(data_folder, processor))
    batch = ClinRaGenCollator(processor, ignore_padding, 2.0, 0.5)(rows)
    assert batch["loss_weights"].shape == batch["labels"].shape
    for weights, row in zip(batch["loss_weights"], rows, strict=True):
        start, length = row["rationale_span"][0], len(row["labels"])
        assert set(weights[:start].tolist()) == {2.0}
        assert set(weights[start:length].tolist()) == {0.5}
        assert set(weights[length:].tolist()) <= {of_padding}


def test_the_weights_change_the_loss_as_by_hand(data_folder, stage1_folder):
    model, processor = load_model_folder(stage1_folder)
    batch = ClinRaGenCollator(processor, True, 3.0, 0.25)(list(encode(data_folder, processor, length=60)))
    diagnoses = batch.pop("diagnosis_labels")
    with torch.no_grad():
        output = model(**batch, skip_logits=False)
        plain = model(**{name: batch[name] for name in batch if name != "loss_weights"}, skip_logits=False)
    total = of_weights = 0.0
    for row, place in (batch["labels"] != -100).nonzero().tolist():
        weight = batch["loss_weights"][row, place].item()
        total -= weight * output.logits[row, place].log_softmax(-1)[batch["labels"][row, place]].item()
        of_weights += weight
    assert len(diagnoses) == len(batch["labels"])
    assert output.loss.item() == pytest.approx(total / of_weights, rel=1e-4)
    assert abs(output.loss.item() - plain.loss.item()) > 1e-4


def test_a_stage_with_weights_runs_and_its_history_tells_them(stage_arguments, tmp_path):
    options = ["--diagnosis_token_weight", "2", "--rationale_token_weight", "0.5"]
    stage1_note.main(stage_arguments(tmp_path / "stage1", *options, max_steps=1))
    settings = json.loads((tmp_path / "stage1" / "training.json").read_text())["stages"][-1]["settings"]
    assert (settings["diagnosis_token_weight"], settings["rationale_token_weight"]) == (2.0, 0.5)
