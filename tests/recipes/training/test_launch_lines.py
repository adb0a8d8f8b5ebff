# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch lines of docs/reproduce.md: the same global batch on any number of processes, and the same losses."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from recipes.configs import read_config
from tests.conftest import NIGHTLY
from tests.mimic_files import commands_of_the_page, is_launched_several_times, write_flan_t5
from tests.recipes.training.test_global_batch import assert_same_training, losses


LINES = [command for command in commands_of_the_page() if is_launched_several_times(command)]
STEPS = 2  # of 12 records, of 47 of the training split
# Changes for the test: fewer steps and smaller parts, no dropout, an optimizer that keeps rounding errors small.
CHANGES = {
    "max_steps": STEPS,
    "optim": "sgd",
    "learning_rate": 0.01,
    "warmup_steps": 0,
    "logging_steps": 1,
    "max_note_tokens": 60,
    "max_target_tokens": 60,
    "eval_split": "train",
    "max_eval_samples": 12,
    "per_device_eval_batch_size": 1,
    "generation_max_length": 4,
    "eval_strategy": "steps",
    "eval_steps": STEPS,
    "save_strategy": "steps",
    "save_steps": STEPS,
    "disable_tqdm": True,
    "time_series_config": {"context_length": 48, "d_model": 16, "ffn_dim": 16, "num_attention_heads": 2},
}


def parts_of(line):
    """Return a line's configuration, its number of processes, and the batch of each."""
    processes, each = (
        int(re.search(rf"--{name} (\d+)", line)[1]) for name in ("num_processes", "per_device_train_batch_size")
    )
    return re.search(r"--config (\S+)", line)[1], processes, each


def test_every_line_has_the_global_batch_of_one_device():
    numbers = {}
    for line in LINES:
        config, processes, each = parts_of(line)
        assert processes * each == read_config(config)["per_device_train_batch_size"]
        numbers.setdefault(config.split("/")[3], []).append(processes)
    assert numbers == {"paper": [4, 6], "recommended": [4, 8]}


def extended(folder, stage, **own):
    """Write a file that extends a stage of the paper with `CHANGES`."""
    file = folder / f"{stage}.yaml"
    file.write_text(yaml.safe_dump({"extends": f"recipes/configs/mimic-iv/paper/{stage}.yaml", **CHANGES, **own}))
    return file


@pytest.fixture(scope="module")
def config(data_folder, tmp_path_factory):
    """Stage 1 for the simulated records, from a small FLAN-T5."""
    folder = tmp_path_factory.mktemp("launched")
    notes = ["fever and productive cough for two days; denies chest pain, 80 year old"]
    write_flan_t5(folder / "small", notes, dropout_rate=0.0)
    own = {name: str(data_folder / file) for name, file in (("dataset", "dataset"), ("knowledge", "knowledge.json"))}
    return extended(folder, "stage1", **own, model_name_or_path=str(folder / "small"))


def line_of_one(stage):
    (line,) = (c for c in commands_of_the_page() if "single_gpu" in c and f"mimic-iv/paper/{stage}.yaml" in c)
    return line


def line_of(processes, each, script="stage1_note"):
    """Return the page's line for several GPUs with other numbers, or of another stage."""
    line = re.sub(r"--num_processes \d+", f"--num_processes {processes}", LINES[0]).replace("stage1_note", script)
    return re.sub(r"--per_device_train_batch_size \d+", f"--per_device_train_batch_size {each}", line)


def launch(line, config, output, *options):
    """Start a line with another configuration; return the folder it leaves."""
    words = shlex.split(line)
    words[words.index("--config") + 1] = str(config)
    command = [sys.executable, "-m", "accelerate.commands.launch", *words[2:], "--output_dir", str(output), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(losses(output)) == STEPS
    return output


@pytest.fixture(scope="module")
def one(config):
    return launch(line_of_one("stage1"), config, config.parent / "one")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "each", "accumulated"),
    [
        (2, 6, 1),
        pytest.param(2, 3, 2, marks=NIGHTLY),
        *(pytest.param(*parts_of(line)[1:], 1, marks=NIGHTLY) for line in LINES[:2]),
    ],
)
def test_a_line_of_several_processes_has_the_losses_of_one(one, config, tmp_path, processes, each, accumulated):
    accumulate = ["--gradient_accumulation_steps", str(accumulated)]
    assert processes * each * accumulated == 12
    assert_same_training(one, launch(line_of(processes, each), config, tmp_path / "out", *accumulate))


@pytest.mark.nightly
def test_accumulated_records_have_the_losses_of_the_line_for_one_gpu(one, config, tmp_path):
    accumulate = ["--per_device_train_batch_size", "3", "--gradient_accumulation_steps", "4"]
    assert_same_training(one, launch(line_of_one("stage1"), config, tmp_path / "out", *accumulate))


@pytest.mark.nightly
def test_the_later_stages_of_the_paper_have_the_same_losses_on_two_processes(one, data_folder, tmp_path):
    before = one
    for stage, script in (("stage2", "stage2_lab"), ("stage3", "stage3_multimodal")):
        own = {"dataset": str(data_folder / "dataset"), "model_name_or_path": str(before)}
        config = extended(tmp_path, stage, **own)
        before = launch(line_of_one(stage), config, tmp_path / stage)
        assert_same_training(before, launch(line_of(2, 6, script), config, tmp_path / f"{stage}-two"))
