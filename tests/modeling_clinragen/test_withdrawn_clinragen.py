# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis that a note gives up again, calls wrong or unlikely, or corrects later is no finding."""

import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import PHENOTYPES
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.note_claims_clinragen import check_note_claims


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("HD1: STEMI. HD2 correction: not STEMI, pericarditis.", "stemi"),
        ("Admitted with pneumonia. Addendum: no pneumonia on final read.", "pneumonia"),
        ("Stroke on CT. Final diagnosis: not a stroke, migraine.", "stroke"),
        ("Initially thought to have pneumonia, but CT showed pulmonary embolism only.", "pneumonia"),
        ("Was thought to be septic; subsequently determined to be adrenal crisis.", "septic"),
        ("First felt to be a stroke, later Todd's paralysis.", "stroke"),
        ("Initially treated as sepsis but found to have pancreatitis.", "sepsis"),
        ("Originally diagnosed with NSTEMI; final diagnosis takotsubo.", "nstemi"),
        ("Initial impression was GI bleed, later found to be epistaxis.", "gi bleed"),
        ("Sepsis was entertained but cultures negative.", "sepsis"),
        ("Carries incorrect dx of COPD.", "copd"),
        ("Chart erroneously lists COPD.", "copd"),
        ("COPD - incorrect diagnosis.", "copd"),
        ("CKD listed in error.", "ckd"),
        ("CKD - added to problem list by mistake", "ckd"),
        ("Pneumonia (entered in error).", "pneumonia"),
        ("Diabetes removed from problem list, A1c 5.2", "diabetes"),
        ("Misdiagnosed with CHF last year.", "chf"),
        ("Mislabeled as having COPD; PFTs normal.", "copd"),
        ("Dx of CHF changed to cirrhosis.", "chf"),
        ("Pneumonia: felt unlikely", "pneumonia"),
        ("Sepsis appears improbable", "sepsis"),
        ("Sepsis doubtful.", "sepsis"),
        ("BNP 40, inconsistent with CHF", "chf"),
        ("No longer felt to be septic.", "septic"),
    ],
)
def test_a_withdrawn_diagnosis_is_no_finding(find, note, finding):
    assert finding not in find(note)


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("Previously misdiagnosed as asthma; has COPD", "copd"),
        ("Pneumonia misdiagnosed as bronchitis at OSH", "pneumonia"),
        ("Initially treated for pneumonia, then developed septic shock", "pneumonia"),
        ("Admitted for pneumonia, found to have PE", "pneumonia"),
        ("Initially thought to be viral illness but found to have pneumonia", "pneumonia"),
        ("Presumed sepsis, later cultures positive", "sepsis"),
        ("Respiratory failure was felt to be due to pneumonia. Later extubated", "pneumonia"),
        ("Pneumonia. Addendum: no pneumothorax.", "pneumonia"),
        ("CVA. Correction: the CVA was left sided.", "cva"),
        ("Sepsis with shock, unlikely to recover", "sepsis"),
        ("CHF, unlikely ischemic", "chf"),
        ("GI bleed, corrected coagulopathy with FFP", "gi bleed"),
        ("COPD, antibiotics changed to levofloxacin", "copd"),
    ],
)
def test_a_diagnosis_that_stands_is_a_finding(find, note, finding):
    assert finding in find(note)


def test_a_claim_of_a_withdrawn_diagnosis_is_contradicted():
    (claim,) = check_note_claims("COPD is recorded in the note.", "Carries incorrect dx of COPD.")
    assert claim.verdict == "contradicted"


def test_a_correction_denies_the_diagnosis():
    links = KnowledgeLinks(builtin_knowledge()["terms"], [phenotype["name"] for phenotype in PHENOTYPES])
    assert links.denied_in("Sepsis. Correction: not sepsis, drug fever.") == {"Septicemia (except in labor)"}
    assert links.denied_in("Sepsis. Later: not sepsis.") == frozenset()
