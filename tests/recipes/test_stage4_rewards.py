# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage4_rewards
from recipes.models.folder import load_model_folder
from recipes.training.data import encode_records, load_records
from recipes.training.reinforcement import REWARD_COLUMNS, best_of_n, rewarded
from recipes.training.rewards import RationaleReward


ROUNDS = {
    "num_rounds": 2,
    "records_per_round": 6,
    "num_generations": 3,
    "reward_floor": 0.0,
    "learning_rate": 0.05,
    "generation_max_length": 60,
}


@pytest.fixture(scope="module")
def stage4_arguments(stage_arguments, stage1_folder):
    def arguments(output, *options, **changes):
        return stage_arguments(output, "--model_name_or_path", stage1_folder, *options, **{**ROUNDS, **changes})

    return arguments


@pytest.fixture(scope="module")
def stage4_folder(stage4_arguments, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "stage4"
    stage4_rewards.main(stage4_arguments(output))
    return output


def samples_of(folder, number):
    path = folder.with_name(folder.name + ".training") / f"round-{number}" / "samples.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measured_in(folder):
    """(round, step) -> what was measured there."""
    log = json.loads((folder / "training.json").read_text())["log"]
    return {(entry["round"], entry["step"]): entry["eval_reward"] for entry in log if "eval_reward" in entry}


def weights(folder):
    return load_model_folder(folder)[0].state_dict()


def test_only_the_decoder_learns_and_the_diagnoses_stay(stage1_folder, stage4_folder, data_folder):
    before, after = weights(stage1_folder), weights(stage4_folder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("backbone.decoder.") for name in moved)
    records = load_records(str(data_folder / "dataset"), "test")
    answers = []
    for folder in (stage1_folder, stage4_folder):
        model, processor = load_model_folder(folder)
        inputs = processor(records["note"], records["lab_values"], records["lab_times"], return_tensors="pt")
        texts = processor.tokenizer.batch_decode(model.generate(**inputs, do_sample=False), skip_special_tokens=True)
        answers.append((model.diagnosis_probabilities(**inputs), [processor.parse(t)["diagnoses"] for t in texts]))
    (probabilities, lists), (later_probabilities, later_lists) = answers
    assert torch.equal(probabilities, later_probabilities)
    assert lists == later_lists


def test_each_round_samples_texts_for_the_decided_diagnoses_of_other_records(
    stage1_folder, stage4_folder, data_folder
):
    model, processor = load_model_folder(stage1_folder)
    train = load_records(str(data_folder / "dataset"), "train")
    rows = {row["stay_id"]: row for row in train}
    first, second = samples_of(stage4_folder, 1), samples_of(stage4_folder, 2)
    assert len(first) == len(second) == 6
    assert len({sample["stay_id"] for sample in first + second}) == 12
    for sample in first + second:
        row = rows[sample["stay_id"]]
        inputs = processor([row["note"]], [row["lab_values"]], [row["lab_times"]], return_tensors="pt")
        decided = model.diagnosis_decisions(**inputs)[0].nonzero().flatten().tolist()
        assert len(sample["texts"]) == 3
        for text in sample["texts"]:
            assert processor.parse(text["text"])["diagnoses"] == [processor.labels[i] for i in decided]
            assert processor.tokenizer.decode(text["tokens"], skip_special_tokens=True) == text["text"]
            assert len(text["tokens"]) <= 60
            assert 0 <= text["reward"] <= 1


def test_the_folder_holds_the_weights_of_the_round_with_the_best_validation_reward(stage4_folder, data_folder):
    measured = measured_in(stage4_folder)
    assert list(measured) == [(1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    best = max(measured.values())
    assert json.loads((stage4_folder / "training.json").read_text())["best_metric"] == best
    model, processor = load_model_folder(stage4_folder)
    records = load_records(str(data_folder / "dataset"), "validation", limit=4)
    texts = []
    for row in records:
        inputs = processor([row["note"]], [row["lab_values"]], [row["lab_times"]], return_tensors="pt")
        tokens = model.generate(**inputs, do_sample=False)
        texts.append(processor.tokenizer.decode(tokens[0], skip_special_tokens=True))
    reward = RationaleReward(processor)
    worth = reward(texts, **records.select_columns(REWARD_COLUMNS)[:])
    assert best == pytest.approx(np.mean(worth))


def test_validation_keeps_records_and_texts_together_where_batches_are_made_by_length(
    stage4_arguments, stage4_folder, tmp_path
):
    options = {"train_sampling_strategy": "group_by_length", "length_column_name": "length"}
    stage4_rewards.main(stage4_arguments(tmp_path / "stage4", num_rounds=1, max_steps=1, **options))
    assert measured_in(tmp_path / "stage4")[1, 0] == measured_in(stage4_folder)[1, 0]


def test_a_killed_stage_resumes_and_reaches_the_same_weights(stage4_arguments, stage4_folder, tmp_path):
    output, work = tmp_path / "stage4", tmp_path / "stage4.training"
    shutil.copytree(stage4_folder.with_name("stage4.training"), work)
    shutil.rmtree(work / "round-2" / "checkpoint-2", ignore_errors=True)  # where another one is the best
    (work / "round-2" / "samples.unfinished").write_text("cut short")
    written = {path: path.stat().st_mtime_ns for path in work.glob("round-*/samples.jsonl")}
    assert len(written) == 2
    stage4_rewards.main(stage4_arguments(output))
    assert {path: path.stat().st_mtime_ns for path in written} == written
    whole, killed = weights(stage4_folder), weights(output)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert measured_in(output) == measured_in(stage4_folder)


def test_the_best_text_of_a_record_is_its_target_if_it_is_good_enough(data_folder, stage1_folder):
    _, processor = load_model_folder(stage1_folder)
    records = load_records(str(data_folder / "dataset"), "train", limit=3)
    encoded = encode_records(records, processor, ["note", "lab"], 60).with_format("numpy")
    rewards = [[0.2, 0.9, 0.5], [0.7, 0.1, 0.79], [0.8, 0.8, 0.3]]
    samples = [
        {"texts": [{"tokens": [10 * i + j, 1], "reward": r} for j, r in enumerate(row)]}
        for i, row in enumerate(rewards)
    ]
    learned = best_of_n(encoded, samples, floor=0.8)
    assert [row.tolist() for row in learned["labels"]] == [[1, 1], [20, 1]]
    assert [row.tolist() for row in learned["input_ids"]] == [encoded[i]["input_ids"].tolist() for i in (0, 2)]
    with pytest.raises(
        ClinRaGenInputError, match=r"reward_floor is 0\.95, but no sampled text is worth more than 0\.900"
    ):
        best_of_n(encoded, samples, floor=0.95)


def test_a_text_cut_at_the_limit_has_no_reward(data_folder, stage1_folder):
    _, processor = load_model_folder(stage1_folder)
    row = load_records(str(data_folder / "dataset"), "train")[0]
    text = processor.target_text(row["diagnoses"], row["note_rationale"], row["lab_rationale"])
    whole = processor.tokenizer(text)["input_ids"]
    ended, cut = rewarded(row, [whole, whole[:-1]], processor, RationaleReward(processor))
    assert ended["text"] == cut["text"]
    assert ended["reward"] > 0.8
    assert cut["reward"] == 0.0


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (
            ["--trained_modules", "backbone"],
            {},
            r"trained_modules is \['backbone'\]; stage 4 trains the decoder alone",
        ),
        ([], {"reward_weights": {"style": 1}}, "reward_weights"),
        ([], {"reward_floor": 1.1}, "reward_floor"),
        ([], {"num_roundz": 2}, "num_roundz"),
        ([], {"num_rounds": 0}, "num_rounds is 0; give at least 1"),
        ([], {"num_generations": 0}, "num_generations is 0; give at least 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(stage4_arguments, tmp_path, options, changes, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage4_rewards.main(stage4_arguments(tmp_path / "out", *options, **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_several_processes_are_refused(stage4_arguments, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "recipes/stage4_rewards.py", *stage4_arguments(tmp_path / "out"), "--use_cpu", "true"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "stage 4 runs in one process" in done.stderr


@pytest.mark.slow
def test_rewards_rise(stage_arguments, data_folder, tmp_path):
    learned = {"max_target_tokens": 160, "generation_max_length": 160, "eval_steps": 400, "save_steps": 400}
    stage1_note.main(stage_arguments(tmp_path / "stage1", max_steps=400, per_device_train_batch_size=8, **learned))
    changes = {**ROUNDS, **learned, "records_per_round": 24, "num_generations": 8, "learning_rate": 2e-3}
    changes |= {"max_steps": 20, "eval_steps": 20, "save_steps": 20, "num_rounds": 3}
    output = tmp_path / "stage4"
    stage4_rewards.main(stage_arguments(output, "--model_name_or_path", tmp_path / "stage1", **changes))
    means = [
        np.mean([text["reward"] for sample in samples_of(output, number) for text in sample["texts"]])
        for number in (1, 2, 3)
    ]
    assert means[2] > means[0]
