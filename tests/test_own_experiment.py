# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The YAML files that docs/own_experiment.md, docs/teacher.md and docs/reproduce.md show can be used as they stand."""

import re
from pathlib import Path

import pytest

from datasets_scripts.knowledge.own_terms import own_knowledge
from datasets_scripts.sources.labels import load_labels
from recipes.reproduction.plan import PLAN, ROW, read_plan


ROOT = Path(__file__).resolve().parents[1]


def text_of(page):
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def blocks_of(page):
    return re.findall(r"^```yaml\n(.*?)^```$", text_of(page), re.M | re.S)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The folder `study` of the page, below a working directory that holds this project."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    folder = Path("study")
    folder.mkdir()
    for name, block in zip(("labels", "knowledge", "table"), blocks_of("own_experiment.md"), strict=True):
        (folder / f"{name}.yaml").write_text(block, encoding="utf-8")
    return folder


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
