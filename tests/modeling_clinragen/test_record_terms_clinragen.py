# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Terms of the knowledge that a record itself shows."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenPipeline
from modeling_clinragen.composition_clinragen import Composer
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.record_terms_clinragen import RecordTerms
from tests.conftest import make_tiny_model


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
SEPSIS, SHOCK, PNEUMONIA, FAILURE = (LABELS[i] for i in (11, 12, 9, 22))
NAMES = [channel["name"] for channel in CHANNELS]


def term(name, diseases, kind="symptom", pattern=None, **more):
    pattern = pattern and dict(zip(("channel", "direction"), pattern, strict=True))
    return {"term": name, "type": kind, "diseases": diseases, "pattern": pattern, "synonyms": [], **more}


KNOWLEDGE = [
    term("productive cough", [PNEUMONIA]),
    term("rigors", [SEPSIS, PNEUMONIA]),
    term("leg edema", [FAILURE]),
    term("CHF", [FAILURE], kind="name"),
    term("fast heart rate", [SEPSIS], pattern=("Heart Rate", "high")),
    term("racing heart of shock", [SHOCK], pattern=("Heart Rate", "high")),
    term("low systolic pressure", [SHOCK], pattern=("Systolic blood pressure", "low")),
]


def record_terms(knowledge=KNOWLEDGE):
    return RecordTerms(Composer(KnowledgeLinks(knowledge, LABELS, CHANNELS), CHANNELS, LABELS), knowledge)


def series(**channels):
    """Hourly values of some channels, named by their first words."""
    values = np.full((max(map(len, channels.values()), default=0), len(CHANNELS)), np.nan)
    for name, column in channels.items():
        values[: len(column), NAMES.index(name.replace("_", " "))] = column
    return np.arange(len(values), dtype=float), values


def found(note, knowledge=KNOWLEDGE, **channels):
    return [(shown.part, tuple(shown.terms)) for shown in record_terms(knowledge).find(note, *series(**channels))]


def test_only_terms_of_the_record_are_found():
    assert found("Rigors and a productive cough. Denies leg edema.", Heart_Rate=[124, 131, 118]) == [
        ("note", ("rigors",)),
        ("note", ("productive cough",)),
        ("lab", ("fast heart rate", "racing heart of shock")),
    ]
    assert found("Mother had leg edema.", Heart_Rate=[72, 80, 76], Systolic_blood_pressure=[118, 124]) == []
    assert found("", Systolic_blood_pressure=[74, 70]) == [("lab", ("low systolic pressure",))]
    assert found("") == []


def test_a_term_that_is_a_finding_and_a_name_has_the_diseases_of_both():
    assert found("History of CHF with leg edema.") == [("note", ("CHF",)), ("note", ("leg edema",))]
    for order in (1, -1):
        terms = record_terms([term("sepsis", [SHOCK], kind="history"), term("sepsis", [SEPSIS], kind="name")][::order])
        for diseases in ({SEPSIS: 0.8, SHOCK: 0.3}, {SEPSIS: 0.1, SHOCK: 0.3}):
            (entry,) = terms.specific(terms.find("Sepsis.", *series()), diseases, [], 10)
            assert (entry["term"], entry["label"]) == ("sepsis", max(diseases, key=diseases.get))


def test_the_most_probable_diagnosis_of_a_term_is_its_weight():
    terms = record_terms()
    shown = terms.find("Productive cough, leg edema. Rigors.", *series(Heart_Rate=[124, 131]))

    def entry(term, weight, label, part, text):
        return {"term": term, "weight": weight, "label": label, "part": part, "text": text}

    probabilities = {PNEUMONIA: 0.6, SEPSIS: 0.3, SHOCK: 0.8, FAILURE: 0.1}
    assert terms.specific(shown, probabilities, [SHOCK, PNEUMONIA], 10) == [
        entry("racing heart of shock", 0.8, SHOCK, "lab", "Heart Rate high"),
        entry("productive cough", 0.6, PNEUMONIA, "note", "Productive cough"),
        entry("rigors", 0.6, PNEUMONIA, "note", "Rigors"),
        entry("leg edema", 0.1, FAILURE, "note", "leg edema"),
    ]
    first = terms.specific(shown, probabilities, [SHOCK], 2)
    assert [entry["term"] for entry in first] == ["racing heart of shock", "productive cough"]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([SHOCK], ("racing heart of shock", SHOCK)),
        ([SEPSIS, SHOCK], ("racing heart of shock", SHOCK)),
        ([SEPSIS], ("fast heart rate", SEPSIS)),
        ([PNEUMONIA], ("fast heart rate", SEPSIS)),  # of no listed diagnosis: the name that presumes none
        ([], ("fast heart rate", SEPSIS)),
    ],
)
def test_a_pattern_is_named_by_a_listed_diagnosis_or_by_its_shortest_term(listed, expected):
    terms = record_terms()
    (entry,) = terms.specific(terms.find("", *series(Heart_Rate=[124, 131])), {SEPSIS: 0.3, SHOCK: 0.8}, listed, 10)
    assert (entry["term"], entry["label"]) == expected


def test_a_label_that_the_note_names_is_a_term_only_if_the_knowledge_has_it():
    assert found("Shock.", []) == []
    assert found("Congestive heart failure.") == []
    named = term("cardiac failure", [FAILURE], kind="name", synonyms=["congestive heart failure"])
    assert found("Congestive heart failure.", [named]) == [("note", ("cardiac failure",))]


@pytest.mark.parametrize(("share", "expected"), [(0.0, ["rigors"]), (0.5, ["rigors"]), (0.51, [])])
def test_a_term_of_more_than_half_of_the_training_patients_is_not_specific(share, expected):
    terms = record_terms([term("rigors", [SEPSIS], share=share)])
    shown = terms.find("Rigors.", *series())
    assert [entry["term"] for entry in terms.specific(shown, {SEPSIS: 0.9}, [SEPSIS], 10)] == expected


def test_a_term_in_note_and_series_is_returned_once():
    terms = record_terms([term("tachycardia", [SEPSIS], pattern=("Heart Rate", "high"))])
    shown = terms.find("Found with tachycardia.", *series(Heart_Rate=[124, 131]))
    assert [(s.part, set(s.terms)) for s in shown] == [("note", {"tachycardia"}), ("lab", {"tachycardia"})]
    assert [entry["part"] for entry in terms.specific(shown, {SEPSIS: 0.9}, [SEPSIS], 10)] == ["note"]


@given(
    st.lists(st.sampled_from(["productive cough", "rigors", "leg edema", "headache"]), unique=True, max_size=4),
    st.lists(st.floats(30, 200), max_size=6),
    st.dictionaries(st.sampled_from(LABELS), st.floats(0, 1), max_size=25),
    st.sets(st.sampled_from(LABELS)),
    st.integers(0, 5),
)
@settings(max_examples=60)
def test_weights_fall_and_each_entry_is_of_the_record_and_of_its_most_probable_diagnosis(
    findings, heart, given, made, n
):
    terms = record_terms()
    shown = terms.find(". ".join(findings), *series(Heart_Rate=heart))
    entries = terms.specific(shown, given, made, n)
    weights = [entry["weight"] for entry in entries]
    assert weights == sorted(weights, reverse=True)
    assert len(entries) == len({entry["term"] for entry in entries}) <= n
    diseases = {entry["term"]: entry["diseases"] for entry in KNOWLEDGE}
    for entry in entries:
        assert (
            entry["weight"]
            == given.get(entry["label"], 0.0)
            == max(given.get(d, 0.0) for d in diseases[entry["term"]])
        )
        if entry["part"] == "note":
            assert entry["term"] in findings
        else:
            assert max(heart) > 100
    if n == 5:
        assert {e["term"] for e in entries if e["part"] == "note"} == set(findings) - {"headache"}


@pytest.fixture
def pipe(tiny_config, tiny_processor):
    processor = copy.copy(tiny_processor)
    processor.modalities = ["note", "lab"]
    processor.knowledge = [
        term("fever", [PNEUMONIA]),
        term("heart failure", [FAILURE], share=0.9),
        term("low blood pressure", [SHOCK], pattern=("Systolic blood pressure", "low")),
        term("rigors", [SEPSIS]),
    ]
    model = make_tiny_model(copy.deepcopy(tiny_config))
    model.generation_config.max_new_tokens = 8
    return ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")


def record(note="", **channels):
    times, values = series(**channels)
    return {"note": note, "lab_times": times, "lab_values": values}


def test_the_answer_has_the_records_own_terms_with_their_diagnosis(pipe):
    own = record("Fever, rigors. Known heart failure.", Systolic_blood_pressure=[80, 74, 71])
    answer = pipe(own, do_sample=False, attention=True)
    entries = {entry["term"]: entry for entry in answer["knowledge"]}
    assert {name: entry["part"] for name, entry in entries.items()} == {
        "fever": "note",
        "rigors": "note",
        "low blood pressure": "lab",
    }
    for name, label in (("fever", PNEUMONIA), ("rigors", SEPSIS), ("low blood pressure", SHOCK)):
        assert (entries[name]["label"], entries[name]["weight"]) == (label, answer["probabilities"][label])
    attended = [entry["term"] for entry in answer["knowledge"] if entry["term"] != "rigors"]  # not in the vocabulary
    assert answer["knowledge_over_time"]["terms"] == attended
    other = record("Cough.", Systolic_blood_pressure=[120, 118])
    nothing, same = pipe([other, own], batch_size=2, do_sample=False, attention=True)
    assert nothing["knowledge"] == []
    assert nothing["knowledge_over_time"] is None
    assert same["knowledge"] == [
        {**entry, "weight": pytest.approx(entry["weight"], abs=2e-4)} for entry in answer["knowledge"]
    ]


@pytest.mark.parametrize(("modality", "expected"), [("note", ["fever"]), ("lab", ["low blood pressure"])])
def test_a_modality_that_the_model_does_not_read_shows_no_terms(pipe, modality, expected):
    pipe.processor.modalities = [modality]
    answer = pipe(record("Fever.", Systolic_blood_pressure=[80, 74, 71]), do_sample=False)
    assert [entry["term"] for entry in answer["knowledge"]] == expected


def test_without_knowledge_in_the_processor_as_in_older_folders_the_list_is_empty(pipe):
    pipe.processor.knowledge = None
    answer = pipe(record("Fever. Shock.", Systolic_blood_pressure=[80, 74, 71]), do_sample=False, attention=True)
    assert answer["knowledge"] == []
    assert answer["knowledge_over_time"] is None
