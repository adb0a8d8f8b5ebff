# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from datasets_scripts.sources.notes import note_text, strip_as_the_release


SUMMARY = """Admission Date: [**2100-1-1**]
Service: MEDICINE
Allergies:
penicillin
Chief Complaint: fever
History of Present Illness:
65 year old man with cough: productive, 3 days.
Past Medical History:
Hypertension
PHYSICAL EXAM:
Heart: regular
Lungs: crackles
Pertinent Results:
WBC 15
Brief Hospital Course:
Treated for pneumonia.
Medications on Admission: aspirin
Discharge Medications:
levofloxacin
Discharge Diagnosis:
Pneumonia
"""


def view(text, name):
    return note_text([document("Discharge summary", text)], name)


def document(kind, text, hour=None, rank=0, origin="note"):
    return {"kind": kind, "text": text, "hour": hour, "rank": rank, "origin": origin}


def test_admission_view_keeps_what_was_known_at_admission():
    assert view(SUMMARY, "admission") == (
        "Allergies: penicillin\n"
        "Chief complaint: fever\n"
        "History of present illness: 65 year old man with cough: productive, 3 days.\n"
        "Past medical history: Hypertension\n"
        "Physical exam: Heart: regular Lungs: crackles\n"
        "Medications on admission: aspirin"
    )


def test_paper_view_is_the_hospital_course():
    assert view(SUMMARY, "paper") == "Brief hospital course: Treated for pneumonia."


@pytest.mark.parametrize(
    "heading",
    [
        "Discharge Diagnosis:", "DISCHARGE DIAGNOSES:", "Final Diagnosis:", "Hospital Course:", "ICU Course:",
        "HOSPITAL COURSE BY SYSTEMS:", "HOSPITAL COURSE", "Hospital course", "BRIEF HOSPITAL COURSE", "SUMMARY",
        "CONCISE SUMMARY OF HOSPITAL COURSE BY ISSUE/SYSTEM:", "Assessment and Plan:", "ASSESSMENT & PLAN",
        "IMPRESSION", "On Discharge:", "DISCHARGE:", "Discharge Labs:", "Physical exam on discharge:",
        "# Transitional issues:",
        "**Brief Hospital Course:**", "3. Discharge diagnoses:", "  Micro:", "CT head:", "Chest CT:",
        "PERTINENT RESULTS", "Medications on Transfer:", "ACTIVE ISSUES", "Labs:", "Echo:",
    ],
)  # fmt: skip
def test_no_later_section_leaks_into_the_admission_view(heading):
    text = f"History of Present Illness:\ncough\n{heading}\nPneumonia\nPast Medical History:\nnone\n"
    assert "Pneumonia" not in view(text, "admission")
    assert "none" in view(text, "admission")


@pytest.mark.parametrize(
    "heading",
    ["History of Present Illness:", "HISTORY OF PRESENT ILLNESS", "HPI:", "hpi:", "# HPI", "**HPI:**", "1. HPI:",
     "  History of the present illness :", "ED Course:", "History of present illness\t"],
)  # fmt: skip
def test_headings_are_found_in_many_spellings(heading):
    assert view(f"Service: MED\n{heading}\ncough\nDischarge:\n", "admission") == "History of present illness: cough"


@pytest.mark.parametrize(
    "line",
    ["Heart: regular", "NEURO: alert", "He was discharged home", "course of antibiotics", "Lungs: clear: no results",
     "VS: 98.6", "Plan of care was discussed with the family and all of them agreed to it:"],
)  # fmt: skip
def test_lines_inside_a_section_do_not_end_it(line):
    text = f"Physical Exam:\nobese\n{line}\nedema\nDischarge Diagnosis:\nx"
    assert view(text, "admission") == f"Physical exam: obese {line} edema"


def test_structured_notes_are_kept_whole():
    documents = [document("Past history", "COPD; asthma"), document("Examination", "obese", rank=1)]
    assert note_text(documents, "admission") == "Past history: COPD; asthma\nExamination: obese"


def test_release_text_has_no_digits_and_stop_words():
    assert strip_as_the_release("He was 65 and had 3 days of the cough, denies pain.") == "days cough, denies pain."
