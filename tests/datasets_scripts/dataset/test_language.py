# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Notes that are not in English are noticed when a dataset is built, and read with a file of their language."""

import json
from collections import Counter

import pytest
import yaml

from datasets_scripts.dataset.folder import language_in
from datasets_scripts.dataset.language import count_words, language_warning, load_language
from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.language_clinragen import Language, fault_of_language
from tests import german
from tests.datasets_scripts.sources import small_hospital


ENGLISH = "Admitted with fever and cough for three days. Denies chest pain. The patient has diabetes. "
LISTS = "Fever; Cough; Respiratory failure. Past history: hypertension, COPD. Meds from home: ASA, Lasix. "
OTHERS = {
    "German": "Aufnahme wegen Fieber und Husten seit drei Tagen. Kein Thoraxschmerz. Bekannter Diabetes mellitus. ",
    "French": "Admis pour fièvre et toux depuis trois jours. Pas de douleur thoracique. Diabète de type 2 connu. ",
    "Spanish": "Ingresa por fiebre y tos de tres días. Niega dolor torácico. Antecedente de diabetes mellitus. ",
    "Dutch": "Opgenomen met koorts en hoesten sinds drie dagen. Geen pijn op de borst. Bekend met diabetes. ",
}


def of_several(note):
    return sum((count_words(note) for _ in range(100)), Counter())


@pytest.mark.parametrize("language", OTHERS)
def test_notes_of_another_language_are_named(language):
    found = language_warning(of_several(OTHERS[language]))
    assert found.startswith("the notes do not look English (0.0% of their words")


@pytest.mark.parametrize("note", [ENGLISH, LISTS])
def test_english_notes_are_not(note):
    assert language_warning(of_several(note)) is None


def test_few_words_give_no_warning():
    assert language_warning(count_words(OTHERS["German"])) is None
    assert language_warning(Counter()) is None


@pytest.mark.parametrize(("note", "warned"), [(OTHERS["German"] * 12, True), (ENGLISH * 12, False)])
def test_the_build_warns_of_another_language(tmp_path, note, warned):
    tables, mapping = small_hospital.hospital(8)
    for row in tables["notes"]:
        row["text"] = note
    _, metadata = small_hospital.build(tmp_path, tables, mapping)
    assert any("do not look English" in line for line in metadata["warnings"]) == warned


# ---- a file of the language


@pytest.mark.parametrize(("language", "warned"), [("German", False), ("French", True), ("Spanish", True)])
def test_notes_without_words_of_the_file_are_named(language, warned):
    counts = sum((count_words(OTHERS[language], german.german()) for _ in range(100)), Counter())
    found = language_warning(counts, "German")
    assert (found is not None) == warned
    assert not warned or found.startswith("the notes do not look German (")


def test_the_words_of_a_file_are_counted():
    counts = count_words("Kein Anhalt für Husten, erhöhtes Fieber.", german.german())
    assert (counts["words"], counts["words of the language"]) == (6, 5)


def test_a_build_with_the_file_cuts_the_letters_and_keeps_the_language(tmp_path):
    tables, mapping = german.hospital(8)
    rows, metadata = small_hospital.build(tmp_path, tables, mapping, "--language", str(german.FILE))
    assert all(
        "Legionellen" not in row["note"] and "Anamnese: Seit drei Tagen" in row["note"] for row in rows.values()
    )
    assert not any("do not look" in line for line in metadata["warnings"])
    assert 0.3 < metadata["language"]["share_of_words"] < 0.6
    assert fault_of_language(language_in(metadata)) is None
    assert Language(language_in(metadata)).english("kein Husten") == "no Husten"
    assert "language: [en]" not in (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")


def test_headings_missing_in_the_file_are_counted_and_reported(tmp_path):
    tables, mapping = german.hospital(8)
    for row in tables["notes"]:
        row["text"] = row["text"].replace("Therapie und Verlauf:", "Gelegentliches:")
    rows, metadata = small_hospital.build(tmp_path, tables, mapping, "--language", str(german.FILE))
    assert all("Ampicillin" not in row["note"] for row in rows.values())
    assert any(line.startswith("8 sections about the admission ended at a heading") for line in metadata["warnings"])


def change_of(tmp_path, **changes):
    description = {**load_language(german.FILE), **changes}
    path = tmp_path / "language.yaml"
    path.write_text(json.dumps(description), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"section": {}}, "no field 'section' (did you mean 'sections'?); there are name, words"),
        (
            {"words": {"no": ["kein"], "not": ["Kein"]}},
            "words: 'Kein' stands under 'no' and under 'not'; write it once",
        ),
        ({"after": []}, "after: give the headings of what is written at discharge"),
        ({"ends": ["Anamnese"]}, "'Anamnese' stands under ends, too; write it once"),
        ({"parts": ["*"]}, "parts: '*' is not a heading"),
        ({"words": {"no": []}}, "words: 'no' is empty"),
        ({"ends": "Diagnosen"}, "ends is 'Diagnosen', not a list"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path, changes, message):
    path = change_of(tmp_path, **changes)
    with pytest.raises(ClinRaGenInputError) as error:
        load_language(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_missing_file_and_the_view_of_the_paper_are_refused(tmp_path):
    with pytest.raises(ClinRaGenInputError, match="no such file; copy"):
        load_language(tmp_path / "none.yaml")
    tables, mapping = german.hospital(4)
    with pytest.raises(ClinRaGenInputError, match="leave out --language"):
        small_hospital.build(
            tmp_path, tables, mapping, "--language", str(german.FILE), "--note-view", "paper", "--splits", "train=1"
        )


def test_a_word_that_yaml_reads_as_a_boolean_is_a_word(tmp_path):
    path = tmp_path / "language.yaml"
    path.write_text("name: German\nwords:\n  no: [kein]\n  on: [auf]\n", encoding="utf-8")
    assert yaml.safe_load(path.read_text())["words"] == {False: ["kein"], True: ["auf"]}
    assert load_language(path)["words"] == {"no": ["kein"], "on": ["auf"]}
