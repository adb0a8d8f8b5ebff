# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Every command of docs/own_experiment.md on simulated tables of MIMIC-IV, and the YAML files that it, docs/teacher.md
and docs/reproduce.md show, as they stand.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.knowledge.own_terms import own_knowledge
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.synthetic import write_synthetic_tables
from recipes.models.folder import load_model_folder
from recipes.reproduction.plan import PLAN, ROW, read_plan
from tests.commands import run_script
from tests.datasets_scripts.llm.chat_server import ChatServer
from tests.datasets_scripts.teacher.small_teacher import ANSWER
from tests.recipes.conftest import STAGE


ROOT = Path(__file__).resolve().parents[1]


def text_of(page):
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def blocks_of(page, kind="yaml"):
    return re.findall(rf"^```{kind}\n(.*?)^```$", text_of(page), re.M | re.S)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The folder `study` of the page, below a working directory that holds this project."""
    for name in ("recipes", "datasets_scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    folder = Path("study")
    folder.mkdir()
    for name, block in zip(("labels", "knowledge", "table"), blocks_of("own_experiment.md"), strict=True):
        (folder / f"{name}.yaml").write_text(block, encoding="utf-8")
    return folder


def commands_of_the_page():
    """Return the commands of the page, in order, as script and arguments."""
    blocks = [block.replace("\\\n", " ").splitlines() for block in blocks_of("own_experiment.md", "bash")]
    (root,) = [line.removeprefix("ROOT=") for line in blocks[0] if line.startswith("ROOT=")]
    words = [shlex.split(line.replace("$ROOT", root)) for block in blocks for line in block]
    return [(script, arguments) for python, script, *arguments in (w for w in words if "=" not in w[0])]


def named(word):
    """Return the commands of the page whose script has `word` in its name."""
    return [command for command in commands_of_the_page() if word in command[0]]


def run(commands, *options):
    """Run commands with further options, where the last one counts; return what each prints."""
    said = []
    for script, arguments in commands:
        done = run_script(script, *arguments, *options)
        assert done.returncode == 0, f"{script}\n{done.stderr[-2000:]}"
        said.append(done.stdout + done.stderr)
    return said


@pytest.fixture
def asked(study):
    """The page's steps 1 to 3 on 60 simulated patients, of a server that gives one answer; what each step prints."""
    write_synthetic_tables(Path("physionet.org/files/mimiciv/3.1"), 60, 0)
    said = run(named("build_"))
    estimate, ask = named("generate_rationales")
    with ChatServer(reply=lambda body: json.dumps(ANSWER)) as server:
        said += run([estimate], "--base-url", server.url)
        assert not server.bodies
        said += run([ask], "--base-url", server.url)
    return said


def test_the_page_builds_and_asks_the_teacher(asked):
    estimated, answered = asked[2:]
    assert "requests" in estimated
    assert "accepted at once" in answered
    assert read_metadata(Path("data/study"))["rationales"]["outcomes"] == {"accepted at once": 60}
    assert "| Hypothyroidism |" in Path("data/study-records/README.md").read_text(encoding="utf-8")
    assert Path("data/study-records/label_audit.csv").is_file()


@pytest.mark.nightly
def test_the_page_trains_and_fills_its_table_though_the_server_no_longer_runs(study, asked):
    quick = [str(word) for name, value in STAGE.items() if "config" not in name for word in (f"--{name}", value)]
    run(named("stage"), *quick)
    run(named("evaluate_model"), "--limit", "4")
    assert len(load_model_folder(Path("runs/study/stage3"))[0].config.id2label) == 3
    assert Path("runs/study/report/report.html").is_file()
    table = yaml.safe_load((study / "table.yaml").read_text(encoding="utf-8"))
    fields = {name: value for name, value in STAGE.items() if name not in ("text_config", "vocab_size")}
    changes = {"seeds": [0], "settings": {"all": fields}}
    (study / "table.yaml").write_text(yaml.safe_dump({**table, **changes}, sort_keys=False), encoding="utf-8")
    listed, _ = run(named("reproduce"), "--processes", "1")
    assert "stage3_multimodal" in listed
    assert "w/o series" in Path("runs/study-table/table/table.md").read_text(encoding="utf-8")


def test_every_label_of_the_page_has_terms(study):
    labels = [label["name"] for label in load_labels(str(study / "labels.yaml"))]
    terms = own_knowledge(study / "knowledge.yaml", labels)["terms"]
    assert len(labels) == 3
    assert {disease for term in terms for disease in term["diseases"]} == set(labels)


def test_the_rows_of_the_page_share_the_first_stage(study):
    plan = read_plan(study / "table.yaml")
    assert [row.name for row in plan.rows] == ["full model", "w/o series"]
    for seed in (0, 1, 2):
        assert plan.models["w/o series", seed] == plan.models["full model", seed][:1]
    assert "--requests data/study.requests.sqlite" in " ".join(" ".join(job.argv) for job in plan.jobs)


def test_the_terms_that_the_guide_to_teachers_shows_can_be_read(tmp_path, caplog):
    (tmp_path / "terms.yaml").write_text(blocks_of("teacher.md")[0], encoding="utf-8")
    terms = own_knowledge(tmp_path / "terms.yaml", ["Hypothyroidism", "Shock"])["terms"]
    assert {disease for term in terms for disease in term["diseases"]} == {"Hypothyroidism", "Shock"}
    assert not caplog.records


def test_the_guide_to_tables_has_a_table_that_can_be_read_and_names_every_field(tmp_path):
    (tmp_path / "table.yaml").write_text(blocks_of("reproduce.md")[0], encoding="utf-8")
    assert len(read_plan(tmp_path / "table.yaml", tmp_path).rows) == 2
    section = text_of("reproduce.md").split("### A table of your own")[1].split("\n## ")[0]
    named = {name for cell in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`(\w+)`", cell)}
    assert named == {name.removesuffix("?") for name in (*PLAN, *ROW)}
