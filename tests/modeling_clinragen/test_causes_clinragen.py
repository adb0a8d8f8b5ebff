# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A sign that the note explains by another cause is no evidence, and no argument."""

import pytest

from modeling_clinragen.causes_clinragen import given_cause
from tests.modeling_clinragen.composed import (
    AMI,
    BLEEDING,
    CHF,
    COPD,
    DYSRHYTHMIAS,
    LIVER,
    PNEUMONIA,
    RESPIRATORY,
    SEPSIS,
    SHOCK,
    STROKE,
    arguments_from,
    composer,
    is_evidence,
    series,
)


CASES = [
    ("Hypotension due to propofol.", "hypotension", SHOCK, False),
    ("Hypotension overnight, likely 2/2 sedation.", "hypotension", SHOCK, False),
    ("Hypotension due to sepsis.", "hypotension", SHOCK, True),
    ("Hypotension due to adrenal crisis.", "hypotension", SHOCK, True),
    ("Hypotension due to propofol. Later hypotension on two readings.", "hypotension", SHOCK, True),
    ("Orthostatic hypotension.", "hypotension", SHOCK, False),
    ("Hypotension from 120 to 80.", "hypotension", SHOCK, True),
    ("Fever from drug reaction.", "fever", PNEUMONIA, False),
    ("Fever from pneumonia.", "fever", PNEUMONIA, True),
    ("Fever likely from abscess.", "fever", SEPSIS, True),
    ("Tachycardia due to pain.", "tachycardia", DYSRHYTHMIAS, False),
    ("Tachycardia due to afib.", "tachycardia", DYSRHYTHMIAS, True),
    ("Facial droop from Bell's palsy.", "facial droop", STROKE, False),
    ("Bell's palsy with facial droop.", "facial droop", STROKE, False),
    ("Coma from hypoglycemia.", "coma", STROKE, False),
    ("Hepatic coma.", "coma", STROKE, False),
    ("Coma from intracranial hemorrhage.", "coma", STROKE, True),
    ("Aphasia since the morning.", "aphasia", STROKE, True),
    ("Chest pain due to rib fractures.", "chest pain", AMI, False),
    ("Noncardiac chest pain.", "chest pain", AMI, False),
    ("Chest pain is GERD.", "chest pain", AMI, False),
    ("Chest pain from 8/10 to 2/10.", "chest pain", AMI, True),
    ("Chest pain from home.", "chest pain", AMI, True),
    ("Dyspnea due to anxiety.", "dyspnea", CHF, False),
    ("Dyspnea due to volume overload from CHF.", "dyspnea", CHF, True),
    ("Hypoxia due to pulmonary embolism.", "hypoxia", RESPIRATORY, True),
    ("Hypoxia due to a rare lung toxin.", "hypoxia", RESPIRATORY, True),
    ("Hypoxia due to probe artifact.", "hypoxia", RESPIRATORY, False),
    ("Noncardiogenic pulmonary edema.", "pulmonary edema", CHF, False),
    ("Pulmonary edema, noncardiogenic.", "pulmonary edema", CHF, False),
    ("Black stools on iron.", "black stools", BLEEDING, False),
    ("Melena after ibuprofen.", "melena", BLEEDING, True),
    ("Wheezing from anaphylaxis.", "wheezing", COPD, False),
    ("Malignant ascites.", "ascites", LIVER, False),
    ("Ascites due to cirrhosis.", "ascites", LIVER, True),
]


@pytest.mark.parametrize(("note", "sign", "disease", "is_sign"), CASES)
def test_a_sign_is_evidence_unless_the_note_gives_another_cause(note, sign, disease, is_sign):
    assert is_evidence(note, sign, disease) == is_sign


@pytest.mark.parametrize(("note", "sign", "disease", "is_sign"), CASES)
def test_an_argument_from_a_sign_needs_its_cause(note, sign, disease, is_sign):
    assert arguments_from(note, sign.capitalize(), disease) == {"linked" if is_sign else "unlinked"}


@pytest.mark.parametrize("name", ["Stroke", "Pneumonia", "Heart failure"])
def test_a_diagnosis_with_a_cause_stays_a_diagnosis(name):
    note = f"{name} due to an unusual cause."
    found = composer().evidence(note, *series(), [STROKE, PNEUMONIA, CHF])
    assert sum(any(f.text == name for f in evidence.note) for evidence in found.values()) == 1


@pytest.mark.parametrize(
    ("note", "cause"),
    [
        ("hypotension (likely due to sedation), now better", "sedation"),
        ("hypotension: 2/2 sepsis", "sepsis"),
        ("hypotension not due to sepsis", None),
        ("hypotension with fever due to pneumonia", None),
        ("hypotension from yesterday", None),
        ("hypotension", None),
    ],
)
def test_the_cause_is_that_of_the_sign(note, cause):
    assert given_cause(note, 0, len("hypotension")) == cause
