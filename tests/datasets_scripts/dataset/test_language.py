# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Notes that are not in English are noticed when a dataset is built."""

from collections import Counter

import pytest

from datasets_scripts.dataset.language import count_words, language_warning
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


def test_few_words_tell_nothing():
    assert language_warning(count_words(OTHERS["German"])) is None
    assert language_warning(Counter()) is None


@pytest.mark.parametrize(("note", "warned"), [(OTHERS["German"] * 12, True), (ENGLISH * 12, False)])
def test_the_build_says_so(tmp_path, note, warned):
    tables, mapping = small_hospital.hospital(8)
    for row in tables["notes"]:
        row["text"] = note
    _, metadata = small_hospital.build(tmp_path, tables, mapping)
    assert any("do not look English" in line for line in metadata["warnings"]) == warned
