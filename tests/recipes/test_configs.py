# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The configurations of the paper: each of its settings, its nine faults, and files that extend others."""

import re
import shlex
from pathlib import Path

import pytest

from datasets_scripts import build_dataset, generate_rationales
from modeling_clinragen import ClinRaGenConfig, ClinRaGenInputError
from recipes import evaluate_model, stage1_note, stage2_lab, stage3_multimodal
from recipes.configs import FOLDER, read_config
from recipes.reproduction.plan import read_plan
from recipes.training.arguments import parse_arguments
from tests.mimic_files import commands_of_the_page


STAGES = {"stage1": stage1_note, "stage2": stage2_lab, "stage3": stage3_multimodal}
MIMIC = ("mimic-iv", "mimic-iii")
# What the paper, or else its release, says; of the learning rate and the warm-up the paper's text.
TRAINING = {
    "per_device_train_batch_size": 12,
    "gradient_accumulation_steps": 1,
    "optim": "adamw_torch",
    "adam_epsilon": 1e-8,
    "learning_rate": 1e-5,
    "weight_decay": 0.05,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "max_grad_norm": 0.0,
    "train_sampling_strategy": "random",
    "dataloader_drop_last": True,
    "generation_max_length": 500,
    "metric_for_best_model": "micro_f1",
    "load_best_model_at_end": True,
}
BEAMS = {"stage1": 1, "stage2": 1, "stage3": 2}
READ = {"stage1": ["note"], "stage2": ["lab"], "stage3": ["note", "lab"]}
WRITTEN = {"stage1": ["note", "lab"], "stage2": ["lab"], "stage3": ["note", "lab"]}
# Fault, field, the release's value, ours: of a stage ...
OF_STAGES = [
    (3, "stage1", "series_grid", "paper", "hourly"),
    (4, "stage1", "patch_layout", "paper", "fixed"),
    *((5, stage, "ignore_padding_in_loss", False, True) for stage in STAGES),
    *((7, stage, "eval_split", "test", "validation") for stage in STAGES),
    (8, "stage1", "knowledge_attention_type", "prototype", "term"),
    (8, "stage1", "use_knowledge_residual", False, True),
]
# ... and of the other commands.
OF_COMMANDS = [
    (1, "build_dataset", "note_view", "paper", "admission"),
    (2, "build_dataset", "caption", "paper", "fixed"),
    (6, "evaluate_model", "attention_mask", "paper", "fixed"),
    (9, "build_dataset", "note_text", "paper", "fixed"),
    (9, "generate_rationales", "rejected", "keep", "drop"),
]
COMMANDS = {one.__name__.rpartition(".")[2]: one for one in (build_dataset, generate_rationales, evaluate_model)}


def read_stage(database, form, stage):
    """Return all fields of a stage, by name, as it would begin with them."""
    path = f"{database}/{form}/{stage}.yaml"
    parts = parse_arguments(["--config", path, "--use_cpu", "true"], **STAGES[stage].STAGE)
    return {name: value for part in parts for name, value in vars(part).items()}


@pytest.fixture(scope="module")
def stages():
    forms = [(database, form, stage) for database in MIMIC for form in ("paper", "recommended") for stage in STAGES]
    return {one: read_stage(*one) for one in forms}


@pytest.mark.parametrize("database", MIMIC)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_of_the_paper_learns_as_the_paper_says(stages, database, stage):
    fields = stages[database, "paper", stage]
    assert {name: fields[name] for name in TRAINING} == TRAINING
    assert (fields["generation_num_beams"] or 1) == BEAMS[stage]
    assert (fields["inputs"], fields["rationales"]) == (READ[stage], WRITTEN[stage])


@pytest.mark.parametrize("database", MIMIC)
def test_the_model_of_the_paper_has_its_shape(stages, database):
    fields = stages[database, "paper", "stage1"]
    assert fields["model_name_or_path"] == "google/flan-t5-small"
    assert (fields["max_note_tokens"], fields["numeric_slots"]) == (1600, False)
    names = ("time_series_config", "knowledge_attention_type", "max_series_tokens_per_channel")
    config = ClinRaGenConfig(
        **{name: fields[name] for name in names},
        diagnosis_loss_weight=fields["diagnosis_loss_weight"],
        knowledge_terms=["fever"],
        knowledge_input_ids=[[3]],
    )
    series = config.time_series_config
    assert (series.patch_length, series.patch_stride, config.num_patches, series.d_model) == (8, 8, 125, 768)
    assert (config.context_length, config.num_input_channels, len(config.labels)) == (1000, 11, 25)
    assert (config.knowledge_num_attention_heads, config.knowledge_head_dim) == (8, 32)
    assert config.num_knowledge_tokens == 24
    assert config.max_series_tokens_per_channel is None
    assert config.diagnosis_loss_weight == 0


@pytest.mark.parametrize("database", MIMIC)
@pytest.mark.parametrize(("fault", "stage", "field", "paper", "ours"), OF_STAGES)
def test_the_faults_of_stages_are_only_in_the_papers_files(stages, database, fault, stage, field, paper, ours):
    assert stages[database, "paper", stage][field] == paper
    assert stages[database, "recommended", stage][field] == ours


def jobs_of(table, command, tmp_path):
    """Return the arguments, with their defaults, of a command of the rows of stages, for each dataset or report."""
    plan = read_plan(Path(f"reproduce/{table}.yaml"), tmp_path)
    own = {path for (row, _), path in plan.reports.items() if (row, 0) in plan.models}
    needed = {need for job in plan.jobs if job.output in own for need in job.needs}
    needed |= {need for job in plan.jobs if job.output in needed for need in job.needs}
    jobs = [j for j in plan.jobs if j.command.endswith(f".{command}") and j.output in own | needed]
    assert jobs
    return [vars(COMMANDS[command].parse_arguments(list(job.argv))) for job in jobs]


@pytest.mark.parametrize(("fault", "command", "field", "paper", "ours"), OF_COMMANDS)
def test_the_faults_of_commands_are_only_in_the_papers_files(fault, command, field, paper, ours, tmp_path):
    for table in MIMIC:
        assert {job[field] for job in jobs_of(table, command, tmp_path)} == {paper}
    assert {job[field] for job in jobs_of("mimic-iv-recommended", command, tmp_path)} == {ours}


@pytest.mark.parametrize(
    ("fault", "command", "field", "paper", "ours"),
    [
        *OF_COMMANDS,
        (7, "evaluate_model", "drop_last_batch", True, False),
        (None, "evaluate_model", "num_beams", 2, 1),
        (None, "evaluate_model", "ungrounded", True, False),
        (None, "build_dataset", "reference_ranges", "paper", "clinical"),
    ],
)
def test_the_page_gives_each_form_the_switches_of_its_table(fault, command, field, paper, ours):
    found = {"paper": [], "recommended": []}
    for line in commands_of_the_page():
        words = shlex.split(line)
        if f"/{command}.py" in line and "mimic-i" in line:
            arguments = COMMANDS[command].parse_arguments(words[2:])
            folder = Path(arguments.output)
            form = folder.parent.name if folder.name == "report" else folder.name.removesuffix("-records")
            found[form].append(getattr(arguments, field))
    assert set(found["paper"]) == {paper}
    assert set(found["recommended"]) == {ours}


def test_every_fault_is_among_the_tables():
    assert {fault for fault, *_ in OF_STAGES + OF_COMMANDS} == set(range(1, 10))


@pytest.mark.parametrize("table", MIMIC)
def test_the_papers_table_has_its_thresholds_split_beams_and_runs(table, tmp_path):
    for job in jobs_of(table, "build_dataset", tmp_path):
        assert (job["reference_ranges"], job["splits"], job["source"]) == ("paper", "train=0.8,test=0.2", table)
    for job in jobs_of(table, "evaluate_model", tmp_path):
        assert (job["num_beams"], job["batch_size"], job["ungrounded"], job["embedding_matching"]) == (2, 12, 1, 1)
    raw = read_config(f"reproduce/{table}.yaml")
    assert raw["seeds"] == [0, 1, 2, 3, 4]
    assert read_plan(Path(f"reproduce/{table}.yaml")).reference in raw["rows"]


@pytest.mark.parametrize("form", ["paper", "recommended"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_two_databases_differ_only_in_paths(stages, form, stage):
    one, other = (stages[database, form, stage] for database in MIMIC)
    differing = {name for name in one if repr(one[name]) != repr(other[name])} - {"distributed_state", "_n_gpu"}
    assert differing <= {"dataset", "output_dir", "model_name_or_path", "logging_dir", "run_name"}
    assert {"dataset", "output_dir"} <= differing
    for name in differing:
        assert one[name].replace("mimic-iv", "mimic-iii") == other[name]
    before = int(stage[-1]) - 1
    if before:
        assert one["model_name_or_path"] == stages["mimic-iv", form, f"stage{before}"]["output_dir"]
    assert one["output_dir"] == f"runs/mimic-iv/{form}/{stage}"


def test_every_value_of_the_papers_files_names_its_source():
    files = sorted((FOLDER / "mimic-iv" / "paper").iterdir())
    assert len(files) == 4
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.match(r" *\w+: ", line) and not re.search(r": \S*(runs|data|recipes)/\S+$", line):
                assert re.search(r" # (paper|release|ours)\b", line), f"{file.name}: {line}"


def test_a_file_wins_over_the_one_it_extends_wherever_they_are_called_from(tmp_path, monkeypatch):
    (tmp_path / "first.yaml").write_text("learning_rate: 1\nlora: {r: 2, lora_alpha: 4}\nseed: 3\n")
    (tmp_path / "second.yaml").write_text(f"extends: {tmp_path / 'first.yaml'}\nlora: {{r: 8}}\n")
    (tmp_path / "third.yaml").write_text("extends: second.yaml\nseed: 5\n")
    monkeypatch.chdir(tmp_path)
    assert read_config("third.yaml") == {"learning_rate": 1, "lora": {"r": 8}, "seed": 5}
    (tmp_path / "own.yaml").write_text("extends: recipes/configs/mimic-iv/paper/stage3.yaml\nseed: 1\n")
    assert read_config("own.yaml") == {**read_config(FOLDER / "mimic-iv/paper/stage3.yaml"), "seed": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "extends: a.yaml"}, "a.yaml: extends is a.yaml, which extends this file"),
        ({"a": "extends: b.yaml", "b": "extends: c.yaml", "c": "extends: b.yaml"}, "c.yaml: extends is b.yaml"),
        ({"a": "extends: [b.yaml]"}, r"a.yaml: extends is \['b.yaml'\]; give one configuration"),
        ({"a": "extends: nowhere.yaml"}, "nowhere.yaml: not a YAML file"),
        ({"a": "extends: b.yaml", "b": "- 1"}, "b.yaml holds no fields"),
        ({"a": 'extends: "a\\0.yaml"'}, "not a YAML file: embedded null byte"),
        ({"a": "extends: ."}, "not a YAML file"),
    ],
)
def test_a_file_that_cannot_be_extended_is_named(files, message, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClinRaGenInputError, match=message):
        read_config("a.yaml")
