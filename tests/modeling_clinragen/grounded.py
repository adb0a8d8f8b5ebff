# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A small knowledge, a record of an ill patient, and the fixtures that ground a text on it."""

import numpy as np

from modeling_clinragen import PHENOTYPES
from modeling_clinragen.clinical_clinragen import CHANNELS


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
PNEUMONIA = "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"
SEPSIS, SHOCK = "Septicemia (except in labor)", "Shock"
HEART_FAILURE, KIDNEY = "Congestive heart failure; nonhypertensive", "Chronic kidney disease"


def term(name, *diseases, kind="symptom", synonyms=(), pattern=None):
    shown = dict(zip(("channel", "direction"), pattern, strict=True)) if pattern else None
    return {"term": name, "type": kind, "synonyms": list(synonyms), "diseases": list(diseases), "pattern": shown}


KNOWLEDGE = [
    term("productive cough", PNEUMONIA),
    term("crackles", PNEUMONIA, HEART_FAILURE),
    term("shaking chills", PNEUMONIA, SEPSIS),
    term("leg swelling", HEART_FAILURE),
    term("sevelamer", KIDNEY, kind="medication"),
    term("pneumonia", PNEUMONIA, kind="name", synonyms=["PNA"]),
    term("fever", PNEUMONIA, SEPSIS, pattern=("Temperature", "high")),
    term("tachycardia", SEPSIS, SHOCK, pattern=("Heart Rate", "high")),
    term("hypotension", SHOCK, pattern=("Systolic blood pressure", "low")),
]
NOTE = "Productive cough and shaking chills for two days. Crackles at the left base. Denies leg swelling."


def series(**columns):
    """Values (6, 11) and hours; channels by the first letters of their names."""
    names = {"hr": "Heart Rate", "sbp": "Systolic blood pressure", "temp": "Temperature"}
    values = np.full((6, len(CHANNELS)), np.nan)
    for short, column in columns.items():
        values[:, [channel["name"] for channel in CHANNELS].index(names[short])] = column
    return values, np.arange(6.0)


def record_of(note=NOTE, **columns):
    values, times = series(**columns)
    return {"note": note, "lab_values": values, "lab_times": times}


ILL = record_of(hr=[96, 104, 128, 118, 110, 99], sbp=[118, 96, 84, 82, 100, 104])


def ground(grounding, diagnoses, note="", lab="", record=ILL, **options):
    made = grounding.of(record)
    text = grounding.processor.target_text([LABELS.index(name) for name in diagnoses], note, lab)
    made.read(text, **options)
    return made


def written(made, *origins):
    return [sentence.text for sentence in made.sentences if sentence.origin in (origins or ("written", "repaired"))]
