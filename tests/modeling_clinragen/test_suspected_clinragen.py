# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Call possible what a note only suspects, take it for weak evidence, and never document it as a fact."""

import random
import re
from functools import cache

import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import PHENOTYPES
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.note_claims_clinragen import check_note_claims
from tests.modeling_clinragen.composed import PNEUMONIA, SEPSIS, composer, faults, links, series


@cache
def builtin_links():
    return KnowledgeLinks(builtin_knowledge()["terms"], [phenotype["name"] for phenotype in PHENOTYPES])


NOTES = [
    "Concern for pneumonia, productive cough.",
    "? pneumonia. Productive cough.",
    "Pneumonia? Productive cough.",
    "Productive cough. Pneumonia is suspected.",
    "Productive cough, possible pneumonia.",
    "Productive cough. Pneumonia versus edema.",
    "Productive cough. Pneumonia: possible",
    "Productive cough.\nClinical history: pneumonia\nFindings: clear lungs",
]


def sentences(note, diseases):
    for seed in range(12):
        part, _ = composer().rationale(note, *series(), diseases, random.Random(seed))
        yield from (sentence.text for sentence in part)


@pytest.mark.parametrize("note", NOTES)
def test_a_suspected_disease_is_called_possible(note):
    for text in sentences(note, [PNEUMONIA]):
        assert re.search(r"\bpossible pneumonia", text, re.IGNORECASE), text
        assert not faults(note, series(), [text], [])


@pytest.mark.parametrize(
    "note", ["Concern for pneumonia. CT shows pneumonia.", "Pneumonia. Possible empyema.", "Admitted for pneumonia."]
)
def test_what_is_certain_somewhere_is_stated_as_it_is(note):
    for text in sentences(note, [PNEUMONIA]):
        assert "possible pneumonia" not in text.lower()


def test_suspected_findings_are_weak_evidence():
    for text in sentences("Concern for bacteremia.", [SEPSIS]):
        assert re.search("possible bacteremia", text, re.IGNORECASE)
        assert not re.search(r"\b(?:indicat|point|likely|support)", text), text


@pytest.mark.parametrize(
    ("finding", "noun"),
    [
        ("subdural hematoma", "a possible subdural hematoma"),
        ("stroke", "a possible stroke"),
        ("PVCs", "possible PVCs"),
        ("CHF", "possible CHF"),
    ],
)
def test_possible_stands_after_the_article(finding, noun):
    (found,) = links().find_in_note(f"Concern for {finding}.")
    assert found.suspected
    assert composer().realizer.noun(found) == noun


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The note documents pneumonia.", "unverifiable"),
        ("Pneumonia is documented in the note.", "unverifiable"),
        ("Pneumonia is recorded in the note.", "unverifiable"),
        ("The note documents possible pneumonia.", "supported"),
        ("Possible pneumonia is recorded in the note.", "supported"),
        ("Possible pneumonia is documented in the note.", "supported"),
        ("The note mentions pneumonia.", "supported"),
    ],
)
@pytest.mark.parametrize("note", NOTES)
def test_only_a_certain_disease_is_documented(note, text, verdict):
    (claim,) = check_note_claims(text, note)
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("INDICATION: pneumonia\nFINDINGS: Atelectasis.", "pneumonia"),
        ("REASON FOR EXAM: eval for pneumothorax", "pneumothorax"),
        ("Question: stroke? Answer: none.", "stroke"),
        ("CTA to look for GI bleed", "gi bleed"),
        ("CXR to eval pneumonia", "pneumonia"),
        ("TTE to assess for heart failure", "heart failure"),
        ("r/o sepsis", "sepsis"),
        ("Rule out stroke", "stroke"),
        ("ddx includes sepsis, cardiogenic shock, GI bleed", "gi bleed"),
        ("DDX: 1) PNA 2) CHF 3) PE", "chf"),
        ("DDx:\n- sepsis\n- GI bleed", "gi bleed"),
        ("The differential for his dyspnea remains CHF, COPD, and ILD.", "copd"),
        ("Sepsis vs. hypovolemia.", "sepsis"),
        ("Sepsis vs. hypovolemia.", "hypovolemia"),
        ("Cannot exclude pneumonia.", "pneumonia"),
        ("Pneumonia cannot be excluded.", "pneumonia"),
    ],
)
def test_an_indication_or_an_item_of_a_differential_is_suspected(note, finding):
    found = {one.text.lower(): one.suspected for one in builtin_links().find_in_note(note)}
    assert found[finding]


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("Reason for admission: pneumonia", "pneumonia"),
        ("INDICATION: 70M with COPD and cough", "copd"),
        ("INDICATION: fever, cough", "cough"),
        ("INDICATION: cough\nIMPRESSION: pneumonia", "pneumonia"),
        ("The differential for his dyspnea remains ILD.", "dyspnea"),
        ("ddx included PE but found to have pneumonia", "pneumonia"),
        ("CBC with differential. Sepsis.", "sepsis"),
    ],
)
def test_what_is_stated_beside_is_certain(note, finding):
    found = {one.text.lower(): one.suspected for one in builtin_links().find_in_note(note)}
    assert not found[finding]
