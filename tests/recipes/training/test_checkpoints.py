# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are damaged: training resumes from the last complete one, and says so."""

import json
import logging
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import Seq2SeqTrainingArguments

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note
from recipes.models.folder import load_model_folder
from recipes.training.checkpoints import fault_of_checkpoint, last_checkpoint
from recipes.training.trainer import ClinRaGenTrainer
from tests.recipes.conftest import STAGE


OPTIONS = {"max_steps": 4, "save_total_limit": 9, "load_best_model_at_end": False}


@pytest.fixture(scope="module")
def whole(stage_arguments, tmp_path_factory):
    """A finished stage of four steps, `run`, and its checkpoints 1 to 4."""
    folder = tmp_path_factory.mktemp("whole")
    stage1_note.main(stage_arguments(folder / "run", **OPTIONS))
    return folder


@pytest.fixture
def checkpoints(whole, tmp_path):
    return shutil.copytree(whole / "run.training", tmp_path / "run.training")


def cut(name, share=0.6):
    def damage(checkpoint):
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: int(len(content) * share)])

    return damage


def flip(name):
    """Change some bytes in the middle of a file."""

    def damage(checkpoint):
        content = bytearray((checkpoint / name).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
        (checkpoint / name).write_bytes(content)

    return damage


def state(**changes):
    def damage(checkpoint):
        content = json.loads((checkpoint / "trainer_state.json").read_text())
        (checkpoint / "trainer_state.json").write_text(json.dumps({**content, **changes}))

    return damage


DAMAGES = {
    **{
        f"no {name}": (lambda checkpoint, name=name: (checkpoint / name).unlink(), f"it lacks .*{name}")
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
    },
    **{
        f"{name} cut short": (cut(name), f"{name} is damaged")
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
    },
    **{
        f"{name} empty": (cut(name, 0), f"{name} is damaged")
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
    },
    "optimizer.pt changed": (flip("optimizer.pt"), "optimizer.pt is damaged"),
    "a header of weights that is none": (
        lambda checkpoint: (checkpoint / "model.safetensors").write_bytes(b"\xff" * 5000),
        "model.safetensors is damaged",
    ),
    "a state of another step": (state(global_step=2), "it is of another step"),
    "a step that is text": (state(global_step="x"), "global_step is 'x'"),
    "a history that is none": (state(log_history=None), "log_history"),
    "a best checkpoint that is gone": (state(best_model_checkpoint="elsewhere/checkpoint-77"), "checkpoint-77"),
    "a part of the weights that is missing": (
        lambda checkpoint: (checkpoint / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
        ),
        "names weights that are missing",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_and_named(checkpoints, caplog, name):
    damage, message = DAMAGES[name]
    assert last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-4")
    assert not caplog.records
    damage(checkpoints / "checkpoint-4")
    assert last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-3")
    (record,) = caplog.records
    assert str(checkpoints / "checkpoint-4") in record.message
    assert re.search(message, record.message), record.message


@pytest.mark.parametrize("name", DAMAGES)
def test_without_a_complete_checkpoint_it_is_an_error(checkpoints, name):
    for number in (1, 2, 3):
        shutil.rmtree(checkpoints / f"checkpoint-{number}")
    damage, message = DAMAGES[name]
    damage(checkpoints / "checkpoint-4")
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        last_checkpoint(checkpoints)
    assert f"remove {checkpoints}" in str(caught.value)


@pytest.mark.parametrize("text", [None, "", '{"global_step": 4, "log_hi'])
def test_a_checkpoint_cut_off_by_a_kill_is_ignored(checkpoints, caplog, text):
    path = checkpoints / "checkpoint-4" / "trainer_state.json"
    path.unlink() if text is None else path.write_text(text)
    assert last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-3")
    for number in (1, 2, 3):
        shutil.rmtree(checkpoints / f"checkpoint-{number}")
    assert last_checkpoint(checkpoints) is None


def test_a_folder_with_another_name_is_ignored(checkpoints, tmp_path):
    (checkpoints / "checkpoint-4").rename(checkpoints / "checkpoint-of-mine")
    assert last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-3")
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_a_damaged_best_checkpoint_makes_those_after_it_useless(checkpoints):
    state(best_model_checkpoint=str(checkpoints / "checkpoint-2"))(checkpoints / "checkpoint-4")
    assert fault_of_checkpoint(checkpoints / "checkpoint-4") is None
    cut("model.safetensors")(checkpoints / "checkpoint-2")
    assert "checkpoint-2, is damaged" in fault_of_checkpoint(checkpoints / "checkpoint-4")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_a_stage_whose_newest_checkpoint_is_cut_short_ends_in_the_same_weights(
    whole, checkpoints, stage_arguments, tmp_path, name, caplog
):
    cut(name)(checkpoints / "checkpoint-4")
    stage1_note.main(stage_arguments(tmp_path / "run", **OPTIONS))
    assert "checkpoint-4 is skipped" in caplog.text
    again, before = (load_file(folder / "run" / "model.safetensors") for folder in (tmp_path, whole))
    assert again.keys() == before.keys()
    assert all(torch.equal(again[name], before[name]) for name in before)


def test_a_stage_without_the_optimizers_state_is_refused(checkpoints, stage_arguments, tmp_path):
    for checkpoint in checkpoints.glob("checkpoint-*"):
        (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(ClinRaGenInputError, match="it lacks the optimizer's state"):
        stage1_note.main(stage_arguments(tmp_path / "run", **OPTIONS))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def all_logs(caplog):
    """Yield the log, including that of transformers, which otherwise reaches only its own handler."""
    logging.getLogger("transformers").addHandler(caplog.handler)
    yield caplog
    logging.getLogger("transformers").removeHandler(caplog.handler)


GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2}


@pytest.mark.parametrize("text_config", [STAGE["text_config"], GPT2], ids=["t5", "gpt2"])
def test_a_weight_that_is_tied_to_a_stored_one_is_not_missing(stage_arguments, tmp_path, all_logs, text_config):
    """Neither the best checkpoint, which a stage reads at its end, nor one that it resumes from, nor its folder."""
    arguments = stage_arguments(tmp_path / "run", text_config=text_config, save_total_limit=9)
    stage1_note.main(arguments)
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(tmp_path / "run.training" / "checkpoint-2")
    first = tmp_path / "run.training" / "checkpoint-1" / "model.safetensors"
    written = first.stat().st_mtime_ns
    stage1_note.main(arguments)
    assert first.stat().st_mtime_ns == written  # it was resumed
    model, _ = load_model_folder(tmp_path / "run")
    assert len(model.state_dict()) > len(load_file(tmp_path / "run" / "model.safetensors"))  # some are tied
    assert "missing keys" not in all_logs.text


def test_a_weight_that_is_stored_under_no_name_is_missing(tiny_model, tiny_processor, tmp_path, all_logs):
    tied = sorted({*tiny_model.all_tied_weights_keys, *tiny_model.all_tied_weights_keys.values()})
    arguments = Seq2SeqTrainingArguments(tmp_path, report_to=[], use_cpu=True)
    trainer = ClinRaGenTrainer(tiny_model, arguments, processing_class=tiny_processor)
    stored = {name: weight for name, weight in tiny_model.state_dict().items() if name != tied[0]}
    trainer._issue_warnings_after_load(tiny_model.load_state_dict(stored, strict=False))
    assert "missing keys" not in all_logs.text
    stored = {name: weight for name, weight in stored.items() if name not in tied}
    trainer._issue_warnings_after_load(tiny_model.load_state_dict(stored, strict=False))
    (line,) = {record.getMessage() for record in all_logs.records if "missing keys" in record.getMessage()}
    assert all(repr(name) in line for name in tied)
