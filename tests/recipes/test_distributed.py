# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages on several processes: what one process learns, also after one of them was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from recipes import stage1_note, stage2_lab, stage3_multimodal
from recipes.model_folder import load_model_folder
from tests.recipes.conftest import STAGE
from tests.recipes.test_global_batch import assert_same_training


FILES = Path("recipes/accelerate")
LAUNCHERS = {
    "ddp": ["--config_file", FILES / "multi_cpu.yaml"],
    "fsdp2": ["--config_file", FILES / "fsdp2.yaml", "--mixed_precision", "no"],
}
STAGES = {"stage1": stage1_note, "stage2": stage2_lab, "stage3": stage3_multimodal}
SETTINGS = {
    "text_config": {**STAGE["text_config"], "dropout_rate": 0.0},
    "train_sampling_strategy": "group_by_length",
    "optim": "sgd",  # adaptive steps make much of what rounding leaves of a gradient of zero
    "max_steps": 3,
}
FROZEN = {"stage1": ("time_series", "knowledge"), "stage2": ("backbone.",), "stage3": ("time_series",)}


def launched(launcher, stage, arguments, processes=2, **kwargs):
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCHERS[launcher]]
    command += ["--num_processes", processes, STAGES[stage].__file__, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([str(word) for word in command], env=environment, **kwargs)


def run(*args, **kwargs):
    process = launched(*args, **kwargs)
    assert process.wait(timeout=600) == 0


@pytest.fixture(scope="module")
def chain(stage_arguments, tmp_path_factory):
    """The three stages' folders, trained by one process with four records a step."""
    folder, before = tmp_path_factory.mktemp("one_process"), []
    for name, stage in STAGES.items():
        stage.main(stage_arguments(folder / name, *before, per_device_train_batch_size=4, **SETTINGS))
        before = ["--model_name_or_path", folder / name]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_learn_as_one_does_and_leave_the_frozen_parts(chain, stage_arguments, tmp_path, stage, launcher):
    before = chain / f"stage{int(stage[-1]) - 1}"
    start = [] if stage == "stage1" else ["--model_name_or_path", before]
    run(launcher, stage, stage_arguments(tmp_path / "two", *start, per_device_train_batch_size=2, **SETTINGS))
    assert_same_training(chain / stage, tmp_path / "two")
    trained, one = (load_model_folder(folder)[0] for folder in (tmp_path / "two", chain / stage))
    assert trained.config.diagnosis_thresholds == pytest.approx(one.config.diagnosis_thresholds, abs=1e-3)
    if start:
        untouched = load_model_folder(before)[0].state_dict()
        frozen = [name for name in untouched if name.startswith(FROZEN[stage])]
        assert frozen
        assert all(torch.equal(untouched[name], trained.state_dict()[name]) for name in frozen)


# What each file asks `accelerate launch` for: its kind, and what the launched processes find in their environment.
ASKED = {
    "cpu": ("NO", None),
    "multi_cpu": ("MULTI_GPU", {"ACCELERATE_MIXED_PRECISION": "no"}),
    "single_gpu": ("NO", None),
    "ddp": ("MULTI_GPU", {"ACCELERATE_MIXED_PRECISION": "bf16"}),
    "fsdp2": ("FSDP", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}),
    "deepspeed_zero2": ("DEEPSPEED", {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}),
    "deepspeed_zero3": (
        "DEEPSPEED",
        {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3", "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true"},
    ),
    "multi_node": ("MULTI_GPU", {"ACCELERATE_MIXED_PRECISION": "bf16"}),
}


def test_every_accelerate_file_is_known():
    assert {path.stem for path in FILES.iterdir()} == ASKED.keys()


@pytest.mark.parametrize("name", ASKED)
def test_accelerate_reads_each_file_as_it_is_meant(name):
    kind, environment = ASKED[name]
    path = str(FILES / f"{name}.yaml")
    config = load_config_from_file(path)
    assert config.distributed_type == kind
    assert config.use_cpu == (name == "cpu")
    assert config.num_machines == (2 if name == "multi_node" else 1)
    if environment is None:
        assert config.num_processes == 1
        return
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", path, "stage.py"]))
    assert args.num_processes > 1
    if kind == "DEEPSPEED":
        args.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)
        _, found = prepare_deepspeed_cmd_env(args)
    else:
        found = prepare_multi_gpu_env(args)
        assert int(args.nproc_per_node) * config.num_machines == config.num_processes
    assert {key: found.get(key) for key in environment} == environment
