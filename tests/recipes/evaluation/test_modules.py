# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The modules of `evaluate`: loaded from a path, offline, they return the same as the functions."""

import doctest
from pathlib import Path

import evaluate
import numpy as np
import pytest

from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenInputError
from modeling_clinragen.claims_clinragen import check_claims
from recipes.evaluation.figures.faithfulness import claim_metrics
from recipes.evaluation.figures.metrics import diagnosis_metrics
from recipes.evaluation.figures.rationale import rationale_metrics


MODULES = Path(__file__).resolve().parents[3] / "recipes" / "evaluation" / "modules"
LABELS = [phenotype["name"] for phenotype in PHENOTYPES]


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *address: pytest.fail("a module asked the network"))
    return lambda name: evaluate.load(str(MODULES / f"clinragen_{name}"), cache_dir=str(tmp_path))


def test_diagnoses_by_name(load):
    rng = np.random.default_rng(0)
    gold, predicted = ([np.flatnonzero(row).tolist() for row in rng.random((20, 25)) < 0.1] for _ in range(2))
    names = [[[LABELS[i] for i in row] for row in rows] for rows in (predicted, gold)]
    found = load("diagnosis").compute(predictions=names[0], references=names[1])
    assert found == diagnosis_metrics(gold, predicted, LABELS)
    own = load("diagnosis").compute(predictions=[["a"], []], references=[["a"], ["b"]], labels=["a", "b"])
    assert own["micro_recall"] == 0.5
    with pytest.raises(ClinRaGenInputError, match="no label 'Cold'"):
        load("diagnosis").compute(predictions=[["Cold"]], references=[[]])


def test_rationales_with_and_without_an_encoder(load):
    references = ["fever and cough point to pneumonia", "melena fits bleeding"]
    candidates = ["fever points to pneumonia", ""]
    metric = load("rationale")
    assert metric.compute(predictions=candidates, references=references) == rationale_metrics(references, candidates)
    found = metric.compute(predictions=references, references=references, bertscore_model="all-MiniLM-L6-v2")
    assert found["bertscore_f1_rescaled"] == pytest.approx(1)


def test_claims_and_findings_against_the_record(load):
    values = np.full((2, 11), np.nan, dtype=np.float32)
    values[:, [channel["name"] for channel in CHANNELS].index("Heart Rate")] = [150, 80]
    text = "Heart Rate is higher than normal 1 time, pH is high, and this is clear."
    records = [{"note": "Denies melena. Fever.", "lab_times": [1, 2], "lab_values": values.tolist()}] * 2
    written = {"note_rationale": "Fever, melena and rigors fit sepsis.", "lab_rationale": text}
    silent = {"note_rationale": "", "lab_rationale": ""}
    found = load("faithfulness").compute(predictions=[written, silent], references=records)
    claims = [vars(claim) for claim in check_claims(text, CHANNELS, [1, 2], values)]
    assert found["claims"] == claim_metrics([claims, []])
    assert (found["claims"]["supported"], found["claims"]["contradicted"]) == (0.5, 0.5)
    third = 1 / 3
    assert found["note_claims"] == {"total": 3, "supported": third, "contradicted": third, "absent": third,
                                    "unverifiable": 0}  # fmt: skip


@pytest.mark.parametrize("name", ["diagnosis", "rationale", "faithfulness"])
def test_the_example_of_each_module_runs(load, name, monkeypatch):
    monkeypatch.chdir(MODULES.parents[2])
    example = doctest.DocTestParser().get_doctest(load(name).inputs_description, {}, name, None, 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
