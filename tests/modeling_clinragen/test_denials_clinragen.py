# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis that the note denies by a name of the whole disease is argued for by nothing in the record."""

import random

import numpy as np
import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import CHANNELS, PHENOTYPES
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.composition_clinragen import Composer
from modeling_clinragen.links_clinragen import KnowledgeLinks, argue
from modeling_clinragen.note_claims_clinragen import check_note_claims


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
AMI, SHOCK, STROKE = "Acute myocardial infarction", "Shock", "Acute cerebrovascular disease"
SEPSIS, BLEEDING = "Septicemia (except in labor)", "Gastrointestinal hemorrhage"
COPD = "Chronic obstructive pulmonary disease and bronchiectasis"
PNEUMONIA = next(label for label in LABELS if label.startswith("Pneumonia"))
DIABETES, HYPERTENSION = "Diabetes mellitus without complication", "Essential hypertension"
NAMES = [channel["name"] for channel in CHANNELS]


@pytest.fixture(scope="module")
def links():
    return KnowledgeLinks(builtin_knowledge()["terms"], LABELS, CHANNELS)


@pytest.fixture(scope="module")
def composer(links):
    return Composer(links, CHANNELS, LABELS)


def low_pressures():
    values = np.full((6, len(CHANNELS)), np.nan)
    values[:, NAMES.index("Systolic blood pressure")] = 75
    return np.arange(6.0), values


@pytest.mark.parametrize(
    ("note", "denied"),
    [
        ("No COPD. Wheezing, albuterol.", {COPD}),
        ("Ruled out for MI. ST depressions.", {AMI}),
        ("Troponin elevation, not ACS.", {AMI}),
        ("CT negative for stroke. Unresponsive.", {STROKE}),
        ("Not in shock. Hypotensive.", {SHOCK}),
        ("No evidence of sepsis. Fever, vancomycin.", {SEPSIS}),
        ("No diabetes. On insulin.", {DIABETES}),
        ("Current smoker, no COPD.", {COPD}),
        ("No PNA, no GI bleed.", {PNEUMONIA, BLEEDING}),
        ("No history of stroke. Hemiparesis.", set()),  # it may be the first
        ("Denies history of COPD, CHF. Wheezing.", set()),
        ("No STEMI. Chest pain.", set()),  # one kind
        ("No active GI bleed. Melena yesterday.", set()),
        ("No COPD exacerbation.", set()),
        ("CXR without pneumonia. Day 3: pneumonia of the right lung.", set()),
        ("No pulmonary hypertension.", set()),
        ("REASON: rule out stroke. Slurred speech.", set()),  # an order, no result
        ("r/o sepsis. Cultures positive: Escherichia coli.", set()),
        ("MI rule-out in progress, troponin elevation.", set()),
        ("Normal troponins rule out MI.", {AMI}),
        ("r/o'd for MI. Chest pain.", {AMI}),
        ("Now ruled out for MI.", {AMI}),
        ("Stroke ruled out today.", {STROKE}),
        ("No shock overnight. On norepinephrine.", set()),  # one moment
        ("no GI bleed yesterday. Hematemesis at 0300.", set()),
        ("no MI on admission ECG; ST elevation at 6h", set()),
        ("Initial CT no stroke. Aphasia.", set()),
        ("No pneumonia at this time.", set()),
        ("No stroke symptoms until today.", set()),
        ("No HTN meds given.", set()),  # a treatment
        ("No shock today, MI ruled out.", {AMI}),
        ("Mother without diabetes.", set()),
        ("Pneumonia.", set()),
    ],
)
def test_a_diagnosis_is_denied_by_a_name_of_the_whole_disease(links, note, denied):
    assert links.denied_in(note) == denied


def test_a_diagnosis_that_the_note_denies_is_argued_for_by_nothing(composer, links):
    note, series = "Not in shock. Ruled out for MI. Hypotensive, ST depressions. Wheezing.", low_pressures()
    evidence = composer.evidence(note, *series, [SHOCK, AMI, COPD])
    assert not any((evidence[d].note, evidence[d].series) != ([], []) for d in (SHOCK, AMI))
    assert evidence[COPD].note
    for seed in range(20):
        parts = composer.rationale(note, *series, [SHOCK, AMI, COPD], random.Random(seed))
        (about,) = [s.text for part in parts for s in part if SHOCK in s.diseases]
        assert about == "Acute myocardial infarction and shock are left unexplained by this text." or about == (
            "Shock and acute myocardial infarction are left unexplained by this text."
        )


def test_no_finding_argues_for_what_the_note_denies(links):
    note, text = "No COPD. Wheezing.", "Wheezing suggests COPD."
    (claim,) = argue(check_note_claims(text, note), text, links, note)
    assert (claim.verdict, claim.argument) == ("supported", "unlinked")
    (claim,) = argue(check_note_claims(text, note), text, links, "Wheezing.")
    assert claim.argument == "linked"
    text = "Systolic blood pressure was down to 75 mmHg, which indicates shock."
    (claim,) = argue(check_claims(text, CHANNELS, *low_pressures()), text, links, "Not in shock.")
    assert (claim.verdict, claim.argument) == ("supported", "unlinked")
