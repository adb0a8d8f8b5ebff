# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command of docs/own_data.md, and those that keep the hospital's model in use, on an export made here."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.synthetic import write_synthetic_tables
from modeling_clinragen import CHANNELS
from recipes.models.folder import load_model_folder
from tests.datasets_scripts.sources.omop_tables import export_mimic
from tests.datasets_scripts.sources.raw_tables import rows
from tests.datasets_scripts.sources.test_meds_extractions import mimic_iv, write_folder
from tests.hospital_export import write_export
from tests.own_data_notebook import BLOCK, NOTEBOOK, PAGE, cells, section


ROOT = Path(__file__).resolve().parents[1]
TEXT = PAGE.read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "serve_and_update.md").read_text(encoding="utf-8")
PATIENTS, NEW = 400, 20
# Tolerance of a value that the export converts or rounds, from the simulated one.
TOLERANCES = {"Glucose": 0.1, "Temperature": 0.006, "Weight": 0.06}


def blocks_of(text: str, kind: str = "bash") -> list[str]:
    return [block[2] for block in BLOCK.finditer(text) if block[1] == kind]


def keep_in_use() -> str:
    (text,) = re.findall(r"^## Keep a model in use\n(.*?)^\*\*Drift", GUIDE, re.M | re.S)
    (block,) = blocks_of(text)
    return block


PATH = blocks_of(section(TEXT))
REMOVES = [block for block in blocks_of(TEXT) if "--remove" in block]
SERVER = [block for block in blocks_of(TEXT) if '--root "postgresql:' in block]  # of USER: sources/test_postgres.py
GERMAN = [block for block in blocks_of(TEXT) if "--root klinik" in block]  # recipes/test_another_language.py
OTHERS = [block for block in blocks_of(TEXT) if block not in PATH + REMOVES + SERVER + GERMAN]


def run(block: str, home: Path) -> str:
    """Return what the commands of a block print on standard output, run by bash in `home`."""
    folder = Path(sys.executable).parent
    variables = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    variables |= {"HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", block], cwd=home, env=os.environ | variables, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{block}\n{done.stderr[-3000:]}"
    return done.stdout


def lay_out(home: Path) -> None:
    """Lay out the folders that the page names: two exports with their description, OMOP, MEDS."""
    for name in ("recipes", "datasets_scripts", "modeling_clinragen"):
        (home / name).symlink_to(ROOT / name)
    write_export(home / "my-hospital", PATIENTS)
    write_export(home / "new-patients", NEW, seed=1, new=True)
    (home / "my-hospital" / "tables.yaml").write_text(blocks_of(section(TEXT), "yaml")[0], encoding="utf-8")
    (labels,) = [block for block in blocks_of(TEXT, "yaml") if block.startswith("labels:")]
    (home / "my_labels.yaml").write_text(labels, encoding="utf-8")
    names = [label["name"] for label in yaml.safe_load(labels)["labels"]]
    terms = {"source": "made up", "diseases": {name: {"name": [name.lower()]} for name in names}}
    (home / "my_terms.yaml").write_text(yaml.safe_dump(terms), encoding="utf-8")
    write_synthetic_tables(home / "simulated", 30, 0)
    export_mimic(home / "simulated", home / "OMOP", ".parquet")
    write_folder(home / "MEDS", [event for i in range(1, 13) for event in mimic_iv(i)])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def cells_of(row: dict) -> dict[tuple[float, str], float]:
    """Return what is measured in a stay: hour and channel -> value."""
    return {
        (round(hour, 4), channel["name"]): value
        for hour, values in zip(row["lab_times"], row["lab_values"], strict=True)
        for channel, value in zip(CHANNELS, values, strict=True)
        if not math.isnan(value)
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which all commands of the page have run but those that remove notes; what each block printed."""
    home = tmp_path_factory.mktemp("home")
    lay_out(home)
    port = str(free_port())
    said = {block: run(block.replace("8000", port), home) for block in PATH + OTHERS}
    return home, said, port


@pytest.mark.nightly
def test_the_dataset_of_the_export_is_that_of_the_simulated_patients(home, tmp_path):
    options = ["--source", "synthetic", "--limit", str(PATIENTS), "--output", str(tmp_path / "direct")]
    build_dataset.main(options)
    ours = rows(home[0] / "data" / "hospital-records")
    direct = {f"{int(stay) % 10_000_000:06d}": row for stay, row in rows(tmp_path / "direct").items()}
    assert set(ours) == set(direct)
    assert len(ours) == PATIENTS
    for stay, row in direct.items():
        own = ours[stay]
        assert own["subject_id"] == stay
        for name in ("age", "sex", "care_unit", "note", "diagnoses"):
            assert own[name] == row[name], (stay, name)
        given, wanted = cells_of(own), cells_of(row)
        # an error of 0 °C is 32 °F in the simulated tables, which the reader of MIMIC takes for a value in °C
        wanted = {cell: value for cell, value in wanted.items() if (cell[1], value) != ("Temperature", 32.0)}
        assert set(given) == set(wanted), stay
        for cell, value in wanted.items():
            assert given[cell] == pytest.approx(value, abs=TOLERANCES.get(cell[1], 1e-4)), (stay, cell)


@pytest.mark.nightly
def test_the_check_finds_nothing_wrong(home):
    said = home[1][PATH[0]]
    assert said.splitlines()[-1] == "nothing looks wrong"
    assert "measurements: vitals_*.csv, 2 files" in said


@pytest.mark.nightly
def test_the_model_has_learned_and_the_new_patients_have_answers(home):
    home = home[0]
    metrics = json.loads((home / "runs" / "hospital" / "report" / "metrics.json").read_text())
    assert metrics["diagnosis"]["micro_f1"] > 0.8
    answers = [json.loads(line) for line in (home / "answers.jsonl").read_text().splitlines()]
    assert {answer["stay_id"] for answer in answers} == {f"{i:06d}" for i in range(NEW)}
    assert not any("error" in answer for answer in answers)
    assert {type(answer["doubt"]["abstain"]) for answer in answers} == {bool}
    assert not read_metadata(home / "data" / "new")["labelled"]


@pytest.mark.nightly
def test_the_server_has_answered_and_has_stopped(home):
    home, said, port = home
    answer = json.loads(said[PATH[-1]])
    first = json.loads((home / "answers.jsonl").read_text().splitlines()[0])
    assert answer["model_version"] == first["model_version"]
    assert len(answer["probabilities"]) == 25
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            break
        time.sleep(0.2)
    else:
        pytest.fail("the server has not stopped")


@pytest.mark.nightly
def test_the_other_sources_of_the_page_are_read(home):
    assert len(rows(home[0] / "data" / "omop")) == 30
    assert set(rows(home[0] / "data" / "meds")) == {str(200 + i) for i in range(1, 13)}


@pytest.mark.nightly
def test_a_model_is_kept_in_use(home, tmp_path):
    """Run what serve_and_update.md shows, as if the path's model were that of another hospital."""
    for name in ("recipes", "datasets_scripts", "data"):
        (tmp_path / name).symlink_to(home[0] / name)
    (tmp_path / "runs" / "eicu").mkdir(parents=True)
    (tmp_path / "runs" / "eicu" / "stage3").symlink_to(home[0] / "runs" / "hospital" / "stage3")
    said = run(keep_in_use(), tmp_path)
    assert "| micro f1 |" in said
    runs = tmp_path / "runs" / "hospital"
    for name in ("recalibrated", "stage3"):
        load_model_folder(runs / name)
    assert json.loads((runs / "recalibrated" / "training.json").read_text())["recalibrated"]["records"] >= 50
    assert (runs / "after" / "report.html").is_file()


@pytest.mark.nightly
def test_the_last_commands_list_notes_and_remove_them(home, tmp_path):
    """On a copy, because the command removes files that other tests need."""
    for name in ("runs", "data"):
        shutil.copytree(home[0] / name, tmp_path / name)
    (block,) = REMOVES
    said = run(block.replace("clinragen ", "python -m recipes "), tmp_path)  # what the installed command starts
    for path in ("data/hospital/data", "runs/hospital/report/predictions.jsonl"):
        assert path in said
    assert not list(tmp_path.glob("data/*/data/*.parquet"))
    assert not list(tmp_path.glob("runs/**/predictions.jsonl"))


def test_no_block_of_the_page_is_left_out_unawares():
    assert len(PATH) == 7
    # The others are OMOP, MEDS, and the terms of own labels.
    assert [len(blocks) for blocks in (OTHERS, REMOVES, SERVER, GERMAN)] == [3, 1, 1, 1]


def test_the_notebook_has_the_cells_of_the_page_and_what_they_print():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert found == cells(), "write it again: python -m tests.own_data_notebook"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}  # no error
    printed = json.dumps(outputs)
    assert "nothing looks wrong" in printed
    assert "model_version" in printed
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work|Users|usr|opt|var)/", printed)
    assert NOTEBOOK.stat().st_size < 60_000
