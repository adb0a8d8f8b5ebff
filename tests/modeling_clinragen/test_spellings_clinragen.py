# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis is mentioned in its British spelling, and with an abbreviation, too."""

import pytest

from modeling_clinragen.note_claims_clinragen import DiagnosisFinder
from tests.modeling_clinragen.composed import links


@pytest.mark.parametrize(
    ("name", "mention"),
    [
        ("Septicemia", "Septicaemia"),
        ("bacteremia", "bacteraemia"),
        ("hemothorax", "haemothorax"),
        ("hyperkalemia", "hyperkalaemia"),
        ("hyponatremia", "hyponatraemia"),
        ("dyslipidemia", "dyslipidaemia"),
        ("pulmonary edema", "pulmonary oedema"),
        ("ischemic stroke", "ischaemic stroke"),
        ("sleep apnea", "sleep apnoea"),
        ("hemothorax due to ischemia", "haemothorax due to ischaemia"),
        ("pneumothorax", "PTX"),
        ("tension pneumothorax", "tension ptx"),
        ("respiratory failure", "resp failure"),
        ("haemothorax", "haemothorax"),
    ],
)
def test_mention_in_another_spelling(name, mention):
    find = DiagnosisFinder({"A": [name], "B": ["cough"]})
    assert [found.labels for found in find(f"The note documents {mention}.")] == [{"A"}]


@pytest.mark.parametrize(
    "note", ["Melaena overnight.", "Haematemesis.", "Septicaemia.", "Pulmonary oedema on the film."]
)
def test_a_finding_of_a_note_in_british_spelling(note):
    assert links().find_in_note(note)
