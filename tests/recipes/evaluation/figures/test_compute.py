# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""All figures of an evaluation, from made-up predictions of simulated patients."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from datasets_scripts.dataset.folder import label_names, read_metadata
from modeling_clinragen.claims_clinragen import check_claims
from recipes.evaluation.figures.bertscore import BertScorer
from recipes.evaluation.figures.compute import compute_metrics
from recipes.training.data import load_records


PARTS = ("note_rationale", "lab_rationale")
TERMS = ["fever", "edema", "chest pain"]


def predictions_of(records, metadata, texts):
    """The recorded diagnoses, with a note and a lab rationale for each record."""
    labels, predictions = label_names(metadata), []
    for row, written in zip(records, texts, strict=True):
        gold = [labels[i] for i in row["diagnoses"]]
        claims = check_claims(written[1], metadata["channels"], row["lab_times"], row["lab_values"])
        predictions.append(
            {
                "subject_id": row["subject_id"],
                "readable": True,
                "gold": gold,
                "diagnoses": [{"label": name} for name in gold],
                "probabilities": {},
                **{f"reference_{part}": row[part] for part in PARTS},
                **dict(zip(PARTS, written, strict=True)),
                "claims": [asdict(claim) for claim in claims],
                "knowledge": [{"term": "fever", "weight": 0.5}],
            }
        )
    return predictions


@pytest.fixture(scope="module")
def evaluated(data_folder):
    """`evaluated(texts)`: the figures of the rationales that `texts` writes for the records."""
    folder = str(data_folder / "dataset")
    metadata, records = read_metadata(folder), load_records(folder, "train", limit=20)
    scorer = BertScorer.from_pretrained("all-MiniLM-L6-v2", device="cpu")

    def figures(texts):
        predictions = predictions_of(records, metadata, texts(records))
        return compute_metrics(
            predictions,
            label_names(metadata),
            records,
            channels=metadata["channels"],
            knowledge_terms=TERMS,
            bertscore=scorer,
        )

    return figures


def as_the_teacher(records):
    return [[row[part] for part in PARTS] for row in records]


def half_of_it(records):
    return [[row[part][: len(row[part]) // 2] for part in PARTS] for row in records]


def of_another_patient(records):
    return np.roll(np.array(as_the_teacher(records), dtype=object), 1, axis=0).tolist()


def test_copies_of_the_teachers_rationales_cover_everything_with_narrow_intervals(evaluated):
    metrics = evaluated(as_the_teacher)
    json.dumps(metrics, allow_nan=False)
    for part in PARTS:
        scores, sure = metrics["rationale"][part], metrics["intervals"]["rationale"][part]
        assert scores["bleu"] == pytest.approx(100)
        for name in ("paper_bleu", "rouge1", "rougeL", "bertscore_f1", "bertscore_f1_rescaled"):
            assert [scores[name], *sure[name]] == pytest.approx([1, 1, 1], abs=1e-5)
    assert metrics["note_recall"]["reference_findings"] > 5
    assert metrics["lab_recall"]["reference_claims"] > 5
    assert metrics["note_recall"]["covered"] == metrics["lab_recall"]["covered"] == 1
    assert metrics["rationale_settings"]["bertscore_model"].endswith("model")


def test_every_score_is_within_its_interval_and_falls_with_omissions(evaluated):
    half, foreign = evaluated(half_of_it), evaluated(of_another_patient)
    for metrics in (half, foreign):
        for part in PARTS:
            sure = metrics["intervals"]["rationale"][part]
            assert set(sure) == set(metrics["rationale"][part])
            for name, (low, high) in sure.items():
                assert low <= metrics["rationale"][part][name] <= high
    for name in ("note_recall", "lab_recall"):
        assert 0 <= foreign[name]["covered"] < half[name]["covered"] < 1
        low, high = half["intervals"][name]["covered"]
        assert low <= half[name]["covered"] <= high
    assert foreign["rationale"]["note_rationale"]["bertscore_f1_rescaled"] < 0.5
    use = half["knowledge_use"]
    assert use["shown"] == use["records"] == 20
    assert use["shown_written"] == pytest.approx(use["shown_written_by_chance"])  # the same term is shown of all


def test_unrequested_figures_are_absent(data_folder):
    folder = str(data_folder / "records")
    metadata, records = read_metadata(folder), load_records(folder, "test", limit=5)
    metrics = compute_metrics(
        predictions_of(records, metadata, [["Fever.", "Heart Rate is high."]] * len(records)),
        label_names(metadata),
        records,
        channels=metadata["channels"],
    )
    absent = {"rationale", "rationale_settings", "note_recall", "lab_recall", "knowledge_use", "probability"}
    assert not absent & set(metrics)
    assert {"claims", "note_claims", "agreement", "subgroups"} <= set(metrics)
