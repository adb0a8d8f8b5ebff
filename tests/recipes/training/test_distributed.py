# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages on several processes: the same result as on one, also after one of them was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from safetensors.torch import save_file

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage2_lab, stage3_multimodal, stage4_rewards
from recipes.models.folder import load_model_folder
from recipes.training.arguments import complete
from recipes.training.checkpoints import last_checkpoint
from recipes.training.data import ClinRaGenCollator, encode_records, load_records
from recipes.training.fields import read_fields
from recipes.training.stages import begin, freeze_all_but
from recipes.training.trainer import EpochLengthGroupedSampler, first_records
from tests.conftest import NIGHTLY
from tests.recipes.conftest import STAGE
from tests.recipes.training.test_global_batch import assert_same_training, losses


FILES = Path("recipes/accelerate_configs")
LAUNCHERS = {
    "ddp": ["--config_file", FILES / "multi_cpu.yaml"],
    "fsdp2": ["--config_file", FILES / "fsdp2.yaml", "--mixed_precision", "no"],
    "fsdp2_bf16": ["--config_file", FILES / "fsdp2.yaml"],
}
STAGES = {"stage1": stage1_note, "stage2": stage2_lab, "stage3": stage3_multimodal}
SETTINGS = {
    "text_config": {**STAGE["text_config"], "dropout_rate": 0.0},
    "train_sampling_strategy": "group_by_length",
    "optim": "sgd",  # adaptive steps amplify rounding errors of zero gradients
    "max_steps": 3,
}
FROZEN = {"stage1": ("time_series", "knowledge"), "stage2": ("backbone.",), "stage3": ("time_series",)}


def launched(launcher, stage, arguments, processes=2, **kwargs):
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCHERS[launcher]]
    command += ["--num_processes", processes, STAGES[stage].__file__, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([str(word) for word in command], env=environment, **kwargs)


LEAVES = """
import sys
import torch
from recipes import stage1_note
stage1_note.main(sys.argv[1:])
assert torch.distributed.is_available() and not torch.distributed.is_initialized()
"""


@pytest.mark.slow
def test_every_process_destroys_its_group_at_the_end_of_a_stage(stage_arguments, tmp_path, monkeypatch):
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setitem(STAGES, "leaves", SimpleNamespace(__file__=script))
    run("fsdp2", "leaves", stage_arguments(tmp_path / "two", max_steps=1))
    assert (tmp_path / "two" / "config.json").is_file()


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
@pytest.mark.parametrize("launcher", ["ddp", "fsdp2"])
@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_learn_as_one_does_and_leave_the_frozen_parts(chain, stage_arguments, tmp_path, stage, launcher):
    before = chain / f"stage{int(stage[-1]) - 1}"
    start = [] if stage == "stage1" else ["--model_name_or_path", before]
    run(launcher, stage, stage_arguments(tmp_path / "two", *start, per_device_train_batch_size=2, **SETTINGS))
    assert_same_training(chain / stage, tmp_path / "two")
    trained, one = (load_model_folder(folder)[0] for folder in (tmp_path / "two", chain / stage))
    assert trained.config.decisions.thresholds == pytest.approx(one.config.decisions.thresholds, abs=1e-3)
    if start:
        untouched = load_model_folder(before)[0].state_dict()
        frozen = [name for name in untouched if name.startswith(FROZEN[stage])]
        assert frozen
        assert all(torch.equal(untouched[name], trained.state_dict()[name]) for name in frozen)


@pytest.mark.slow
def test_fsdp_learns_nearly_the_same_in_bfloat16(chain, stage_arguments, tmp_path):
    arguments = stage_arguments(tmp_path / "two", per_device_train_batch_size=2, **SETTINGS)
    run("fsdp2_bf16", "stage1", arguments)
    assert losses(tmp_path / "two") != pytest.approx(losses(chain / "stage1"), rel=1e-5)
    assert losses(tmp_path / "two") == pytest.approx(losses(chain / "stage1"), rel=1e-2)
    assert all(weight.dtype != torch.bfloat16 for weight in load_model_folder(tmp_path / "two")[0].parameters())


LONG = {**SETTINGS, "max_steps": 14, "optim": "adamw_torch", "eval_steps": 2, "save_steps": 2}


@pytest.fixture(scope="module")
def long_run(stage_arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_process") / "long"
    stage1_note.main(stage_arguments(folder, per_device_train_batch_size=4, **LONG))
    return folder


def kill_second_rank(launcher: subprocess.Popen):
    """End the second of the processes that this test's own launcher started, as the lack of memory would."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True)
    for child in map(int, children.stdout.split()):
        if b"LOCAL_RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "processes"),
    [pytest.param("ddp", 2, marks=NIGHTLY), ("ddp", 1), ("fsdp2", 2), pytest.param("fsdp2", 1, marks=NIGHTLY)],
)
def test_when_one_of_two_is_killed_the_run_ends_and_resumes_with_the_remaining_processes(
    long_run, stage_arguments, tmp_path, launcher, processes
):
    output = tmp_path / "run"
    first = launched(launcher, "stage1", stage_arguments(output, per_device_train_batch_size=2, **LONG))
    while first.poll() is None and last_checkpoint(f"{output}.training") is None:
        time.sleep(0.01)
    kill_second_rank(first)
    assert first.wait(timeout=120) != 0
    assert not output.exists()
    reached = int(last_checkpoint(f"{output}.training").rpartition("-")[2])
    assert reached < LONG["max_steps"]
    if launcher == "fsdp2":
        with pytest.raises(ClinRaGenInputError, match="was written with FSDP"):
            stage1_note.main(stage_arguments(output, per_device_train_batch_size=4, **LONG))

    run(launcher, "stage1", stage_arguments(output, per_device_train_batch_size=4 // processes, **LONG), processes)
    assert losses(output) == pytest.approx(losses(long_run), rel=1e-4)
    log = json.loads((output / "training.json").read_text())["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, LONG["max_steps"] + 1))
    assert log[-1]["epoch"] > 1


@pytest.mark.slow
def test_checkpointed_layers_learn_the_same(chain, stage_arguments, tmp_path):
    before = ["--model_name_or_path", chain / "stage2"]
    arguments = {"per_device_train_batch_size": 4, "gradient_checkpointing": True, **SETTINGS}
    stage3_multimodal.main(stage_arguments(tmp_path / "checkpointed", *before, **arguments))
    assert_same_training(chain / "stage3", tmp_path / "checkpointed")


def test_the_order_of_records_is_that_of_seed_and_epoch_alone():
    lengths = torch.randint(1, 50, (47,)).tolist()
    first, second = (EpochLengthGroupedSampler(4, lengths=lengths, seed=3) for _ in range(2))
    order = list(first)
    torch.rand(5)  # another process has drawn other numbers
    assert list(second) == order
    second.set_epoch(1)
    assert sorted(second) == sorted(order) == list(range(47))
    assert list(second) != order
    first.set_epoch(1)
    assert list(first) == list(second)


def test_a_process_without_records_in_the_last_step_contributes_nothing(stage1_folder, data_folder):
    model, processor = load_model_folder(stage1_folder)
    processor.modalities = ["note", "lab"]
    records = load_records(str(data_folder / "dataset"), "train", limit=3)
    encoded = encode_records(records, processor, ["note", "lab"], 60).with_format("numpy")
    batch = ClinRaGenCollator(processor)([encoded[i] for i in range(3)])
    freeze_all_but(model, ["backbone", "diagnosis_head"])
    two = first_records(batch, 2)
    assert all(torch.equal(two[name], batch[name][:2]) for name in batch)
    assert len(two["labels"]) == 2
    model.train()(**first_records(batch, 0), num_items_in_batch=9, num_records_in_batch=torch.inf).loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_the_stage_that_cannot_be_sharded_refuses(stage1_folder, stage_arguments, tmp_path, monkeypatch):
    arguments = stage_arguments(tmp_path / "out", "--model_name_or_path", stage1_folder)
    with pytest.raises(ClinRaGenInputError, match=r"for stages 1 to 3; launch this one with ddp\.yaml"):
        stage4_rewards.main([*arguments, "--fsdp"])
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ClinRaGenInputError, match="for stages 1 to 3"):
        stage4_rewards.main(arguments)


def test_a_stage_begun_in_shards_does_not_resume_unsharded(stage_arguments, tmp_path):
    begin(*complete(read_fields(stage_arguments(tmp_path / "out"), **stage1_note.STAGE)))  # and killed there
    checkpoint = tmp_path / "out.training" / "checkpoint-2"
    checkpoint.mkdir()
    state = {"global_step": 2, "log_history": [], "best_model_checkpoint": None}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    save_file({"weight": torch.zeros(1)}, checkpoint / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.pt", "rng_state_0.pth"):
        torch.save({}, checkpoint / name)
    with pytest.raises(ClinRaGenInputError, match=r"checkpoint-2 was written with FSDP or DeepSpeed: resume"):
        stage1_note.main(stage_arguments(tmp_path / "out"))
    assert (checkpoint / "optimizer.bin").is_file()


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
