# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command of docs/reproduce.md, in order, on open extracts with simulated notes and small random weights."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from datasets_scripts.dataset.folder import iterate_rows, read_metadata
from modeling_clinragen import PHENOTYPES
from recipes.configs import read_config
from recipes.models.folder import load_model_folder
from tests.commands import run_script
from tests.mimic_files import commands_of_the_page, is_launched_several_times, write_discharge_notes, write_flan_t5
from tests.test_documents import script_and_arguments


ROOT = Path(__file__).resolve().parents[1]
SMALL_SERIES = {"d_model": 16, "ffn_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
QUICK = {
    "max_steps": 2,
    "max_eval_samples": 4,
    "max_target_tokens": 40,
    "generation_max_length": 8,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "disable_tqdm": True,
}
NAMES = [phenotype["name"] for phenotype in PHENOTYPES]


def lay_out(home: Path, real_data: Path) -> None:
    """Lay out what the page's `wget` lines leave, what else it names, and the weights of google/flan-t5-small."""
    for name in ("recipes", "datasets_scripts"):
        (home / name).symlink_to(ROOT / name)
    files = home / "physionet.org" / "files"
    (files / "mimiciv" / "3.1").mkdir(parents=True)
    for name in ("hosp", "icu"):
        (files / "mimiciv" / "3.1" / name).symlink_to(real_data / "mimic-iv-layout" / name)
    (files / "mimiciii").mkdir()
    (files / "mimiciii" / "1.4").symlink_to(real_data / "mimic-iii-demo")
    (home / "eicu-crd-demo").symlink_to(real_data / "eicu-crd-demo")
    notes = files / "mimic-iv-note" / "2.2" / "note" / "discharge.csv.gz"
    write_flan_t5(home / "google" / "flan-t5-small", write_discharge_notes(real_data / "mimic-iv-layout", notes))


def small_table(home: Path, config: str) -> Path:
    """Write a table that is the given one with few records, steps and rows."""
    given = read_config(config)
    rows = dict(list(given["rows"].items())[:1])
    rows |= {name: row for name, row in given["rows"].items() if name == "w/o rationale"}
    quick = {name: value for name, value in QUICK.items() if name != "disable_tqdm"}
    series = {**read_config(f"{given['stages']}/stage1.yaml")["time_series_config"], **SMALL_SERIES}
    settings = {"all": quick, "stage1": {"time_series_config": series}}
    limit = {} if "mimic" in config else {"limit": 60}
    changes = {"seeds": [0], "rows": rows, "settings": settings, "data": {**given["data"], **limit}}
    changes["evaluation"] = {**given.get("evaluation", {}), "batch_size": 2}
    path = home / "tables" / Path(config).name
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"extends": config, **changes}, sort_keys=False))
    return path


def made_quick(home: Path, script: str, arguments: list[str]) -> list[str]:
    """Return the arguments with what makes the command quick behind them, where the last one counts."""
    name = Path(script).stem
    config = arguments[arguments.index("--config") + 1] if "--config" in arguments else None
    if name.startswith("stage"):
        given = read_config(config)
        options = {**QUICK, "max_note_tokens": 200} if name == "stage1_note" else dict(QUICK)
        if "time_series_config" in given:
            options["time_series_config"] = json.dumps({**given["time_series_config"], **SMALL_SERIES})
        return [*arguments, *(str(word) for key, value in options.items() for word in (f"--{key}", value))]
    if name == "evaluate_model":
        return [*arguments, "--batch-size", "2", "--limit", "6"]
    if name == "build_dataset" and "eicu" in arguments:
        return [*arguments, "--limit", "60"]
    if name == "reproduce":
        own = small_table(home, config)
        rows = [] if "--dry-run" in arguments else ["--rows", "w/o rationale"]
        return ["--processes", "1", *[str(own) if word == config else word for word in arguments], *rows]
    return arguments


@pytest.fixture(scope="module")
def home(real_data, tmp_path_factory):
    """A folder in which every command of the page has run; `{command: its output}` beside it."""
    home, said, variables = tmp_path_factory.mktemp("home"), {}, {}
    lay_out(home, real_data)
    before = Path.cwd()
    os.chdir(home)
    try:
        for command in commands_of_the_page():
            if command.startswith("wget "):
                continue
            if command.startswith("ROOT="):
                variables["$ROOT"] = shlex.split(command, comments=True)[0].partition("=")[2]
                continue
            if command.startswith("ln "):
                subprocess.run(shlex.split(command), check=True)
                continue
            if is_launched_several_times(command):  # tests/recipes/training/test_launch_lines.py
                continue
            if "runs/quickstart/dataset" in command and not Path("runs/quickstart").exists():
                Path("runs/quickstart").mkdir()
                Path("runs/quickstart/dataset").symlink_to(home / "data" / "eicu")
            script, arguments = script_and_arguments(shlex.split(command, comments=True))
            arguments = [variables.get(word, word) for word in arguments]
            done = run_script(home / script, *made_quick(home, script, arguments))
            assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
            said[command] = done.stdout
    finally:
        os.chdir(before)
    return home, said


def records_of(folder: Path) -> dict[str, list[dict]]:
    return {split: list(iterate_rows(folder, split)) for split in ("train", "validation", "test")}


@pytest.mark.nightly
def test_the_page_builds_both_forms_of_the_same_stays(home):
    home, _ = home
    forms = {form: records_of(home / "data" / "mimic-iv" / form) for form in ("paper", "recommended")}
    stays = {form: [row["stay_id"] for rows in splits.values() for row in rows] for form, splits in forms.items()}
    assert len(stays["paper"]) == len(stays["recommended"]) == 44
    test = [{row["stay_id"] for row in splits["test"]} for splits in forms.values()]
    assert test[0] == test[1] != set()
    assert not forms["paper"]["validation"]
    assert forms["recommended"]["validation"]
    for form, splits in forms.items():
        for row in (row for rows in splits.values() for row in rows):
            names = [name for name in NAMES if name.lower() in row["note"].lower()]
            assert row["note"]
            assert (len(names) > 0) <= (form == "paper"), row["note"]
            assert not any(sign.isdigit() for sign in row["note"]) or form == "recommended"
            assert len(row["lab_values"]) > 0


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["paper", "recommended"])
def test_the_page_trains_and_evaluates(home, form):
    home, _ = home
    runs = home / "runs" / "mimic-iv" / form
    model, processor = load_model_folder(runs / "stage3")
    paper = form == "paper"
    assert model.config.knowledge_attention_type == ("prototype" if paper else "term")
    assert model.config.patch_layout == ("paper" if paper else "fixed")
    assert (model.diagnosis_head is None) == paper
    assert processor.numeric_slots == (not paper)
    assert model.config.num_patches == (125 if paper else 21)
    metrics = json.loads((runs / "report" / "metrics.json").read_text())
    used = ("paper", True, True, 2) if paper else ("fixed", False, False, 1)
    names = ("attention_mask", "drop_last_batch", "ungrounded", "num_beams")
    assert tuple(metrics["run"][name] for name in names) == used
    assert ("diagnosis_by_embedding" in metrics) == paper
    assert (runs / "report" / "report.html").stat().st_size > 1000


@pytest.mark.nightly
def test_the_page_reads_mimic_iii_and_fills_the_tables(home):
    home, said = home
    assert read_metadata(home / "data" / "mimic-iii" / "paper-records")["source"] == "mimic-iii"
    (listed,) = (text for command, text in said.items() if "--dry-run" in command)
    assert "recipes.stage3_multimodal --config" in listed
    for name in ("mimic-iv", "synthetic", "eicu"):
        if any(f"reproduce/{name}.yaml" in command for command in said):
            assert "w/o rationale" in (home / "runs" / "reproduce" / name / "table.md").read_text()
    assert (home / "runs" / "quickstart" / "tfidf" / "metrics.json").is_file()


@pytest.mark.nightly
def test_no_command_of_the_page_is_left_out(home):
    _, said = home
    commands = [c for c in commands_of_the_page() if not c.startswith(("wget ", "ROOT=", "ln "))]
    assert {*said} | {c for c in commands if is_launched_several_times(c)} == {*commands}
