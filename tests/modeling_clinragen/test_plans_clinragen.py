# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find no finding in what a note only plans or makes depend on a condition, nor in allergies."""

import pytest


@pytest.mark.parametrize(
    "note",
    [
        "CVVH if no improvement",
        "Dopamine if MAP < 60",
        "Will start dialysis tomorrow if K rises",
        "Low threshold for intubation; may need pacemaker",
        "Tracheostomy planned",
        "EGD scheduled for the morning",
        "Plan for thoracentesis",
        "Discussed dialysis, family declined",
        "Discussed goals of care and dialysis with the family",
        "Dialysis was offered but the patient refused",
        "Intubation, which he does not want",
        "Declined EGD and dialysis",
        "Type and cross 2 units pRBC",
        "Keppra; DVT ppx",
        "Allergies: PCN; IV contrast -> angioedema",
        "Allergies:\nvancomycin\naspirin",
        "ADRs: vancomycin; statins",
        "Drug intolerances: atorvastatin",
        "heparin for DVT ppx",
    ],
)
def test_a_planned_treatment_or_an_allergy_is_no_finding(find, note):
    assert find(note) == []


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("CVVH started, dopamine at 5", "cvvh"),
        ("Intubated. Will need tracheostomy.", "intubated"),
        ("Dialysis continued; family declined tracheostomy", "dialysis"),
        ("Intubated, discussed with family", "intubated"),
        ("Dialysis three times a week; planned admission", "dialysis three times a week"),
        ("Treatments: VTE prophylaxis, mechanical ventilation, vasopressors", "mechanical ventilation"),
        ("Pneumonia; family meeting tomorrow", "pneumonia"),
        ("Allergies: NKDA. Pneumonia.", "pneumonia"),
        ("Allergies: penicillin\nPMH: COPD", "copd"),
        ("FH: non-contributory. HTN, HLD.", "htn"),
    ],
)
def test_a_treatment_under_way_is_a_finding_beside_plans(find, note, finding):
    assert finding in find(note)


@pytest.mark.parametrize(
    "note",
    [
        "EGD not done",
        "EGD was postponed",
        "EGD pending",
        "EGD in am",
        "NPO after midnight for EGD",
        "Consented for EGD",
        "GI to perform EGD",
        "Intubation was avoided",
        "intubation narrowly averted",
        "paracentesis not done as no fluid",
        "thoracentesis not possible, too little fluid",
        "would accept blood transfusion",
        "Blood transfusion threshold 7",
        "backup pacemaker available",
        "dialysis deferred",
    ],
)
def test_a_procedure_that_is_not_done_is_no_finding(find, note):
    assert find(note) == []


@pytest.mark.parametrize(
    "note",
    [
        "Coronary angiography: normal coronaries",
        "Cardiac catheterization showed no obstructive disease",
        "EGD normal",
        "EGD (12/3): normal",
        "EGD today with normal mucosa",
        "lung biopsy benign",
        "paracentesis: dry tap",
        "exercise stress test negative",
    ],
)
def test_a_procedure_with_a_normal_result_is_no_finding(find, note):
    assert find(note) == []


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("EGD today: ulcer, clipped", "egd"),
        ("EGD without bleeding source", "egd"),
        ("EGD: normal esophagus, bleeding ulcer", "egd"),
        ("coronary angiography: normal LV function, 90% LAD", "coronary angiography"),
        ("intubated for airway protection, EGD pending", "intubated"),
        ("thoracentesis done, cytology pending", "thoracentesis"),
        ("lung biopsy results pending", "lung biopsy"),
        ("thoracentesis: clear fluid", "thoracentesis"),
        ("intubated in the morning", "intubated"),
        ("dialysis today", "dialysis"),
    ],
)
def test_a_procedure_that_was_done_is_a_finding(find, note, finding):
    assert finding in find(note)


@pytest.mark.parametrize(
    "note",
    [
        "Norepinephrine for MAP <65.",
        "Labetalol 10 mg for SBP > 160.",
        "Call HO for fever, hypotension, melena.",
        "Page MD for stridor or respiratory distress.",
        "Transfuse pRBC to keep Hgb >7.",
        "DNR, ok for pressors and BiPAP.",
        "Patient would accept BiPAP and pressors.",
        "Unless he develops respiratory failure, stay on the floor.",
        "Had he not received fluids he would have developed AKI.",
        "Risks: stroke, pneumothorax",
        "Potential complications include:\n- stroke\n- arrhythmia",
    ],
)
def test_orders_wishes_and_risks_are_no_findings(find, note):
    assert find(note) == []


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("On norepinephrine for MAP > 65.", "norepinephrine"),
        ("Labetalol given for hypertension.", "labetalol"),
        ("Called for hypotension.", "hypotension"),
        ("Transfused pRBC overnight.", "prbc"),
    ],
)
def test_treatments_with_a_goal_and_events_are_findings(find, note, finding):
    assert finding in find(note)
