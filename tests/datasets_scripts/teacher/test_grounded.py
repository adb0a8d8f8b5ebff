# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Constrained sentences: real findings of the record, for recorded diagnoses, whatever the model prefers."""

import json

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from datasets_scripts.llm.json_only import vocabulary_of
from datasets_scripts.teacher.gate import Gate, Sentence
from datasets_scripts.teacher.grounded import GroundedForm
from modeling_clinragen import CHANNELS, PHENOTYPES
from modeling_clinragen.links_clinragen import KnowledgeLinks
from tests.datasets_scripts.llm.test_json_only import write
from tests.datasets_scripts.teacher.small_teacher import byte_tokenizer


NAMES = [phenotype["name"] for phenotype in PHENOTYPES]
PNEUMONIA, SHOCK = (
    next(i for i, name in enumerate(NAMES) if name.startswith(word)) for word in ("Pneumonia", "Shock")
)
NOTE = 'Productive cough (three days) and rigors. Dopamine was started for hypotension. Denies chest pain. Says "no".'
TERMS = [
    {"term": term, "type": "sign", "synonyms": [], "diseases": [NAMES[disease]], "pattern": pattern}
    for term, disease, pattern in [
        ("productive cough", PNEUMONIA, None),
        ("rigors", PNEUMONIA, None),
        ("chest pain", PNEUMONIA, None),
        ("dopamine", SHOCK, None),
        ("high temperature", PNEUMONIA, {"channel": "Temperature", "direction": "high"}),
        ("low blood pressure", SHOCK, {"channel": "Systolic blood pressure", "direction": "low"}),
    ]
]
LABELS = [{"name": name, "synonyms": []} for name in NAMES]


@pytest.fixture(scope="module")
def gate():
    return Gate(CHANNELS, LABELS, KnowledgeLinks(TERMS, NAMES, CHANNELS))


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = byte_tokenizer([NOTE], ["<eos>"], vocab_size=300)
    return vocabulary_of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>"))


def row(diagnoses=(PNEUMONIA, SHOCK), note=NOTE, measured=True):
    values = np.full((6, len(CHANNELS)), np.nan)
    names = [channel["name"] for channel in CHANNELS]
    if measured:
        values[:, names.index("Temperature")] = [39.4, 39.1, 39.0, 38.8, 38.9, 39.0]
        values[:, names.index("Systolic blood pressure")] = [71, 74, 78, 76, 80, 82]
    return {"note": note, "lab_times": np.arange(6.0), "lab_values": values, "diagnoses": sorted(diagnoses)}


def written(form, record, vocabulary, seed):
    answer = json.loads(write(vocabulary, [form(record)], 700, seed)[0])
    return answer["note_rationale"], answer["lab_rationale"]


@pytest.mark.parametrize("seed", range(5))
def test_a_choice_among_findings_passes_the_gate_whatever_is_chosen(gate, vocabulary, seed):
    note, lab = written(GroundedForm(gate.composer), row(), vocabulary, seed)
    judgement = gate(row(), *([Sentence(s["sentence"], tuple(s["evidence"])) for s in part] for part in (note, lab)))
    assert judgement.faults == []
    assert judgement.without == {"records": 1}
    assert {quote for said in note for quote in said["evidence"]} <= {"Productive cough", "rigors", "Dopamine"}
    assert {name for said in lab for name in said["evidence"]} == {"Temperature", "Systolic blood pressure"}
    assert [said["sentence"].rpartition(" ")[2] for said in note] == ["pneumonia.", "shock."]


@pytest.mark.parametrize("seed", range(3))
def test_own_words_are_between_a_finding_and_a_recorded_diagnosis(gate, vocabulary, seed):
    note, lab = written(GroundedForm(gate.composer, own_words=True), row(), vocabulary, seed)
    for said, name in zip([*note, *lab], ["pneumonia", "shock"] * 2, strict=True):
        assert said["sentence"].endswith(f" {name}.")
        assert any(said["sentence"].lower().startswith(quote.lower()) for quote in said["evidence"]) or said in lab


@pytest.mark.parametrize(
    "record", [row(diagnoses=()), row(note="", measured=False), row(note="Denies chest pain.", measured=False)]
)
def test_a_record_without_evidence_allows_only_that_statement(gate, vocabulary, record):
    for part, said in zip(
        ("note", "series"), written(GroundedForm(gate.composer), record, vocabulary, 0), strict=True
    ):
        assert [sentence["evidence"] for sentence in said] == [[]]
        assert part in said[0]["sentence"]


def test_words_with_signs_of_patterns_and_quotation_marks_are_only_words(gate, vocabulary):
    note = 'Productive cough (three days). "Dopamine" was started.'
    for seed in range(3):
        said, _ = written(GroundedForm(gate.composer), row(note=note, measured=False), vocabulary, seed)
        assert [sentence["evidence"] for sentence in said] == [["Productive cough"], ["Dopamine"]]


def test_the_built_in_knowledge_gives_a_form_for_each_diagnosis():
    links = KnowledgeLinks(
        [{"term": name, "type": kind, "synonyms": [], "diseases": [d]} for name, kind, d in _names()], NAMES, CHANNELS
    )
    form = GroundedForm(Gate(CHANNELS, LABELS, links).composer)
    for i, name in enumerate(NAMES):
        record = row(diagnoses=[i], note=f"Known {name.split(';')[0].split(' (')[0]}.", measured=False)
        assert form(record)["properties"]["note_rationale"]["minItems"] == 1


def _names():
    return [(name.split(";")[0].split(" (")[0].lower(), "name", name) for name in NAMES]
