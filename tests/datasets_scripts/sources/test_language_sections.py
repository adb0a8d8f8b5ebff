# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""German discharge letters are cut at the headings of the example file; nothing of the discharge stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.dataset.language import headings_of, load_language
from datasets_scripts.sources.heading_words import LATER
from datasets_scripts.sources.notes import note_text, notes_left_out, unknown_headings
from tests import german


DESCRIPTION = load_language(german.FILE)
HEADINGS = headings_of(DESCRIPTION)
SECRET = "Legionellen"


def document(text, kind="Entlassungsbrief", hour=None):
    return {"kind": kind, "text": text, "rank": 0, "hour": hour, "origin": "note"}


def view(text, **fields):
    return note_text([document(text, **fields)], "admission", HEADINGS)


@pytest.mark.parametrize("diagnosis", german.PATIENTS)
def test_a_letter_keeps_what_was_known_at_admission(diagnosis):
    text, patient = german.letter(diagnosis), german.PATIENTS[diagnosis]
    assert view(text).split("\n") == [
        f"Aufnahmegrund: {patient['complaint']}",
        f"Anamnese: Seit drei Tagen {patient['findings']}. Kein {patient['absent']}. Übelkeit wird verneint.",
        f"Familienanamnese: Die Mutter hatte {patient['others']}.",
        "Aufnahmebefund: Herz: rein Temperatur 38,4 °C, Herzfrequenz 104 pro Minute.",
    ]
    assert notes_left_out([document(text)], "admission", HEADINGS) == 0
    assert SECRET in note_text([document(text)], "admission")  # without the file it is no summary, and read whole


@pytest.mark.parametrize(
    "later",
    [
        "Entlassungsdiagnosen: {}", "ENTLASSUNGSDIAGNOSEN\n{}", "Entlassungsdiagnose {}", "**Entlassdiagnosen**\n{}",
        "Diagnosen:\n1. {}", "Hauptdiagnose: {}", "## Epikrise\nEs fanden sich {}", "Therapie und Verlauf: {}",
        "Beurteilung: {}", "- Verlauf: {}", "3) Klinischer Verlauf\n{}", "Vorläufige Einschätzung: {}",
        "Sonstiges\u2009:\n{}", "\nMikrobiologischer Nachweis\n{}", "ERREGER\n{}", "Diagnosen\tICD\n{}\tA48.1",
        "Seit gestern schlechter. Entlassungsdiagnose: {}", "Fieber, Diagnose: {}",
    ],
)  # fmt: skip
def test_what_is_of_a_later_time_never_reaches_the_view(later):
    text = f"Anamnese: Seit drei Tagen Husten.\n{later.format(SECRET)}\n"
    assert SECRET not in view(text)
    assert view(text).startswith("Anamnese: Seit drei Tagen Husten.")


ADMISSION = [heading.rstrip("*") for headings in DESCRIPTION["sections"].values() for heading in headings]
AFTER = [heading.rstrip("*") for heading in DESCRIPTION["after"]]
ENDS = [heading.rstrip("*") for heading in DESCRIPTION["ends"]]
UNKNOWN = ["Konsil", "Weitere Hinweise", "Mikrobiologie", "Bildgebung des Tages"]
PARTS = st.tuples(st.sampled_from([*ADMISSION, *AFTER, *ENDS, *UNKNOWN]), st.sampled_from([":\n", ": "]))


@given(st.lists(PARTS, max_size=10), st.sampled_from([str, str.upper]))
def test_each_section_holds_its_own_text_only_and_nothing_follows_the_discharge(parts, spelled):
    texts = [f"text{number} ende" for number in range(len(parts))]
    letter = "".join(f"{spelled(name)}{joint}{text}\n" for (name, joint), text in zip(parts, texts, strict=True))
    names = [name for name, _ in parts]
    first = next((i for i, name in enumerate(names) if name in AFTER), len(names))
    wanted = [text for i, (name, text) in enumerate(zip(names, texts, strict=True)) if name in ADMISSION and i < first]
    found = view(letter)
    assert [text for text in texts if text in found] == wanted


@given(st.lists(st.sampled_from([*"aä :.\n*-1\t", "Anamnese", "Verlauf", "Diagnosen", "kein"]), max_size=60))
def test_headings_and_bodies_hold_every_word(parts):
    text = "".join(parts)
    sections = HEADINGS.split(text)
    words = "".join(part for section in sections for part in (section.heading, section.body))
    assert "".join(filter(str.isalnum, words)) == "".join(filter(str.isalnum, text))


def test_labels_within_a_section_end_nothing_and_unknown_ones_are_counted():
    exam = "Aufnahmebefund:\nHerz: rein\nKreatinin: 1,2 mg/dl\nUm 10:30 Uhr stabil\n"
    text = f"{exam}Konsil: auffällig\nEpikrise: x\nKonsil: y"
    assert view(text) == "Aufnahmebefund: Herz: rein Kreatinin: 1,2 mg/dl Um 10:30 Uhr stabil"
    assert unknown_headings([document(text)], HEADINGS) == 1
    assert [section.name for section in HEADINGS.split(text)] == [LATER, "Aufnahmebefund", LATER, LATER, LATER]


def test_other_documents_are_read_by_their_time():
    assert view("Husten. Verlauf: gut", kind="Pflege", hour=3.0) == "Pflege: Husten. Verlauf: gut"
    assert view("Husten.", kind="Pflege", hour=30.0) == ""
    assert view("Anamnese: Husten.\nEpikrise: gut", kind="Brief") == "Anamnese: Husten."
    assert notes_left_out([document("Text ohne Überschrift")], "admission", HEADINGS) == 1
