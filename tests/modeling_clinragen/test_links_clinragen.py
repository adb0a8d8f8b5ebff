# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Links between findings and diagnoses, on a small vocabulary of its own."""

import pytest

from modeling_clinragen.links_clinragen import KnowledgeLinks


PNEUMONIA = "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"
FAILURE = "Congestive heart failure; nonhypertensive"
KIDNEY, CHRONIC, SHOCK = "Acute and unspecified renal failure", "Chronic kidney disease", "Shock"
LABELS = [PNEUMONIA, FAILURE, KIDNEY, CHRONIC, SHOCK]


def term(name, diseases, kind="symptom", synonyms=(), pattern=None):
    shown = {"channel": pattern[0], "direction": pattern[1]} if pattern else None
    return {"term": name, "type": kind, "synonyms": list(synonyms), "diseases": diseases, "pattern": shown}


TERMS = [
    term("productive cough", [PNEUMONIA], synonyms=["purulent sputum"]),
    term("crackles", [PNEUMONIA, FAILURE], "sign"),
    term("pleuritic chest pain", [PNEUMONIA], synonyms=["chest pain on breathing"]),
    term("new infiltrate", [PNEUMONIA], "imaging"),
    term("orthopnea", [FAILURE]),
    term("CHF", [FAILURE], "name", synonyms=["heart failure"]),
    term("AS", [FAILURE], "history", synonyms=["aortic stenosis"]),
    term("acute renal failure", [KIDNEY], "name", synonyms=["ARF"]),
    term("chronic renal failure", [CHRONIC], "name"),
    term("tachycardia", [SHOCK], "vital-sign pattern", pattern=("Heart Rate", "high")),
    term("hypotension", [SHOCK], "vital-sign pattern", pattern=("Systolic blood pressure", "low")),
    term("lactate rise", [SHOCK], "laboratory pattern", pattern=("Lactate", "rising")),
]


@pytest.fixture(scope="module")
def links():
    return KnowledgeLinks(TERMS, LABELS)


def found(links, note):
    return [(finding.text, finding.term) for finding in links.find_in_note(note)]


def test_terms_are_found_once_in_order_as_written_whatever_their_inflection(links):
    note = "Productive coughs for a week, CRACKLES on the left. Known CHF. Crackles persist."
    assert found(links, note) == [("Productive coughs", "productive cough"), ("CRACKLES", "crackles"), ("CHF", "CHF")]
    for finding in links.find_in_note(note):
        assert note[finding.start : finding.end] == finding.text
    assert links.find_in_note(note)[1].diseases == {PNEUMONIA, FAILURE}


@pytest.mark.parametrize(
    "note",
    ["No crackles.", "Denies orthopnea", "Father had CHF.", "At risk for heart failure", "Walks as before.", ""],
)
def test_what_the_note_does_not_affirm_of_the_patient_is_not_found(links, note):
    assert found(links, note) == []


def test_a_term_that_is_a_small_word_needs_capitals(links):
    assert found(links, "Severe AS, as expected.") == [("AS", "AS")]


def test_words_of_a_term_stand_together(links):
    assert found(links, "Heart, failure of the liver") == []
    assert found(links, "Heart\nfailure") == [("Heart\nfailure", "CHF")]


@pytest.mark.parametrize(
    ("finding", "diseases"),
    [
        ("crackle", {PNEUMONIA, FAILURE}),
        ("severe orthopnea for three weeks", {FAILURE}),
        ("a history of CHF", {FAILURE}),
        ("congestive heart failure", {FAILURE}),
        ("infiltrates", {PNEUMONIA}),
        ("acute renal failure", {KIDNEY}),
        ("chronic renal failure", {CHRONIC}),
        ("purulent sputum and crackles", {PNEUMONIA, FAILURE}),
        ("tachycardic", {SHOCK}),
        ("aortic stenosis", {FAILURE}),
        ("renal failure", None),
        ("tendon xanthoma", None),
        ("", None),
    ],
)
def test_diseases_of_a_finding(links, finding, diseases):
    assert links.diseases_of(finding) == diseases


def test_patterns_and_names(links):
    assert links.diseases_of_series("Heart Rate", "high") == {SHOCK}
    assert links.diseases_of_series("Heart Rate", "low") == frozenset()
    shown = [("Heart Rate", "high"), ("Systolic blood pressure", "low"), ("Lactate", "rising")]
    assert links.patterns_of(SHOCK) == shown
    assert KnowledgeLinks(TERMS, LABELS, [{"name": "Lactate"}]).patterns_of(SHOCK) == shown[2:]
    assert links.names_of(FAILURE) == [FAILURE, "Congestive heart failure", "CHF", "heart failure"]
    assert links.names_of(SHOCK) == ["Shock"]
