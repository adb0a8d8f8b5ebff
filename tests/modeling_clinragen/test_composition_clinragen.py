# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Composed rationales: words and numbers are the record's, each diagnosis is explained or stated to be unexplained."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import CHANNELS
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.composition_clinragen import MAX_FINDINGS
from modeling_clinragen.links_clinragen import argue
from modeling_clinragen.note_claims_clinragen import check_note_claims
from modeling_clinragen.realization_clinragen import NO_FINDING, NO_NOTE, NO_SERIES, NO_SIGN
from tests.modeling_clinragen.composed import (
    AMI,
    BLEEDING,
    CHF,
    COMPLICATIONS,
    COPD,
    CORONARY,
    DIABETES,
    DYSRHYTHMIAS,
    FLUIDS,
    HYPERTENSION,
    KIDNEY,
    LABELS,
    LIPIDS,
    LIVER,
    LOWER,
    NAMES,
    PLEURA,
    PNEUMONIA,
    RENAL,
    RESPIRATORY,
    SEPSIS,
    SHOCK,
    STROKE,
    composed,
    composer,
    faults,
    links,
    series,
)


def test_a_name_of_the_disease_in_the_note_is_quoted():
    for seed in range(20):
        (note,), _ = composed("Past history: CHF, gout", series(), [CHF], seed)
        assert "CHF" in note
        assert "ongestive heart failure" not in note  # "CHF fits congestive heart failure" says nothing


@pytest.mark.parametrize(
    ("note", "disease", "stated_once"),
    [
        ("Congestive Heart Failure CHF; on furosemide", CHF, ("chf", "congestive heart failure")),
        ("Admitted with AMI. Old MI of 2012.", AMI, ("ami", "myocardial infarction")),
        ("Angina, unstable (angina at rest)", CORONARY, ("angina",)),
        ("vasopressors norepinephrine 0.2 micrograms/kg/min", SHOCK, ("vasopressors", "norepinephrine")),
        ("Arrhythmias atrial fibrillation - chronic", DYSRHYTHMIAS, ("arrhythmias", "atrial fibrillation")),
        ("Resp Mode ventilated; mechanical ventilation assist controlled", RESPIRATORY, ("ventilat",)),
        ("Renal failure, acute; renal failure - not currently dialyzed", RENAL, ("renal failure",)),
    ],
)
def test_no_finding_is_repeated_in_other_words(note, disease, stated_once):
    for seed in range(20):
        (text,), _ = composed(note, series(), [disease], seed)
        evidence = text.lower().replace("cardiac dysrhythmias", "")
        assert sum(evidence.count(word) for word in stated_once) == 1, text


@pytest.mark.parametrize(
    ("note", "disease", "evident"),
    [
        ("Strokes stroke - within 5 years", STROKE, False),
        ("Stroke this morning; history of hypertension", STROKE, True),
        ("History of atrial fibrillation", STROKE, True),  # stays, and is a risk
        ("CVA, cerebrovascular accident/stroke\nPast history: Strokes stroke - remote", STROKE, True),
        ("Myocardial Infarction MI - remote; procedural coronary intervention - within 6 months", AMI, False),
        ("Myocardial Infarction MI - remote", CORONARY, True),
        ("History of cirrhosis. Now with melena.", BLEEDING, True),
        ("Coronary Artery Bypass CABG - remote", COMPLICATIONS, False),
        ("History of present illness: sepsis from pneumonia", SEPSIS, True),
    ],
)
def test_an_event_of_the_past_is_no_sign_of_an_acute_disease(note, disease, evident):
    assert bool(composer().evidence(note, *series(), [disease])[disease].note) == evident


@pytest.mark.parametrize(
    ("note", "disease", "evident"),
    [
        ("pulmonary hypertension", HYPERTENSION, False),
        ("Ocular hypertension", HYPERTENSION, False),
        ("hypertension, pulmonary nodule", HYPERTENSION, True),
        ("diabetes insipidus", DIABETES, False),
        ("diabetes, insipid affect", DIABETES, True),
        ("heat stroke", STROKE, False),
        ("stroke volume 45 ml", STROKE, False),
        ("Code stroke called", STROKE, False),
        ("Stroke on the left", STROKE, True),
        ("shock wave lithotripsy", SHOCK, False),
        ("in shock, waves of nausea", SHOCK, True),
        ("sepsis protocol started", SEPSIS, False),
        ("gestational diabetes", DIABETES, False),
        ("sinus arrhythmia", DYSRHYTHMIAS, False),
        ("carotid stent for stroke prevention", STROKE, False),
        ("white coat hypertension", HYPERTENSION, False),
        ("pneumonia vaccine given", PNEUMONIA, False),
        ("Pulmonary hypertension and hypertension", HYPERTENSION, True),
    ],
)
def test_a_word_within_another_name_is_no_evidence(note, disease, evident):
    assert bool(composer().evidence(note, *series(), [disease])[disease].note) == evident


@pytest.mark.parametrize(
    ("note", "disease"),
    [
        ("Reason for admission: Asthma", RESPIRATORY),
        ("Reason for admission: GI perforation/rupture, surgery for", SEPSIS),
        ("Reason for admission: Graft, removal of infected vascular", COMPLICATIONS),
        ("Reason for admission: Complications of prev. peripheral vasc. surgery", COMPLICATIONS),
        ("Reason for admission: Alcohol withdrawal", LIVER),
        ("Reason for admission: Obstruction-airway", RESPIRATORY),
        ("Treatments: cardiac angiography", AMI),
        ("Treatments: blood product administration", BLEEDING),
        ("inotropic agent dobutamine", CHF),
        ("antibacterials penicillins piperacillin/tazobactam", SEPSIS),
        ("vasopressors phenylephrine", SEPSIS),
        ("Treatments: electrolyte administration potassium", FLUIDS),
        ("Treatments: kayexalate", FLUIDS),
        ("Treatments: non-invasive ventilation", RESPIRATORY),
        ("Hypercarbic, endotracheal tube insertion", RESPIRATORY),
        ("packed red blood cells, esophagogastroduodenoscopy", BLEEDING),
        ("MI admitted > 24 hrs after onset of ischemia", AMI),
        ("Levophed at 0.3 mcg/kg/min", SHOCK),
        ("antihypertensives hydralazine", HYPERTENSION),
        ("on Lipitor", LIPIDS),
        ("HR Rhythm with PACs", DYSRHYTHMIAS),
        ("oliguric since yesterday", RENAL),
    ],
)
def test_findings_that_a_reader_sees_are_found(note, disease):
    assert composer().evidence(note, *series(), [disease])[disease].note


def test_a_disease_keeps_its_best_finding_before_another_gets_a_second():
    note = "Renal failure, acute. Renal insufficiency. Hypertension."
    for seed in range(20):
        sentences = composer().rationale(note, *series(), [RENAL, KIDNEY], random.Random(seed))[0]
        (text,) = [sentence.text for sentence in sentences if KIDNEY in sentence.diseases]
        assert "insufficiency" in text.lower(), text


def test_a_countable_noun_has_an_article():
    for seed in range(20):
        (text,), _ = composed("chest tube; bronchodilator", series(), [PLEURA], seed)
        assert re.search(r"\b[Aa] chest tube", text), text


def test_an_inverted_name_is_put_in_order():
    for seed in range(20):
        (note,), _ = composed("Reason for admission: Infarction, acute myocardial (MI)", series(), [AMI], seed)
        assert "acute myocardial infarction" in note.lower()
        assert "infarction, acute" not in note.lower()


def test_a_text_that_is_not_a_noun_is_quoted():
    for seed in range(20):
        (note,), _ = composed("She sleeps on three pillows.", series(), [CHF], seed)
        assert '"sleeps on three pillows"' in note.lower()


def test_negated_findings_and_those_of_relatives_are_no_evidence():
    note = "No CHF, denies orthopnea.\nFamily history: mother with heart failure.\nAt risk of septic shock."
    found = composer().evidence(note, *series(), [CHF, SHOCK])
    assert not found[CHF].note
    assert not found[SHOCK].note


def test_several_findings_make_one_sentence_and_few_are_stated():
    note = "Orthopnea, swollen ankles, distended neck veins, third heart sound and bibasilar crackles. On furosemide."
    for seed in range(20):
        sentences, _ = composed(note, series(), [CHF], seed)
        assert len(sentences) == 1
        names = ("orthopnea", "swollen ankles", "distended neck veins", "third heart sound", "crackles", "furosemide")
        assert sum(name in sentences[0].lower() for name in names) == MAX_FINDINGS["note"]


def test_a_finding_of_two_diseases_is_stated_once_with_both():
    for seed in range(20):
        sentences, _ = composed("Rigors.", series(), [PNEUMONIA, SEPSIS], seed)
        (text,) = sentences
        assert text.lower().count("rigors") == 1
        assert "neumonia" in text
        assert "epticemia" in text


def test_a_name_stays_with_its_own_disease():
    sentences = composer().rationale("Sepsis, UTI", *series(), [RENAL, SEPSIS, SHOCK], random.Random(0))[0]
    named = [sentence.diseases for sentence in sentences if "sepsis" in sentence.text.lower()]
    assert (SEPSIS,) in named  # a sentence of its own, whatever else it supports


@pytest.mark.parametrize(
    ("note", "diseases", "first"),
    [
        ("Reason for admission: Sepsis, pulmonary\nTreatments: levofloxacin", [PNEUMONIA, SEPSIS], "pulmonary sepsis"),
        (
            "Reason for admission: Effusions, pleural\nDecreased breath sounds; chest tube",
            [PLEURA],
            "pleural effusions",
        ),
        (
            "Reason for admission: Bleeding, upper GI\nCirrhosis; packed red blood cells",
            [BLEEDING],
            "upper gi bleeding",
        ),
        ("Reason for admission: Infarction, acute myocardial (MI)", [AMI], "acute myocardial infarction"),
    ],
)
def test_the_reason_for_admission_comes_first(note, diseases, first):
    for seed in range(20):
        sentences, _ = composed(note, series(), diseases, seed)
        for text in sentences:
            assert re.search(rf"\b{first}\b", text.lower()), sentences
            assert not re.search(rf"by[^.]*\b{first}\b", text.lower()) or PNEUMONIA in diseases, text


def test_a_name_of_the_disease_argues_for_it_without_circularity():
    notes = {
        "hypertension requiring treatment; lisinopril": HYPERTENSION,
        "Bleeding, lower GI": BLEEDING,
        "Non-Insulin Dependent Diabetes": DIABETES,
        "Acid-base/electrolyte disturbance; kayexalate": FLUIDS,
        "Rhythm disturbance; ventricular ectopy; amiodarone": DYSRHYTHMIAS,
    }
    for note, disease in notes.items():
        for seed in range(20):
            (sentence,) = composer().rationale(note, *series(), [disease], random.Random(seed), ("note",))[0]
            assert composer().realizer.sentence_names[disease] not in sentence.text.lower()
            claims = argue(check_note_claims(sentence.text, note, links()), sentence.text, links())
            assert disease in {d for c in claims for d in c.diagnoses}, sentence


def test_a_risk_is_not_stated_beside_the_name_of_a_disease():
    for seed in range(20):
        (text,), _ = composed("CHF; valve disease; furosemide", series(), [CHF], seed)
        assert "furosemide" in text
        assert "valve" not in text


@pytest.mark.parametrize(
    ("note", "disease", "stated_as"),
    [
        ("therapeutic antibacterials vancomycin", SEPSIS, "the use of vancomycin"),
        ("intravenous diuretic IV furosemide", CHF, "the use of furosemide"),
        ("bronchodilator beta-agonist albuterol (Proventil)", COPD, "the use of albuterol"),
        ("blood product administration packed red blood cells", BLEEDING, "the use of packed red blood cells"),
        ("electrolyte administration", FLUIDS, "electrolyte administration"),
        ("norepinephrine, vasopressin", SHOCK, "the use of"),
    ],
)
def test_a_drug_is_stated_once_as_used_and_by_its_name(note, disease, stated_as):
    for seed in range(20):
        (text,), _ = composed(f"Treatments: {note}", series(), [disease], seed)
        assert stated_as in text.lower(), text
        assert text.lower().count("use of") == ("use of" in stated_as), text
        assert not re.search("antibacterial|diuretic|bronchodilator|blood product", text.lower()), text


def test_also_is_used_only_for_diseases_argued_for_before():
    note, lab = "Rigors. Orthopnea. JVD.", series(Temperature=[39.0] * 5, Weight=[80, 81, 82, 83, 84, 85, 86, 87, 88])
    for seed in range(60):
        parts = composer().rationale(note, *lab, [SEPSIS, CHF], random.Random(seed))
        seen = set()
        for sentence in (s for part in parts for s in part):
            assert "also" not in sentence.text or set(sentence.diseases) <= seen, parts
            seen |= set(sentence.diseases)


def test_one_sign_is_no_explanation_of_many_diseases_that_the_note_explains():
    note, diseases = "Pneumonia, COPD, CHF; mechanical ventilation", [PNEUMONIA, RESPIRATORY, COPD, CHF, PLEURA]
    for seed in range(20):
        parts = composer().rationale(note, *series(Respiratory_rate=[30] * 6), diseases, random.Random(seed))
        assert all(len(sentence.diseases) <= 2 for sentence in parts[1]), parts[1]
        assert {disease for part in parts for sentence in part for disease in sentence.diseases} == set(diseases)


@pytest.mark.parametrize(
    ("note", "disease", "words"),
    [
        ("Resp Mode ventilated", RESPIRATORY, "ventilation"),
        ("Airway intubated", RESPIRATORY, "airway intubation"),
        ("Pacemaker V paced", DYSRHYTHMIAS, "pacemaker"),
        ("A/V paced", DYSRHYTHMIAS, "being A/V paced"),
        ("dysrhythmia irregular", DYSRHYTHMIAS, "irregular dysrhythmia"),
        ("Resp Effort labored", RESPIRATORY, 'the finding "labored"'),
        ("hypotensive", SHOCK, "hypotension"),
        ("febrile", SEPSIS, "fever"),
        ("Smoker", COPD, "a history of smoking"),
    ],
)
def test_entries_of_forms_are_stated_as_nouns_in_the_notes_own_words(note, disease, words):
    for seed in range(20):
        sentences, _ = composed(f"Examination: HR 80; {note}", series(), [disease], seed)
        assert words.lower() in sentences[0].lower(), sentences
        claims = argue(check_note_claims(sentences[0], note), sentences[0], links())
        assert {(c.verdict, c.argument) for c in claims} == {("supported", "linked")}, sentences


def test_words_of_forms_are_stated_in_lower_case():
    for seed in range(20):
        (text,), _ = composed("Ethanol Use heavy", series(), [LIVER], seed)
        assert "heavy ethanol use" in text.lower()
        assert "Use" not in text


def test_a_risk_does_not_make_a_disease_likely():
    for seed in range(40):
        (text,), _ = composed("Past history: asbestos exposure", series(), [LOWER], seed)
        assert "likely" not in text


@pytest.mark.parametrize(
    ("note", "disease"),
    [
        ("CABG", COMPLICATIONS),
        ("laparotomy", COMPLICATIONS),
        ("hypertension requiring treatment", KIDNEY),
        ("insulin dependent diabetes", KIDNEY),
        ("Past history: asthma", RESPIRATORY),
        ("Past Medical History:\n1. COPD\n2. gout\n\nHospital course: well", RESPIRATORY),
        ("Past history: hypertension; renal failure- not currently dialyzed", RENAL),
        ("asthma", COPD),
        ("COPD", PNEUMONIA),
        ("dysrhythmia regular", DYSRHYTHMIAS),
        ("HR Rhythm regular", DYSRHYTHMIAS),
        ("CHF", DYSRHYTHMIAS),
    ],
)
def test_weak_findings_of_a_note_are_no_evidence(note, disease):
    assert not composer().evidence(note, *series(), [disease])[disease].note


@pytest.mark.parametrize(
    ("note", "disease"),
    [
        ("renal failure\nPast history: renal failure", RENAL),
        ("Past Medical History:\n- gout\n\nAcute renal failure on chronic", RENAL),
        ("Past Medical History:\n- gout\nHospital Course: COPD with exacerbation", RESPIRATORY),
        ("Past history: chronic kidney disease", KIDNEY),
    ],
)
def test_what_stands_outside_the_history_is_evidence(note, disease):
    assert composer().evidence(note, *series(), [disease])[disease].note


def test_a_name_with_a_negation_negates_no_sign():
    lab = series(Glucose=[230, 190, 185, 150])
    for seed in range(60):
        sentences = composed("x", lab, [DIABETES], seed)[1]
        assert not faults("x", lab, [], sentences), sentences


def test_every_disease_is_explained_or_stated_to_be_unexplained_at_the_end():
    note, lab = "CHF", series(Heart_Rate=[80] * 5)
    note_sentences, lab_sentences = composer().rationale(note, *lab, [CHF, AMI, RENAL], random.Random(1))
    assert [s.diseases for s in note_sentences] == [(CHF,)]
    assert lab_sentences[-1].diseases == (AMI, RENAL)
    assert "unexplained" in lab_sentences[-1].text
    note_only, nothing = composer().rationale(note, *lab, [CHF, AMI], random.Random(1), modalities=("note",))
    assert nothing == []
    assert note_only[-1].diseases == (AMI,)
    assert "unexplained" in note_only[-1].text
    none, lab_only = composer().rationale(note, *lab, [CHF], random.Random(1), modalities=("lab",))
    assert none == []
    assert "unexplained" in lab_only[-1].text


def test_unexplained_diagnoses_are_neither_argued_for_nor_denied():
    for seed in range(20):
        for diseases in ([AMI], [AMI, RENAL], LABELS):
            (text,) = (sentence.text for sentence in composer().unexplained(diseases, random.Random(seed)))
            assert {m.says for m in links().find_diagnoses(text)} == {"neither"}, text
            assert {label for m in links().find_diagnoses(text) for label in m.labels} >= set(diseases)


def test_a_part_states_that_nothing_points_to_a_disease_only_without_evidence():
    note, lab = composed("CHF", series(Heart_Rate=[80] * 5), [CHF, AMI])
    assert "sign" not in " ".join(note)
    assert re.search("no|Nothing", lab[0])
    assert composed("", series(), []) == [["There is no note."], ["No series were measured."]]


def test_wordings_vary():
    note, lab = "Orthopnea and crackles.", series(Systolic_blood_pressure=[120, 90, 70, 60, 85, 110])
    note_texts = {composed(note, lab, [CHF], seed)[0][0] for seed in range(600)}
    lab_texts = {composed(note, lab, [SHOCK], seed)[1][0] for seed in range(600)}
    assert len(note_texts) > 100
    assert len(lab_texts) > 200


def test_the_same_choice_gives_the_same_text():
    note, lab = "Rigors, CHF", series(Heart_Rate=[130] * 8)
    assert composed(note, lab, LABELS, 3) == composed(note, lab, LABELS, 3)


def test_all_of_many_diagnoses_are_mentioned():
    note = "CHF, COPD, CAD, DM, HTN, HLD, CKD, afib, stroke, pneumonia, sepsis, shock, cirrhosis, GIB, pacemaker"
    parts = composer().rationale(note, *series(Heart_Rate=[120] * 6), LABELS, random.Random(0))
    assert {d for part in parts for s in part for d in s.diseases} == set(LABELS)


FORMS = [form for term in builtin_knowledge()["terms"] for form in (term["term"], *term["synonyms"])]


@settings(max_examples=60)
@given(
    forms=st.lists(st.sampled_from(FORMS), max_size=8),
    diseases=st.lists(st.sampled_from(LABELS), max_size=8, unique=True),
    levels=st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.lists(st.floats(0, 1), min_size=1, max_size=14),
        ),
        max_size=5,
    ),
    seed=st.integers(0, 10**6),
)
def test_every_sentence_is_supported_for_any_record(forms, diseases, levels, seed):
    note = "\n".join(f"Past history: {form}." for form in forms)
    columns = {}
    for name, shares in levels:
        channel = CHANNELS[NAMES.index(name)]
        low, high = channel["mean"] - 3 * channel["std"], channel["mean"] + 3 * channel["std"]
        low, high = max(low, channel["minimum"]), min(high, channel["maximum"])
        digits = channel["decimals"]
        columns[name.replace(" ", "_")] = [round(low + share * (high - low), digits) for share in shares]
    lab = series(**columns)
    note_text, lab_text = composer().rationale(note, *lab, diseases, random.Random(seed))
    argued = [[s.text for s in part if s.diseases and "unexplained" not in s.text] for part in (note_text, lab_text)]
    assert not faults(note, lab, *argued)
    texts = [s.text for s in (*note_text, *lab_text)]
    assert len(texts) == len(set(texts))
    assert {d for s in (*note_text, *lab_text) for d in s.diseases} == set(diseases)


def test_a_missing_function_comes_last_in_a_list_and_negates_nothing_else():
    note = "Past history: no urine output.\nPast history: oliguria."
    texts = set()
    for seed in range(40):
        sentences, _ = composer().rationale(note, *series(), [RENAL], random.Random(seed), ("note",))
        texts |= {sentence.text for sentence in sentences}
        assert not faults(note, series(), [sentence.text for sentence in sentences], [])
    assert any("oliguria and no urine output" in text.lower() for text in texts)


def test_a_disease_that_the_note_names_is_explained_though_its_name_supports_another():
    note = "Reason for admission: Renal failure, acute"
    for seed in range(20):
        sentences, _ = composer().rationale(note, *series(), [RENAL, FLUIDS], random.Random(seed), ("note",))
        claims = [c for s in sentences for c in argue(check_note_claims(s.text, note, links()), s.text, links())]
        assert {d for claim in claims if claim.verdict == "supported" for d in claim.diagnoses} == {RENAL, FLUIDS}


def test_sentences_of_an_empty_part_state_no_finding_and_no_value():
    note = "Productive cough, the text rests on the table. No fever."
    for sentence in (NO_NOTE, *NO_SIGN["note"], NO_FINDING["note"]):
        assert check_note_claims(sentence, note) == []
    values = np.full((2, len(CHANNELS)), 90.0)
    for sentence in (NO_SERIES, *NO_SIGN["lab"], NO_FINDING["lab"]):
        claims = check_claims(sentence, CHANNELS, np.array([1.0, 2.0]), values)
        assert not [claim for claim in claims if claim.channel]


@settings(max_examples=100)
@given(
    forms=st.lists(st.sampled_from(FORMS), max_size=8),
    denied=st.lists(st.booleans(), min_size=8, max_size=8),
    diseases=st.sets(st.sampled_from(LABELS), max_size=5),
)
def test_findings_of_some_diseases_are_those_of_all_that_are_linked_with_them(forms, denied, diseases):
    note = "\n".join(f"{'No ' if no else ''}{form}." for form, no in zip(forms, denied, strict=False))
    linked = [finding for finding in links().find_in_note(note) if finding.diseases & diseases]
    assert [f for f in links().find_in_note(note, diseases) if f.diseases & diseases] == linked
