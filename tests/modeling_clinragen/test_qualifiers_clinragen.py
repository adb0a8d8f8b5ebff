# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words of degree, course, site and abnormality: a finding with them is not one without them, or with others."""

import pytest

from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.note_claims_clinragen import check_note_claims


def verdicts_of(note, finding):
    return {claim.verdict for claim in check_note_claims(f"{finding} suggests disease.", note)}


LACKED = """
    renal failure - hemodialysis | small kidneys
    kidney stone | small kidneys
    kidneys normal on ultrasound | small kidneys
    kidneys enlarged | small kidneys
    kidneys small | large kidneys
    capillary refill brisk | delayed capillary refill
    mucous membranes moist | dry mucous membranes
    mucous membranes moist and skin dry | dry mucous membranes
    mucous membranes moist, dry skin | dry mucous membranes
    skin turgor good | poor skin turgor
    skin turgor good, poor dentition | poor skin turgor
    PR interval 160 | prolonged PR interval
    QT interval 400 | prolonged QT interval
    QTc interval normal, delayed gastric emptying | prolonged QT interval
    Q waves old | new Q waves
    infiltrate unchanged | new infiltrate
    operation declined | recent operation
    surgery clinic follow up | recent surgery
    oxygen 2 L; home with wife | home oxygen
    radial pulses 2+ bilaterally | weak radial pulses
    left ventricle normal in size | dilated left ventricle
    left atrium normal | enlarged left atrium
    neck veins flat | distended neck veins
    jugular venous pressure 6 cm | raised jugular venous pressure
    CK elevated, troponin normal | elevated troponin
    WBC low, platelets normal | low platelets
    liver enlarged, abdomen soft | enlarged abdomen
    fever resolved | persistent fever
    fever resolved | ongoing fever
    hypotension on arrival, now hypertensive | ongoing hypotension
    dyspnea | worsening dyspnea
    dyspnea improving | worsening dyspnea
    melena last month | ongoing melena
    intermittent chest pain | constant chest pain
    chest pain, on and off | constant chest pain
    one seizure | recurrent generalized seizures
    one episode of chest pain | recurrent chest pain
    cough | chronic cough
    chronic cough | new cough
    paroxysmal atrial fibrillation | permanent atrial fibrillation
    small pleural effusion | large pleural effusion
    pleural effusion tiny | large pleural effusion
    pleural effusion | massive pleural effusion
    large pleural effusion | small pleural effusion
    mild dyspnea | marked dyspnea
    abdominal pain | severe abdominal pain
    trace edema | massive edema
    inferior STEMI | anterior STEMI
    NSTEMI | inferior NSTEMI
    anterior wall motion abnormality | inferior wall motion abnormality
    left lower lobe pneumonia | bilateral pneumonia
    hemiparesis | left hemiparesis
    rash on the arm | diffuse rash
    chest pain on exertion | chest pain at rest
    chest pain at rest | chest pain on exertion
    second degree AV block | third degree AV block
    first degree AV block | complete AV block
    vomiting coffee | coffee ground emesis
"""
STATED = """
    kidneys small bilaterally | small kidneys
    bilateral shrunken kidneys | small kidneys
    capillary refill sluggish | delayed capillary refill
    Capillary refill: delayed | delayed capillary refill
    mucous membranes pale and dry | dry mucous membranes
    Dry, pink mucous membranes | dry mucous membranes
    dry oral mucous membranes | dry mucous membranes
    skin turgor poor | poor skin turgor
    turgor of the skin decreased | poor skin turgor
    PR interval prolonged | prolonged PR interval
    new Q waves in V1-V3 | new Q waves
    surgery 3 days ago | recent surgery
    recently had surgery | recent surgery
    home oxygen | home oxygen
    pleural effusion on the right, large | large pleural effusion
    massive pleural effusion | large pleural effusion
    persistent nausea and vomiting | persistent vomiting
    severe nausea, vomiting | severe vomiting
    elevated CK and troponin | elevated troponin
    troponin elevated | elevated troponin
    low platelets | low platelets
    fever persists | persistent fever
    still febrile | persistent fever
    dyspnea has worsened | worsening dyspnea
    progressively short of breath | worsening dyspnea
    occasional chest pain | intermittent chest pain
    severe chest pain | chest pain
    sudden onset of chest pain | acute chest pain
    AKI | acute kidney injury
    CKD | chronic kidney disease
    RLL pneumonia | right lower lobe pneumonia
    anterolateral STEMI | anterior STEMI
    left-sided weakness | left weakness
    effusions in both lungs | bilateral effusions
    chest pain with walking | exertional chest pain
    3rd degree AV block | complete AV block
    swollen leg | leg edema
    coffee ground emesis | coffee ground emesis
    high blood pressure | hypertension
"""


def lines(text):
    return [tuple(part.strip() for part in line.split("|")) for line in text.strip().splitlines()]


@pytest.mark.parametrize(("note", "finding"), lines(LACKED))
def test_a_finding_without_its_qualifying_words_is_not_supported(note, finding):
    verdicts = verdicts_of(f"Pt seen. {note}.", finding)
    assert verdicts
    assert verdicts <= {"absent", "contradicted", "unverifiable"}


@pytest.mark.parametrize(("note", "finding"), lines(STATED))
def test_a_finding_with_words_of_the_same_meaning_is_supported(note, finding):
    assert verdicts_of(f"Pt seen. {note}.", finding) == {"supported"}


@pytest.mark.parametrize("note", ["No pain.", "No severe pain.", "Denies chest or abdominal pain."])
def test_a_general_denial_denies_the_finding_of_each_degree(note):
    assert {claim.verdict for claim in check_note_claims("No severe pain.", note)} == {"supported"}


def test_a_term_of_the_knowledge_is_found_by_its_synonyms_with_their_own_qualifying_words():
    term = {
        "term": "enlarged heart",
        "type": "sign",
        "diseases": ["A"],
        "synonyms": ["heart enlarged", "cardiomegaly"],
    }
    links = KnowledgeLinks([term], ["A"], [])

    def verdict_of(note):
        (claim,) = check_note_claims("Enlarged heart is in the note.", note, links)
        return claim.verdict

    assert verdict_of("Cardiomegaly.") == "supported"
    assert verdict_of("Liver enlarged, heart normal.") == "absent"
