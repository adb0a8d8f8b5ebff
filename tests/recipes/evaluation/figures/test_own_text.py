# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Count properties of the decoder's own text, in hand-made texts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.evaluation.figures.own_text import (
    FAULTS,
    KnownText,
    other_patients,
    own_finding_counts,
    own_rationale_counts,
    own_sentence_counts,
    repetition,
    same_for_others,
    words_of,
)


RATIONALES = [
    "The note mentions fever and rusty sputum, which point to pneumonia.",
    "Heart rate rose from 88 to 131 /min at hour 4, and this suggests septicemia.",
    "Nothing in the note points to a listed disease.",
]
KNOWN = KnownText(RATIONALES, ["Ankle swelling since Monday. Denies chest pain.", "congestive heart failure"])


def prediction(note="", lab="", listed=(), patient="1", finished=True, origins=()):
    return {
        "subject_id": patient,
        "diagnoses": [{"label": name} for name in listed],
        "own_text": {"note_rationale": note, "lab_rationale": lab, "finished": finished},
        "sentences": [{"text": "", "part": "note", "origin": origin} for origin in origins],
    }


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        *((text, None) for text in RATIONALES),
        ("The note mentions ankle swelling, which point to congestive heart failure.", None),
        ("Heart rate rose to 131 /min.", None),  # two of four pairs are new
        ("Fever.", None),
        ("", "wordless"),
        (",,,,,,,", "wordless"),
        ("7.41 7.41 7.41.", "wordless"),
        ("e:e:e:e:e:e:", "looping"),
        ("pH pH pH pH pH.", "looping"),
        ("The note note note note note.", "looping"),
        ("The note mentions fever fever fever fever fever fever fever fever.", "looping"),
        ("Der Patient klagt seit zwei Tagen über Husten.", "unknown_words"),
        ("患者发热咳嗽", "unknown_words"),
        ("thesechall denver kaufte Rou prosp", "unknown_words"),
        ("Sputum suggests the rose fever note to hour and from disease.", "unknown_order"),
    ],
)
def test_a_sentence_is_unreadable_for_the_first_fault_that_it_has(sentence, fault):
    assert KNOWN.fault(sentence) == fault


def test_without_a_rationale_of_the_teacher_the_order_of_words_is_not_judged():
    notes = ["Fever and rusty sputum. The note."]
    assert KnownText([], notes).fault("Note fever sputum and the.") is None
    assert KnownText(["", ""], notes).fault("Note fever sputum and the.") is None
    assert KnownText(["Rusty sputum."], notes).fault("Note fever sputum and the.") == "unknown_order"
    assert KnownText([], notes).fault("Husten seit Montag.") == "unknown_words"


WORDS = st.lists(st.sampled_from(["fever", "cough", "note", "chills", "the", "and", "of"]), max_size=30)


@given(WORDS.filter(lambda words: len(set(words)) == len(words) > 0))
def test_training_texts_are_readable(words):
    text = " ".join(words)
    assert KnownText([f"{text}."]).fault(text.upper()) is None
    assert KnownText(["other"], [f"{text}."]).fault(text) is None


@given(st.sampled_from(["fever", "e", "患者", "the and of"]), st.integers(3, 40), st.sampled_from(" :-,"))
def test_three_repetitions_in_a_sentence_are_looping(said, times, between):
    assert KNOWN.fault(between.join([said] * times)) == "looping"


@given(WORDS)
def test_repetition_is_the_share_of_repeated_sequences(words):
    sequences = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    again = sum(sequence in sequences[:i] for i, sequence in enumerate(sequences))
    assert repetition(words) == pytest.approx(again / len(sequences) if sequences else 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from("xyz"), max_size=2)), max_size=12))
def test_the_same_for_others_counts_pairs_whose_diagnoses_differ(records):
    predictions = [prediction(text, listed=sorted(listed)) for text, listed in records]
    pairs = [(a, b) for (a, one), (b, other) in itertools.combinations(records, 2) if one != other]
    expected = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
    assert same_for_others(predictions) == (len(pairs), pytest.approx(expected) if pairs else None)


def test_sentences_are_counted_by_fault_and_by_fate_in_grounding():
    counts = own_sentence_counts(
        [
            prediction(
                f"{RATIONALES[0]} Fever fever fever. {RATIONALES[0]}",  # the last one repeats the first
                "Temperatur steigt seit gestern.",
                origins=["written", "repaired", "composed", "composed"],
            ),
            prediction("", ""),
        ],
        KNOWN,
    )
    assert {name: values.tolist() for name, values in counts.items()} == {
        "total": [4, 0],
        **{name: [0, 0] for name in FAULTS},
        "looping": [2, 0],
        "unknown_words": [1, 0],
        "written": [1, 0],
        "repaired": [1, 0],
        "left_out": [2, 0],
    }


def test_texts_that_are_empty_or_cut_are_counted():
    counts = own_rationale_counts(
        [prediction("", "  "), prediction("a b c d a b c d", finished=False), prediction("", "Fever.")]
    )
    assert counts["empty"].tolist() == [True, False, False]
    assert counts["cut"].tolist() == [False, True, False]
    assert counts["rep_4"].tolist() == pytest.approx([0, 1 / 5, 0])


def test_findings_are_compared_with_the_note_of_another_patient():
    notes = ["Fever and chills. No cough.", "Leg swelling. Fever.", "Leg swelling."]
    predictions = [
        prediction("Fever and cough point to pneumonia.", patient="1"),
        prediction("The note gives leg swelling.", patient="2"),
        prediction("", patient="2"),
    ]
    counts = {name: values.tolist() for name, values in own_finding_counts(predictions, notes).items()}
    assert counts["total"] == [2, 1, 0]
    assert (counts["supported"], counts["contradicted"]) == ([1, 1, 0], [1, 0, 0])
    assert counts["by_chance"] == [1, 0, 0]  # the second note has a fever, the first no swelling


@given(st.lists(st.sampled_from("12345"), max_size=9))
def test_the_record_for_comparison_is_of_another_patient(patients):
    others = other_patients([prediction(patient=patient) for patient in patients])
    assert [None if j is None else patients[j] != own for own, j in zip(patients, others, strict=True)] == (
        [True if len(set(patients)) > 1 else None] * len(patients)
    )


def test_words_are_letters_in_lower_case():
    assert words_of("BP 120/80 fell; pH 7.1 – Überlauf, 患者_x") == ["bp", "fell", "ph", "überlauf", "患者", "x"]
