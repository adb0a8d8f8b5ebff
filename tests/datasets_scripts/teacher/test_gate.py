# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The quality gate: contradicted rationales do not pass, supported ones do."""

import numpy as np
import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.teacher.gate import Gate, Sentence
from modeling_clinragen import CHANNELS
from modeling_clinragen.links_clinragen import KnowledgeLinks


LABELS = load_labels("phenotypes")
NAMES = [label["name"] for label in LABELS]
CHANNEL_NAMES = [channel["name"] for channel in CHANNELS]
NOTE = (
    "Chief complaint: cough\nHistory of present illness: Productive cough with rigors for three days. Denies chest "
    "pain. No melena. Temperature 39.9 at home.\nPast medical history: hypertension, on amlodipine.\n"
    "Family history: father had a stroke."
)


@pytest.fixture(scope="module")
def gate():
    return Gate(CHANNELS, LABELS)


def record(*diagnoses, note=NOTE):
    values = np.full((8, len(CHANNELS)), np.nan)
    values[:, CHANNEL_NAMES.index("Heart Rate")] = [100, 130, 140, 120, 135, 110, 100, 95]
    values[:, CHANNEL_NAMES.index("Temperature")] = [37.0, 37.2, 37.5, 37.1, 37.0, 36.9, 36.8, 37.0]
    ids = [next(i for i, name in enumerate(NAMES) if name.startswith(start)) for start in diagnoses]
    return {"note": note, "lab_times": np.arange(8.0), "lab_values": values, "diagnoses": ids}


def kinds(gate, row, note="", lab="", note_evidence=None, lab_evidence=None):
    return gate(row, [Sentence(note, note_evidence)], [Sentence(lab, lab_evidence)]).kinds


@pytest.mark.parametrize(
    "note",
    [
        "Productive cough with rigors points to pneumonia.",
        "Pneumonia is suggested by productive cough in the note.",
        "There is no chest pain and no melena.",
        "The patient has a history of hypertension.",  # no diagnosis of this stay, but cited, not concluded
        "His father had a stroke.",
        "The temperature of 39.9 at home suggests pneumonia.",  # in the note, not in the series
        "Nothing in the note points to a listed disease.",
        "There is no sign of gastrointestinal bleeding.",
        "Pneumonia puts him at risk of septic shock.",
    ],
)
def test_a_rationale_supported_by_the_note_passes(gate, note):
    assert kinds(gate, record("Pneumonia"), note=note) == []


@pytest.mark.parametrize(
    "note",
    [
        "The note holds no finding that points to a recorded diagnosis.",
        "The note contains no evidence for the recorded diagnoses.",
        "The note offers no support for these diagnoses.",
        "The history provides no clue to any of the diagnoses.",
        "The note does not support any recorded diagnosis.",
    ],
)
def test_a_verb_of_no_evidence_is_no_finding(gate, note):
    row = record("Pneumonia", note="Chief complaint: melena")
    assert kinds(gate, row, note=note, note_evidence=()) == []
    assert kinds(gate, row, note=f"Rigors and chills; {note.lower()}") == ["finding not in the note"]


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("Chest pain points to pneumonia.", "note contradicted"),
        ("Melena was reported.", "note contradicted"),
        ("The patient denies rigors.", "note contradicted"),
        ("Productive cough suggests sepsis.", "argues for an absent diagnosis"),
        ("Productive cough suggests a myocardial infarction.", "argues for an absent diagnosis"),
        ("Pneumonia is unlikely.", "denies a diagnosis"),
        ("There is no evidence of pneumonia.", "denies a diagnosis"),
        ("Pneumonia was ruled out.", "denies a diagnosis"),
        ("A temperature of 40.8 suggests pneumonia.", "series contradicted"),
    ],
)
def test_a_rationale_contradicted_by_the_record_does_not_pass(gate, note, kind):
    assert kinds(gate, record("Pneumonia"), note=note) == [kind]


@pytest.mark.parametrize(
    ("lab", "wanted"),
    [
        ("Heart Rate is higher than normal 5 times, which fits pneumonia.", []),
        ("Heart Rate is higher than normal 4 times, which fits pneumonia.", ["series contradicted"]),
        ("Fever supports pneumonia.", ["series contradicted"]),
        ("Glucose is high, which fits pneumonia.", ["series contradicted"]),  # never measured
        ("Tachycardia up to 140 /min supports shock.", ["argues for an absent diagnosis"]),
        ("", ["empty"]),
    ],
)
def test_lab_rationales_are_judged_by_the_series(gate, lab, wanted):
    assert kinds(gate, record("Pneumonia"), lab=lab) == wanted


def test_labels_that_share_a_name_are_not_held_against_each_other(gate):
    for diagnosis in ("Essential hypertension", "Hypertension with complications"):
        assert kinds(gate, record(diagnosis), note="Amlodipine in the note fits hypertension.") == []
    assert kinds(gate, record("Pneumonia"), note="Amlodipine in the note fits hypertension.") == [
        "argues for an absent diagnosis"
    ]


@pytest.mark.parametrize(
    ("evidence", "wanted"),
    [
        (("productive cough",), []),
        (("Productive  cough with RIGORS",), []),
        (("productive cough", "crackles at the base"), ["quote not in the note"]),
        ((), ["no evidence"]),
    ],
)
def test_quotes_must_be_in_the_note(gate, evidence, wanted):
    note = "Productive cough points to pneumonia."
    assert kinds(gate, record("Pneumonia"), note=note, note_evidence=evidence) == wanted


@pytest.mark.parametrize(
    ("evidence", "wanted"), [(("Heart Rate",), []), (("heart rate",), []), (("Lactate",), ["evidence is no channel"])]
)
def test_evidence_of_the_series_is_a_channel(gate, evidence, wanted):
    lab = "Heart Rate is up to 140 /min, which fits pneumonia."
    assert kinds(gate, record("Pneumonia"), lab=lab, lab_evidence=evidence) == wanted


def test_a_fault_describes_what_to_correct(gate):
    (fault,) = gate(record("Pneumonia"), [], [Sentence("Heart Rate is up to 150 /min.")]).faults
    assert "150" in fault[1]
    assert "highest 140" in fault[1]


def test_a_record_without_note_and_series_is_judged_too(gate):
    row = record("Pneumonia", note="") | {"lab_times": np.zeros(0), "lab_values": np.zeros((0, len(CHANNELS)))}
    assert kinds(gate, row, note="There is no note.", lab="No series were measured.") == []
    assert kinds(gate, row, lab="Heart Rate is high.") == ["series contradicted"]


@pytest.fixture(scope="module")
def linked():
    return Gate(CHANNELS, LABELS, KnowledgeLinks(builtin_knowledge()["terms"], NAMES, CHANNELS))


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        ("Nothing in the note points to a listed disease.", ["overlooks evidence"]),
        ("The note gives no clear sign of a listed disease.", ["overlooks evidence"]),
        ("Nothing in the note points to any of the recorded diseases.", ["overlooks evidence"]),
        ("Pneumonia remains unexplained: no finding in this record points to it.", ["overlooks evidence"]),
        ("Productive cough points to pneumonia.", []),
        ("Productive cough with rigors is in keeping with pneumonia.", []),
        ("Amlodipine points to pneumonia.", ["unlinked argument"]),
        ("Crackles point to pneumonia.", ["finding not in the note"]),
        ("The note reports pneumonia.", ["finding not in the note"]),
        ("Rigors point to pneumonia. Rigors point to pneumonia.", ["repeated sentence"]),
    ],
)
def test_with_links_arguments_and_overlooked_evidence_are_judged(linked, note, wanted):
    assert kinds(linked, record("Pneumonia"), note=note, lab="Heart Rate was up to 140 /min.") == wanted


@pytest.mark.parametrize(
    ("diagnosis", "lab", "wanted"),
    [
        ("Shock", "The measured series point to no listed disease.", ["overlooks evidence"]),  # a fast heart rate
        ("Shock", "Shock remains unexplained: no finding in this record points to it.", ["overlooks evidence"]),
        ("Shock", "Tachycardia up to 140 /min supports shock.", []),
        ("Disorders of lipid", "The measured series point to no listed disease.", []),
        ("Disorders of lipid", "Disorders of lipid metabolism remain unexplained: nothing points to them.", []),
        (
            "Disorders of lipid",
            "Tachycardia up to 140 /min supports disorders of lipid metabolism.",
            ["unlinked argument"],
        ),
    ],
)
def test_with_links_the_series_are_judged_likewise(linked, diagnosis, lab, wanted):
    assert kinds(linked, record(diagnosis), lab=lab) == wanted


@pytest.mark.parametrize(
    ("note", "lab", "feedback"),
    [
        (
            "Nothing in the note points to a listed disease.",
            "",
            "'Productive cough' speaks for Pneumonia: argue from it, or leave out the sentence that nothing does.",
        ),
        (
            "",
            "Tachycardia up to 140 /min supports pneumonia.",
            "'Tachycardia up to 140 /min supports pneumonia' does not speak for Pneumonia: argue from another "
            "finding, or leave it out.",
        ),
    ],
)
def test_what_is_said_of_an_argument_names_a_remedy(linked, note, lab, feedback):
    judgement = linked(record("Pneumonia", "Shock"), [Sentence(note)], [Sentence(lab)])
    assert feedback in [said for _, said in judgement.faults]


def test_a_sentence_is_not_said_in_both_parts(linked):
    text = "Heart Rate was up to 140 /min, which supports shock."
    assert kinds(linked, record("Shock"), note=text, lab=text) == ["repeated sentence"]


def test_parts_without_evidence_are_counted_where_there_is_a_diagnosis(linked):
    def without(row, note, lab):
        return dict(+linked(row, [Sentence(note)], [Sentence(lab)]).without)

    nothing = "The measured series point to no listed disease."
    assert without(record("Pneumonia"), "Rigors point to pneumonia.", nothing) == {"records": 1, "lab": 1}
    assert without(record("Shock"), "There is more to say.", "Tachycardia supports shock.") == {
        "records": 1,
        "note": 1,
    }
    assert without(record(), "Nothing points to a listed disease.", nothing) == {}
