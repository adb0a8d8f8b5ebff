# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from modeling_clinragen import CHANNELS
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.links_clinragen import KnowledgeLinks
from recipes.evaluation.figures.faithfulness import (
    agreement_counts,
    claim_metrics,
    note_claim_counts,
    series_claim_counts,
    series_recall_counts,
)


def test_claim_metrics_count_verdicts_about_channels():
    claim = {"channel": "pH", "kind": "count", "verdict": "supported"}
    other = {"channel": None, "kind": "other", "verdict": "unverifiable"}
    metrics = claim_metrics([[claim, {**claim, "verdict": "contradicted"}, other], [claim], []])
    assert metrics["claims"] == 3
    assert metrics["supported"] == pytest.approx(2 / 3)
    assert metrics["records_with_contradiction"] == pytest.approx(1 / 3)
    assert metrics["per_kind"] == {"count": {"supported": 2, "contradicted": 1}}
    assert metrics["wrong_counts"] == 1
    assert claim_metrics([[], []])["supported"] is None
    assert claim_metrics([[], [other]])["wrong_counts"] == 0


def test_agreement_of_lists_and_rationales():
    phrases = {"Shock": ["shock"], "Pneumonia (all)": ["pneumonia"], "COPD": ["copd"]}
    counts = agreement_counts(
        [["Shock", "Pneumonia (all)"], ["COPD"], [], ["Shock"]],
        [
            "Cold skin suggests shock. Pneumonia is unlikely.",
            "Fever points to pneumonia.",
            "Nothing points to a disease.",
            "His father had a shock; he is at risk of pneumonia.",
        ],
        phrases,
    )
    assert {name: count.tolist() for name, count in counts.items()} == {
        "written": [2, 1, 0, 1],
        "argued_for": [1, 0, 0, 0],
        "denied": [1, 0, 0, 0],
        "argued": [1, 1, 0, 0],
        "not_written": [0, 1, 0, 0],
    }


def test_series_claims_are_counted_by_record():
    claim = {"channel": "pH", "verdict": "supported"}
    counts = series_claim_counts([[claim, {**claim, "channel": None}], []])
    assert counts["supported"].tolist() == [1, 0]
    assert sum(counts.values()).sum() == 1


def note_counts(note, rationale, reference):
    return {name: int(count[0]) for name, count in note_claim_counts([note], [rationale], [reference]).items()}


def test_findings_of_a_rationale_are_looked_up_in_the_note():
    counts = note_claim_counts(
        ["Denies melena. Has cough.", ""], ["Cough and melena suggest a bleed.", "Rigors."], ["", ""]
    )
    assert {name: count.tolist() for name, count in counts.items()} == {
        "supported": [1, 0],
        "contradicted": [1, 0],
        "absent": [0, 1],
        "unverifiable": [0, 0],
        "reference_findings": [0, 0],
        "covered": [0, 0],
    }


def test_with_the_knowledge_synonyms_of_a_finding_count():
    """As in the claims of the pipeline, which are shown beside these figures."""
    name = {"term": "Addison disease", "type": "name", "synonyms": ["adrenal insufficiency"], "diseases": ["Adrenal"]}
    links = KnowledgeLinks([name | {"pattern": None}], ["Adrenal"])
    arguments = (["Known adrenal insufficiency."], ["The note mentions Addison disease."], [""])
    assert note_claim_counts(*arguments)["absent"].tolist() == [1]
    assert note_claim_counts(*arguments, links)["supported"].tolist() == [1]


@pytest.mark.parametrize(
    ("rationale", "covered"),
    [
        ("Productive cough, fevers and no chest pain point to pneumonia.", 3),
        ("The note tells of fever. Fever again, and fever.", 1),
        ("There is no chest pain.", 1),
        ("Melena suggests fever and productive cough.", 0),  # a conclusion is not evidence
        ("No fever, no productive cough.", 0),  # the note says the opposite
        ("Rigors and night sweats suggest pneumonia.", 0),
        ("", 0),
    ],
)
def test_the_references_supported_findings_are_covered_or_not(rationale, covered):
    note = "Fever and productive cough for two days. No chest pain. Melena."
    reference = "Fever, productive cough, no chest pain and hemoptysis point to pneumonia. Fever suggests sepsis."
    counts = note_counts(note, rationale, reference)
    assert (counts["reference_findings"], counts["covered"]) == (3, covered)  # hemoptysis is not in the note


def test_a_rationale_covers_itself_and_an_empty_reference_requires_nothing():
    note = "Hypertension, crackles at both bases. Denies syncope. Leg swelling."
    for rationale in ("Crackles and leg swelling fit heart failure.", "No syncope. Hypertension."):
        counts = note_counts(note, rationale, rationale)
        assert counts["covered"] == counts["reference_findings"] == 2
        assert note_counts(note, rationale, "")["reference_findings"] == 0


def test_the_references_supported_claims_about_the_series_are_covered_or_not():
    values = np.full((3, len(CHANNELS)), np.nan)
    names = [channel["name"] for channel in CHANNELS]
    values[:, names.index("Heart Rate")] = [140, 150, 145]
    values[:, names.index("Temperature")] = [39.5, 37.0, 37.0]
    record = {"lab_times": [1.0, 2.0, 3.0], "lab_values": values.tolist()}
    reference = (
        "Heart Rate is higher than normal 3 times, Temperature is higher than normal, pH is lower than normal. "
        "Heart Rate is high."
    )
    for rationale, covered in (
        (reference, 3),
        ("Heart Rate is up to 150 bpm, Temperature is higher than normal.", 1),  # of another kind: not the same claim
        ("Heart Rate is higher than normal 2 times.", 0),  # wrong
        ("pH is not measured.", 0),  # true, but not in the reference
    ):
        claims = [vars(claim) for claim in check_claims(rationale, CHANNELS, record["lab_times"], values)]
        counts = series_recall_counts([record], [claims], [reference], CHANNELS)
        assert (counts["reference_claims"].tolist(), counts["covered"].tolist()) == ([3], [covered])
