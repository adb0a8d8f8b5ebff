# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Links between findings and diagnoses, on a small vocabulary of its own."""

import pytest

from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.links_clinragen import KnowledgeLinks, argue
from modeling_clinragen.note_claims_clinragen import check_note_claims


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


def test_terms_are_found_once_in_order_as_written_in_any_inflection(links):
    note = "Productive coughs for a week, CRACKLES on the left. Known CHF. Crackles persist."
    assert found(links, note) == [("Productive coughs", "productive cough"), ("CRACKLES", "crackles"), ("CHF", "CHF")]
    for finding in links.find_in_note(note):
        assert note[finding.start : finding.end] == finding.text
    assert links.find_in_note(note)[1].diseases == {PNEUMONIA, FAILURE}


@pytest.mark.parametrize(
    "note",
    [
        "Social and family history: CHF CHF; Ethanol Use none",
        "Surgery (orthopnea, crackles, etc.)",
        "Reason for admission: Dyspnea (for heart failure see Cardiology)",
        "Orthopnea Status denies orthopnea",
        "No crackles.",
        "Denies orthopnea",
        "Father had CHF.",
        "At risk for heart failure",
        "The risks, including heart failure and acute renal failure, were discussed.",
        "Return to the ED for orthopnea or a productive cough.",
        "Call your doctor for a productive cough.",
        "Allergies: contrast (acute renal failure)",
        "He was educated about heart failure.",
        "Hold furosemide for acute renal failure.",
        "Concern for CHF; the echo was normal. No CHF.",
        "Unlikely CHF given a normal echo.",
        "Goal: avoid CHF.",
        "Furosemide prn orthopnea.",
        "Discharged with return precautions for a productive cough.",
        "Would consider a biopsy for acute renal failure.",
        "She is worried that it is heart failure.",
        "Walks as before.",
        "",
    ],
)
def test_terms_that_the_note_does_not_affirm_of_the_patient_are_not_found(links, note):
    assert found(links, note) == []


@pytest.mark.parametrize(
    "note",
    [
        "Concern for CHF.",
        "Possible CHF, then confirmed as CHF on echo. No CHF last year.",
        "Mother of three with CHF.",
        "Hypertension, no gout, CHF",
        "Not able to rule out CHF",
        "Beta blocker held given CHF.",
    ],
)
def test_terms_that_the_note_affirms_or_suspects_are_found(links, note):
    assert [term for _, term in found(links, note)] == ["CHF"]


def test_a_term_spelled_like_a_function_word_needs_capitals(links):
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


NOTE = "Productive cough. Crackles. Orthopnea. Known CHF. Purple toes. No hemoptysis."
CHANNELS = [
    {
        "name": "Heart Rate",
        "unit": "/min",
        "low": 60.0,
        "high": 100.0,
        "minimum": 5.0,
        "maximum": 350.0,
        "decimals": 0,
    },
    {"name": "Weight", "unit": "kg", "low": None, "high": None, "minimum": 20.0, "maximum": 500.0, "decimals": 1},
]


def argued(text, links, find=None):
    """Text of each claim of a note rationale -> the diagnoses it argues for, and the verdict on the argument."""
    claims = check_note_claims(text, NOTE) if find is None else find(text)
    assert argue(claims, text, links) is claims
    return {claim.text: (claim.diagnoses, claim.argument) for claim in claims}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Productive cough points to pneumonia.", {"Productive cough": ([PNEUMONIA], "linked")}),
        ("Orthopnea points to pneumonia.", {"Orthopnea": ([PNEUMONIA], "unlinked")}),
        ("Purple toes point to shock.", {"Purple toes": ([SHOCK], "unknown")}),
        ("Crackles and orthopnea suggest heart failure.",
         {"Crackles": ([FAILURE], "linked"), "orthopnea": ([FAILURE], "linked")}),
        ("Crackles suggest pneumonia and heart failure.", {"Crackles": ([PNEUMONIA, FAILURE], "linked")}),
        ("Productive cough suggests pneumonia and shock.", {"Productive cough": ([PNEUMONIA, SHOCK], "unlinked")}),
        ("Heart failure is supported by orthopnea.", {"orthopnea": ([FAILURE], "linked")}),
        ("Given crackles, pneumonia is likely.", {"crackles": ([PNEUMONIA], "linked")}),
        ("Orthopnea is described. This points to heart failure.", {"Orthopnea": ([FAILURE], "linked")}),
        ("A history of CHF is noted.", {"CHF": ([FAILURE], "linked")}),
        ("CHF points to shock.", {"CHF": ([SHOCK], "unlinked")}),
        ("Productive cough is described.", {"Productive cough": ([], "")}),
        ("Purple toes are described.", {"Purple toes": ([], "")}),
        ("No crackles, which suggests pneumonia.", {"crackles": ([PNEUMONIA], "unlinked")}),
        ("Crackles speak against pneumonia.", {"Crackles": ([], "")}),
        ("Pneumonia remains unexplained: no finding in this record points to it.", {}),
    ],
)  # fmt: skip
def test_diagnoses_that_findings_of_a_note_argue_for(links, text, wanted):
    assert argued(text, links) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Heart rate was high, which points to shock.", ([SHOCK], "linked")),
        ("Heart rate was high, which points to pneumonia.", ([PNEUMONIA], "unlinked")),
        ("Heart rate was low, which points to shock.", ([SHOCK], "unlinked")),
        ("Heart rate was rising, which points to shock.", ([SHOCK], "linked")),
        ("Heart rate was falling, which points to shock.", ([SHOCK], "unlinked")),
        ("Weight was 80 kg, which points to shock.", ([SHOCK], "unknown")),
        ("Heart rate was high.", ([], "")),
        ("Heart rate was high in shock.", ([], "")),
    ],
)
def test_diagnoses_that_findings_of_the_series_argue_for(links, text, wanted):
    (found,) = argued(
        text, links, lambda t: check_claims(t, CHANNELS, [0.0, 1.0], [[120.0, 80.0], [130.0, 80.0]])
    ).values()
    assert found == wanted


def test_a_name_that_several_diagnoses_share_is_linked_if_one_of_them_is():
    shared = KnowledgeLinks([term("diabetes", ["A", "B"], "name"), term("polyuria", ["A"])], ["A", "B"])
    (claim,) = argue(
        check_note_claims("Polyuria suggests diabetes.", "Polyuria."), "Polyuria suggests diabetes.", shared
    )
    assert (claim.diagnoses, claim.argument) == (["A"], "linked")


@pytest.mark.parametrize(
    ("note", "argument"),
    [
        ("Pneumonia two years ago. Productive cough.", "unlinked"),
        ("History of pneumonia.", "unlinked"),
        ("Pneumonia two years ago. Now pneumonia again.", "linked"),
        ("Pneumonia of the left lower lobe.", "linked"),
        ("Reason for admission: pneumonia, aspiration\nPast history: h/o aspiration pneumonia", "linked"),
        ("Reason for admission: pneumonia, aspiration-related\nPast history: h/o aspiration pneumonia", "linked"),
        ("Reason for admission: fall\nPast history: h/o aspiration pneumonia", "unlinked"),
    ],
)
def test_an_event_of_the_past_argues_for_no_acute_diagnosis(links, note, argument):
    text = f"The note documents {'aspiration ' if 'aspiration' in note else ''}pneumonia."
    (claim,) = argue(check_note_claims(text, note), text, links, note)
    assert (claim.verdict, claim.argument) == ("supported", argument)


def test_without_links_nothing_is_argued():
    (claim,) = check_note_claims("Orthopnea points to heart failure.", NOTE)
    assert (claim.diagnoses, claim.argument) == ([], "")


@pytest.mark.parametrize(
    ("claim", "note", "verdict"),
    [
        ("Heart failure is recorded.", "Past history: CHF.", "supported"),
        ("Heart failure is recorded.", "No CHF.", "contradicted"),
        ("No heart failure.", "No CHF.", "supported"),
        ("Chest pain on breathing is described.", "Pleuritic chest pain since Monday.", "supported"),
        ("Acute renal failure is recorded.", "ARF on admission.", "supported"),
        ("Chronic renal failure is recorded.", "ARF on admission.", "absent"),
        ("Pneumonia is recorded.", "Past history: CHF.", "absent"),
    ],
)
def test_a_finding_of_the_note_is_found_by_synonyms_of_its_term(links, claim, note, verdict):
    (found,) = check_note_claims(claim, note, links)
    assert found.verdict == verdict


def test_a_form_of_another_kind_is_no_synonym():
    blocks = KnowledgeLinks([term("bundle branch block", [SHOCK], synonyms=["LBBB", "RBBB"])], LABELS)
    (claim,) = check_note_claims("LBBB on the tracing.", "Known RBBB.", blocks)
    assert claim.verdict == "absent"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (
            "Orthopnea points to congestive heart failure, and productive cough suggests pneumonia.",
            {"orthopnea": "linked", "productive cough": "linked"},
        ),
        (
            "Productive cough points to congestive heart failure while orthopnea suggests pneumonia.",
            {"orthopnea": "unlinked", "productive cough": "unlinked"},
        ),
        (
            "Orthopnea and crackles point to congestive heart failure and productive cough suggests pneumonia.",
            {"orthopnea": "linked", "crackles": "linked", "productive cough": "linked"},
        ),
        (
            "Given the orthopnea, congestive heart failure is likely, and given the crackles, pneumonia is possible.",
            {"orthopnea": "linked", "crackles": "linked"},
        ),
        ("Crackles suggest pneumonia, and orthopnea is noted.", {"crackles": "linked", "orthopnea": ""}),
        ("Crackles suggest pneumonia, and CHF is in the history.", {"crackles": "linked", "chf": "linked"}),
        ("Crackles suggest pneumonia and congestive heart failure, which fits.", {"crackles": "linked"}),
        ("Crackles are a classic sign of pneumonia.", {"crackles": "linked"}),
    ],
)
def test_each_clause_of_a_sentence_argues_for_itself(links, text, arguments):
    claims = argue(check_note_claims(text, "Orthopnea, crackles, productive cough. CHF.", links), text, links)
    assert {claim.text.lower(): claim.argument for claim in claims} == arguments
    assert {claim.verdict for claim in claims} == {"supported"}


def test_the_premise_of_a_second_clause_is_looked_up():
    text = "Crackles suggest pneumonia, and orthopnea points to congestive heart failure."
    assert [claim.verdict for claim in check_note_claims(text, "Crackles.")] == ["supported", "absent"]


@pytest.mark.parametrize(
    "wording",
    [
        "{finding} is due to {name}.",
        "{finding} caused by {name}.",
        "{finding} is associated with {name}.",
        "{finding}, a sign of {name}, is noted.",
        "{finding} is seen in {name}.",
        "{finding} is in line with {name}.",
        "{finding} leads to the diagnosis of {name}.",
        "{finding}, therefore {name}.",
        "With {finding}, {name} is likely.",
        "{name} explains the {finding}.",
        "{name} accounts for the {finding}.",
        "{name} is the cause of the {finding}.",
        "{name} is evident because of the {finding}.",
    ],
)
@pytest.mark.parametrize(
    ("finding", "name", "argument"),
    [
        ("orthopnea", "congestive heart failure", "linked"),
        ("productive cough", "pneumonia", "linked"),
        ("productive cough", "congestive heart failure", "unlinked"),
        ("hemoptysis", "pneumonia", "unknown"),
    ],
)
def test_a_cause_is_argued_for_from_its_effect(links, wording, finding, name, argument):
    text = wording.format(finding=finding, name=name)
    claims = argue(check_note_claims(text, "Orthopnea and productive cough.", links), text, links)
    (claim,) = [claim for claim in claims if finding in claim.text]
    assert claim.argument == argument
    assert claim.verdict == ("absent" if finding == "hemoptysis" else "supported")


@pytest.mark.parametrize(
    ("claim", "note", "verdict"),
    [
        ("Anuria", "UOP 30-60 cc/h", "absent"),
        ("Troponin elevation", "Troponins flat and negative", "absent"),
        ("Troponin elevation", "Troponin is elevated", "supported"),
        ("Acute respiratory failure", "Chronic respiratory failure", "absent"),
        ("Acute respiratory failure", "Respiratory failure", "supported"),
        ("Coronary artery bypass", "s/p gastric bypass", "absent"),
        ("Coronary artery bypass", "s/p bypass in 2010", "supported"),
    ],
)
def test_a_synonym_keeps_its_polarity_and_kind(claim, note, verdict):
    shared = KnowledgeLinks(
        [
            term("anuria", [KIDNEY], synonyms=["no urine output"]),
            term("troponin elevation", [SHOCK], synonyms=["positive troponin"]),
            term("respiratory failure", [SHOCK], synonyms=["acute respiratory failure"]),
            term("CABG", [FAILURE], synonyms=["bypass", "coronary artery bypass"]),
        ],
        LABELS,
    )
    (checked,) = check_note_claims(f"{claim} is documented.", note, shared)
    assert checked.verdict == verdict
