# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of a stage's inputs: checkpoints of other data or settings are not resumed, even after a real kill."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from transformers import Seq2SeqTrainingArguments

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note
from recipes.training.arguments import RewardStageArguments, parse_arguments
from recipes.training.checkpoints import last_checkpoint
from recipes.training.provenance import MAY_CHANGE, RECORD, begun_with, check_begun


ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def credentialed(data_folder, tmp_path_factory):
    """The same records under other terms, as of a source that is credentialed."""
    folder = tmp_path_factory.mktemp("real") / "dataset"
    shutil.copytree(data_folder / "dataset", folder)
    path = folder / "clinragen_dataset.json"
    metadata = json.loads(path.read_text())
    metadata["source"] = "mimic-iii"
    metadata["source_description"] |= {"title": "Records of a ward", "credentialed": True}
    path.write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def killed(credentialed, stage_arguments, tmp_path):
    """Arguments of a stage that was killed after its first checkpoint, upon credentialed records."""
    arguments = stage_arguments(tmp_path / "out", max_steps=500)
    arguments[arguments.index("--dataset") + 1] = str(credentialed)
    command = [sys.executable, str(ROOT / "recipes" / "stage1_note.py"), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        while process.poll() is None and last_checkpoint(tmp_path / "out.training") is None:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
    return arguments


def test_a_stage_killed_on_credentialed_records_is_not_resumed_on_others(killed, data_folder, tmp_path):
    before = sorted((tmp_path / "out.training").rglob("*"))
    others = [str(data_folder / "dataset") if "real" in argument else argument for argument in killed]
    with pytest.raises(ClinRaGenInputError) as refused:
        stage1_note.main(others)
    assert "was begun with dataset.credentialed true, and this start has false" in str(refused.value)
    assert f"remove {tmp_path / 'out.training'} to begin again" in str(refused.value)
    with pytest.raises(ClinRaGenInputError, match=r"was begun with learning_rate 0\.01, and this start has 0\.02"):
        stage1_note.main([*killed, "--learning_rate", "0.02"])
    assert sorted((tmp_path / "out.training").rglob("*")) == before
    assert not (tmp_path / "out").exists()


BEGUN = {"dataset": {"credentialed": True, "content_hash": "ab"}, "seed": 0, "optim": "sgd"}


@pytest.fixture
def folder(tmp_path):
    """A folder of checkpoints that was begun with `BEGUN`."""
    check_begun(tmp_path / "out.training", BEGUN)
    (tmp_path / "out.training" / "checkpoint-3").mkdir()
    return tmp_path / "out.training"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed 0, and this start has 1"),
        ({"optim": "adamw_torch"}, 'optim "sgd", and this start has "adamw_torch"'),
        ({"dataset": {"credentialed": True, "content_hash": "cd"}}, r'dataset\.content_hash "ab", and .* "cd"'),
    ],
)
def test_every_setting_that_differs_is_named_with_both_values(folder, changes, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        check_begun(folder, {**BEGUN, **changes})


def test_the_same_settings_and_fields_of_another_version_are_resumed(folder):
    check_begun(folder, BEGUN)
    check_begun(folder, {**BEGUN, "a_field_of_tomorrow": 3})


@pytest.mark.parametrize("content", [None, "", "[1]", "{"])
def test_checkpoints_without_a_record_of_their_data_are_refused(folder, content):
    (folder / RECORD).unlink()
    if content is not None:
        (folder / RECORD).write_text(content)
    with pytest.raises(ClinRaGenInputError, match=r"no readable begun\.json .* remove .* to begin again"):
        check_begun(folder, BEGUN)


def test_without_anything_to_resume_any_settings_may_begin(tmp_path):
    check_begun(tmp_path / "out.training", BEGUN)
    check_begun(tmp_path / "out.training", {**BEGUN, "seed": 1})
    assert json.loads((tmp_path / "out.training" / RECORD).read_text())["seed"] == 1


def test_texts_that_were_sampled_belong_to_their_settings_as_well(tmp_path):
    check_begun(tmp_path, BEGUN)
    (tmp_path / "round-1").mkdir()
    (tmp_path / "round-1" / "samples.jsonl").write_text("")
    with pytest.raises(ClinRaGenInputError, match="was begun with seed 0"):
        check_begun(tmp_path, {**BEGUN, "seed": 1})


def test_every_changeable_setting_is_a_field_and_no_other_is_left_out(stage_arguments, tmp_path):
    names = {one.name for one in fields(RewardStageArguments)}
    assert names >= MAY_CHANGE
    begun = begun_with(*parse_arguments(stage_arguments(tmp_path / "out")))
    settings = {one.name for one in fields(Seq2SeqTrainingArguments)}
    assert begun.keys() >= (settings - MAY_CHANGE) | {"dataset", "knowledge", "model_name_or_path", "lora", "inputs"}
    assert not begun.keys() & MAY_CHANGE
    assert str(tmp_path) not in json.dumps(begun)


def test_the_records_of_a_step_count_however_they_are_distributed(stage_arguments, tmp_path):
    def begun(*options):
        return begun_with(*parse_arguments(stage_arguments(tmp_path / "out", *options)))

    spread = ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps"]
    assert begun(*spread, "2") == begun()
    assert begun(*spread, "1")["records_per_step"] == 2


def losses(folder):
    log = json.loads((folder / "training.json").read_text())["log"]
    return [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]


@pytest.mark.slow
@pytest.mark.parametrize("reached", [2, 3])
def test_the_patience_that_is_left_survives_a_kill(stage_arguments, tmp_path, reached):
    """Nothing is learned, so no validation is better than the first, and the stage ends after two more."""
    settings = {"learning_rate": 0.0, "max_steps": 9, "early_stopping_patience": 2, "save_total_limit": 20}
    stage1_note.main(stage_arguments(tmp_path / "whole", **settings))
    assert [step for step, _ in losses(tmp_path / "whole")] == [1, 2, 3]
    shutil.copytree(tmp_path / "whole.training", tmp_path / "killed.training")
    for checkpoint in (tmp_path / "killed.training").glob("checkpoint-*"):
        if int(checkpoint.name.partition("-")[2]) > reached:
            shutil.rmtree(checkpoint)
    stage1_note.main(stage_arguments(tmp_path / "killed", **settings))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_a_stage_killed_after_its_last_step_learns_no_more(stage_arguments, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "out", save_total_limit=20))
    whole = losses(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    stage1_note.main(stage_arguments(tmp_path / "out", save_total_limit=20))
    assert losses(tmp_path / "out") == whole
