# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Leave out what a decoder garbles, though each number in it is right; keep what people write."""

import pytest

from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.wellformed_clinragen import is_well_formed


LABELS = ["Pneumonia", "Acute renal failure", "Essential hypertension", "Chronic obstructive pulmonary disease"]
LINKS = KnowledgeLinks([], LABELS)


def is_kept(sentence, part):
    return is_well_formed(sentence, part, LINKS.find_diagnoses(sentence))


@pytest.mark.parametrize(
    "sentence",
    [
        "Oxygen saturation was low, with a low of 90 90%, which suggests pneumonia.",
        "Bradycardia /min, which suggests pneumonia.",
        "A peak glucose of mg/dL suggests pneumonia.",
        "Heart rate was up up up to 128 /min, which suggests pneumonia.",
        "Oxygen saturation was lower than normal, as low as 87%, as 87%, as low as 87%, which suggests pneumonia.",
        "Oxygen saturation was as low as 87%, as low as 87%, which suggests pneumonia.",
        "Systolic blood pressure ended at the start and ended at the start and ended, which suggests pneumonia.",
        "Systolic blood pressure was low, and this is consistent with a minimum of 71 mmHg at hour 5, and this is "
        "consistent with acute renal failure.",
        "Temperature was high, which is compatible with respiratory rate up to 31 /min, which is consistent with "
        "pneumonia.",
        "Systolic blood pressure was low, which is consistent with a bronchodilator.",
        "Systolic blood pressure was 189 mmHg, which is consistent with fluid and diastolic blood pressure was 112 "
        "mmHg, which is consistent with essential hypertension.",
        "Systolic blood pressure was low 27 times, which is compatible with a low as 63 mmHg, and pneumonia.",
        "Systolic blood pressure up to 207 mmHg at hour 16 and was 187 mmHg, which suggests essential hypertension.",
        "Pneumonia is suggested by a maximum inspired oxygen of 60% (as low as 21%.",
        "Oxygen saturation was below normal 19 times, and this is also fits pneumonia.",
        "Glucose was 286 mg/dL at the start and 96 at the end, with a peak of 300 mg/dL, and was 96 at the end, and "
        "this points to pneumonia.",
        "Temperature up to 39.2 °C at hour 16 and heart rate was above normal 20 times, which suggests pneumonia.",
        "Temperature was above normal 18 times, and respiratory rate up to 33 /min are in keeping with pneumonia.",
        "Inspired oxygen was 28%, which suggests pneumonia and this suggests pneumonia.",
        "Respiratory rate was above normal 10 times, with pneumonia and this is compatible with pneumonia.",
        "Systolic blood pressure up to 200 mmHg at hour 43, and was 171 mmHg at the end, which suggests pneumonia.",
        "Heart rate was 90 /min, and inspired oxygen up to 60% and was 40% at the end, which suggests pneumonia.",
        "Oxygen saturation was lower pneumonia is supported by a low of 84%.",
        "Weight rose, and respiratory rate up to 30 /min at the start to 30 /min, which suggests pneumonia.",
        "Pneumonia is suggested by bradycardia with heart rate up to 73 /min.",
        "Pneumonia is suggested by fever as low as 36.1 °C.",
    ],
)
def test_a_garbled_sentence_about_series_is_left_out(sentence):
    assert not is_kept(sentence, "lab")


@pytest.mark.parametrize(
    "sentence",
    [
        "The note describes cough in the note suggests pneumonia.",
        "Cough is consistent with fever, which is consistent with pneumonia.",
        "Uncontrolled hypertension is in keeping with essential hypertension with essential hypertension.",
        "Cough cough suggests pneumonia.",
        "Pneumonia is suggested by cough, fever and the note.",
        "Cough is in keeping with other lower pneumonia.",
        "In the note, elevated lactate and crackles at one base, which are in keeping with pneumonia.",
        "The note mentions cough, which is in keeping with complications of nintedanib.",
        "The note documents obstructive pneumonia.",
        "The note describes wheezing, which are in keeping with pneumonia.",
    ],
)
def test_a_garbled_sentence_about_a_note_is_left_out(sentence):
    assert not is_kept(sentence, "note")


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("lab", "Temperature rose from 37.0 to 39.2 °C and respiratory rate to 31 /min, which fits pneumonia."),
        (
            "lab",
            "Systolic blood pressure was low 20 of 20 times, down to 71 mmHg; this points to acute renal failure.",
        ),
        ("lab", "Heart rate was 90 at hour 1 and 90 at hour 2, which suggests pneumonia."),
        ("lab", "Heart rate rose to 128 /min and this suggests pneumonia."),
        ("lab", "Systolic blood pressure was 92 at the start and 102 at the end, with a low of 65 mmHg at hour 3."),
        ("lab", "A fall of 5 5.0 mmol/L units suggests acute renal failure."),
        ("lab", "Fever suggests pneumonia, and a creatinine of 3.1 mg/dL suggests acute renal failure."),
        ("lab", "Inspired oxygen up to 60% suggests pneumonia and was needed until hour 30."),
        ("lab", "Systolic blood pressure of 82 mmHg and a fever of 39.2 °C suggest pneumonia."),
        ("note", "The note mentions cough and fever, which points to pneumonia."),
        ("note", "Pneumonia is suggested by cough, fever and crackles in the note."),
        ("lab", "A temperature up to 39.2 °C and tachycardia are in keeping with pneumonia."),
        ("lab", "Temperature was 39.2 °C and heart rate 128 /min, which are in keeping with pneumonia."),
        ("lab", "Temperature was 38 at the start and 39 °C at the end, while heart rate was 99 at the end."),
        ("note", "Distended neck veins and cough in the note are consistent with pneumonia."),
        ("note", "In the note, cough, fever and crackles suggest pneumonia."),
        ("note", "In the note, cough, which has been productive, suggests pneumonia."),
        ("note", "Fever and cough support pneumonia rather than other causes."),
        ("note", "Wheezing suggests chronic obstructive pulmonary disease."),
        ("note", "The note reports a cough that suggests pneumonia."),
        ("note", "The note lists edema and supports acute renal failure."),
        ("note", "Imaging suggestive of infiltrate points to pneumonia."),
        ("note", "Uncontrolled hypertension, hypertension requiring treatment, and labetalol suggest hypertension."),
        ("note", 'The note reads "very very short of breath", which suggests pneumonia.'),
        ("note", "She had had a cough, which suggests pneumonia."),
        ("note", "The note describes cough and wheezing, which are in keeping with pneumonia."),
        ("note", "The note describes crackles, which are in keeping with pneumonia."),
        ("note", "The note describes cough, fever, which are in keeping with pneumonia."),
        ("lab", "Fever and hypotension as low as 70 mmHg suggest pneumonia."),
        ("lab", "Weight rose from 70 to 75 kg, and acute renal failure is suggested by creatinine up to 3.1 mg/dL."),
        ("lab", "Pneumonia and acute renal failure are also supported by fever up to 39.2 °C."),
    ],
)
def test_well_formed_sentences_are_kept(part, sentence):
    assert is_kept(sentence, part)
