# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What a reader of rationales meets, counted in hand-made rationales of one hand-made patient."""

import itertools
import json

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS
from modeling_clinragen.note_claims_clinragen import NoteIndex
from recipes.evaluation.figures.compute import compute_metrics
from recipes.evaluation.figures.reading import (
    RationaleReader,
    origin_counts,
    reading_counts,
    repetitions,
    sentence_spans,
)


SEPSIS, PNEUMONIA = "Septicemia (except in labor)", "Pneumonia (except that caused by tuberculosis)"
FAILURE = "Congestive heart failure; nonhypertensive"
NAMES = {
    SEPSIS: (SEPSIS, "septicemia", "sepsis"),
    PNEUMONIA: (PNEUMONIA, "pneumonia"),
    FAILURE: (FAILURE, "congestive heart failure"),
}


def term(name, *diseases, pattern=None, kind="symptom", synonyms=()):
    return {"term": name, "type": kind, "synonyms": list(synonyms), "diseases": list(diseases), "pattern": pattern}


KNOWLEDGE = [
    term("fever", SEPSIS, PNEUMONIA),
    term("rusty sputum", PNEUMONIA),
    term("ankle swelling", FAILURE),
    term("CHF", FAILURE, kind="name"),
    term("sepsis", SEPSIS, kind="name"),
    term("fast heart rate", SEPSIS, pattern={"channel": "Heart Rate", "direction": "high"}),
]
NOTE = "Fever and rusty sputum since Monday. Denies orthopnea. History of CHF."


def patient():
    """Heart rate 118, 131 and 96 and a temperature of 36.8; nothing else is measured."""
    values = np.full((3, len(CHANNELS)), np.nan)
    names = [channel["name"] for channel in CHANNELS]
    values[:, names.index("Heart Rate")] = [118, 131, 96]
    values[0, names.index("Temperature")] = 36.8
    return {"note": NOTE, "lab_times": [1.0, 4.0, 9.0], "lab_values": values.tolist()}


def prediction(note="", lab="", listed=(), gold=(), reference=("", "")):
    return {
        "note_rationale": note,
        "lab_rationale": lab,
        "diagnoses": [{"label": label} for label in listed],
        "gold": list(gold),
        "reference_note_rationale": reference[0],
        "reference_lab_rationale": reference[1],
    }


@pytest.fixture(scope="module")
def count():
    """`count(note, lab, ..., knowledge=...)`: the counts of one rationale of the patient."""

    def counts(*args, knowledge=KNOWLEDGE, **kwargs):
        reader = RationaleReader(CHANNELS, NAMES, knowledge)
        found = reading_counts(reader, [prediction(*args, **kwargs)], [patient()])
        return {name: int(values[0]) for name, values in found.items()}

    return counts


def some(counts, *names):
    return tuple(counts[name] for name in names)


@given(st.lists(st.sampled_from(["pH is 7.16.", "SBP fell!", "A; b", "Why?", "No mark\n", "It was 3 mg."])))
def test_sentences_cover_every_character_except_blanks_once(parts):
    text = " ".join(parts)
    spans = sentence_spans(text)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(a < b for a, b in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


def test_a_decimal_point_and_a_semicolon_do_not_end_a_sentence():
    text = "pH fell to 7.16; this fits shock. Pleurisy; pneumothorax; pulmonary collapse remains unexplained.\nEnd"
    assert [text[a:b] for a, b in sentence_spans(text)] == [
        "pH fell to 7.16; this fits shock.",
        "Pleurisy; pneumothorax; pulmonary collapse remains unexplained.",
        "End",
    ]


def test_supported_findings_and_claims_are_counted_in_their_parts(count):
    counts = count("Fever and orthopnea point to sepsis.", "Heart Rate is high and Temperature is high.")
    assert some(counts, "note", "series") == (1, 1)  # the note denies orthopnea, and 36.8 is not a fever


@pytest.mark.parametrize(
    ("note", "lab", "expected"),
    [
        ("Fever suggests sepsis. Rusty sputum suggests pneumonia.", "", (2, 0, 0)),
        ("Fever points to sepsis and pneumonia.", "", (2, 0, 0)),
        (
            "Fever suggests sepsis.",
            "Pneumonia remains unexplained: no finding in this record points to it.",
            (1, 1, 0),
        ),
        ("Fever suggests sepsis.", "", (1, 0, 1)),
        ("", "Heart Rate is up to 131 /min, which suggests sepsis.", (1, 0, 1)),
        ("", "Heart Rate is low, which suggests sepsis.", (0, 0, 2)),  # it is not low
        ("Ankle swelling suggests pneumonia.", "", (0, 0, 2)),  # not in the note
        ("A history of CHF suggests pneumonia.", "", (0, 0, 2)),  # not linked
        ("", "Heart Rate is high, which suggests pneumonia.", (0, 0, 2)),  # not linked
        ("Fever suggests sepsis. This also fits pneumonia.", "", (2, 0, 0)),
        ("Fever suggests sepsis. Pneumonia is likely.", "", (1, 0, 1)),  # without evidence
        ("Sepsis is unlikely. Pneumonia is not supported.", "", (0, 0, 2)),
        ("", "", (0, 0, 2)),
    ],
)
def test_each_listed_diagnosis_is_explained_or_said_to_be_unexplained_or_neither(count, note, lab, expected):
    counts = count(note, lab, listed=[SEPSIS, PNEUMONIA])
    assert counts["listed"] == 2
    assert some(counts, "explained", "unexplained", "neither") == expected


def test_a_diagnosis_that_is_not_listed_is_not_counted(count):
    counts = count("Fever suggests sepsis.", "Pneumonia remains unexplained.", listed=[FAILURE])
    assert some(counts, "listed", "explained", "unexplained", "neither") == (1, 0, 0, 1)


def test_a_term_that_is_read_as_two_findings_is_evidence():
    reader = RationaleReader(CHANNELS, NAMES, [term("swelling of the ankles", FAILURE)])
    record = {**patient(), "note": "Swelling of the ankles."}
    said = prediction("Swelling of the ankles supports congestive heart failure.", listed=[FAILURE])
    assert reading_counts(reader, [said], [record])["explained"].tolist() == [1]


def test_a_channel_that_climbs_is_evidence_as_a_high_one_is(count):
    assert count("", "Heart Rate climbed from 118 to 131 /min, which fits sepsis.", listed=[SEPSIS])["explained"] == 1


def test_a_disease_that_the_note_names_is_evidence_for_itself(count):
    assert count("The note records CHF.", listed=[FAILURE])["explained"] == 1
    assert count("CHF and fever suggest pneumonia.", listed=[FAILURE])["explained"] == 0  # a premise, no conclusion
    assert count("A history of CHF supports congestive heart failure.", listed=[FAILURE])["explained"] == 1


@pytest.mark.parametrize(
    ("note", "overlooked"),
    [
        ("", 1),  # the knowledge knows "CHF", the note says it
        ("History of CHF suggests congestive heart failure.", 0),
    ],
)
def test_a_listed_diagnosis_that_the_note_names_and_nothing_explains_is_overlooked(note, overlooked):
    reader = RationaleReader(CHANNELS, {FAILURE: (FAILURE, "CHF"), SEPSIS: (SEPSIS, "sepsis")}, KNOWLEDGE)
    counts = reading_counts(reader, [prediction(note, listed=[FAILURE, SEPSIS])], [patient()])
    assert counts["overlooked"].tolist() == [overlooked]


@pytest.mark.parametrize(
    ("note", "is_named"),
    [
        ("Reason for admission: Infarction, acute myocardial (MI)", True),
        ("Acute myocardial infarction in May.", True),
        ("No acute myocardial infarction.", False),
        ("Acute pain. Myocardial scar. Infarction of the spleen.", False),
        ("Mother had an acute myocardial infarction.", False),
    ],
)
def test_a_name_is_found_in_a_note_in_any_order_of_its_words(note, is_named):
    label = "Acute myocardial infarction"
    reader = RationaleReader(CHANNELS, {label: (label, "AMI")})
    assert reader.named_in(NoteIndex(note), [label]) == ({label} if is_named else set())


def test_arguments_are_linked_unlinked_or_unknown(count):
    counts = count(
        "Fever suggests sepsis. CHF suggests pneumonia. Night sweats suggest pneumonia.",
        "Heart Rate is high, which suggests sepsis. Heart Rate is up to 131 /min; this fits pneumonia.",
    )
    assert some(counts, "linked", "unlinked", "unknown") == (2, 2, 1)


def test_without_knowledge_there_are_no_arguments_and_every_supported_claim_is_evidence(count):
    counts = count(
        "A history of CHF suggests pneumonia. Ankle swelling suggests sepsis.",
        listed=[SEPSIS, PNEUMONIA],
        knowledge=None,
    )
    assert some(counts, "linked", "unlinked", "unknown") == (0, 0, 0)
    assert some(counts, "explained", "neither") == (1, 1)  # ankle swelling is not in the note


def test_only_the_exact_count_is_right(count):
    lab = "Heart Rate is higher than normal {} times, which suggests sepsis."
    assert some(count("", lab.format(2)), "count", "wrong") == (1, 0)
    assert some(count("", lab.format(3)), "count", "wrong") == (1, 1)
    assert some(count("", "Heart Rate is higher than normal."), "count", "wrong") == (0, 0)


@pytest.mark.parametrize(
    ("note", "lab", "expected"),
    [
        ("Fever suggests sepsis. Fever suggests sepsis.", "", (1, 1)),
        ("Fever suggests sepsis. fever suggests sepsis!", "", (1, 1)),
        ("Fever suggests sepsis. Sepsis is supported by fever.", "", (1, 0)),  # other words, nothing new
        ("Fever suggests sepsis. Fever and rusty sputum suggest pneumonia.", "", (0, 0)),
        ("CHF and fever suggest sepsis. CHF suggests congestive heart failure.", "", (0, 0)),
        ("Fever suggests pneumonia. Rusty sputum and fever suggest pneumonia.", "", (1, 0)),
        ("", "Heart Rate is high, which fits sepsis. Heart Rate is up to 131 /min, which fits sepsis.", (1, 0)),
        ("Fever suggests sepsis.", "Heart Rate is high, which fits sepsis.", (0, 0)),
        ("Fever, rusty sputum and fever suggest pneumonia.", "", (1, 0)),  # itself
    ],
)
def test_a_sentence_repeats_one_before_by_its_words_or_by_its_finding_and_diagnosis(count, note, lab, expected):
    assert some(count(note, lab), "repeated", "word_for_word") == expected


@given(st.permutations(["Fever suggests sepsis.", "Fever suggests sepsis.", "Rusty sputum suggests pneumonia."]))
def test_the_number_of_repetitions_does_not_depend_on_the_order(sentences):
    reader = RationaleReader(CHANNELS, NAMES, KNOWLEDGE)
    assert repetitions(reader.read_note(" ".join(sentences), NOTE)) == (1, 1)


def test_the_teachers_rationales_are_without_evidence_where_they_argue_for_no_recorded_diagnosis(count):
    def teacher(note, lab, gold=(SEPSIS,)):
        counts = count(gold=gold, reference=(note, lab))
        return some(counts, "taught", "note_without_evidence", "series_without_evidence")

    nothing = "Nothing in the note points to a listed disease."
    assert teacher("Fever suggests sepsis.", "Heart Rate is high, which fits sepsis.") == (1, 0, 0)
    assert teacher(nothing, "Heart Rate is high, which fits sepsis.") == (1, 1, 0)
    assert teacher("Rusty sputum suggests pneumonia.", "Sepsis remains unexplained.") == (1, 1, 1)
    assert teacher("", "") == (0, 0, 0)  # no teacher has written
    assert teacher(nothing, "", gold=()) == (0, 0, 0)  # there is nothing to explain


def test_origins_of_sentences_are_counted():
    def sentences(*origins):
        return {"sentences": [{"text": "Fever.", "part": "note", "origin": origin} for origin in origins]}

    counts = origin_counts([sentences("written", "written", "repaired"), sentences(), sentences("composed")])
    assert {name: values.tolist() for name, values in counts.items()} == {
        "written": [2, 0, 0],
        "repaired": [1, 0, 0],
        "composed": [0, 0, 1],
    }


def test_metrics_hold_the_shares_with_their_intervals_and_without_knowledge_no_arguments():
    note = "Fever suggests sepsis. Melena suggests pneumonia. Pneumonia remains unexplained."
    made = prediction(note, "Heart Rate is higher than normal 3 times.", [SEPSIS, PNEUMONIA, FAILURE], [SEPSIS])
    made |= {"subject_id": "1", "readable": True, "probabilities": {}, "claims": [], "knowledge": []}
    made["sentences"] = [{"text": "Fever suggests sepsis.", "part": "note", "origin": "written"}] * 3
    made["sentences"] += [{"text": "Fever.", "part": "lab", "origin": "repaired"}]
    row = patient() | {"age": 70.0, "sex": "F", "ethnicity": ""}
    records = Dataset.from_list([row, row])
    predictions = [made, made | {"subject_id": "2"}]
    metrics = compute_metrics(predictions, list(NAMES), records, channels=CHANNELS, knowledge=KNOWLEDGE)
    assert metrics["supported_per_record"] == {"records": 2, "note": 1, "series": 0, "both": 1}
    assert metrics["arguments"] == {"total": 4, "linked": 0.5, "unlinked": 0, "unknown": 0.5}  # melena is not known
    third = pytest.approx(1 / 3)
    assert metrics["listed_diagnoses"] == {
        "total": 6, "explained": third, "unexplained": third, "neither": third, "overlooked": 0,
    }  # fmt: skip
    assert metrics["count_claims"] == {"total": 2, "wrong": 1}
    assert metrics["sentences"] == {"total": 8, "repeated": 0, "word_for_word": 0}
    assert metrics["sentence_origins"] == {"total": 8, "written": 0.75, "repaired": 0.25, "composed": 0}
    assert metrics["note_claims"]["absent"] == 0.5
    assert "teacher_evidence" not in metrics
    assert metrics["intervals"]["listed_diagnoses"]["explained"] == [third, third]
    without = compute_metrics(predictions, list(NAMES), records, channels=CHANNELS)
    assert without["arguments"] is without["intervals"]["arguments"] is None
    json.dumps([metrics, without], allow_nan=False)
