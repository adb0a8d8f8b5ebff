# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Numeric slots: the numbers of a rationale that they replace, and the values that fill them."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_clinragen.clinical_clinragen import CHANNELS
from modeling_clinragen.composition_clinragen import Composer
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.slots_clinragen import NO_VALUE, NumericSlots, often


NAMES = [channel["name"] for channel in CHANNELS]
HOURS = np.array([0.0, 1.5, 2.0, 7.6])
SLOTS = NumericSlots(CHANNELS)


def series(**columns):
    values = np.full((len(HOURS), len(CHANNELS)), np.nan)
    for name, column in columns.items():
        values[:, NAMES.index(name.replace("_", " "))] = column
    return values


VALUES = series(Heart_Rate=[96, 131, 88, 104], Systolic_blood_pressure=[118, 84, np.nan, 101], Temperature=[37.25] * 4)
VALUES[:2, NAMES.index("Fraction inspired oxygen")] = (0.4, 0.65)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Heart rate up to 131 /min fits Shock.", "Heart rate up to [highest] /min fits Shock."),
        (
            "Tachycardia (up to 131 /min at hour 2) supports it.",
            "Tachycardia (up to [highest] /min at hour [hour of highest]) supports it.",
        ),
        (
            "Heart Rate rose from 96 to 131 at hour 2 and was 104 at the end.",
            "Heart Rate rose from [first] to [highest] at hour [hour of highest] and was [last] at the end.",
        ),
        (
            "Systolic blood pressure fell from 118 to 84 mmHg, and heart rate was 104 at the end.",
            "Systolic blood pressure fell from [first] to [lowest] mmHg, and heart rate was [last] at the end.",
        ),
        ("Heart rate was above normal twice.", "Heart rate was above normal [times above]."),
        ("Systolic blood pressure was below normal once.", "Systolic blood pressure was below normal [times below]."),
        ("Inspired oxygen was 40% at the start.", "Inspired oxygen was [first]% at the start."),
        ("A peak heart rate of 131 /min fits. Weight?", "A peak heart rate of [highest] /min fits. Weight?"),
        # no number of the record, or none of a channel that is named
        ("Heart rate up to 140 /min, type 2 diabetes.", "Heart rate up to 140 /min, type 2 diabetes."),
        ("A peak of 131 was seen.", "A peak of 131 was seen."),
        ("BP 118/84, BP 118 / 84.", "BP 118/84, BP 118 / 84."),
        ("Heart rate in the 130s at hour 2.", "Heart rate in the 130s at hour 2."),
        ("", ""),
    ],
)  # fmt: skip
def test_slots_replace_the_records_numbers_and_restore_the_text(text, marked):
    assert SLOTS.mark(text, HOURS, VALUES) == marked
    assert SLOTS.fill(marked, HOURS, VALUES) == text


def test_a_slot_is_filled_from_the_record_at_hand():
    other = series(Heart_Rate=[50, 60, 55, 52])
    text = (
        "Heart rate rose from [first] to [ Highest ] /min at hour [hour of highest], and pulse was [last] at the end."
    )
    assert (
        SLOTS.fill(text, HOURS, other) == "Heart rate rose from 50 to 60 /min at hour 2, and pulse was 52 at the end."
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "Glucose up to [highest] mg/dL.",  # not measured
        "Heart rate was lower than normal [times below].",  # never
        "It was up to [highest].",  # of what?
    ],
)
def test_a_slot_without_a_number_in_the_record_is_not_filled(sentence):
    assert SLOTS.fill_sentence(sentence, HOURS, VALUES) is None
    assert NO_VALUE in SLOTS.fill(sentence, HOURS, VALUES)


def test_other_brackets_stay_and_an_incomplete_slot_is_left_out():
    assert SLOTS.fill("Heart rate [sic] up to [highest].", HOURS, VALUES) == "Heart rate [sic] up to 131."
    assert SLOTS.fill("Heart rate up to [high", HOURS, VALUES) == "Heart rate up to"
    assert SLOTS.fill_sentence("No slot.", HOURS, VALUES) == "No slot."


@given(
    st.lists(st.integers(30, 220), min_size=4, max_size=4),
    st.lists(st.one_of(st.integers(50, 220), st.just(np.nan)), min_size=4, max_size=4),
    st.integers(0, 10_000),
)
def test_all_numbers_of_composed_sentences_become_slots_and_are_restored(rates, pressures, seed):
    diseases = ["Shock", "Cardiac dysrhythmias", "Conduction disorders"]
    links = KnowledgeLinks(
        [
            {"term": "tachycardia", "type": "symptom", "synonyms": [], "diseases": diseases[:2],
             "pattern": {"channel": "Heart Rate", "direction": "high"}},
            {"term": "bradycardia", "type": "symptom", "synonyms": [], "diseases": diseases[2:],
             "pattern": {"channel": "Heart Rate", "direction": "low"}},
            {"term": "hypotension", "type": "symptom", "synonyms": [], "diseases": diseases[:1],
             "pattern": {"channel": "Systolic blood pressure", "direction": "low"}},
        ],
        diseases,
        CHANNELS,
    )  # fmt: skip
    values = series(Heart_Rate=rates, Systolic_blood_pressure=pressures)
    _, sentences = Composer(links, CHANNELS, diseases).rationale("", HOURS, values, diseases, random.Random(seed))
    for sentence in sentences:
        marked = SLOTS.mark(sentence.text, HOURS, values)
        assert not any(character.isdigit() for character in marked)
        assert SLOTS.fill_sentence(marked, HOURS, values) == sentence.text


@pytest.mark.parametrize(("count", "words"), [(0, None), (1, "once"), (2, "twice"), (3, "3 times")])
def test_counts_are_written_as_the_teacher_writes_them(count, words):
    assert often(count) == words
