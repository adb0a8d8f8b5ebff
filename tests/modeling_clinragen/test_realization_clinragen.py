# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The wording of composed sentences: nouns, number, capitals and articles, and verbs as strong as the values."""

import re
from functools import cache

import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen.links_clinragen import NoteFinding
from modeling_clinragen.note_claims_clinragen import check_note_claims
from modeling_clinragen.nouns_clinragen import is_plural, with_article
from modeling_clinragen.wellformed_clinragen import is_well_formed
from tests.modeling_clinragen.composed import (
    AMI,
    BLEEDING,
    CHF,
    DIABETES,
    DYSRHYTHMIAS,
    FLUIDS,
    HYPERTENSION,
    KIDNEY,
    LIPIDS,
    LIVER,
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


CONDUCTION = "Conduction disorders"
COMPLICATED_DIABETES = "Diabetes mellitus with complications"
UPPER = "Other upper respiratory disease"
STRONG_WORDS = re.compile("indicat|point|favor")
ARGUES = re.compile(r"fit|compatible|consistent|keeping|suggest|support|indicat|point|favor|likely")
SEEDS = range(40)


def of_note(note, disease, diseases=None):
    """The sentences of a note with one finding, for several seeds; each is supported, linked and well formed."""
    texts = []
    for seed in SEEDS:
        sentences, _ = composed(note, series(), diseases or [disease], seed, modalities=("note",))
        assert sentences
        assert "unexplained" not in " ".join(sentences), sentences
        assert not faults(note, series(), sentences, []), sentences
        for text in sentences:
            assert is_well_formed(text, "note", links().find_diagnoses(text)), text
        texts += sentences
    return texts


@cache
def of_series(disease, *also, **columns):
    """The sentences of series, for several seeds; each is supported, linked and well formed."""
    lab, texts = series(**{name: list(values) for name, values in columns.items()}), []
    for seed in SEEDS:
        sentences = composed("x", lab, [disease, *also], seed)[1]
        sentences = [text for text in sentences if "unexplained" not in text and "listed disease" not in text]
        assert not faults("x", lab, [], sentences), sentences
        texts += sentences
    return texts


@pytest.mark.parametrize(
    ("channel", "values", "disease", "is_strong"),
    [
        ("Fraction_inspired_oxygen", (0.24, 0.24), RESPIRATORY, False),
        ("Fraction_inspired_oxygen", (0.35, 0.35), RESPIRATORY, False),
        ("Fraction_inspired_oxygen", (0.4, 0.4), RESPIRATORY, True),
        ("pH", (7.30, 7.31), FLUIDS, False),
        ("pH", (7.47, 7.48), FLUIDS, False),
        ("pH", (7.60, 7.58), FLUIDS, True),
        ("Oxygen_saturation", (89.0, 89.0), RESPIRATORY, False),
        ("Oxygen_saturation", (82.0, 89.0), RESPIRATORY, True),
        ("Systolic_blood_pressure", (88.0, 87.0, 86.0), SHOCK, False),
        ("Systolic_blood_pressure", (74.0, 87.0, 86.0), SHOCK, True),
        ("Glucose", (185.0, 182.0), DIABETES, False),
        ("Glucose", (320.0, 310.0), DIABETES, True),
    ],
)
def test_a_verb_is_as_strong_as_the_value(channel, values, disease, is_strong):
    texts = of_series(disease, **{channel: values})
    assert texts
    assert bool(STRONG_WORDS.search(" ".join(texts).lower())) == is_strong, texts


@pytest.mark.parametrize(
    ("channel", "values", "disease"),
    [
        ("Fraction_inspired_oxygen", (0.22, 0.22, 0.23), RESPIRATORY),
        ("pH", (7.46, 7.46), FLUIDS),
        ("pH", (7.34, 7.34), FLUIDS),
        ("Heart_Rate", (101.0, 102.0, 101.0), SEPSIS),
    ],
)
def test_a_value_little_beyond_a_usual_limit_is_no_evidence(channel, values, disease):
    assert not of_series(disease, **{channel: values})


@pytest.mark.parametrize(
    ("columns", "disease", "evident"),
    [
        ({"Oxygen_saturation": [97, 60, 98, 97]}, RESPIRATORY, False),
        ({"Respiratory_rate": [16, 18, 60, 17]}, RESPIRATORY, False),
        ({"Heart_Rate": [80, 150, 90]}, DYSRHYTHMIAS, False),
        ({"Temperature": [36.8, 39.5, 36.9, 37.0]}, SEPSIS, False),
        ({"Systolic_blood_pressure": [120, 70, 118, 121]}, SHOCK, False),
        ({"Oxygen_saturation": [97, 60]}, RESPIRATORY, True),
        ({"Oxygen_saturation": [60]}, RESPIRATORY, True),
        ({"Oxygen_saturation": [97, 60, 85, 97]}, RESPIRATORY, True),
        ({"pH": [7.38, 7.1, 7.37, 7.39]}, FLUIDS, True),  # drawn a few times
        ({"Glucose": [110, 400, 120, 115]}, DIABETES, True),
    ],
)
def test_a_single_value_of_a_monitor_among_several_is_an_artefact(columns, disease, evident):
    assert bool(composer().evidence("", *series(**columns), [disease])[disease].series) == evident


@pytest.mark.parametrize(
    ("columns", "evident"),
    [
        ({"Diastolic_blood_pressure": [40, 46, 44], "Systolic_blood_pressure": [149, 155, 150]}, False),
        ({"Diastolic_blood_pressure": [40, 46, 44], "Mean_blood_pressure": [85, 88, 86]}, False),
        ({"Diastolic_blood_pressure": [40, 46, 44], "Systolic_blood_pressure": [75, 80, 78]}, True),
        ({"Diastolic_blood_pressure": [40, 46, 44], "Mean_blood_pressure": [50, 55, 52]}, True),
        ({"Diastolic_blood_pressure": [40, 46, 44]}, True),
    ],
)
def test_a_low_diastolic_pressure_beside_others_that_are_not_low_is_no_shock(columns, evident):
    assert bool(composer().evidence("", *series(**columns), [SHOCK])[SHOCK].series) == evident


def test_the_model_still_reads_what_is_too_weak_to_be_stated():
    lab = series(Fraction_inspired_oxygen=[0.22, 0.22], Oxygen_saturation=[97, 60, 98, 97])
    read = {finding.channel["name"] for finding in composer().series_evidence(*lab, [RESPIRATORY])[RESPIRATORY]}
    assert read == {"Fraction inspired oxygen", "Oxygen saturation"}
    assert not composer().evidence("", *lab, [RESPIRATORY])[RESPIRATORY].series


def test_a_level_that_two_diagnoses_share_gets_no_strong_verb():
    texts = of_series(DIABETES, COMPLICATED_DIABETES, Glucose=(320.0, 310.0, 300.0))
    shared = [text for text in texts if "without" in text and "with complications" in text]
    assert shared
    assert not STRONG_WORDS.search(" ".join(shared).lower()), shared


@pytest.mark.parametrize(("last", "is_still"), [(148.0, False), (240.0, True)])
def test_still_is_said_of_a_value_beyond_the_clear_limit(last, is_still):
    texts = of_series(DIABETES, Glucose=(1120.0, 900.0, 600.0, last))
    assert any("still" in text for text in texts) == is_still, texts


@pytest.mark.parametrize(
    ("note", "disease", "noun"),
    [
        ("Tachycardic.", DYSRHYTHMIAS, "tachycardia"),
        ("Brady overnight.", DYSRHYTHMIAS, "bradycardia"),
        ("Acidotic.", FLUIDS, "acidosis"),
        ("She is hypokalemic.", FLUIDS, "hypokalemia"),
        ("Cirrhotic.", BLEEDING, "cirrhosis"),
        ("Jaundiced.", LIVER, "jaundice"),
        ("He is aphasic.", STROKE, "aphasia"),
        ("Diaphoretic.", AMI, "diaphoresis"),
        ("Hypertensive.", HYPERTENSION, "hypertension"),
        ("Diabetic.", DIABETES, "diabetes"),
        ("Dehydrated.", RENAL, "dehydration"),
        ("Volume overloaded.", FLUIDS, "volume overload"),
        ("Neutropenic.", SEPSIS, "neutropenia"),
        ("Bacteremic.", SEPSIS, "bacteremia"),
        ("Coagulopathic.", BLEEDING, "coagulopathy"),
        ("Hoarse.", UPPER, "hoarseness"),
        ("He vomited.", FLUIDS, "vomiting"),
        ("Syncopal.", CONDUCTION, "syncope"),
        ("Itchy.", KIDNEY, "itching"),
        ("Hypercapnic.", RESPIRATORY, "hypercapnia"),
        ("Septic.", RENAL, "sepsis"),
        ("Dull to percussion.", PLEURA, "dullness to percussion"),
        ("Lightheaded on standing.", BLEEDING, "being lightheaded on standing"),
        ("Breath sounds absent on one side.", PLEURA, "absent breath sounds on one side"),
        ("With retractions.", RESPIRATORY, "retractions"),
        ("Renal failure - hemodialysis", KIDNEY, "renal failure on hemodialysis"),
        ("JVD present.", CHF, "jvd"),
    ],
)
def test_adjectives_and_verbs_of_a_note_are_stated_as_nouns(note, disease, noun):
    for text in of_note(note, disease):
        assert re.search(rf"\b{noun}\b", text.lower()), text


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("PVCs", True), ("rhonchi", True), ("gram positive cocci", True), ("retractions", True), ("numb feet", True),
        ("bacteria in the blood", True), ("emboli", True), ("crackles at one base", True), ("JVD", False),
        ("being lightheaded on standing", False), ('"sleeps on three pillows"', False), ("ascites", False),
        ('the finding "complications of prev"', False), ("the use of statins", False), ("PVC", False),
        ("cirrhosis", False), ("episodes of fast heart rate", True),
    ],
)  # fmt: skip
def test_the_number_of_a_noun_phrase_is_that_of_its_head(phrase, expected):
    assert is_plural(phrase) == expected


@pytest.mark.parametrize(
    ("note", "disease"),
    [
        ("PVCs.", DYSRHYTHMIAS),
        ("Rhonchi.", PNEUMONIA),
        ("Gram positive cocci.", SEPSIS),
        ("With retractions.", RESPIRATORY),
    ],
)
def test_a_plural_gets_a_plural_verb(note, disease):
    for text in of_note(note, disease):
        assert not re.search(r"which (?:is|\w+s)\b|(?:PVCs|retractions|honchi|cocci)(?: in the note)? is", text), text


@pytest.mark.parametrize(
    ("note", "disease", "written"),
    [
        ("NSTEMI", AMI, "NSTEMI"),
        ("STEMI", AMI, "STEMI"),
        ("2 units of pRBCs", BLEEDING, "pRBCs"),
        ("HYPERTENSION", HYPERTENSION, "hypertension"),
        ("on lipitor and zocor", LIPIDS, "Lipitor and Zocor"),
        ("on LIPITOR", LIPIDS, "Lipitor"),
        ("cultures grew klebsiella pneumoniae", SEPSIS, "Klebsiella pneumoniae"),
        ("Klebsiella Pneumoniae", SEPSIS, "Klebsiella pneumoniae"),
        ("Wolff-Parkinson-White syndrome", CONDUCTION, "Wolff-Parkinson-White syndrome"),
        ("Kussmaul breathing", COMPLICATED_DIABETES, "Kussmaul breathing"),
        ("CHF EXACERBATION", RESPIRATORY, "CHF exacerbation"),
        ("Upper GI Bleeding", BLEEDING, "pper GI bleeding"),
        ("Sleep apnea", UPPER, "leep apnea"),
    ],
)
def test_names_keep_their_capitals(note, disease, written):
    for text in of_note(note, disease):
        assert written in text or written.capitalize() in text.split(".")[0], text
        assert '"' not in text, text


@pytest.mark.parametrize(
    ("note", "disease", "written"),
    [
        ("On insulin", DIABETES, "the use of insulin"),
        ("On a statin", LIPIDS, "the use of a statin"),
        ("statin", LIPIDS, "the use of a statin"),
        ("statins", LIPIDS, "the use of statins"),
        ("Ventilator", RESPIRATORY, "a ventilator"),
        ("friction rub", PLEURA, "a friction rub"),
        ("Foot ulcer", COMPLICATED_DIABETES, "a foot ulcer"),
        ("Ulcer on the foot", COMPLICATED_DIABETES, "an ulcer on the foot"),
        ("New infiltrate", PNEUMONIA, "a new infiltrate"),
        ("worst headache of life", STROKE, "the worst headache of life"),
        ("Fever after operation", "Complications of surgical procedures or medical care", "fever after operation"),
    ],
)
def test_countable_nouns_have_an_article_and_prepositions_are_left_out(note, disease, written):
    for text in of_note(note, disease):
        assert written in text or text.startswith(written[0].upper() + written[1:]), text


def test_a_quotation_starts_with_a_capital_at_the_start_of_a_sentence():
    texts = of_note("She sleeps on three pillows.", CHF)
    assert any(text.startswith('"Sleeps on three pillows"') for text in texts)
    assert not any(text.startswith('"s') for text in texts)


@pytest.mark.parametrize(
    ("noun", "written"),
    [
        ("IABP", "an IABP"), ("ulcer", "an ulcer"), ("nodule", "a nodule"), ("urinary catheter", "a urinary catheter"),
        ("NG tube", "an NG tube"), ("an ulcer", "an ulcer"), ("foot ulcers", "foot ulcers"), ("ascites", "ascites"),
    ],
)  # fmt: skip
def test_the_article_fits_the_sound(noun, written):
    assert with_article(noun) == written


@pytest.mark.parametrize(
    ("note", "disease"),
    [
        ("Aspiration pneumonia", PNEUMONIA),
        ("Resp failure", RESPIRATORY),
        ("Septic shock", SHOCK),
        ("Renal failure, acute", RENAL),
        ("Arrest, respiratory", RESPIRATORY),
    ],
)
def test_a_name_of_the_disease_is_no_argument_for_it(note, disease):
    for text in of_note(note, disease):
        assert not ARGUES.search(text), text


@pytest.mark.parametrize(
    ("text", "term_type", "disease", "is_name"),
    [
        ("aspiration pneumonia", "history", PNEUMONIA, True),
        ("Resp failure", "name", RESPIRATORY, True),
        ("family history of diabetes", "history", DIABETES, False),
        ("old myocardial infarction", "history", AMI, False),
        ("chronic renal failure", "name", RENAL, False),
        ("pneumonia", "history", SEPSIS, False),
        ("ventilator", "procedure", RESPIRATORY, False),
        ("diabetes drug", "drug", DIABETES, False),
    ],
)
def test_a_kind_of_the_disease_names_it_and_a_risk_does_not(text, term_type, disease, is_name):
    finding = NoteFinding(text, 0, len(text), text, term_type, {text: frozenset({disease})})
    assert composer().realizer.is_name(finding, disease) == is_name


@cache
def forms():
    return [form for term in builtin_knowledge()["terms"] for form in (term["term"], *term["synonyms"])]


def test_every_form_of_the_knowledge_is_a_noun_phrase_that_the_checker_accepts():
    realizer, wrong = composer().realizer, []
    for form in forms():
        for finding in links().find_in_note(f"{form}."):
            text = f"The note mentions {realizer.noun(finding)}."
            verdicts = {claim.verdict for claim in check_note_claims(text, f"{form}.") if claim.kind != "other"}
            wrong += [(form, text)] if verdicts - {"supported"} else []
    assert not wrong
