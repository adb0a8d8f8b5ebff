# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A treatment that the note gives for another reason is no evidence, and no argument."""

import pytest

from modeling_clinragen.indications_clinragen import other_reason
from tests.modeling_clinragen.composed import (
    AMI,
    BLEEDING,
    CHF,
    CORONARY,
    DIABETES,
    DYSRHYTHMIAS,
    HYPERTENSION,
    PNEUMONIA,
    RESPIRATORY,
    SEPSIS,
    SHOCK,
    arguments_from,
    is_evidence,
)


CASES = [
    ("Insulin for hyperkalemia", "insulin", DIABETES, False),
    ("Insulin for diabetes", "insulin", DIABETES, True),
    ("Insulin given for 3 days", "insulin", DIABETES, True),
    ("Insulin for hyperkalemia. At home on insulin.", "insulin", DIABETES, True),
    ("vancomycin 1 g IV q12h for cellulitis", "vancomycin", PNEUMONIA, False),
    ("vancomycin (for line infection)", "vancomycin", SEPSIS, False),
    ("vancomycin for presumed pneumonia", "vancomycin", PNEUMONIA, True),
    ("ceftriaxone for UTI", "ceftriaxone", PNEUMONIA, False),
    ("Norepinephrine for MAP > 65", "norepinephrine", SHOCK, True),
    ("metoprolol for rate control", "metoprolol", CHF, None),
    ("Lisinopril for CHF", "lisinopril", HYPERTENSION, False),
    ("Lisinopril for CHF and HTN", "lisinopril", HYPERTENSION, True),
    ("Amiodarone drip for afib with RVR", "amiodarone", DYSRHYTHMIAS, True),
    ("Heparin infusion for DVT", "heparin infusion", AMI, False),
    ("Lasix for hypercalcemia", "lasix", CHF, False),
    ("Intubated for the procedure", "intubated", RESPIRATORY, False),
    ("Intubated for hypoxia", "intubated", RESPIRATORY, True),
    ("EGD for PEG placement", "egd", BLEEDING, False),
    ("Nitroglycerin prn chest pain", "nitroglycerin", CORONARY, True),
    ("Nitroglycerin prn esophageal spasm", "nitroglycerin", CORONARY, False),
    ("Transfusion of red cells for postoperative anemia", "transfusion of red cells", BLEEDING, False),
    ("Transfusion of red cells for melena", "transfusion of red cells", BLEEDING, True),
]


@pytest.mark.parametrize(("note", "treatment", "disease", "is_sign"), CASES)
def test_a_treatment_is_evidence_for_what_it_is_given_for(note, treatment, disease, is_sign):
    assert is_evidence(note, treatment, disease) == bool(is_sign)


@pytest.mark.parametrize(("note", "treatment", "disease", "is_sign"), [case for case in CASES if case[3] is not None])
def test_an_argument_from_a_treatment_needs_its_reason(note, treatment, disease, is_sign):
    assert arguments_from(note, f"The use of {treatment}", disease) == {"linked" if is_sign else "unlinked"}


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (" for hyperkalemia, vancomycin for pneumonia", "hyperkalemia"),
        (" 5 mg po daily for gout", "gout"),
        (" for the next 7 days", None),
        (" for BP control", None),
        (" and vancomycin for pneumonia", None),
        (". Here for pneumonia", None),
        ("", None),
    ],
)
def test_the_reason_is_that_of_the_treatment_alone(after, reason):
    assert other_reason(f"insulin{after}", len("insulin")) == reason
