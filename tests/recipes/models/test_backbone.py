# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from recipes.models.backbone import train_tokenizer


TEXT = "### Disease Diagnosed: Essential hypertension, Shock. ### Rationale: blood pressure of 180.5 (high), in shock."
PHRASES = [" Essential hypertension", " Shock", "### Disease Diagnosed:", " ### Rationale:"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([TEXT] * 3, PHRASES, vocab_size=200).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_text_comes_back_as_it_was(tokenizer):
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"], skip_special_tokens=True) == TEXT


def test_each_phrase_is_one_token(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(TEXT)["input_ids"])
    assert all(tokens.count(phrase) == 1 for phrase in PHRASES)


@given(st.lists(st.sampled_from([*"aegilnoprst", " ", "Shock", " Shock", ",", ".", "180", "in"]), max_size=30))
def test_any_text_of_known_letters_comes_back(tokenizer, parts):
    text = " ".join("".join(parts).split())
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
