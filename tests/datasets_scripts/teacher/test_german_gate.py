# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The quality gate reads German rationales of German notes."""

import numpy as np
import pytest

from datasets_scripts.knowledge.own_terms import own_knowledge
from datasets_scripts.teacher.gate import Gate, Sentence
from modeling_clinragen import CHANNELS, ClinRaGenInputError
from modeling_clinragen.links_clinragen import KnowledgeLinks
from tests import german


NAMES = [label["name"] for label in german.LABELS["labels"]]
NOTE = (
    "Aufnahmegrund: Husten\nAnamnese: Eitriger Auswurf seit drei Tagen. Kein Schüttelfrost, Übelkeit wird verneint.\n"
    "Familienanamnese: Vater mit Müdigkeit."
)


def written(tmp_path, content):
    path = tmp_path / "knowledge.yaml"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    german.export(tmp_path_factory.mktemp("export") / "klinik", patients=2)
    return own_knowledge(tmp_path_factory.getbasetemp() / "export0" / "klinik" / "knowledge.yaml", NAMES)


@pytest.fixture(scope="module")
def gate(knowledge):
    return Gate(
        CHANNELS, german.LABELS["labels"], KnowledgeLinks(knowledge["terms"], NAMES, CHANNELS, german.german())
    )


def judged(gate, note="", lab="", evidence=None):
    values = np.full((6, len(CHANNELS)), np.nan)
    values[:, [channel["name"] for channel in CHANNELS].index("Temperature")] = [37.0, 38.9, 39.2, 38.8, 38.0, 37.2]
    row = {"note": NOTE, "lab_times": np.arange(6.0), "lab_values": values, "diagnoses": [0]}
    return gate(row, [Sentence(note, evidence)], [Sentence(lab)])


@pytest.mark.parametrize(
    ("note", "lab"),
    [
        ("Der Befund eitriger Auswurf spricht für Pneumonie.", ""),
        ("Kein Schüttelfrost.", ""),
        (
            "Husten und eitriger Auswurf sprechen für eine Lungenentzündung.",
            "Fieber bis zu 39,2 °C passt zu Pneumonie.",
        ),
        ("", "Die Temperatur ist erhöht und spricht für Pneumonie."),
    ],
)
def test_a_rationale_supported_by_the_record_passes(gate, note, lab):
    assert judged(gate, note, lab).faults == []


@pytest.mark.parametrize(
    ("note", "lab", "kind", "message"),
    [
        ("Schüttelfrost passt zu Pneumonie.", "", "note contradicted", "'Schüttelfrost' is wrong: negated"),
        ("Übelkeit passt zu Pneumonie.", "", "note contradicted", "'Übelkeit' is wrong: negated in the note: Ü"),
        ("Rasselgeräusche passen zu Pneumonie.", "", "finding not in the note", "The note does not hold 'Rassel"),
        ("Husten spricht für Herzinsuffizienz.", "", "argues for an absent diagnosis", "Herzinsuffizienz is not"),
        ("Eine Lungenentzündung wurde ausgeschlossen.", "", "denies a diagnosis", "The patient has Lungenentzündung;"),
        ("", "Kein Fieber.", "series contradicted", "'Kein Fieber' is wrong: 6 values"),
        ("", "Die Temperatur war normal.", "series contradicted", "'Die Temperatur war normal' is wrong"),
        ("", "Höchste Temperatur 40,2 °C.", "series contradicted", "'Höchste Temperatur 40,2 °C' is wrong"),
        ("Kein Befund spricht für eine der Diagnosen.", "", "overlooks evidence", "'Husten' speaks for Pneumonie: "),
        ("Ungeklärt bleibt Pneumonie.", "", "overlooks evidence", "'Husten' speaks for Pneumonie: "),
    ],
)  # fmt: skip
def test_a_contradiction_is_reported_in_the_words_of_the_rationale(gate, note, lab, kind, message):
    faults = judged(gate, note, lab).faults
    assert kind in {found for found, _ in faults}
    assert any(text.startswith(message) for found, text in faults if found == kind), faults


@pytest.mark.parametrize(("quote", "holds"), [("Eitriger Auswurf", True), ("keine Übelkeit", False)])
def test_quotes_are_looked_up_as_the_note_writes_them(gate, quote, holds):
    kinds = judged(gate, "Der Befund eitriger Auswurf spricht für Pneumonie.", evidence=(quote,)).kinds
    assert ("quote not in the note" not in kinds) == holds


# ---- the user's own terms


def test_own_terms_make_a_knowledge_base(knowledge):
    terms = {term["term"]: term for term in knowledge["terms"]}
    assert terms["Pneumonie"]["synonyms"] == ["Lungenentzündung"]
    assert terms["Fieber"]["pattern"] == {"channel": "Temperature", "direction": "high"}
    assert terms["Beinödeme"]["diseases"] == [german.HEART]
    assert {term["source"] for term in knowledge["terms"]} == {german.KNOWLEDGE["source"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("diseases: {Pneumonie: {sign: [Husten]}}", "Pneumonie: source is missing"),
        ("source: x\nextends: paper\ndiseases: {}", "extends is 'paper'; give builtin"),
        ("source: x\ndiseases: {Pneumonie: {sign: [Husten ^y]}}", "no source 'y'; add it to the file's sources"),
        ("source: x\ndiseases: {Grippe: {sign: [Husten]}}", "Grippe: no label of that name; add it with --labels, or"),
        ("source: x\ndiseases: {Pneumonie: {signs: [Husten]}}", "'signs' is not a type of term; the types are"),
        ("source: x\ndiseases: {Pneumonie: {sign: [Husten @ Puls hoch]}}", "after @ come a channel and one of high"),
        ("source: x\ndiseases: {Pneumonie: {sign: [' | Husten']}}", "is not an entry; write term | synonym"),
        ("source: x\ndiseases: {Pneumonie: {sign: Husten}}", "not a list"),
    ],
)  # fmt: skip
def test_a_mistake_in_own_terms_is_one_line(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(ClinRaGenInputError) as error:
        own_knowledge(path, NAMES)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_missing_file_of_own_terms_is_named(tmp_path):
    with pytest.raises(ClinRaGenInputError, match="no such file"):
        own_knowledge(tmp_path / "none.yaml", NAMES)
