# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import subprocess
import sys

import pytest
import torch

from modeling_clinragen import ClinRaGenInputError
from recipes import stage0_pretrain, stage1_note
from recipes.model_folder import load_model_folder
from recipes.pretraining import (
    MaskedSeriesCollator,
    MaskedSeriesModel,
    SpanDenoisingCollator,
    carried_forward,
    reconstruction_errors,
    sentinels,
)


def series_rows(number=3, hours=24, channels=11, seed=0):
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(number, hours, channels, generator=generator) < 0.3
    values = torch.randn(number, hours, channels, generator=generator).masked_fill(~observed, 0.0)
    return [{"past_values": v, "past_observed_mask": o} for v, o in zip(values, observed, strict=True)]


def held_patches(observed, patch_length=8):
    """By hand: whether a patch of a channel holds any measurement."""
    rows, hours, channels = observed.shape
    return torch.stack(
        [observed[:, start : start + patch_length].any(dim=1) for start in range(0, hours, patch_length)], dim=2
    ).reshape(rows, channels, hours // patch_length)


def test_the_share_of_measured_patches_is_hidden_and_no_other():
    batch = MaskedSeriesCollator(patch_length=8, mask_ratio=0.4)(series_rows())
    held, hidden = held_patches(batch["past_observed_mask"]), batch["bool_masked_pos"]
    assert hidden.shape == (3, 11, 3)
    assert not (hidden & ~held).any()
    for row in range(3):
        assert int(hidden[row].sum()) == round(0.4 * int(held[row].sum()))


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_something_is_hidden_and_something_stays_to_be_seen(number, expected):
    held = torch.zeros(1, 11, 3, dtype=torch.bool)
    held.view(-1)[:number] = True
    assert int(MaskedSeriesCollator(8, mask_ratio=0.1).hidden_patches(held).sum()) == min(expected, 1)
    assert int(MaskedSeriesCollator(8, mask_ratio=0.99).hidden_patches(held).sum()) == max(number - 1, 0)


def test_what_hidden_cells_hold_does_not_reach_the_encoder(tiny_model):
    masked = MaskedSeriesModel(tiny_model)
    batch = MaskedSeriesCollator(8, 0.5)(series_rows())
    before = masked(**batch)
    hidden = torch.zeros_like(batch["past_observed_mask"])
    for row, channel, patch in batch["bool_masked_pos"].nonzero().tolist():
        hidden[row, 8 * patch : 8 * patch + 8, channel] = True
    changed = {**batch, "past_values": torch.where(hidden, 1e3, batch["past_values"])}
    after = masked(**changed)
    assert torch.equal(before["prediction"], after["prediction"])
    assert not torch.equal(before["loss"], after["loss"])


def test_the_loss_is_the_error_of_hidden_measurements_alone(tiny_model):
    masked = MaskedSeriesModel(tiny_model)
    batch = MaskedSeriesCollator(8, 0.5)(series_rows())
    output = masked(**batch)
    errors = []
    for row, channel, patch in batch["bool_masked_pos"].nonzero().tolist():
        for hour in range(8 * patch, 8 * patch + 8):
            if batch["past_observed_mask"][row, hour, channel]:
                difference = output["prediction"][row, hour, channel] - batch["past_values"][row, hour, channel]
                errors.append(difference.item() ** 2)
    assert output["loss"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    unmeasured = torch.where(batch["past_observed_mask"], batch["past_values"], float("nan"))
    assert torch.equal(masked(**{**batch, "past_values": unmeasured})["loss"], output["loss"])


def test_hidden_patches_can_be_learned_and_only_the_encoder_moves(tiny_model):
    before = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    masked = MaskedSeriesModel(tiny_model)
    rows = series_rows(number=8)
    for row in rows:  # a channel that is what another was
        row["past_values"][:, 1], row["past_observed_mask"][:, 1] = row["past_values"][:, 0], True
        row["past_values"][:] = row["past_values"].mean()
    optimizer = torch.optim.AdamW([weight for weight in masked.parameters() if weight.requires_grad], lr=1e-2)
    collator, losses = MaskedSeriesCollator(8, 0.4), []
    torch.manual_seed(0)
    for _ in range(40):
        loss = masked(**collator(rows))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    moved = {name.split(".")[0] for name, weight in tiny_model.state_dict().items() if not weight.equal(before[name])}
    assert moved == {"time_series_encoder"}


def test_the_last_value_that_is_seen_is_carried_forward():
    values = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    seen = torch.tensor([[[False], [True], [False], [False]]])
    assert carried_forward(values, seen).flatten().tolist() == [0.0, 2.0, 2.0, 2.0]


def test_errors_of_reconstruction_are_those_of_the_same_hidden_cells(tiny_model):
    rows = series_rows()
    for row in rows:  # constant series: the last value is the value, wherever one was seen before
        row["past_values"] = torch.where(row["past_observed_mask"], 2.0, 0.0)
    masked = MaskedSeriesModel(tiny_model)
    torch.nn.init.zeros_(masked.head.weight)
    torch.nn.init.constant_(masked.head.bias, 5.0)
    errors = reconstruction_errors(masked, rows, MaskedSeriesCollator(8, 0.4), seed=3)
    assert (errors["mean"], errors["model"]) == pytest.approx((4.0, 9.0))
    assert 0.0 <= errors["last_value_carried_forward"] < 4.0


def test_spans_and_what_is_left_make_the_note_again(tiny_tokenizer):
    collator = SpanDenoisingCollator(tiny_tokenizer, noise_density=0.3, mean_span_length=2.0)
    mark = tiny_tokenizer.unk_token_id
    torch.manual_seed(0)
    for length in (1, 2, 3, 10, 57):
        note = list(range(100, 100 + length))
        source, target = collator.corrupt(note)
        spans, whole = [], []
        for token in target:
            spans += [[]] if token == mark else []
            spans[-1] += [token] if token != mark else []
        for token in source:
            whole += spans.pop(0) if token == mark else [token]
        assert whole == note
        assert source.count(mark) == target.count(mark)
        taken = len([token for token in target if token != mark])
        assert taken == (0 if length == 1 else min(max(round(0.3 * length), 1), length - 1))


def test_a_batch_of_notes_is_closed_like_any_text_and_padded(tiny_tokenizer):
    texts = ["fever and productive cough for two days", "denies chest pain"]
    rows = [{"input_ids": tiny_tokenizer(text, add_special_tokens=False)["input_ids"]} for text in texts]
    batch = SpanDenoisingCollator(tiny_tokenizer)(rows)
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        assert ids[mask.bool()][-1] == tiny_tokenizer.eos_token_id
        assert (ids[~mask.bool()] == tiny_tokenizer.pad_token_id).all()
        assert labels[labels != -100][-1] == tiny_tokenizer.eos_token_id


def test_no_vocabulary_grows_for_the_marks(tiny_tokenizer):
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    assert sentinels(tiny_tokenizer) == [tiny_tokenizer.unk_token_id]
    inner = Tokenizer.from_str(tiny_tokenizer.backend_tokenizer.to_str())
    size = inner.get_vocab_size()
    inner.add_special_tokens([AddedToken(f"<extra_id_{i}>") for i in (0, 1, 2)])
    t5 = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    assert sentinels(t5) == [size, size + 1, size + 2]
    inner.add_special_tokens(["<mask>"])
    bart = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tiny_tokenizer.backend_tokenizer.to_str()),
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    assert sentinels(bart) == [bart.mask_token_id]


@pytest.fixture(scope="session")
def stage0_folder(stage_arguments, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "stage0"
    stage0_pretrain.main(stage_arguments(output, dataset="records"))  # neither labels nor rationales are read
    return output


def test_a_stage_0_leaves_a_model_folder_with_both_parts_in_its_history(stage0_folder):
    model, processor = load_model_folder(stage0_folder)
    history = json.loads((stage0_folder / "training.json").read_text())
    assert [stage["trained_modules"] for stage in history["stages"]] == [["time_series_encoder"], ["backbone"]]
    assert [stage["inputs"] for stage in history["stages"]] == [["lab"], ["note"]]
    errors = next(entry["hidden_measurements"] for entry in history["log"] if "hidden_measurements" in entry)
    assert set(errors) == {"model", "last_value_carried_forward", "mean"}
    assert processor.modalities == ["note", "lab"]
    assert history["stages"][0]["settings"]["optim"] in (stage0_folder / "README.md").read_text()
    assert "OptimizerNames" not in (stage0_folder / "README.md").read_text()
    assert not any("head." in name and "diagnosis" not in name and "lm_" not in name for name in model.state_dict())


def test_stage_0_moves_what_it_names_and_nothing_else(stage_arguments, stage0_folder, tmp_path):
    arguments = stage_arguments(
        tmp_path / "again", "--model_name_or_path", stage0_folder, "--trained_modules", "time_series_encoder"
    )
    stage0_pretrain.main(arguments)
    before, after = (load_model_folder(folder)[0].state_dict() for folder in (stage0_folder, tmp_path / "again"))
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"time_series_encoder"}


def test_stage_1_goes_on_from_stage_0_and_says_so(stage_arguments, stage0_folder, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "stage1", "--model_name_or_path", stage0_folder))
    before, after = (load_model_folder(folder)[0].state_dict() for folder in (stage0_folder, tmp_path / "stage1"))
    kept = [name for name in before if name.startswith("time_series_encoder")]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    history = json.loads((tmp_path / "stage1" / "training.json").read_text())
    assert [stage["trained_modules"] for stage in history["stages"]] == [
        ["time_series_encoder"],
        ["backbone"],
        ["backbone", "diagnosis_head"],
    ]


def test_a_killed_stage_0_goes_on_in_both_parts(stage_arguments, tmp_path):
    output = tmp_path / "killed"
    stage0_pretrain.main(stage_arguments(output, "--max_steps", "1", dataset="records", save_total_limit=5))
    shutil.rmtree(output)
    stage0_pretrain.main(stage_arguments(output, dataset="records", save_total_limit=5))
    log = json.loads((output / "training.json").read_text())["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trained_modules", "diagnosis_head"], "stage 0 pretrains time_series_encoder and backbone"),
        (["--distillation_teacher", "x"], "distillation_teacher is x; this stage has no use for it"),
        (["--patch_layout", "paper"], "patch_layout"),
        (["--series_mask_ratio", "1.5"], "series_mask_ratio"),
        (["--note_noise_density", "0"], "note_noise_density"),
        (["--note_span_length", "0.5"], "note_span_length"),
    ],
)
def test_what_stage_0_cannot_do_is_refused(stage_arguments, tmp_path, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage0_pretrain.main(stage_arguments(tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_processes_share_stage_0_and_one_writes(stage_arguments, tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, "recipes/stage0_pretrain.py", *stage_arguments(tmp_path / "stage0")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    load_model_folder(tmp_path / "stage0")
    history = json.loads((tmp_path / "stage0" / "training.json").read_text())
    assert [stage["settings"]["world_size"] for stage in history["stages"]] == [2, 2]
