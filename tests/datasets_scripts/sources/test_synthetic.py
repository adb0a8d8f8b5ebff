# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The simulator: the same patients from the same seed, and diseases that show exactly where they are said to."""

import csv
import gzip
import io
from collections import Counter

import numpy as np
import pytest
import yaml
from datasets import concatenate_datasets
from sklearn.metrics import roc_auc_score

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import label_names, read_metadata
from datasets_scripts.sources import synthetic
from datasets_scripts.sources.synthetic import read_world, write_synthetic_tables
from modeling_clinragen import ClinRaGenFeatureExtractor
from recipes.baselines import boosting, tfidf
from recipes.baselines.common import Task
from recipes.training.data import load_records


WORLD = read_world()
DISEASES = WORLD["diseases"]


def read_tables(root):
    return {name: gzip.decompress((root / f"{name}.csv.gz").read_bytes()).decode() for name in WORLD["tables"]}


def test_same_seed_gives_same_tables(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_synthetic_tables(tmp_path / name, num_patients=5, seed=seed)
    assert read_tables(tmp_path / "a") == read_tables(tmp_path / "b")
    assert read_tables(tmp_path / "a") != read_tables(tmp_path / "c")


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path):
    write_synthetic_tables(tmp_path / "few", num_patients=3, seed=0)
    write_synthetic_tables(tmp_path / "many", num_patients=6, seed=0)
    few, many = read_tables(tmp_path / "few"), read_tables(tmp_path / "many")
    for name in WORLD["tables"]:
        if not name.split("/")[1].startswith("d_"):
            assert many[name].startswith(few[name]), name


def test_types_of_icu_are_drawn_by_their_shares_and_apart_from_all_else(tmp_path, monkeypatch):
    write_synthetic_tables(tmp_path / "simulated", num_patients=200, seed=0)
    tables = read_tables(tmp_path / "simulated")
    stays = csv.DictReader(io.StringIO(tables["icu/icustays"]))
    drawn = Counter(stay["first_careunit"] for stay in stays)
    shares = WORLD["care_units"]
    assert sum(shares.values()) == pytest.approx(1)
    assert set(drawn) == set(shares)
    assert all(abs(drawn[name] / 200 - share) < 0.12 for name, share in shares.items())
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**WORLD, "care_units": {"Ward": 1.0}}, sort_keys=False), encoding="utf-8")
    monkeypatch.setattr(synthetic, "DESCRIPTION", other)
    write_synthetic_tables(tmp_path / "elsewhere", num_patients=200, seed=0)
    for name, table in read_tables(tmp_path / "elsewhere").items():
        for unit in drawn if name == "icu/icustays" else ():
            tables[name] = tables[name].replace(unit, "Ward")
        assert table == tables[name], name


def test_every_disease_says_where_it_shows():
    for name, disease in DISEASES.items():
        assert bool(disease.get("findings")) == (disease["shows"] in ("notes", "both")), name
        assert bool(disease.get("effects")) == (disease["shows"] in ("series", "both")), name


@pytest.fixture(scope="module")
def areas(tmp_path_factory):
    """Area under the ROC curve, by label, of independent classifiers on notes and on statistics of the series."""
    folder = tmp_path_factory.mktemp("simulated") / "records"
    build_dataset.main(["--source", "synthetic", "--output", str(folder), "--limit", "1500"])
    labels = label_names(read_metadata(str(folder)))
    train, validation, test = (load_records(str(folder), split) for split in ("train", "validation", "test"))
    held_out = concatenate_datasets([validation, test])
    task = Task(train, validation, labels, ClinRaGenFeatureExtractor(context_length=48), seed=0, work=folder)
    gold = task.gold(held_out)
    areas = {}
    for view, baseline in (("notes", tfidf), ("series", boosting)):
        scores = baseline.fit_classifier(task).probabilities(held_out)
        areas[view] = {name: roc_auc_score(gold[:, i], scores[:, i]) for i, name in enumerate(labels)}
    return areas


@pytest.mark.slow
@pytest.mark.parametrize("view", ["notes", "series"])
def test_diseases_show_where_they_are_said_to_and_nowhere_else(areas, view):
    visible = [areas[view][name] for name, disease in DISEASES.items() if disease["shows"] in (view, "both")]
    hidden = [areas[view][name] for name, disease in DISEASES.items() if disease["shows"] not in (view, "both")]
    assert np.mean(visible) >= 0.95
    assert min(visible) >= 0.85
    assert 0.45 <= np.mean(hidden) <= 0.55
