# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the stages before anything heavy is loaded."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from transformers import Seq2SeqTrainingArguments

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage4_rewards
from recipes.baselines import settings
from recipes.training.arguments import RewardStageArguments, StageArguments, parse_arguments
from recipes.training.fields import (
    DataArguments,
    ModelArguments,
    RewardFields,
    StageFields,
    read_fields,
    transformers_fields,
)


OUTPUT = ["--dataset", "data", "--output_dir", "out"]
OF_TRANSFORMERS = {one.name for one in fields(Seq2SeqTrainingArguments)}


def test_the_fields_of_transformers_are_those_of_its_class():
    assert transformers_fields() >= OF_TRANSFORMERS
    assert len(transformers_fields() - OF_TRANSFORMERS) < 5


def test_the_project_has_at_most_forty_fields_of_its_own():
    names = {one.name for kind in (ModelArguments, DataArguments, RewardFields) for one in fields(kind)}
    assert len(names - OF_TRANSFORMERS) <= 40


@pytest.mark.parametrize(
    ("argv", "of_command_line"),
    [
        (["--lora", '{"r": 16, "lora_alpha": 32}'], {"lora": {"r": 16, "lora_alpha": 32}}),
        (["--text_config", '{"d_model": 8}'], {"text_config": {"d_model": 8}}),
        (['--time-series-config={"d_model": 8}'], {"time_series_config": {"d_model": 8}}),
        (["--use_linear_classifier", "false"], {"use_linear_classifier": False}),
        (["--max_series_tokens_per_channel", "3"], {"max_series_tokens_per_channel": 3}),
    ],
)
def test_a_field_of_the_command_line_has_the_value_of_its_type(argv, of_command_line):
    model_args, _, _ = parse_arguments([*OUTPUT, *argv])
    assert of_command_line.items() <= vars(model_args).items()


BASELINE = ["--baseline", "decoder", "--dataset", "data", "--output", "out"]
READERS = {  # command -> its own parts, as it reads them
    "a stage": lambda argv: read_fields([*OUTPUT, *argv])[:3],
    "stage 4": lambda argv: read_fields([*OUTPUT, *argv], RewardFields, **stage4_rewards.STAGE)[:3],
    "evaluate_baseline": lambda argv: settings.parse_arguments([*BASELINE, *argv]),
}
IN_STAGES = {"lora", "text_config", "time_series_config"}
DICTIONARIES = {
    "a stage": IN_STAGES,
    "stage 4": IN_STAGES | {"reward_weights"},
    "evaluate_baseline": {"lora", "text_config", "pretraining", "training"},
}


@pytest.mark.parametrize(
    ("command", "name"),
    [(c, name) for c, names in DICTIONARIES.items() for name in sorted(names) if (c, name) != ("stage 4", "lora")],
)
def test_every_dictionary_is_read_as_json(command, name):
    given = {"r": 16, "alpha": 0.5, "target_modules": ["q", "v"], "nested": {"bias": None}, "bare": True}
    for argv in ([f"--{name}", json.dumps(given)], [f"--{name.replace('_', '-')}={json.dumps(given)}"]):
        parts = READERS[command](argv)
        assert [getattr(part, name) for part in parts if hasattr(part, name)] == [given]
    with pytest.raises(ClinRaGenInputError, match=f"--{name}: 'r=16' is not a dictionary; give JSON"):
        READERS[command]([f"--{name}", "r=16"])


@pytest.mark.parametrize("name", sorted({*StageArguments._VALID_DICT_FIELDS} - {"deepspeed"}))  # that starts it
def test_every_dictionary_of_transformers_is_read_as_json(name, tmp_path):
    given = {"split_batches": True} if name == "accelerator_config" else {"min_num_params": 1}
    _, _, stage_args = parse_arguments([*OUTPUT[:2], "--output_dir", str(tmp_path), f"--{name}", json.dumps(given)])
    read = getattr(stage_args, name)
    assert given.items() <= (vars(read) if name == "accelerator_config" else read).items()


def test_no_dictionary_is_left_out():
    kinds = {
        "a stage": (ModelArguments, DataArguments, StageFields),
        "stage 4": (ModelArguments, DataArguments, RewardFields),
        "evaluate_baseline": (settings.RunArguments, *settings.SETTINGS.values()),
    }
    found = {
        command: {name for kind in parts for name, type_ in get_type_hints(kind).items() if "dict" in str(type_)}
        for command, parts in kinds.items()
    }
    assert found == DICTIONARIES
    users = [p for p in Path("recipes").rglob("*.py") if "FieldParser(" in p.read_text(encoding="utf-8")]
    assert {path.name for path in users} == {"parsing.py", "fields.py", "settings.py"}


def test_the_file_the_command_line_and_the_stage_override_the_defaults(tmp_path):
    config = tmp_path / "stage.yaml"
    config.write_text(
        "learning_rate: 1e-4\nlora: {r: 2}\noptim: adafactor\nmax_eval_samples: null\nnum_train_epochs: 2"
    )
    argv = [*OUTPUT, "--config", str(config), "--num-train-epochs", "5", "--rationales", "lab", "note"]
    model_args, data_args, stage_args = parse_arguments(argv, **stage1_note.STAGE)
    assert model_args.lora == {"r": 2}
    assert (data_args.inputs, data_args.rationales, data_args.max_eval_samples) == (["note"], ["lab", "note"], None)
    assert (stage_args.learning_rate, stage_args.optim, stage_args.num_train_epochs) == (1e-4, "adafactor", 5)
    assert stage_args.lr_scheduler_type == "linear"


def test_stage_4_has_its_own_defaults():
    _, _, stage_args = parse_arguments(OUTPUT, RewardStageArguments, **stage4_rewards.STAGE)
    assert (stage_args.metric_for_best_model, stage_args.generation_max_length) == ("reward", None)
    assert parse_arguments(OUTPUT)[2].generation_max_length == 60


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lora", "r=16"], "argument --lora: 'r=16' is not a dictionary; give JSON"),
        (["--lora", "[1]"], "'\\[1\\]' is not a dictionary"),
        (["--streaming", "perhaps"], "'perhaps' is neither true nor false"),
        (["--learning_rate", "fast"], "--learning_rate"),
        (["--learning_rat", "1"], "there is no field 'learning_rat'"),
        (["out"], "'out' belongs to no field"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_named_before_anything_is_loaded(argv, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        read_fields([*OUTPUT, *argv])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "holds no fields"),
        ("a: [", "while parsing"),
        ("lora: 3", "lora is 3, not an object with fields"),
        ("rats: 1", "'rats'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, message):
    (tmp_path / "stage.yaml").write_text(text)
    with pytest.raises(ClinRaGenInputError, match=message):
        read_fields([*OUTPUT, "--config", str(tmp_path / "stage.yaml")])


@pytest.mark.parametrize("stage", ["stage1_note", "stage2_lab", "stage3_multimodal", "stage4_rewards"])
def test_help_lists_every_field_with_its_default_and_loads_nothing(stage):
    script = (
        "import contextlib, json, runpy, sys\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    sys.argv = ['{stage}.py', '--help']; runpy.run_path('recipes/{stage}.py', run_name='__main__')\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    text, _, modules = done.stdout.rpartition("\n[")
    kind = RewardFields if stage == "stage4_rewards" else StageFields
    assert text.startswith(f"usage: {stage}.py ")
    for one in (one for part in (ModelArguments, DataArguments, kind) for one in fields(part)):
        assert f"\n  --{one.name} " in text
    text = " ".join(text.split())
    assert text.count("Default: ") == sum(len(fields(part)) for part in (ModelArguments, DataArguments, kind))
    assert "All fields of transformers' Seq2SeqTrainingArguments are accepted as well" in text
    assert not {"torch", "transformers", "numpy"} & {*json.loads("[" + modules)}


def test_all_arguments_are_the_light_ones_and_those_of_transformers():
    light = {one.name for one in fields(RewardFields)}
    assert {one.name for one in fields(RewardStageArguments)} == light | OF_TRANSFORMERS
    assert {one.name for one in fields(StageArguments)} == {one.name for one in fields(StageFields)} | OF_TRANSFORMERS


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("azure_ml", "report_to is azure_ml, which is not installed; pip install azureml-sdk"),
        ("swanlab", "report_to is swanlab, which is not installed; pip install swanlab"),
        ("flyte", "report_to is flyte, which is not installed; pip install flytekit"),
        ("wandbb", "report_to is wandbb; give none, or some of azure_ml, .*tensorboard.*, wandb$"),
    ],
)
def test_a_missing_logger_is_named_with_its_package(tmp_path, logger, message):
    argv = ["--dataset", "data", "--output_dir", str(tmp_path / "out"), "--report_to", logger]
    with pytest.raises(ClinRaGenInputError, match=f"^arguments: {message}"):
        parse_arguments(argv)


@pytest.mark.parametrize("logger", ["none", "all"])
def test_no_logger_and_all_installed_ones_are_accepted(tmp_path, logger):
    parse_arguments(["--dataset", "data", "--output_dir", str(tmp_path / "out"), "--report_to", logger])
