# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What a note only suspects is called possible, is weak evidence, and is never documented as a fact."""

import random
import re

import pytest

from modeling_clinragen.note_claims_clinragen import check_note_claims
from tests.modeling_clinragen.test_composition_clinragen import PNEUMONIA, SEPSIS, composer, faults, links, series


NOTES = [
    "Concern for pneumonia, productive cough.",
    "? pneumonia. Productive cough.",
    "Pneumonia? Productive cough.",
    "Productive cough. Pneumonia is suspected.",
    "Productive cough, possible pneumonia.",
    "Productive cough. Pneumonia versus edema.",
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
        ("The note documents possible pneumonia.", "supported"),
        ("Possible pneumonia is documented in the note.", "supported"),
        ("The note mentions pneumonia.", "supported"),
    ],
)
@pytest.mark.parametrize("note", NOTES)
def test_only_a_certain_disease_is_documented(note, text, verdict):
    (claim,) = check_note_claims(text, note)
    assert claim.verdict == verdict
