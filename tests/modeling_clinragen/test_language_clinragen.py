# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Texts in another language are rewritten for the readers, and findings are mapped back to the original text."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenProcessor
from modeling_clinragen.claims_clinragen import ClaimChecker
from modeling_clinragen.grounding_clinragen import Grounding
from modeling_clinragen.language_clinragen import ENGLISH, Language, fault_of_language
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.note_claims_clinragen import check_note_claims
from modeling_clinragen.version_clinragen import version_of
from tests.german import HEART, LUNG, german


SENTENCES = yaml.safe_load(Path(__file__).with_name("german_sentences.yaml").read_text(encoding="utf-8"))
UNREAD = {  # compounds, verbs for nouns, a negation that ends the sentence or is part of the finding's own name
    "Belastungsdyspnoe seit zwei Wochen.", "Für eine Sepsis ergab sich kein Anhalt.", "Reizhusten.",
    "Nicht insulinpflichtiger Diabetes mellitus.", "Seit gestern hustet der Patient.",
    "Husten hat die Patientin nicht.", "Der systolische Blutdruck lag durchgehend über 100 mmHg.",
    "Der Patient fieberte bis 39 °C.",
}  # fmt: skip
DESCRIPTION = {
    "name": "some",
    "words": {
        "no": ["kein", "keine"],
        "elevated": ["erhöht*"],
        "suspected": ["V.a.", "Verdacht auf"],
        "with": ["mit"],
    },
    "decimal": ",",
}
SOME = Language(DESCRIPTION)
MEANINGS = {
    "kein": "no", "Keine": "no", "erhöhtes": "elevated", "ERHÖHT": "elevated", "V.a.": "suspected",
    "v. a.": "suspected", "Verdacht  auf": "suspected", "mit": "with", "Übelkeit": "Ubelkeit", "Fuß": "Fuss",
    "38,9": "38.9", "keiner": "keiner", "Husten": "Husten", "unerhöht": "unerhoht", "mitt": "mitt", "µmol": "µmol",
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(MEANINGS)), max_size=12), st.sampled_from([" ", "\n", "; ", " (", ", "]))
def test_each_word_is_rewritten_and_maps_back_to_its_own_characters(words, joint):
    original = joint.join(words)
    said = SOME.read(original)
    assert said.text == joint.join(MEANINGS[word] for word in words)
    start = begin = 0
    for word in words:
        end, stop = start + len(word), begin + len(MEANINGS[word])
        assert said.back(begin, stop) == (start, end)
        assert said.words(begin, stop) == word
        start, begin = end + len(joint), stop + len(joint)


@given(st.text(alphabet="qwxyz 0123456789.:;()-\n"))
def test_a_text_without_words_of_the_language_stays(text):
    said = SOME.read(text)
    assert (said.text, said.pieces) == (text, ())


@given(st.text())
@settings(max_examples=300)
def test_places_map_back_in_order_for_any_text(text):
    said = SOME.read(text)
    places = [said.back(i, i + 1) for i in range(len(said.text))]
    assert all(0 <= a <= b <= len(text) for a, b in places)
    assert places == sorted(places)
    if not any(map(unicodedata.combining, text)):
        assert said.back(0, len(said.text)) == (0, len(text))
    read = ENGLISH.read(text)
    assert read.text.split() == text.split()  # only blanks differ


@given(st.lists(st.sampled_from(sorted(MEANINGS)), max_size=8))
def test_letters_with_combining_marks_are_read_as_single_letters(words):
    text = " ".join(words)
    parted = unicodedata.normalize("NFD", text)
    assert SOME.english(parted) == SOME.english(text)
    said, one = SOME.read(parted), SOME.read(text)
    for start, end in [(0, 1), (0, len(one.text)), (len(one.text) // 2, len(one.text))]:
        assert unicodedata.normalize("NFC", said.words(start, end)) == one.words(start, end)


def test_the_longest_phrase_counts_and_words_within_words_do_not():
    language = Language({"name": "x", "words": {"not": ["nicht"], "not found": ["nicht zu sehen"], "no": ["kein*"]}})
    assert language.english("nicht zu sehen, nicht zu hören, keinerlei, Steinkein") == (
        "not found, not zu horen, no, Steinkein"
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"words": {"no": [" "]}}, "words: 'no' stands for ' ', which is no word"),
        ({"words": {"no": []}}, "words: 'no' is empty"),
        ({"words": {"No": ["kein"]}}, "words: 'No' is no English phrase in lower case"),
        ({"words": {"no": "kein"}}, "words.no is 'kein', not a list"),
        ({"sentences": {"note": "x"}}, "sentences: give note, named, high"),
        ({"sentences": {**german().sentences, "note": "{other}"}}, "sentences: note may hold {finding}, {diagnosis}"),
        ({"sentences": {**german().sentences, "high": "{"}}, "sentences: high may hold"),
        ({"name": 3}, "name is 3, not text"),
    ],
)
def test_the_fault_of_a_language_is_named(change, fault):
    assert fault in fault_of_language({**DESCRIPTION, **change})


# ---- sentences

LABELS = [LUNG, "Sepsis", HEART]
TERMS = [
    ("Pneumonie", "name", LUNG, ["Lungenentzündung"]), ("Sepsis", "name", "Sepsis", []),
    ("Herzinsuffizienz", "name", HEART, []), ("Husten", "symptom", LUNG, []),
    ("Auswurf", "symptom", LUNG, ["eitriger Auswurf"]), ("Schüttelfrost", "symptom", LUNG, []),
    ("Rasselgeräusche", "sign", LUNG, []), ("Infiltrat", "imaging", LUNG, ["Infiltrate"]),
    ("Beinödeme", "symptom", HEART, ["Knöchelödeme"]), ("Übelkeit", "symptom", "Sepsis", []),
    ("Atemnot", "symptom", LUNG, ["Dyspnoe", "Luftnot"]), ("Müdigkeit", "symptom", HEART, []),
    ("Diabetes mellitus", "history", HEART, ["Diabetes"]), ("Fieber", "symptom", LUNG, []),
]  # fmt: skip
KNOWLEDGE = [
    {"term": term, "type": kind, "diseases": [disease], "synonyms": synonyms}
    for term, kind, disease, synonyms in TERMS
]
KNOWLEDGE[-1]["pattern"] = {"channel": "Temperature", "direction": "high"}
KNOWLEDGE += [
    {
        "term": "schneller Puls",
        "type": "sign",
        "diseases": [HEART],
        "pattern": {"channel": "Heart Rate", "direction": "high"},
    }
]
HOURS = np.arange(8.0)
VALUES = np.full((8, len(CHANNELS)), np.nan)
COURSES = {
    "Heart Rate": [100, 130, 140, 120, 135, 110, 100, 95],
    "Temperature": [37.0, 37.2, 37.5, 37.1, 37.0, 36.9, 36.8, 37.0],
    "Systolic blood pressure": [120, 110, 100, 88, 80, 78, 76, 75],
}
for place, channel in enumerate(CHANNELS):
    VALUES[:, place] = COURSES.get(channel["name"], np.nan)


def found_in(sentence, language):
    links = KnowledgeLinks(KNOWLEDGE, LABELS, CHANNELS, language)
    return sorted({finding.term for finding in links.find_in_note(language.english(sentence))})


def verdict_of(sentence, language):
    said = language.read(sentence)
    claims = said.restored(ClaimChecker(CHANNELS)(said.text, HOURS, VALUES))
    assert all(sentence[claim.start : claim.end] == claim.text for claim in claims)
    verdicts = {claim.verdict for claim in claims if claim.channel}
    return next((v for v in ("contradicted", "unverifiable", "supported") if v in verdicts), "unverifiable")


@pytest.mark.parametrize("sentence", SENTENCES["findings"])
def test_findings_of_a_german_note_are_those_that_it_affirms(sentence):
    assert (found_in(sentence, german()) == sorted(SENTENCES["findings"][sentence])) == (sentence not in UNREAD)


@pytest.mark.parametrize("sentence", SENTENCES["claims"])
def test_claims_of_a_german_rationale_are_checked(sentence):
    assert (verdict_of(sentence, german()) == SENTENCES["claims"][sentence]) == (sentence not in UNREAD)


def test_held_out_sentences_are_read_better_with_the_file():
    """Print the figures that the documents give."""
    right = {}
    for name, read in (("held_out", lambda s, lang: sorted(found_in(s, lang))), ("held_out_claims", verdict_of)):
        wanted = {s: sorted(w) if isinstance(w, list) else w for s, w in SENTENCES[name].items()}
        right[name] = [sum(read(s, lang) == w for s, w in wanted.items()) for lang in (ENGLISH, german())]
        print(name, len(wanted), "without and with the file:", *right[name])
    assert right == {"held_out": [19, 38], "held_out_claims": [0, 12]}


NOTE = "Seit gestern eitriger Auswurf und Müdigkeit. Kein Schüttelfrost. Die Mutter hatte Beinödeme. V.a. Pneumonie."


@pytest.mark.parametrize(
    ("text", "verdict", "quote"),
    [
        ("Es besteht eitriger Auswurf.", "supported", "eitriger Auswurf"),
        ("Schüttelfrost spricht für Sepsis.", "contradicted", "Schüttelfrost"),
        ("Kein Schüttelfrost.", "supported", "Schüttelfrost"),
        ("Beinödeme sprechen für Herzinsuffizienz.", "absent", "Beinödeme"),
        ("Husten spricht für Pneumonie.", "absent", None),
    ],
)
def test_findings_of_a_rationale_are_looked_up_and_shown_in_the_words_of_the_note(text, verdict, quote):
    language = german()
    said, about = language.read(text), language.read(NOTE)
    links = KnowledgeLinks(KNOWLEDGE, LABELS, CHANNELS, language)
    (claim,) = [
        c for c in said.restored(check_note_claims(said.text, about.text, links), about) if c.spans or not quote
    ][:1]
    assert claim.verdict == verdict
    assert text[claim.start : claim.end] == claim.text
    if quote:
        assert NOTE[slice(*claim.spans[0])] == quote
        assert claim.quote.endswith(f"in the note: {quote}")


# ---- a processor and what its model writes


@pytest.fixture(scope="module")
def processor(tiny_tokenizer):
    return german_processor(tiny_tokenizer, german().description)


def german_processor(tokenizer, description):
    extractor = ClinRaGenFeatureExtractor(context_length=24)
    return ClinRaGenProcessor(extractor, tokenizer, LABELS, knowledge=KNOWLEDGE, language=description)


def grounded(processor, note_rationale, lab_rationale, diagnoses=LABELS):
    text = processor.target_text([LABELS.index(name) for name in diagnoses], note_rationale, lab_rationale)
    made = Grounding(processor).of({"note": NOTE, "lab_times": HOURS, "lab_values": VALUES})
    made.read(text)
    return made


def test_only_supported_text_of_the_decoder_is_returned(processor):
    note = (
        "Eitriger Auswurf spricht für Pneumonie. Schüttelfrost spricht für Pneumonie. Der Husten passt zu Pneumonie."
    )
    lab = "Die Herzfrequenz ist erhöht und spricht für Herzinsuffizienz. Die Temperatur war erhöht."
    made = grounded(processor, note, lab)
    written = [s.text for s in made.sentences if s.origin == "written"]
    assert written == [note.split(". ")[0] + ".", lab.split(". ")[0] + "."]
    composed = [sentence.text for sentence in made.sentences if sentence.origin == "composed"]
    assert composed == [
        "Der Befund Müdigkeit spricht für Herzinsuffizienz.",
        "Ungeklärt bleibt Sepsis.",
    ]
    for part in ("note", "lab"):
        rationale = made.rationale(part)
        assert all(rationale[claim.start : claim.end] == claim.text for claim in made.claims[part])
        assert {claim.verdict for claim in made.claims[part] if claim.spans or claim.channel} == {"supported"}
    assert next(NOTE[slice(*span)] for claim in made.claims["note"] for span in claim.spans) == "eitriger Auswurf"


def test_a_rationale_is_composed_entirely_in_the_language_or_not_at_all(tiny_tokenizer, processor):
    made = grounded(processor, "", "")
    assert {sentence.origin for sentence in made.sentences} == {"composed"}
    assert made.rationale("note") == (
        "In der Notiz steht Verdacht auf Pneumonie. Der Befund eitriger Auswurf spricht für Pneumonie. "
        "Der Befund Müdigkeit spricht für Herzinsuffizienz."
    )
    assert made.rationale("lab") == (
        "Herzfrequenz ist erhöht, höchster Wert 140 /min, und spricht für Herzinsuffizienz. Ungeklärt bleibt Sepsis."
    )
    silent = {name: value for name, value in german().description.items() if name != "sentences"}
    own = "Eitriger Auswurf spricht für Pneumonie."
    for text in ("", own):
        made = grounded(german_processor(tiny_tokenizer, silent), text, "")
        assert [sentence.text for sentence in made.sentences] == [text] * bool(text)


def test_terms_of_the_record_are_those_that_the_note_affirms(processor):
    shown = processor.record_terms.find(NOTE, HOURS, VALUES)
    assert [sorted(finding.terms) for finding in shown] == [
        ["Auswurf"],
        ["Müdigkeit"],
        ["Pneumonie"],
        ["schneller Puls"],
    ]


def test_a_saved_processor_keeps_its_language_and_an_older_one_reads_english(processor, tiny_processor, tmp_path):
    processor.save_pretrained(tmp_path / "german")
    again = AutoProcessor.from_pretrained(tmp_path / "german", trust_remote_code=True)
    assert again.language == processor.language == german().description
    assert again.spoken.english("kein Husten") == "no Husten"
    tiny_processor.save_pretrained(tmp_path / "before")
    file = tmp_path / "before" / "processor_config.json"
    saved = json.loads(file.read_text())
    del saved["language"]
    file.write_text(json.dumps(saved))
    assert AutoProcessor.from_pretrained(tmp_path / "before", trust_remote_code=True).spoken.is_english


def test_a_damaged_language_of_a_processor_is_refused(tiny_tokenizer):
    with pytest.raises(ValueError, match="words: 'no' stands for '', which is no word"):
        german_processor(tiny_tokenizer, {"name": "x", "words": {"no": [""]}})


def test_a_model_without_a_language_keeps_its_version_and_a_language_makes_another(tiny_model, tiny_tokenizer):
    class OfBefore:
        def __init__(self, processor):
            self.tokenizer, self.fields = processor.tokenizer, processor.to_dict()
            assert self.fields.pop("language") is None

        def to_dict(self):
            return self.fields

    english = german_processor(tiny_tokenizer, None)
    assert version_of(tiny_model, english) == version_of(tiny_model, OfBefore(english))
    versions = {
        version_of(tiny_model, german_processor(tiny_tokenizer, d)) for d in (None, DESCRIPTION, german().description)
    }
    assert len(versions) == 3
