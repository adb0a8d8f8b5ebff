# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for a finding that are part of another name are no finding, the same words by themselves are."""

import pytest


@pytest.mark.parametrize(
    "note",
    [
        "Guaiac negative stools.",
        "Stool guaiac pending.",
        "BCx sent.",
        "stroke volume 45 ml",
        "Shocked by the prognosis.",
        "Works as a septic tank cleaner.",
        "On a dopamine agonist for restless legs.",
        "Pneumonia vaccine up to date.",
        "PNA vaccination given.",
        "Well ventilated lungs on CT.",
        "Ventilation-perfusion scan of low probability.",
        "G-tube vented.",
        "NGT to vent.",
        "vent drain placed",
        "Unresponsive to narcan.",
        "CURB-65 pneumonia score 1",
        "Sepsis core measures N/A",
        "Stroke: NIHSS 0",
        "HAS-BLED 3 (bleeding, stroke, HTN)",
        "CHADS2-VASc 4 (CHF, HTN, stroke)",
        "JVD flat",
        "JVD not elevated",
        "vancomycin enema",
        "Smoking marijuana only.",
        "Collapsed veins, difficult access.",
    ],
)
def test_a_longer_name_for_something_else_is_no_finding(find, note):
    assert find(note) == []


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("In shock on arrival.", "shock"),
        ("Septic on arrival.", "septic"),
        ("Dopamine 5 mcg/kg/min.", "dopamine"),
        ("Pneumonia.", "pneumonia"),
        ("Ventilated overnight.", "ventilated"),
        ("Vented, on propofol.", "vented"),
        ("Unresponsive on arrival.", "unresponsive"),
        ("Stroke: NIHSS 12", "stroke"),
        ("JVD to the jaw", "jvd"),
        ("Vancomycin and cefepime", "vancomycin"),
        ("Smoking a pack per day.", "smoking"),
    ],
)
def test_the_same_word_by_itself_is_a_finding(find, note, finding):
    assert finding in find(note)


@pytest.mark.parametrize(
    ("note", "diagnosis"),
    [
        ("ESRF on dialysis", "esrf"),
        ("CCF", "ccf"),
        ("ICH with midline shift", "ich"),
        ("SDH evacuated", "sdh"),
        ("known PAF", "paf"),
        ("V-tach in the field", "v-tach"),
        ("HAP on cefepime", "hap"),
        ("s/p trach", "trach"),
        ("MCA infarct", "mca infarct"),
        ("trop elevated to 0.8", "trop elevated"),
        ("CLABSI, line pulled", "clabsi"),
        ("hypoK repleted", "hypok"),
        ("melanotic stools", "melanotic stools"),
        ("LLL collapse on film", "lll collapse"),
        ("RLL consolidation", "consolidation"),
        ("desats to 70s", "desats"),
        ("AF w/ RVR", "af w/ rvr"),
        ("HONK", "honk"),
        ("NASH", "nash"),
    ],
)
def test_abbreviations_of_the_wards_are_findings(find, note, diagnosis):
    assert diagnosis in find(note)
