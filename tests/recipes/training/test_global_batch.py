# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The result does not depend on how a batch is divided among steps and processes."""

import json
import os
import subprocess
import sys

import pytest
import torch

from recipes import stage1_note
from recipes.models.folder import load_model_folder
from tests.recipes.conftest import STAGE


TEXT = {**STAGE["text_config"], "dropout_rate": 0.0}
SETTINGS = {"text_config": TEXT, "max_steps": 3, "optim": "sgd"}


def losses(folder):
    log = json.loads((folder / "training.json").read_text())["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


def assert_same_training(one, other):
    assert losses(one) == pytest.approx(losses(other), rel=1e-4)
    theirs = load_model_folder(other)[0].state_dict()
    for name, weight in load_model_folder(one)[0].state_dict().items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def whole(stage_arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("global_batch") / "whole"
    stage1_note.main(stage_arguments(folder, per_device_train_batch_size=4, **SETTINGS))
    return folder


def test_accumulated_steps_learn_as_one_step_does(whole, stage_arguments, tmp_path):
    shared = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    stage1_note.main(stage_arguments(tmp_path / "parts", **SETTINGS, **shared))
    assert_same_training(whole, tmp_path / "parts")


@pytest.mark.slow
def test_two_processes_learn_as_one_does(whole, stage_arguments, tmp_path):
    arguments = stage_arguments(tmp_path / "two", per_device_train_batch_size=2, **SETTINGS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, stage1_note.__file__, *arguments], check=True, env=environment, timeout=600)
    assert_same_training(whole, tmp_path / "two")
