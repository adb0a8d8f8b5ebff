# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Past events and background diseases: what a note has as history is no sign of an acute disease of this stay."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen.past_clinragen import ACUTE, is_history, is_only_history, is_only_past, places_of


@pytest.mark.parametrize(
    ("note", "finding", "past"),
    [
        ("TIA(s) - date unknown", "TIA", True),
        ("Strokes stroke - within 5 years", "stroke", True),
        ("History of stroke and hypertension.", "stroke", True),
        ("PMH: prior ischemic stroke", "ischemic stroke", True),
        ("TIA three days before admission", "TIA", False),
        ("Stroke this morning; history of hypertension", "Stroke", False),
        ("CVA 2015 without residual deficits, now hernia repair", "CVA", True),
        ("H/O: stroke", "stroke", True),
        ("CVA in the remote past", "CVA", True),
        ("Myocardial Infarction MI - remote; procedural coronary intervention - within 6 months", "MI", True),
        ("pulmonary embolism - date unknown", "pulmonary embolism", True),
        ("Pulmonary embolism, intubated", "Pulmonary embolism", False),
        ("respiratory failure - within 6 months", "respiratory failure", True),
        ("h/o GI bleed in 2009", "GI bleed", True),
        ("Pneumonia two years ago", "Pneumonia", True),
        ("Coronary Artery Bypass CABG - remote", "CABG", True),
        ("History of present illness: sepsis from pneumonia", "sepsis", False),
        ("history of AKI during an earlier admission", "AKI", True),
        ("Sepsis last year", "Sepsis", True),
        ("Bedbound since her stroke", "stroke", True),
        ("Two years after his stroke he fell", "stroke", True),
        ("Last admission: sepsis", "sepsis", True),
        ("Discharged last month after a STEMI", "STEMI", True),
        ("Admitted after a stroke this morning", "stroke", False),
        ("Had a GI bleed back in the spring", "GI bleed", True),
        ("Previously intubated for respiratory failure", "respiratory failure", True),
        ("Sepsis last night", "Sepsis", False),
        ("History of atrial fibrillation", "atrial fibrillation", False),  # it lasts, and is a risk
        ("History of cirrhosis. Now with melena.", "cirrhosis", False),
    ],
)
def test_an_event_that_the_note_dates_or_gives_as_history_is_past(note, finding, past):
    assert is_only_past(note, finding) == past
    assert is_only_history(note, finding) == past


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("Past history: asthma", "asthma"),
        ("Past medical history: gout, COPD, CHF", "CHF"),
        ("Past Medical History:\n1. COPD\n2. gout\n\nHospital course: well", "COPD"),
        ("PMH:\n\nHypertension\nCOPD, for years followed by the lung clinic\nBrief Course: well", "COPD"),
    ],
)
def test_a_chronic_disease_below_a_heading_of_history_is_background(note, finding):
    assert is_only_past(note, finding)
    assert is_only_history(note, finding)


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("COPD with exacerbation", "COPD"),
        ("Past Medical History:\nHospital Course:\nCOPD with exacerbation", "COPD"),
        ("Past Medical History:\n- gout\nHospital Course: COPD with exacerbation", "COPD"),
        ("Past Medical History:\n- COPD\n\nCOPD with exacerbation", "COPD"),
        ("Past history: stroke", "fever"),
    ],
)
def test_what_stands_outside_the_history_is_not_background(note, finding):
    assert not is_only_past(note, finding)
    assert not is_only_history(note, finding)


@pytest.mark.parametrize(
    ("note", "finding", "history"),
    [
        ("Past history: hypertension; renal failure- not currently dialyzed", "renal failure", True),
        ("Past Medical History:\n- chronic renal insufficiency\n- gout", "chronic renal insufficiency", True),
        ("Past history: CKD", "CKD", True),
        ("renal failure\nPast history: renal failure", "renal failure", False),
        ("Past Medical History:\n- gout\n\nAcute renal failure on chronic", "renal failure", False),
    ],
)
def test_failing_kidneys_in_the_history_are_no_reason_but_the_head_reads_them(note, finding, history):
    assert is_only_history(note, finding) == history
    assert not is_only_past(note, finding)


@pytest.mark.parametrize(
    ("note", "finding", "history"),
    [
        ("Past Medical History:\n- GI bleed\n- stroke\n\nHospital course: well", "GI bleed", True),
        ("Past history: myocardial infarction", "myocardial infarction", True),
        ("s/p CVA with residual hemiparesis", "hemiparesis", True),
        ("hemiparesis and aphasia at baseline", "aphasia", True),
        ("chronic cough", "cough", True),
        ("intubated 2 years ago", "intubated", True),
        ("prior intubations x3", "intubations", True),
        ("h/o chest tube 1998", "chest tube", True),
        ("OSA on home CPAP", "CPAP", True),
        ("non-compliant with CPAP", "CPAP", True),
        ("acute on chronic renal failure", "renal failure", False),
        ("New hemiparesis this morning", "hemiparesis", False),
        ("Started on CPAP", "CPAP", False),
        ("intubated 2 hours ago", "intubated", False),
    ],
)
def test_old_deficits_and_earlier_treatments_are_no_reason_for_an_acute_disease(note, finding, history):
    assert is_only_history(note, finding) == history


def test_one_mention_of_several_may_be_history():
    note = "Pneumonia two years ago. Now pneumonia."
    before, now = (match.span() for match in re.finditer("pneumonia", note, re.IGNORECASE))
    assert is_history(note, *before)
    assert not is_history(note, *now)
    assert not is_only_history(note, "Pneumonia")
    assert not is_only_history(note, "pneumonia")


def test_acute_diagnoses_are_those_that_begin_with_this_stay():
    assert {"Shock", "Acute myocardial infarction", "Acute and unspecified renal failure"} <= ACUTE
    assert not {"Chronic kidney disease", "Essential hypertension", "Cardiac dysrhythmias"} & ACUTE


@settings(max_examples=200)
@given(
    pieces=st.lists(st.sampled_from(["MI", "mi", "MI_", "aMI", " ", ", ", ".", "é", "MI MI", "(MI)"]), max_size=12),
    text=st.sampled_from(["MI", "MI MI", "mi"]),
)
def test_places_are_those_of_whole_words(pieces, text):
    note = "".join(pieces)
    flags = re.NOFLAG if text.isupper() else re.IGNORECASE
    expected = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", note, flags)]
    assert places_of(note, text) == expected
    if not expected:
        assert not is_only_history(note, text)


@pytest.mark.parametrize(
    ("note", "finding", "history"),
    [
        ("80F s/p CVA, COPD", "CVA", True),
        ("PMH significant for stroke, GI bleed", "GI bleed", True),
        ("PMH CVA, COPD", "CVA", True),
        ("PAST MEDICAL HISTORY\nHTN\nCVA\n", "CVA", True),
        ("Resolved problems: pneumonia", "pneumonia", True),
        ("Inactive problems: GI bleed", "GI bleed", True),
        ("Stroke at age 40.", "Stroke", True),
        ("Had pneumonia as a child.", "pneumonia", True),
        ("stroke last spring", "stroke", True),
        ("stroke 6/2012", "stroke", True),
        ("prior admission for sepsis", "sepsis", True),
        ("CPAP at home for OSA", "CPAP", True),
        ("OSA (CPAP)", "CPAP", True),
        ("admitted s/p stroke", "stroke", False),
        ("s/p cardiac arrest", "cardiac arrest", False),
        ("PMH of HTN presenting with stroke", "stroke", False),
        ("PMH HTN p/w GI bleed", "GI bleed", False),
        ("PAST MEDICAL HISTORY\nHTN\n\nHOSPITAL COURSE\nstroke", "stroke", False),
        ("CPAP for respiratory failure", "CPAP", False),
        ("intubated at home by EMS", "intubated", False),
        ("GI bleed at 22:00", "GI bleed", False),
    ],
)
def test_short_forms_of_history(note, finding, history):
    assert is_only_history(note, finding) == history
