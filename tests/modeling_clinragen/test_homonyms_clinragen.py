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
        "Right CVA tenderness",
        "s/p 1 shock by EMS",
        "3 shocks delivered",
        "DCCV 200J shock",
        "PAC removed",
        "PAC numbers stable",
        "Poor historian, poor appetite",
        "Pupils irregular",
        "Patient paced the hallway",
        "Elder neglect",
        "Gastric bypass",
        "Ureteral stent placement",
        "Glasgow Coma Score: 15",
        "Unresponsive to fluids",
        "Hay fever",
        "Septic arthritis",
        "Cough and gag intact",
        "Smoking status: never smoker",
        "Appetite poor, memory poor",
        "Dentition: poor. Prognosis poor.",
        "Mass irregular",
        "PEG vented to gravity",
        "Drinks two cups of coffee",
        "Drinks daily coffee",
        "Smokes crack",
        "Guaifenesin-DM prn",
        "Family in shock about the news",
        "Cough syrup",
        "Neglected wound",
        "Transferred from Shock Trauma",
        "Indwelling catheter: foley",
        "Chest tubes x2 post CABG",
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
        ("Septic shock, on pressors", "septic shock"),
        ("PACs on telemetry", "pacs"),
        ("Perfusion poor", "poor"),
        ("Skin perfusion is poor", "poor"),
        ("Rhythm irregular", "irregular"),
        ("Left neglect", "neglect"),
        ("Drinks daily", "drinks daily"),
        ("Chest tube to suction", "chest tube"),
        ("Dysrhythmia irregular", "dysrhythmia irregular"),
        ("s/p coronary artery bypass", "coronary artery bypass"),
        ("Coma", "coma"),
        ("Fever and productive cough", "productive cough"),
        ("Current smoker", "smoker"),
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
