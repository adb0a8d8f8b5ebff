# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The layout of a note changes nothing in what it states: wrapped lines, doubled blanks, and blanks of other kinds."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_clinragen.language_clinragen import ENGLISH
from tests.modeling_clinragen.composed import LABELS, composer, series


SENTENCES = [
    "There is no evidence of pneumonia.",
    "He was treated with warfarin for DVT and remained stable.",
    "The patient's brother has CHF.",
    "He had a stroke several years back.",
    "Chest pain from costochondritis.",
    "EGD was not done.",
    "No improvement in pneumonia after five days of antibiotics.",
    "She is in septic shock on norepinephrine.",
    "Former smoker, no history of CAD, CHF, COPD or CKD.",
]


def evidence(note):
    found = composer().evidence(note, *series(), LABELS)
    return {
        label: [" ".join(finding.text.lower().split()) for finding in part.note]
        for label, part in found.items()
        if part.note
    }


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("shape", [str, str.upper])
@pytest.mark.parametrize("newline", ["\n", "\r\n", " \n", "\n    "])
@pytest.mark.parametrize("shift", [0, 7, 14, 21, 28])
def test_a_wrapped_note_states_the_same(sentence, shape, newline, shift):
    filler = "The plan of care was reviewed in detail with him today and with the nurses of the unit"[: 55 + shift]
    note = shape(f"{filler.rsplit(' ', 1)[0]}. {sentence} He is comfortable in bed.")
    assert evidence(newline.join(textwrap.wrap(note, 75))) == evidence(note)


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("blank", ["  ", "\xa0", "\u2009"])
def test_other_blanks_state_the_same(sentence, blank):
    words = sentence.split(" ")
    for place in range(1, len(words)):
        if words[place][0].islower() or len(blank) == 1:
            note = " ".join(words[:place]) + blank + " ".join(words[place:])
            assert evidence(note) == evidence(sentence)


@pytest.mark.parametrize(
    "note",
    [
        "Fever\nCough\nRash",
        "- no fever\n- cough",
        "Denies chest pain, fever or cough at this time in the unit\nDiabetes, on insulin",
        "No known history of coronary disease.\nHypertension",
        "Assessment: pneumonia, on ceftriaxone since the admission\nPlan: no surgery",
        "Cough\tno\nFever\tyes",
        "Problem  Status",
        "No fever\n\ncough",
    ],
)
def test_lines_of_a_list_and_fields_stay_apart(note):
    assert ENGLISH.read(note).text == note


@given(st.text(alphabet="ab N.,:-\n\t\r\xa0 ", max_size=200))
def test_places_are_mapped_back_to_the_note(note):
    read = ENGLISH.read(note)
    for start in range(len(read.text)):
        if read.text[start].isalpha():
            assert note[read.back(start, start + 1)[0]] == read.text[start]


@pytest.mark.parametrize("note", ["He has no\nfever.", "He has no  fever.", "He has no\xa0fever."])
def test_findings_have_their_span_in_the_note_as_written(note):
    read = ENGLISH.read(note)
    start = read.text.index("fever")
    assert note[slice(*read.back(start, start + 5))] == "fever"
