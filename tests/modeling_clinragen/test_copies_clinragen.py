# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Copies of a record are what the processor makes of the record without its parts."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor
from modeling_clinragen.composition_clinragen import RHYTHM
from modeling_clinragen.copies_clinragen import RecordCopies, Removal, without_measurements, without_words
from modeling_clinragen.evidence_clinragen import part_read
from recipes.models.backbone import train_tokenizer
from tests.modeling_clinragen.test_causal_lm_clinragen import byte_processor  # noqa: F401
from tests.modeling_clinragen.test_generation_clinragen import TEXTS, small_wordpiece  # noqa: F401
from tests.modeling_clinragen.test_record_terms_clinragen import KNOWLEDGE, LABELS, series, term


PHRASES = [" heart failure", " chest pain; fever", " Shock"]
WORDS = ["fever", "cough", "Shock", "shock", "chest", "pain;", "heart", "failure", "denies", "CHF,", "rigors."]
WORDS += ["38.5", "pH", "edema:", "of", "No", "§"]


@pytest.fixture(scope="module")
def tokenizers(small_wordpiece, byte_processor):  # noqa: F811
    joining = Tokenizer(models.BPE(unk_token="<unk>"))  # merges over spaces: a word has no tokens of its own
    joining.pre_tokenizer = pre_tokenizers.Split("\n", "removed")
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<pad>", "<unk>"], show_progress=False)
    joining.train_from_iterator([" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))], trainer)
    return {
        "trained": train_tokenizer(TEXTS, [], vocab_size=400),
        "phrases": train_tokenizer(TEXTS, PHRASES, vocab_size=400),
        "wordpiece": small_wordpiece,
        "bytes": byte_processor.tokenizer,
        "joining": PreTrainedTokenizerFast(tokenizer_object=joining, pad_token="<pad>", unk_token="<unk>"),
    }


def processor_of(tokenizer, knowledge=KNOWLEDGE, labels=LABELS, grid="hourly", **options):
    extractor = ClinRaGenFeatureExtractor(context_length=24, grid=grid)
    terms = {"knowledge": knowledge, "term_evidence": True}
    return ClinRaGenProcessor(extractor, tokenizer, labels=labels, max_note_tokens=60, **terms, **options)


def copies_of(processor, note, values, times):
    return RecordCopies(processor, part_read(processor, note), *processor.feature_extractor.validate(values, times))


def assert_as_the_processor_makes_them(processor, copies, removals):
    """The processor reads the texts and values of the copies themselves."""
    found = copies.inputs(removals)
    expected = processor.encode(
        [without_words(copies.note, removal.note) for removal in removals],
        [without_measurements(copies.values, removal.series) for removal in removals],
        [copies.times] * len(removals),
        return_tensors="pt",
    )
    assert found.keys() == expected.keys()
    for name in set(found) - {"input_ids", "attention_mask"}:
        assert torch.equal(found[name], expected[name]), name
    rows = zip(found["input_ids"], found["attention_mask"], strict=True)
    found_ids = [ids[mask.bool()].tolist() for ids, mask in rows]
    rows = zip(expected["input_ids"], expected["attention_mask"], strict=True)
    assert found_ids == [ids[mask.bool()].tolist() for ids, mask in rows]


@pytest.mark.parametrize("name", ["trained", "phrases", "wordpiece", "bytes", "joining"])
@given(data=st.data())
@settings(max_examples=60)
def test_a_copy_has_the_tokens_that_its_text_has(tokenizers, name, data):
    processor = processor_of(tokenizers[name])
    words = data.draw(st.lists(st.sampled_from(WORDS), max_size=50))
    spaces = data.draw(st.lists(st.sampled_from([" ", "\n", "  \n "]), min_size=len(words), max_size=len(words)))
    note = "".join(word + space for word, space in zip(words, spaces, strict=True))
    copies = copies_of(processor, note, None, None)
    chosen = st.lists(st.sampled_from(copies.words), unique=True) if copies.words else st.just([])
    removals = [Removal(note=data.draw(chosen)) for _ in range(4)]
    assert_as_the_processor_makes_them(processor, copies, removals)


@pytest.mark.parametrize("grid", ["hourly", "paper"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_a_copy_has_the_grid_and_the_terms_of_its_values(tokenizers, grid, seed):
    draw = np.random.default_rng(seed)
    processor = processor_of(tokenizers["trained"], grid=grid)
    times, values = series(Heart_Rate=[124, 131, 118, 90, 80], Systolic_blood_pressure=[70, 82, 85, 120, 88])
    copies = copies_of(processor, "Rigors.", values, times)
    cells = [tuple(cell) for cell in np.argwhere(~np.isnan(values)).tolist()]
    removals = [Removal(series=[cell for cell in cells if draw.random() < share]) for share in (0, 0.2, 0.5, 0.9, 1)]
    assert_as_the_processor_makes_them(processor, copies, removals)
    assert copies.inputs(removals)["term_evidence"][0, 1].any()


def test_a_copy_without_the_far_value_shows_no_rhythm_any_more(tokenizers):
    """A high heart rate is left, but an arrhythmia is told by one far out."""
    (rhythm,) = RHYTHM
    knowledge = [term("rapid rhythm", [rhythm], pattern=("Heart Rate", "high"))]
    processor = processor_of(tokenizers["trained"], knowledge, [rhythm, *LABELS])
    times, values = series(Heart_Rate=[103, 104, 140, 105, 102])
    copies = copies_of(processor, "Rigors.", values, times)
    removals = [Removal(), Removal(series=[(0, 3)]), Removal(series=[(2, 3)])]
    assert_as_the_processor_makes_them(processor, copies, removals)
    assert copies.inputs(removals)["term_evidence"][:, 1, 0].tolist() == [True, True, False]


@pytest.mark.parametrize("modality", ["note", "lab"])
def test_copies_hold_what_is_read_of_a_record(tokenizers, modality):
    processor = processor_of(tokenizers["trained"], modalities=[modality])
    times, values = series(Heart_Rate=[124, 131, 118])
    copies = copies_of(processor, "Rigors and CHF.", values, times)
    removals = [Removal(), Removal(note=copies.words[:1]), Removal(series=[(0, 3)])]
    assert_as_the_processor_makes_them(processor, copies, removals)


@pytest.mark.parametrize("name", ["trained", "phrases", "wordpiece", "bytes"])
def test_tokens_are_cut_where_each_word_has_its_own(tokenizers, name, monkeypatch):
    processor = processor_of(tokenizers[name])
    copies = copies_of(processor, "denies fever; CHF of old, failure of heart.\nedema 38.5", None, None)
    asked = []
    monkeypatch.setattr(type(processor), "cut_notes", lambda *_: asked.append(1))
    copies.inputs([Removal(note=[word]) for word in copies.words])
    assert not asked


def test_a_tokenizer_that_joins_words_is_asked_for_each_text(tokenizers):
    note = " ".join(WORDS)
    assert copies_of(processor_of(tokenizers["joining"]), note, None, None).tokens is None
    assert copies_of(processor_of(tokenizers["trained"]), note, None, None).tokens is not None


def test_terms_are_assumed_to_stand_where_no_word_of_theirs_is_removed(tokenizers):
    processor = processor_of(tokenizers["trained"])
    note = "Denies chest pain; rigors and productive cough, CHF."
    copies = copies_of(processor, note, None, None)
    removals = [Removal(note=[match.span()]) for match in re.finditer(r"Denies|rigors|cough,", note)]
    assumed, read = (copies.inputs(removals, reads_notes=reads)["term_evidence"][:, 0] for reads in (False, True))
    names = np.array([term["term"] for term in KNOWLEDGE])
    assert [sorted(names[row]) for row in assumed] == [
        ["CHF", "productive cough", "rigors"],
        ["CHF", "productive cough"],
        ["CHF", "rigors"],
    ]
    assert torch.equal(assumed[1:], read[1:])
