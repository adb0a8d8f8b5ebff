# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A negated cause, treatment or course of a disease, or a missing function before it, leaves the disease affirmed."""

import pytest


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("No cause found for the GI bleed.", "gi bleed"),
        ("No clear source of sepsis.", "sepsis"),
        ("No identifiable etiology for his shock", "shock"),
        ("no tPA given for stroke, out of window", "stroke"),
        ("no anticoagulation for afib due to falls", "afib"),
        ("not on anticoagulation for atrial fibrillation", "atrial fibrillation"),
        ("no intervention for NSTEMI", "nstemi"),
        ("no surgical option for GI bleed", "gi bleed"),
        ("no antibiotics given for pneumonia", "pneumonia"),
        ("never recovered from respiratory failure", "respiratory failure"),
        ("has not recovered from stroke", "stroke"),
        ("no resolution of fever", "fever"),
        ("denies improvement of cough", "cough"),
        ("no acute change in his chronic kidney disease", "chronic kidney disease"),
        ("not compliant with insulin", "insulin"),
        ("67M no PMH p/w SOB", "sob"),
        ("patient with no medical history found to have DKA", "dka"),
        ("no stroke symptoms until today, when slurred speech began", "slurred speech"),
        ("Not oriented, febrile", "febrile"),
        ("Not alert, intubated", "intubated"),
        ("not feeling well, cough, fever", "cough"),
        ("not on pressors, on dialysis", "on dialysis"),
    ],
)
def test_a_negated_cause_treatment_or_course_leaves_the_disease_affirmed(find, note, finding):
    assert finding in find(note)


@pytest.mark.parametrize(
    "note",
    [
        "no evidence for pneumonia",
        "no evidence found for the GI bleed",
        "no cause for concern for sepsis",
        "no indication for dialysis",
        "not found to have pneumonia",
        "not febrile, septic or hypotensive",
        "not alert or febrile",
        "no risk factors for stroke",
        "not on pressors, insulin or dialysis",
        "no treatment needed, no pneumonia",
    ],
)
def test_what_the_negation_reaches_is_no_finding(find, note):
    assert find(note) == []
