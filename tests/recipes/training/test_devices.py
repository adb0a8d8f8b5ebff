# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""One process never trains on several GPUs; how many there are is faked where torch counts them."""

import os
import shlex

import pytest
import torch
from accelerate.commands.launch import (
    _validate_launch_command,
    launch_command_parser,
    prepare_simple_launcher_cmd_env,
)
from accelerate.utils.launch import prepare_multi_gpu_env

from modeling_clinragen import ClinRaGenInputError
from recipes.training.arguments import parse_arguments
from recipes.training.devices import see_one_gpu


FIELDS = ["--dataset", "data", "--output_dir", "out", "--use_cpu", "false"]


@pytest.fixture
def gpus(monkeypatch):
    """A function that makes torch count a number of GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # restored afterwards
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return lambda number: monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


@pytest.mark.parametrize(
    ("number", "batch", "processes"), [(2, 12, 2), (4, 12, 4), (8, 12, 6), (8, 16, 8), (3, 4, 2), (2, 1, 1), (4, 7, 1)]
)
def test_a_process_with_several_gpus_is_refused_with_a_line_of_the_same_global_batch(gpus, number, batch, processes):
    gpus(number)
    with pytest.raises(ClinRaGenInputError) as refused:
        parse_arguments([*FIELDS, "--per_device_train_batch_size", str(batch)])
    message = str(refused.value)
    assert f"one process sees {number} GPUs" in message
    assert "CUDA_VISIBLE_DEVICES=0" in message
    if processes == 1:
        assert "accelerate launch" not in message
        return
    line = message[message.index("accelerate launch") : message.index(", for batches")]
    launched = launch_command_parser().parse_args(shlex.split(line)[2:])
    args, _, _ = _validate_launch_command(launched)
    assert int(prepare_multi_gpu_env(args) and args.nproc_per_node) == processes
    each = int(launched.training_script_args[-1])
    assert (launched.training_script_args[-2], each * processes) == ("--per_device_train_batch_size", batch)


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_with_one_gpu_or_none_is_accepted(gpus, number):
    gpus(number)
    assert parse_arguments(FIELDS)[2].n_gpu == number


def test_torchrun_with_a_single_process_is_refused_too(gpus, monkeypatch):
    gpus(4)
    launched = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0}
    for name, value in launched.items():
        monkeypatch.setenv(name, str(value))
    try:
        with pytest.raises(ClinRaGenInputError, match="one process sees 4 GPUs"):
            parse_arguments([*FIELDS, "--ddp_backend", "gloo"])
    finally:
        torch.distributed.destroy_process_group()


def test_the_file_for_one_gpu_shows_one():
    launched = launch_command_parser().parse_args(
        ["--config_file", "recipes/accelerate_configs/single_gpu.yaml", "recipes/stage1_note.py"]
    )
    args, _, _ = _validate_launch_command(launched)
    _, environment = prepare_simple_launcher_cmd_env(args)
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize(
    ("number", "before", "asked", "after"),
    [(0, None, 3, None), (1, None, 3, None), (4, None, 0, "0"), (4, None, 6, "2"), (2, "5,GPU-7", 1, "GPU-7")],
)
def test_a_worker_sees_one_of_the_gpus(gpus, monkeypatch, number, before, asked, after):
    gpus(number)
    if before:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    see_one_gpu(asked)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == after
